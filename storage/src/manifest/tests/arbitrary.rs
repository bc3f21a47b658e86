//! Entries of every type, and histories that make sense most of the time.

use proptest::{collection::vec, option, prelude::*};

use crate::{
    ids::{Epoch, Incarnation, LogId, Offset, OwnerId, SegmentNo, StreamId},
    manifest::{
        ColdCopy, Entry, Keep, ManifestState, MarkState, PartsState, Residency, RetentionState,
        SealedFacts, SegmentState, SegmentStatus, StreamState, UploadId, UploadState, WarmCopy,
    },
};

pub(super) const LOG: LogId = LogId::from_bytes([7; 16]);

pub(super) fn stream_id(n: u8) -> StreamId {
    StreamId::from_bytes([n; 16])
}

fn stream() -> impl Strategy<Value = StreamId> {
    any::<[u8; 16]>().prop_map(StreamId::from_bytes)
}

fn offset() -> impl Strategy<Value = Offset> {
    any::<u64>().prop_map(Offset)
}

fn segment() -> impl Strategy<Value = SegmentNo> {
    any::<u64>().prop_map(SegmentNo)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation)
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn upload_id() -> impl Strategy<Value = UploadId> {
    "[ -~]{1,90}".prop_map(|id| UploadId::new(id).expect("neither empty nor too long"))
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![
        Just(Keep::Default),
        Just(Keep::All),
        any::<u64>().prop_map(Keep::AtMost)
    ]
}

prop_compose! {
    fn mark_state()(
        durable in offset(), segment in option::of(segment()), end_byte: u64,
        incarnation in incarnation(), clean: bool,
    ) -> MarkState {
        MarkState { durable, segment, end_byte, incarnation, clean }
    }
}

prop_compose! {
    fn facts()(
        base in offset(), end in offset(), data_end: u64, file_len: u64, first_ts: u64,
        last_ts: u64, ext: Option<(u64, u64)>, digest: u64, flush_failed: bool,
    ) -> SealedFacts {
        SealedFacts { base, end, data_end, file_len, first_ts, last_ts, ext, digest, flush_failed }
    }
}

prop_compose! {
    fn residency()(
        hot: bool, warm: Option<(u64, u64)>, upload in option::of((text(), text())),
        cold in option::of((text(), any::<(u64, u64, bool)>())), needs_recovery: bool,
    ) -> Residency {
        Residency {
            hot,
            warm: warm.map(|(file_len, crc)| WarmCopy { file_len, crc }),
            upload: upload.map(|(key, upload_id)| UploadState { key, upload_id }),
            cold: cold.map(|(key, (len, crc, dropped))| ColdCopy { key, len, crc, dropped }),
            needs_recovery,
        }
    }
}

fn status() -> impl Strategy<Value = SegmentStatus> {
    prop_oneof![
        Just(SegmentStatus::Open),
        (offset(), offset(), any::<u64>()).prop_map(|(base, end, end_byte)| {
            SegmentStatus::Closed {
                base,
                end,
                end_byte,
            }
        }),
        facts().prop_map(SegmentStatus::Sealed),
    ]
}

prop_compose! {
    fn segment_state()(
        salt: u64, capacity: u64, epoch: u64, incarnation in incarnation(), status in status(),
        residency in residency(),
    ) -> SegmentState {
        SegmentState { salt, capacity, epoch: Epoch(epoch), incarnation, status, residency }
    }
}

fn about_streams() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (stream(), text(), any::<u64>()).prop_map(|(stream, name, created_ns)| {
            Entry::StreamCreated {
                stream,
                name,
                created_ns,
            }
        }),
        any::<(u64, u64)>().prop_map(|(epoch, opened_ns)| Entry::Epoch {
            epoch: Epoch(epoch),
            opened_ns
        }),
        (stream(), offset()).prop_map(|(stream, start)| Entry::Trimmed { stream, start }),
        (stream(), offset(), incarnation()).prop_map(|(stream, end, incarnation)| {
            Entry::TruncatedAfter {
                stream,
                end,
                incarnation,
            }
        }),
        (stream(), mark_state()).prop_map(|(stream, mark)| Entry::Mark {
            stream,
            durable: mark.durable,
            segment: mark.segment,
            end_byte: mark.end_byte,
            incarnation: mark.incarnation,
            clean: mark.clean,
        }),
        any::<u64>().prop_map(|number| Entry::Published { number }),
        any::<(u64, [u8; 16])>().prop_map(|(number, owner)| Entry::ColdClaim {
            number,
            owner: OwnerId::from_bytes(owner),
        }),
        (stream(), offset()).prop_map(|(stream, end)| Entry::Archived { stream, end }),
        (stream(), keep(), keep()).prop_map(|(stream, age_ns, bytes)| Entry::Retention {
            stream,
            retention: RetentionState { age_ns, bytes },
        }),
        (text(), upload_id()).prop_map(|(key, id)| Entry::PartsBegun { key, id }),
        (text(), upload_id()).prop_map(|(key, id)| Entry::PartsGone { key, id }),
    ]
}

