//! Which changes make sense, and that refused ones leave no trace.

use proptest::prelude::*;

use super::arbitrary::{LOG, entry, entry_for, sealed, state_after, steps, stream_id};
use crate::{
    error::StorageError,
    ids::{Epoch, Incarnation, Offset, OwnerId, SegmentNo, StreamId},
    manifest::{Entry, Keep, ManifestState, RetentionState, SealedFacts, SegmentStatus},
};

pub(super) const S: StreamId = StreamId::from_bytes([1; 16]);

fn segment(no: u64) -> Entry {
    Entry::SegmentCreated {
        stream: S,
        segment: SegmentNo(no),
        salt: no,
        capacity: 1 << 20,
        epoch: Epoch(1),
        incarnation: Incarnation(1),
    }
}

pub(super) fn closed(no: u64, base: u64, end: u64) -> Entry {
    Entry::Closed {
        stream: S,
        segment: SegmentNo(no),
        base: Offset(base),
        end: Offset(end),
        end_byte: 128 + end,
    }
}

fn sealed_at(no: u64, base: u64, end: u64) -> Entry {
    let facts = SealedFacts {
        base: Offset(base),
        end: Offset(end),
        data_end: 128 + end,
        file_len: 512 + end,
        first_ts: 5,
        last_ts: 6,
        ext: None,
        digest: 9,
        flush_failed: false,
    };
    sealed(S, SegmentNo(no), facts)
}

pub(super) fn truncated(end: u64, incarnation: u64) -> Entry {
    Entry::TruncatedAfter {
        stream: S,
        end: Offset(end),
        incarnation: Incarnation(incarnation),
    }
}

pub(super) fn archived(end: u64) -> Entry {
    Entry::Archived {
        stream: S,
        end: Offset(end),
    }
}

fn retention(age_ns: Keep, bytes: Keep) -> Entry {
    Entry::Retention {
        stream: S,
        retention: RetentionState { age_ns, bytes },
    }
}

pub(super) fn trimmed(start: u64) -> Entry {
    Entry::Trimmed {
        stream: S,
        start: Offset(start),
    }
}

fn removed(no: u64) -> Entry {
    Entry::Removed {
        stream: S,
        segment: SegmentNo(no),
    }
}

fn created(name: &str) -> Entry {
    Entry::StreamCreated {
        stream: S,
        name: name.into(),
        created_ns: 1,
    }
}

fn mark(durable: u64, segment: Option<u64>) -> Entry {
    Entry::Mark {
        stream: S,
        durable: Offset(durable),
        segment: segment.map(SegmentNo),
        end_byte: 300,
        incarnation: Incarnation(1),
        clean: false,
    }
}

/// A stream with the segments 0..n, ten records each, all sealed, and `n` open.
pub(super) fn filled(n: u64) -> ManifestState {
    let mut state = ManifestState::new(LOG);
    let mut entries = vec![created("orders")];
    for no in 0..n {
        entries.extend([segment(no), sealed_at(no, no * 10, no * 10 + 10)]);
    }
    entries.push(segment(n));
    state.apply_all(&entries).unwrap();
    state
}

#[track_caller]
pub(super) fn refused(state: &mut ManifestState, entry: &Entry) {
    let before = state.clone();
    let error = state.apply(entry).expect_err("must be refused");
    assert!(matches!(error, StorageError::Invalid { .. }), "{error}");
    assert_eq!(*state, before);
}

pub(super) fn numbers(state: &ManifestState) -> Vec<u64> {
    state.streams[&S].segments.keys().map(|no| no.0).collect()
}

#[test]
fn names_are_unique_and_printable() {
    let mut state = filled(0);
    for name in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
        let entry = Entry::StreamCreated {
            stream: stream_id(9),
            name: name.into(),
            created_ns: 1,
        };
        refused(&mut state, &entry);
    }
    refused(&mut state, &created("another name for the same stream"));
    let twin = Entry::StreamCreated {
        stream: stream_id(9),
        name: "orders".into(),
        created_ns: 1,
    };
    refused(&mut state, &twin);
    assert_eq!(state.find("orders"), Some(S));
    assert_eq!(state.find("order"), None);
}

