use tierlog_storage::{
    LogId, SegmentNo, StreamId,
    manifest::{ColdCopy, SealedFacts, SegmentStatus, StreamState, UploadState},
};

use super::*;
use crate::coordinator::table::Known;

const OURS: Epoch = Epoch(5);

fn stream() -> StreamId {
    StreamId::from_bytes([1; 16])
}

/// A stream that begins at 100, with one segment, number 7, of the offsets 100..200.
fn table() -> Table {
    let mut state = StreamState::new("s".into(), 0);
    state.start = Offset(100);
    let mut table = Table::default();
    table.take_stream(stream(), &state);
    let facts = SealedFacts {
        base: Offset(100),
        end: Offset(200),
        data_end: 1_000,
        file_len: 1_100,
        first_ts: 0,
        last_ts: 0,
        ext: None,
        digest: 0,
        flush_failed: false,
    };
    let known = Known::hot(1, SegmentStatus::Sealed(facts));
    table.put((stream(), SegmentNo(7)), known);
    table
}

fn key(segment: u64, base: u64, epoch: u64) -> SegmentKey {
    SegmentKey {
        stream: stream(),
        base: Offset(base),
        epoch: Epoch(epoch),
        segment: SegmentNo(segment),
    }
}

/// What an object of this name holds, up to `end`.
fn object(key: SegmentKey, end: u64) -> Unnamed {
    let head = WarmHead {
        log: LogId::from_bytes([2; 16]),
        stream: key.stream,
        segment: key.segment,
        salt: 1,
        base: key.base,
        end: Offset(end),
        plain_len: 1_100,
        digest: 0,
    };
    Unnamed {
        key: key.to_string(),
        parsed: Some(key),
        len: 500,
        head: Some(head),
    }
}

fn judge(table: &Table, unnamed: &Unnamed) -> Verdict {
    let known = Knowledge {
        table,
        epoch: OURS,
        is_open: &|key| key.segment == SegmentNo(8),
        durable: &|_| Offset(250),
    };
    known.judge(unnamed)
}

#[track_caller]
fn is_leftover(unnamed: &Unnamed) {
    let verdict = judge(&table(), unnamed);
    assert!(matches!(verdict, Verdict::Leftover(_)), "{verdict:?}");
}

#[track_caller]
fn is_quarantined(unnamed: &Unnamed, why: &str) {
    match judge(&table(), unnamed) {
        Verdict::Quarantined(told) => assert!(told.contains(why), "{told}"),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn an_object_whose_offsets_were_trimmed_or_are_elsewhere_is_a_leftover() {
    is_leftover(&object(key(3, 50, 4), 100));
    is_leftover(&object(key(7, 100, 4), 200));
    // Open here by now, and durable.
    is_leftover(&object(key(9, 200, 4), 250));
    // Of this very epoch, but its segment is gone: its number is not given again.
    is_leftover(&object(key(3, 50, 5), 100));
}

#[test]
fn an_object_with_offsets_that_the_log_does_not_have_is_quarantined() {
    is_quarantined(&object(key(9, 200, 4), 251), "the log ends at 250");
    is_quarantined(&object(key(20, 900, 4), 950), "the log ends at 250");
    let mut strange = key(1, 0, 4);
    strange.stream = StreamId::from_bytes([9; 16]);
    is_quarantined(&object(strange, 10), "not known here");
}

#[test]
fn an_object_that_is_not_what_its_name_says_is_quarantined() {
    let mut other = object(key(7, 100, 4), 200);
    for change in [
        |head: &mut WarmHead| head.base = Offset(99),
        |head: &mut WarmHead| head.segment = SegmentNo(6),
        |head: &mut WarmHead| head.stream = StreamId::from_bytes([3; 16]),
    ] {
        let mut changed = other.clone();
        change(changed.head.as_mut().unwrap());
        is_quarantined(&changed, "another segment");
    }
    other.parsed = None;
    is_quarantined(&other, "its name");
    other.head = None;
    is_quarantined(&other, "newer version");
}

#[test]
fn an_object_of_this_epoch_is_a_leftover_once_its_segment_has_another_or_was_trimmed() {
    let (ours, named) = (object(key(7, 100, 5), 200), key(7, 100, 4));
    let has_another = |outlives| {
        let mut table = table();
        table.outlives = outlives;
        table.change(&(stream(), SegmentNo(7)), |known| {
            known.residency.cold = Some(ColdCopy {
                key: named.to_string(),
                len: 500,
                crc: 0,
                dropped: false,
            });
        });
        judge(&table, &ours)
    };
    assert!(matches!(has_another(true), Verdict::Leftover(_)));
    // The manifest does not know of it, and does not keep it from being cut and uploaded again.
    assert_eq!(has_another(false), Verdict::Later);
    let mut table = table();
    table.change(&(stream(), SegmentNo(7)), |known| known.trimmed = true);
    assert!(matches!(judge(&table, &ours), Verdict::Leftover(_)));
}

#[test]
fn what_the_manifest_names_or_this_owner_may_yet_name_is_none() {
    let (ours, begun) = (object(key(7, 100, 5), 200), key(7, 100, 4));
    // It may be uploaded under that name at any time.
    assert_eq!(judge(&table(), &ours), Verdict::Later);
    assert_eq!(
        judge(&table(), &object(key(8, 200, 5), 240)),
        Verdict::Later
    );
    assert_eq!(
        judge(&table(), &object(key(7, 100, 6), 200)),
        Verdict::Later
    );
    for dropped in [false, true] {
        let mut table = table();
        table.change(&(stream(), SegmentNo(7)), |known| {
            known.residency.cold = Some(ColdCopy {
                key: ours.key.clone(),
                len: 500,
                crc: 0,
                dropped,
            });
            known.trimmed = dropped;
        });
        assert_eq!(judge(&table, &ours), Verdict::Named);
    }
    let mut table = table();
    table.change(&(stream(), SegmentNo(7)), |known| {
        known.residency.upload = Some(UploadState {
            key: begun.to_string(),
            upload_id: String::new(),
        });
    });
    // Begun by an earlier life, it goes on under its name.
    assert_eq!(judge(&table, &object(begun, 200)), Verdict::Named);
}
