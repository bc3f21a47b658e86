use super::*;
use crate::{
    ids::{Epoch, Incarnation},
    manifest::{Residency, SegmentState, SegmentStatus, WarmCopy},
};

const LOG: LogId = LogId::from_bytes([1; 16]);
const STREAM: StreamId = StreamId::from_bytes([2; 16]);

/// A stream that begins at 100 and has the segments 5, hot, and 6, compressed; 7 was trimmed away, and 8
/// is the next number.
fn known() -> StreamState {
    let mut known = StreamState::new("s".into(), 0);
    known.start = Offset(100);
    known.next_segment = SegmentNo(8);
    let closed = SegmentStatus::Closed {
        base: Offset(100),
        end: Offset(150),
        end_byte: 1_000,
    };
    for (no, hot) in [(5, true), (6, false)] {
        let mut residency = Residency::hot();
        residency.hot = hot;
        residency.warm = (!hot).then_some(WarmCopy {
            file_len: 500,
            crc: 1,
        });
        let segment = SegmentState {
            salt: 1,
            capacity: 4_096,
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            status: closed,
            residency,
        };
        known.segments.insert(SegmentNo(no), segment);
    }
    known
}

fn judge(known: Option<&StreamState>) -> Judge<'_> {
    Judge {
        log: LOG,
        stream: STREAM,
        known,
        end: Seq(50),
    }
}

fn header(no: u64, manifest_seq: u64) -> SegmentHeader {
    SegmentHeader {
        log: LOG,
        stream: STREAM,
        segment: SegmentNo(no),
        base: Offset(80),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        created_ns: 1,
        capacity: 4_096,
        first_ext_id: None,
        salt: 9,
        manifest_seq,
    }
}

fn head(no: u64, end: u64) -> WarmHead {
    WarmHead {
        log: LOG,
        stream: STREAM,
        segment: SegmentNo(no),
        salt: 9,
        base: Offset(80),
        end: Offset(end),
        plain_len: 4_096,
        digest: 0,
    }
}

fn segment(no: u64, contents: &Contents) -> Verdict {
    judge(Some(&known())).by_contents(Kind::Segment(SegmentNo(no)), contents)
}

fn warm(no: u64, head: WarmHead) -> Verdict {
    judge(Some(&known())).by_contents(Kind::Warm(SegmentNo(no)), &Contents::Warm(head))
}

fn is_leftover(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Leftover(_))
}

fn is_unexplained(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Unexplained(_))
}

#[test]
fn copies_that_the_manifest_names_stay_and_others_of_known_segments_go() {
    let known = known();
    let by_name = |kind| judge(Some(&known)).by_name(kind);
    let of = |no| (Kind::Segment(SegmentNo(no)), Kind::Warm(SegmentNo(no)));
    let (hot, begun) = of(5);
    assert_eq!(by_name(hot), Some(Verdict::Named));
    assert!(by_name(begun).is_some_and(is_leftover));
    let (dropped, warm) = of(6);
    assert!(by_name(dropped).is_some_and(is_leftover));
    assert_eq!(by_name(warm), Some(Verdict::Named));
    for no in [5, 7, 9] {
        let verdict = by_name(Kind::Unfinished(SegmentNo(no)));
        assert!(verdict.is_some_and(is_leftover));
    }
    let (gone, gone_warm) = of(7);
    assert_eq!((by_name(gone), by_name(gone_warm)), (None, None));
}

#[test]
fn segment_files_that_nobody_named_are_told_by_what_they_hold() {
    let blank = |throughout| Contents::Blank { throughout };
    assert!(is_leftover(segment(8, &blank(false))));
    assert!(is_leftover(segment(7, &blank(true))));
    // Its first page is lost, and what it was nobody can say.
    assert_eq!(segment(7, &blank(false)), Verdict::Foreign);
    let of = |no, seq, end: Option<u64>| Contents::Segment(header(no, seq), end.map(Offset));
    assert!(is_leftover(segment(8, &of(8, 0, None))));
    assert!(is_unexplained(segment(8, &of(8, 50, None))));
    assert_eq!(segment(8, &of(8, 51, None)), Verdict::Beyond(51));
    assert!(is_leftover(segment(7, &of(7, 3, Some(100)))));
    assert!(is_unexplained(segment(7, &of(7, 3, Some(101)))));
    assert!(is_unexplained(segment(7, &of(7, 0, None))));
    assert_eq!(segment(7, &Contents::Other), Verdict::Foreign);
}

#[test]
fn compressed_files_that_nobody_named_are_told_by_what_they_hold() {
    assert!(is_leftover(warm(7, head(7, 100))));
    assert!(is_unexplained(warm(7, head(7, 101))));
    assert!(is_leftover(warm(8, head(8, 200))));
}

#[test]
fn a_file_that_holds_another_segment_than_its_name_says_is_never_called_a_leftover() {
    for (no, of) in [(8, 5), (8, 9), (7, 6)] {
        assert!(is_unexplained(segment(
            no,
            &Contents::Segment(header(of, 0), Some(Offset(90)))
        )));
        assert!(is_unexplained(warm(no, head(of, 90))));
    }
    let mut strange = header(8, 0);
    strange.stream = StreamId::from_bytes([3; 16]);
    assert!(is_unexplained(segment(
        8,
        &Contents::Segment(strange, None)
    )));
}

#[test]
fn files_of_another_log_are_foreign_whatever_they_are_called() {
    let theirs = LogId::from_bytes([9; 16]);
    for no in [7, 8] {
        let header = SegmentHeader {
            log: theirs,
            ..header(no, 0)
        };
        let contents = Contents::Segment(header, Some(Offset(90)));
        assert_eq!(segment(no, &contents), Verdict::Foreign);
        let head = WarmHead {
            log: theirs,
            ..head(no, 90)
        };
        assert_eq!(warm(no, head), Verdict::Foreign);
    }
}

#[test]
fn of_a_stream_that_the_manifest_does_not_know_copies_go_and_segments_stay() {
    let judge = judge(None);
    let of = |seq| Contents::Segment(header(0, seq), None);
    let kind = Kind::Segment(SegmentNo(0));
    assert!(is_leftover(judge.by_contents(kind, &of(0))));
    assert!(is_unexplained(judge.by_contents(kind, &of(1))));
    let blank = Contents::Blank { throughout: false };
    assert!(is_leftover(judge.by_contents(kind, &blank)));
}

#[test]
fn links_folders_and_names_that_no_log_gives_are_no_files_of_ours() {
    let entry = |name: &str, is_file| Entry {
        name: name.into(),
        is_dir: false,
        is_file,
    };
    let name = "00000000000000000007.tls";
    assert_eq!(
        Kind::of(&entry(name, true)),
        Some(Kind::Segment(SegmentNo(7)))
    );
    assert_eq!(Kind::of(&entry(name, false)), None);
    assert_eq!(Kind::of(&entry("7.tls", true)), None);
    let unfinished = "00000000000000000007.tls.tmp";
    assert_eq!(
        Kind::of(&entry(unfinished, true)),
        Some(Kind::Unfinished(SegmentNo(7)))
    );
}