#[test]
fn nothing_is_said_about_what_was_never_created() {
    let mut state = ManifestState::new(LOG);
    for entry in [segment(0), trimmed(1), mark(1, None), truncated(0, 1)] {
        refused(&mut state, &entry);
    }
    let mut state = filled(0);
    for entry in [
        closed(5, 0, 1),
        sealed_at(5, 0, 1),
        removed(5),
        mark(1, Some(5)),
    ] {
        refused(&mut state, &entry);
    }
}

#[test]
fn a_segment_number_is_never_used_twice() {
    let mut state = filled(2);
    refused(&mut state, &segment(1));
    state.apply(&removed(2)).unwrap();
    refused(&mut state, &segment(2));
    refused(&mut state, &segment(u64::MAX));
    state.apply(&segment(7)).unwrap();
    assert_eq!(state.streams[&S].next_segment, SegmentNo(8));
}

#[test]
fn what_is_sealed_stays_as_it_is() {
    let mut state = filled(2);
    refused(&mut state, &sealed_at(1, 10, 20));
    refused(&mut state, &closed(1, 10, 20));
    refused(&mut state, &closed(1, 10, 15));
    refused(&mut state, &removed(1));
}

#[test]
fn no_offset_is_in_two_segments() {
    let mut state = filled(2);
    refused(&mut state, &closed(2, 19, 30));
    refused(&mut state, &closed(2, 30, 25));
    state.apply(&segment(3)).unwrap();
    state.apply(&closed(3, 30, 40)).unwrap();
    refused(&mut state, &closed(2, 20, 31));
    state.apply(&closed(2, 20, 30)).unwrap();
    assert_eq!(state.streams[&S].next, Offset(40));
}

#[test]
fn a_closed_segment_may_get_its_footer_later() {
    let mut state = filled(0);
    state.apply(&closed(0, 0, 10)).unwrap();
    refused(&mut state, &sealed_at(0, 0, 11));
    state.apply(&sealed_at(0, 0, 10)).unwrap();
}

#[test]
fn trimming_frees_whole_segments_and_never_goes_back() {
    let mut state = filled(3);
    state.apply(&trimmed(25)).unwrap();
    assert_eq!(numbers(&state), [2, 3]);
    refused(&mut state, &trimmed(24));
    state.apply(&trimmed(25)).unwrap();
    // The open segment may hold more than the manifest was told.
    state.apply(&trimmed(33)).unwrap();
    assert_eq!(numbers(&state), [3]);
    assert_eq!(state.streams[&S].next, Offset(33));
}

#[test]
fn an_object_is_known_until_it_is_deleted() {
    let about = |make: fn(StreamId, SegmentNo) -> Entry| make(S, SegmentNo(0));
    let uploaded = about(|stream, segment| Entry::Uploaded {
        stream,
        segment,
        key: "k".into(),
        len: 1,
        crc: 2,
    });
    let hot_dropped = about(|stream, segment| Entry::HotDropped { stream, segment });
    let cold_dropped = about(|stream, segment| Entry::ColdDropped { stream, segment });
    let cold_deleted = about(|stream, segment| Entry::ColdDeleted { stream, segment });
    let mut state = filled(1);
    refused(&mut state, &hot_dropped);
    state.apply(&uploaded).unwrap();
    refused(&mut state, &uploaded);
    refused(&mut state, &cold_deleted);
    refused(&mut state, &hot_dropped);
    state.apply(&archived(10)).unwrap();
    state.apply(&hot_dropped).unwrap();
    refused(&mut state, &cold_dropped);
    state.apply(&trimmed(10)).unwrap();
    assert_eq!(numbers(&state), [0, 1], "its object would be forgotten");
    refused(&mut state, &removed(0));
    state.apply(&cold_dropped).unwrap();
    state.apply(&cold_deleted).unwrap();
    assert_eq!(numbers(&state), [1]);
}