fn about_segments() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (stream(), segment(), any::<(u64, u64, u64)>(), incarnation()).prop_map(
            |(stream, segment, (salt, capacity, epoch), incarnation)| {
                Entry::SegmentCreated {
                    stream,
                    segment,
                    salt,
                    capacity,
                    epoch: Epoch(epoch),
                    incarnation,
                }
            }
        ),
        (stream(), segment(), offset(), offset(), any::<u64>()).prop_map(
            |(stream, segment, base, end, end_byte)| Entry::Closed {
                stream,
                segment,
                base,
                end,
                end_byte
            }
        ),
        (stream(), segment(), facts()).prop_map(|(stream, segment, f)| sealed(stream, segment, f)),
        (stream(), segment(), 0u8..8).prop_map(|(stream, segment, which)| match which {
            0 => Entry::Removed { stream, segment },
            1 => Entry::NeedsRecovery { stream, segment },
            2 => Entry::HotDropped { stream, segment },
            3 => Entry::WarmDropped { stream, segment },
            4 => Entry::ColdDropped { stream, segment },
            5 => Entry::HotRestored { stream, segment },
            _ => Entry::ColdDeleted { stream, segment },
        }),
    ]
}

fn about_copies_and_snapshots() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (stream(), segment(), any::<(u64, u64)>()).prop_map(
            |(stream, segment, (file_len, crc))| Entry::Warmed {
                stream,
                segment,
                file_len,
                crc
            }
        ),
        (stream(), segment(), text(), text()).prop_map(|(stream, segment, key, upload_id)| {
            Entry::UploadStarted {
                stream,
                segment,
                key,
                upload_id,
            }
        }),
        (stream(), segment(), text(), any::<(u64, u64)>()).prop_map(
            |(stream, segment, key, (len, crc))| Entry::Uploaded {
                stream,
                segment,
                key,
                len,
                crc
            }
        ),
        any::<(u64, u64, u64)>().prop_map(|(epoch, streams, segments)| Entry::SnapshotBegin {
            epoch: Epoch(epoch),
            streams,
            segments
        }),
        (
            (stream(), text(), any::<u64>()),
            (offset(), offset(), segment(), incarnation()),
            option::of(mark_state())
        )
            .prop_map(
                |((stream, name, created_ns), (start, next, next_segment, incarnation), mark)| {
                    Entry::SnapshotStream {
                        stream,
                        name,
                        created_ns,
                        start,
                        next,
                        next_segment,
                        incarnation,
                        mark,
                    }
                }
            ),
        (stream(), segment(), segment_state()).prop_map(|(stream, segment, state)| {
            Entry::SnapshotSegment {
                stream,
                segment,
                state,
            }
        }),
        Just(Entry::SnapshotEnd {}),
    ]
}

/// Any entry, whether it makes sense or not.
pub(super) fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        about_streams(),
        about_segments(),
        about_copies_and_snapshots()
    ]
}

pub(super) fn sealed(stream: StreamId, segment: SegmentNo, facts: SealedFacts) -> Entry {
    let SealedFacts {
        base,
        end,
        data_end,
        file_len,
        first_ts,
        last_ts,
        ext,
        digest,
        flush_failed,
    } = facts;
    Entry::Sealed {
        stream,
        segment,
        base,
        end,
        data_end,
        file_len,
        first_ts,
        last_ts,
        ext,
        digest,
        flush_failed,
    }
}

/// A seed of an entry: what it becomes depends on the state that it meets.
pub(super) type Step = (u8, u8, u8, u16);

pub(super) fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(any::<Step>(), 0..len)
}