#[test]
fn how_much_a_stream_keeps_outlives_snapshots_and_cuts() {
    let mut state = filled(2);
    refused(
        &mut ManifestState::new(LOG),
        &retention(Keep::All, Keep::All),
    );
    state.apply(&retention(Keep::AtMost(5), Keep::All)).unwrap();
    state.apply_all(&[truncated(10, 2), removed(1)]).unwrap();
    state.apply(&trimmed(10)).unwrap();
    let mut again = ManifestState::new(LOG);
    again.apply_all(&state.snapshot()).unwrap();
    again.seq = state.seq;
    assert_eq!(again, state);
    let kept = again.streams[&S].retention;
    assert_eq!((kept.age_ns, kept.bytes), (Keep::AtMost(5), Keep::All));
    // What says nothing takes no place in a snapshot.
    state
        .apply(&retention(Keep::Default, Keep::Default))
        .unwrap();
    let says = |entry: &Entry| matches!(entry, Entry::Retention { .. });
    assert!(!state.snapshot().iter().any(says));
}

/// An object that no published catalog names is found by nobody once the machine is lost.
#[test]
fn a_stream_is_archived_without_a_hole_and_only_as_far_as_its_objects_reach() {
    let uploaded = |no| Entry::Uploaded {
        stream: S,
        segment: SegmentNo(no),
        key: format!("k{no}"),
        len: 1,
        crc: 2,
    };
    let mut state = filled(3);
    state.apply(&uploaded(0)).unwrap();
    state.apply(&uploaded(2)).unwrap();
    for end in [0, 5, 20, 30, 40] {
        refused(&mut state, &archived(end));
    }
    state.apply(&archived(10)).unwrap();
    refused(&mut state, &archived(10));
    refused(&mut state, &truncated(9, 2));
    state.apply(&uploaded(1)).unwrap();
    state.apply(&archived(30)).unwrap();
    let snapshot = state.snapshot();
    let mut again = ManifestState::new(LOG);
    again.apply_all(&snapshot).unwrap();
    assert_eq!(again.streams[&S].archived, Offset(30));
}

#[test]
fn claims_are_kept_until_a_later_one_is_known_to_be_there() {
    let owner = |n: u8| OwnerId::from_bytes([n; 16]);
    let claim = |number, n| Entry::ColdClaim {
        number,
        owner: owner(n),
    };
    let published = |number| Entry::Published { number };
    let mut state = filled(1);
    state.apply(&claim(1, 1)).unwrap();
    state.apply(&claim(1, 2)).unwrap();
    let owners =
        |state: &ManifestState| -> Vec<_> { state.claims.iter().map(|c| c.owner).collect() };
    // The first one was there, so that the second one went on.
    state.apply(&claim(2, 2)).unwrap();
    refused(&mut state, &claim(1, 3));
    assert_eq!(owners(&state), [owner(1), owner(2), owner(2)]);
    state.apply(&published(2)).unwrap();
    assert_eq!(owners(&state), [owner(2)]);
    state.apply(&published(9)).unwrap();
    state.apply(&claim(10, 3)).unwrap();
    assert_eq!(owners(&state), [owner(2), owner(3)], "either may be there");
    let mut again = ManifestState::new(LOG);
    again.apply_all(&state.snapshot()).unwrap();
    assert_eq!((again.published, &again.claims), (Some(9), &state.claims));
}

#[test]
fn one_good_copy_is_left_in_every_tier_order() {
    let (stream, segment) = (S, SegmentNo(0));
    let warmed = Entry::Warmed {
        stream,
        segment,
        file_len: 5,
        crc: 6,
    };
    let mut state = filled(1);
    state.apply(&warmed).unwrap();
    state.apply(&Entry::HotDropped { stream, segment }).unwrap();
    refused(&mut state, &Entry::HotDropped { stream, segment });
    refused(&mut state, &Entry::WarmDropped { stream, segment });
    state
        .apply(&Entry::HotRestored { stream, segment })
        .unwrap();
    refused(&mut state, &Entry::HotRestored { stream, segment });
    state
        .apply(&Entry::WarmDropped { stream, segment })
        .unwrap();
    refused(&mut state, &Entry::HotDropped { stream, segment });
    let open = SegmentNo(1);
    refused(
        &mut state,
        &Entry::HotDropped {
            stream,
            segment: open,
        },
    );
}

#[test]
fn a_truncation_cuts_segments_and_begins_an_incarnation() {
    let mut state = filled(3);
    state.apply(&mark(31, Some(3))).unwrap();
    refused(&mut state, &truncated(15, 1));
    let commit = [
        truncated(15, 2),
        closed(1, 10, 12),
        removed(2),
        removed(3),
        Entry::SegmentCreated {
            stream: S,
            segment: SegmentNo(4),
            salt: 4,
            capacity: 9,
            epoch: Epoch(1),
            incarnation: Incarnation(2),
        },
        closed(4, 12, 15),
    ];
    state.apply_all(&commit).unwrap();
    assert_eq!(numbers(&state), [0, 1, 4]);
    let stream = &state.streams[&S];
    assert_eq!((stream.next, stream.mark), (Offset(15), None));
    refused(&mut state, &mark(15, None));
    refused(&mut state, &segment(5));
    refused(&mut state, &closed(4, 12, 14));
}

#[test]
fn marks_never_go_back() {
    let mut state = filled(1);
    state.apply(&mark(15, Some(1))).unwrap();
    refused(&mut state, &mark(14, Some(1)));
    assert_eq!(state.streams[&S].next, Offset(15));
    // The mark outlives its segment as a claim about the stream.
    state.apply(&removed(1)).unwrap();
    let mark = state.streams[&S].mark.unwrap();
    assert_eq!(
        (mark.durable, mark.segment, mark.end_byte),
        (Offset(15), None, 0)
    );
}

#[test]
fn owners_follow_one_another() {
    let owner = |n| Entry::Epoch {
        epoch: Epoch(n),
        opened_ns: 0,
    };
    let mut state = filled(0);
    state.apply(&owner(4)).unwrap();
    refused(&mut state, &owner(4));
    refused(&mut state, &segment(1));
}

#[test]
fn a_snapshot_must_be_what_it_announced() {
    let good = filled(2).snapshot();
    for cut in [1, 2, good.len() - 2] {
        let mut short = good.clone();
        short.remove(cut);
        let mut state = ManifestState::new(LOG);
        assert!(state.apply_all(&short).is_err());
        assert_eq!(state, ManifestState::new(LOG));
    }
    let mut state = filled(0);
    for entry in &good {
        refused(&mut state, entry);
    }
    let mut state = ManifestState::new(LOG);
    state.apply(&good[0]).unwrap();
    refused(&mut state, &created("x"));
}

#[test]
fn overlong_texts_are_refused_before_they_are_written() {
    let mut state = filled(1);
    let entry = Entry::UploadStarted {
        stream: S,
        segment: SegmentNo(0),
        key: "k".repeat(4097),
        upload_id: String::new(),
    };
    refused(&mut state, &entry);
}

proptest! {
    #[test]
    fn a_snapshot_says_all_there_is(steps in steps(60)) {
        let state = state_after(&steps);
        let mut again = ManifestState::new(LOG);
        for entry in state.snapshot() {
            again.apply(&entry).unwrap();
        }
        again.seq = state.seq;
        prop_assert_eq!(again, state);
    }

    #[test]
    fn a_refused_list_leaves_no_trace(before in steps(40), list in steps(12), wild in entry()) {
        let state = state_after(&before);
        let mut after = state.clone();
        let mut entries = Vec::new();
        for step in list {
            let entry = entry_for(&after, step);
            if after.apply(&entry).is_ok() {
                entries.push(entry);
            }
        }
        // The last one makes no sense, so the good ones before it are taken back too.
        let duplicate = Entry::Epoch { epoch: Epoch(0), opened_ns: 0 };
        let mut same = state.clone();
        let mut with_bad = entries.clone();
        with_bad.push(duplicate);
        prop_assert!(same.apply_all(&with_bad).is_err());
        prop_assert_eq!(&same, &state);
        if same.apply(&wild).is_err() {
            prop_assert_eq!(&same, &state);
        }
    }

    #[test]
    fn final_segments_never_overlap(steps in steps(80)) {
        let state = state_after(&steps);
        for stream in state.streams.values() {
            prop_assert!(stream.start <= stream.next);
            let mut end = Offset::ZERO;
            for segment in stream.segments.values() {
                if let Some((base, to)) = segment.status.range().filter(|(b, e)| b < e) {
                    prop_assert!(base >= end);
                    end = to;
                }
                prop_assert!(!matches!(segment.status, SegmentStatus::Open) || segment.residency.hot);
            }
        }
    }
}