/// An entry that mostly makes sense after `state`.
pub(super) fn entry_for(state: &ManifestState, (kind, who, which, n): Step) -> Entry {
    let stream = stream_id(who % 4);
    let n = u64::from(n);
    let known = state.streams.get(&stream);
    let numbers: Vec<_> = known.map_or(vec![], |s| s.segments.keys().copied().collect());
    let segment = match numbers.len() {
        0 => SegmentNo(0),
        len => numbers[usize::from(which) % len],
    };
    let Some(known) = known else {
        let name = format!("stream {}", who % 4);
        return Entry::StreamCreated {
            stream,
            name,
            created_ns: n,
        };
    };
    let (base, end) = (known.next, known.next.plus(n % 50));
    let incarnation = Incarnation(known.incarnation.0 + n % 2);
    match kind % 29 {
        0..5 => Entry::SegmentCreated {
            stream,
            segment: SegmentNo(known.next_segment.0 + n % 2),
            salt: n,
            capacity: n,
            epoch: state.epoch,
            incarnation,
        },
        5 => Entry::Closed {
            stream,
            segment,
            base,
            end,
            end_byte: n,
        },
        6..9 => sealed(stream, segment, facts_for(base, end, n)),
        9 => Entry::Trimmed {
            stream,
            start: known.start.plus(n % 60),
        },
        10 => Entry::TruncatedAfter {
            stream,
            end: Offset(n % 100),
            incarnation,
        },
        11 => Entry::Mark {
            stream,
            durable: end,
            segment: (n % 3 > 0).then_some(segment),
            end_byte: n,
            incarnation,
            clean: n % 2 == 0,
        },
        12 => Entry::Removed { stream, segment },
        13..19 => copies_entry(stream, segment, kind % 29, n),
        19..24 => entry_of_the_rest(state, known, (kind, who, which, n as u16)),
        24..27 => parts_entry(state, n),
        _ => Entry::Epoch {
            epoch: Epoch(state.epoch.0 + n % 2),
            opened_ns: n,
        },
    }
}

/// Of Tier 2, and of what is kept.
fn entry_of_the_rest(
    state: &ManifestState,
    known: &StreamState,
    (kind, who, which, n): Step,
) -> Entry {
    let (stream, n) = (stream_id(who % 4), u64::from(n));
    let numbers: Vec<_> = known.segments.keys().copied().collect();
    let segment = numbers.get(usize::from(which) % numbers.len().max(1));
    let state_of = segment.and_then(|segment| known.segments.get(segment));
    let end = known.next.plus(n % 50);
    match kind % 29 {
        19..21 => Entry::Archived {
            stream,
            end: state_of
                .and_then(|state| state.status.range())
                .map_or(end, |range| range.1),
        },
        21 => Entry::Published {
            number: state.published.unwrap_or(0) + n % 3,
        },
        22 => Entry::ColdClaim {
            number: state.published.unwrap_or(0) + n % 3,
            owner: OwnerId::from_bytes([kind; 16]),
        },
        _ => Entry::Retention {
            stream,
            retention: RetentionState {
                age_ns: [Keep::Default, Keep::All, Keep::AtMost(n)][usize::from(which) % 3],
                bytes: [Keep::AtMost(n), Keep::Default][usize::from(which) % 2],
            },
        },
    }
}

/// One more upload in parts, or the end of one that is known.
fn parts_entry(state: &ManifestState, n: u64) -> Entry {
    let known = state.parts.get(n as usize % (state.parts.len() + 1));
    match known.cloned() {
        Some(PartsState { key, id }) => Entry::PartsGone { key, id },
        None => Entry::PartsBegun {
            key: format!("key {}", n % 7),
            id: UploadId::new(format!("id {n}")).expect("neither empty nor too long"),
        },
    }
}

fn copies_entry(stream: StreamId, segment: SegmentNo, kind: u8, n: u64) -> Entry {
    match kind {
        13 => Entry::Warmed {
            stream,
            segment,
            file_len: n,
            crc: n,
        },
        14 => Entry::Uploaded {
            stream,
            segment,
            key: format!("key {n}"),
            len: n,
            crc: n,
        },
        15 => Entry::HotDropped { stream, segment },
        16 => Entry::ColdDropped { stream, segment },
        17 => Entry::ColdDeleted { stream, segment },
        18 => Entry::HotRestored { stream, segment },
        _ => Entry::UploadStarted {
            stream,
            segment,
            key: format!("key {n}"),
            upload_id: format!("id {n}"),
        },
    }
}

fn facts_for(base: Offset, end: Offset, n: u64) -> SealedFacts {
    SealedFacts {
        base,
        end,
        data_end: n,
        file_len: n + 100,
        first_ts: n,
        last_ts: n + 1,
        ext: n.is_multiple_of(2).then_some((n, n + 3)),
        digest: n,
        flush_failed: n.is_multiple_of(3),
    }
}

/// What a history leads to; refused steps are left out.
pub(super) fn state_after(steps: &[Step]) -> ManifestState {
    let mut state = ManifestState::new(LOG);
    for &step in steps {
        let _refused = state.apply(&entry_for(&state, step));
    }
    state
}
