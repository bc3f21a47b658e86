//! The case table of the module, line by line.

use super::*;
use crate::ids::{Epoch, Incarnation, LogId, StreamId};
use crate::segment::SegmentHeader;
use crate::segment::{HEADER_LEN, HeaderState};

/// Eight bytes a record, so that positions follow from offsets.
pub(super) fn run(base: u64, end: u64, start: u64) -> Run {
    Run {
        base: Offset(base),
        end: Offset(end),
        start,
        end_byte: start + 8 * (end - base),
    }
}

pub(super) fn header(no: u64, base: u64) -> HeaderState {
    HeaderState::Valid(SegmentHeader {
        log: LogId::from_bytes([1; 16]),
        stream: StreamId::from_bytes([2; 16]),
        segment: SegmentNo(no),
        base: Offset(base),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        created_ns: 0,
        capacity: 4096,
        first_ext_id: None,
        salt: 7,
        manifest_seq: 1,
    })
}

pub(super) fn scan(no: u64, header: HeaderState, runs: &[Run]) -> SegmentScan {
    SegmentScan {
        no: SegmentNo(no),
        header,
        runs: runs.to_vec(),
        max_claim: Offset::ZERO,
        last_ts: 0,
        nonzero_after: false,
        footer: None,
    }
}

fn good(no: u64, base: u64, end: u64) -> SegmentScan {
    scan(no, header(no, base), &[run(base, end, HEADER_LEN)])
}

fn blank(no: u64) -> SegmentScan {
    scan(no, HeaderState::Blank, &[])
}

fn garbage_after(mut scan: SegmentScan) -> SegmentScan {
    scan.nonzero_after = true;
    scan
}

fn decide(base: Option<u64>, scans: &[SegmentScan], claimed: u64) -> TailDecision {
    decide_tail(&TailInput {
        base: base.map(Offset),
        start: Offset::ZERO,
        scans,
        finals: &[],
        claimed: Offset(claimed),
    })
}

fn ranges(decision: &TailDecision) -> Vec<(u64, u64, u64)> {
    let keep = decision.keep.iter();
    keep.map(|k| (k.no.get(), k.base.get(), k.end.get()))
        .collect()
}

fn lost(decision: &TailDecision) -> Vec<(u64, u64)> {
    let damage = decision.damage.iter();
    damage.map(|d| (d.from.get(), d.to.get())).collect()
}

#[test]
fn an_empty_stream_begins_at_zero() {
    let decision = decide(None, &[], 0);
    assert_eq!(decision.end, Offset(0));
    assert_eq!(decision.cut, None);
}

#[test]
fn whole_frames_are_taken_and_blank_segments_removed() {
    let decision = decide(Some(5), &[good(3, 5, 9), blank(4)], 6);
    assert_eq!(decision.end, Offset(9));
    assert_eq!(decision.claimed, Offset(6));
    assert_eq!(ranges(&decision), [(3, 5, 9)]);
    assert_eq!(decision.keep[0].end_byte, HEADER_LEN + 32);
    assert_eq!(decision.blank, [SegmentNo(4)]);
    assert_eq!((decision.cut, decision.damage), (None, vec![]));
}

#[test]
fn what_was_trimmed_behind_the_last_final_segment_is_not_missing() {
    // Offset 1 was kept by a cut at the start, 2, and is gone with its segment; segment 0, which
    // ends with it, is still there. Segment 2 must not be taken for one that begins with 1.
    let decide = |scans: &[SegmentScan]| {
        decide_tail(&TailInput {
            base: Some(Offset(1)),
            start: Offset(2),
            scans,
            finals: &[],
            claimed: Offset(0),
        })
    };
    let decision = decide(&[good(2, 2, 5)]);
    assert_eq!(ranges(&decision), [(2, 2, 5)]);
    assert_eq!((decision.end, lost(&decision)), (Offset(5), vec![]));
    assert_eq!(decide(&[blank(2)]).end, Offset(2));
    assert_eq!(ranges(&decide(&[good(2, 1, 5)])), [(2, 1, 5)]);
    // A frame behind the start is no reason to begin there.
    let torn = scan(0, HeaderState::Blank, &[run(1, 2, HEADER_LEN + 8)]);
    let first = decide_tail(&TailInput {
        base: None,
        start: Offset(0),
        scans: &[torn],
        finals: &[],
        claimed: Offset(0),
    });
    assert_eq!(first.end, Offset(0));
    let claimed = SegmentScan {
        max_claim: Offset(5),
        ..good(2, 4, 5)
    };
    assert_eq!(lost(&decide(&[claimed])), [(2, 4)]);
}

#[test]
fn an_unclaimed_torn_end_is_cut() {
    let decision = decide(Some(0), &[garbage_after(good(1, 0, 4)), blank(2)], 4);
    assert_eq!(decision.end, Offset(4));
    let cut = decision.cut.unwrap();
    assert_eq!(
        (cut.segment, cut.pos, cut.from),
        (SegmentNo(1), HEADER_LEN + 32, Offset(4))
    );
    assert_eq!(cut.dropped_bytes_known, 0);
    assert_eq!(decision.damage, []);
}

#[test]
fn a_claim_beyond_all_good_frames_is_damage_and_new_records_go_behind_it() {
    for scans in [
        [garbage_after(good(1, 0, 4)), blank(2)],
        [good(1, 0, 4), blank(2)],
    ] {
        let decision = decide(Some(0), &scans, 7);
        assert_eq!((decision.end, decision.claimed), (Offset(7), Offset(7)));
        assert_eq!(lost(&decision), [(4, 7)]);
        assert_eq!(ranges(&decision), [(1, 0, 7)]);
        assert_eq!(decision.keep[0].end_byte, TO_FILE_END);
        assert_eq!(decision.damage[0].bytes, (HEADER_LEN + 32, TO_FILE_END));
        assert_eq!(decision.cut, None);
    }
}

#[test]
fn unclaimed_frames_behind_a_hole_are_cut_with_it() {
    let scans = [
        scan(1, header(1, 0), &[run(0, 4, 128), run(6, 9, 200)]),
        good(2, 9, 12),
    ];
    let decision = decide(Some(0), &scans, 4);
    assert_eq!(decision.end, Offset(4));
    assert_eq!(ranges(&decision), [(1, 0, 4)]);
    assert_eq!(decision.blank, [SegmentNo(2)]);
    assert_eq!(decision.cut.unwrap().dropped_bytes_known, 48);
}

#[test]
fn a_claim_inside_a_damaged_tail_keeps_what_stands_behind_the_damage() {
    // The frame behind the bad place is what claims that the bad place was durable.
    let mut segment = scan(1, header(1, 0), &[run(0, 4, 128), run(6, 9, 200)]);
    segment.max_claim = Offset(6);
    let decision = decide(Some(0), &[segment, good(2, 9, 12)], 0);
    assert_eq!(decision.end, Offset(12));
    assert_eq!(decision.claimed, Offset(6));
    assert_eq!(lost(&decision), [(4, 6)]);
    assert_eq!(decision.damage[0].bytes, (160, 200));
    assert_eq!(ranges(&decision), [(1, 0, 9), (2, 9, 12)]);
    assert_eq!(decision.keep[0].runs.len(), 2);
    assert_eq!(decision.cut, None);
}

#[test]
fn damage_in_front_and_a_tear_behind_are_told_apart() {
    let mut segment = scan(1, header(1, 0), &[run(2, 5, 168), run(7, 9, 248)]);
    segment.max_claim = Offset(4);
    let decision = decide(None, &[segment], 0);
    assert_eq!(lost(&decision), [(0, 2)]);
    assert_eq!(decision.end, Offset(5));
    assert_eq!(decision.cut.unwrap().from, Offset(5));
    assert_eq!(ranges(&decision), [(1, 0, 5)]);
}

#[test]
fn a_claim_that_ends_inside_the_hole_keeps_the_frame_behind_it() {
    let segment = scan(1, header(1, 0), &[run(0, 4, 128), run(8, 9, 200)]);
    let decision = decide(Some(0), &[segment], 5);
    assert_eq!(lost(&decision), [(4, 8)]);
    assert_eq!((decision.end, decision.claimed), (Offset(9), Offset(5)));
}

#[test]
fn bad_bytes_between_frames_that_follow_are_damage_only_where_claimed() {
    let segment = scan(1, header(1, 0), &[run(0, 4, 128), run(4, 9, 200)]);
    let torn = decide(Some(0), std::slice::from_ref(&segment), 4);
    assert_eq!(torn.end, Offset(4));
    assert_eq!(torn.cut.unwrap().dropped_bytes_known, 40);
    let damaged = decide(Some(0), &[segment], 5);
    assert_eq!(damaged.end, Offset(9));
    assert_eq!(lost(&damaged), [(4, 4)]);
}

#[test]
fn a_torn_footer_does_not_cut_the_next_segment() {
    // The rolled segment's footer was being written while the next one took frames.
    for claimed in [0, 4, 6] {
        let decision = decide(
            Some(0),
            &[garbage_after(good(1, 0, 4)), good(2, 4, 7)],
            claimed,
        );
        assert_eq!(decision.end, Offset(7), "{claimed}");
        assert_eq!(ranges(&decision), [(1, 0, 4), (2, 4, 7)]);
        assert_eq!((decision.cut, decision.damage), (None, vec![]));
    }
}

#[test]
fn a_rolled_segment_whose_seal_is_missing_goes_on_into_the_active_one() {
    let decision = decide(Some(0), &[good(1, 0, 4), good(2, 4, 7), blank(3)], 5);
    assert_eq!(ranges(&decision), [(1, 0, 4), (2, 4, 7)]);
    assert_eq!(decision.end, Offset(7));
    assert_eq!(decision.blank, [SegmentNo(3)]);
}

#[test]
fn a_blank_segment_before_one_that_follows_is_only_removed() {
    let decision = decide(Some(4), &[blank(2), good(3, 4, 7)], 5);
    assert_eq!(ranges(&decision), [(3, 4, 7)]);
    assert_eq!(decision.blank, [SegmentNo(2)]);
    assert_eq!((decision.cut, decision.damage), (None, vec![]));
}

#[test]
fn a_lost_first_segment_is_a_tear_unless_something_claims_it() {
    // Two files have no order on their way to the disk: the second may be there without the first.
    let scans = [blank(2), good(3, 6, 9)];
    let torn = decide(Some(4), &scans, 4);
    assert_eq!((torn.end, ranges(&torn)), (Offset(4), vec![]));
    assert_eq!(torn.cut.unwrap().from, Offset(4));
    assert_eq!(torn.blank, [SegmentNo(2), SegmentNo(3)]);

    let damaged = decide(Some(4), &scans, 6);
    assert_eq!(lost(&damaged), [(4, 6)]);
    assert_eq!(ranges(&damaged), [(2, 4, 6), (3, 6, 9)]);
    assert_eq!(damaged.keep[0].end_byte, TO_FILE_END);
    assert_eq!(damaged.blank, []);
}

#[test]
fn a_lost_header_page_is_a_tear_unless_something_claims_it() {
    for lost_header in [HeaderState::Blank, HeaderState::Damaged("crc".into())] {
        let scans = [scan(2, lost_header, &[run(4, 9, HEADER_LEN)])];
        let torn = decide(Some(4), &scans, 4);
        assert_eq!((torn.end, ranges(&torn)), (Offset(4), vec![]));
        assert_eq!(torn.cut.unwrap().pos, 0);
        let damaged = decide(Some(4), &scans, 5);
        assert_eq!((damaged.end, lost(&damaged)), (Offset(9), vec![(4, 4)]));
        assert_eq!(damaged.damage[0].bytes, (0, HEADER_LEN));
        assert_eq!(ranges(&damaged), [(2, 4, 9)]);
    }
}

#[test]
fn records_written_again_before_their_segment_was_closed_are_cut() {
    // A poisoned segment, and the next one that repeats its records; none of them was acked.
    let decision = decide(Some(0), &[good(1, 0, 9), good(2, 5, 8)], 5);
    assert_eq!(decision.end, Offset(9));
    assert_eq!(ranges(&decision), [(1, 0, 9)]);
    assert_eq!(decision.blank, [SegmentNo(2)]);
    assert_eq!(decision.cut.unwrap().dropped_bytes_known, 24);
}

#[test]
fn frames_that_repeat_offsets_are_never_read_twice() {
    let scans = [scan(
        1,
        header(1, 0),
        &[run(0, 4, 128), run(2, 3, 160), run(4, 6, 168)],
    )];
    let decision = decide(Some(0), &scans, 6);
    assert_eq!(decision.end, Offset(6));
    assert_eq!(lost(&decision), [(4, 4)]);
    assert_eq!(decision.keep[0].runs, [run(0, 4, 128), run(4, 6, 168)]);
}

#[test]
fn a_missing_file_is_told_and_takes_nothing_with_it_that_is_still_there() {
    let scans = [
        good(1, 0, 4),
        scan(2, HeaderState::Missing, &[]),
        good(3, 4, 7),
    ];
    let decision = decide(Some(0), &scans, 6);
    assert_eq!(ranges(&decision), [(1, 0, 4), (3, 4, 7)]);
    assert_eq!(lost(&decision), [(4, 4)]);
    assert_eq!(decision.damage[0].segment, SegmentNo(2));
    assert_eq!(decision.blank, [SegmentNo(2)]);
}

#[test]
fn a_missing_file_of_durable_records_is_damage_of_exactly_them() {
    let scans = [
        good(1, 0, 4),
        scan(2, HeaderState::Missing, &[]),
        good(3, 7, 9),
    ];
    let decision = decide(Some(0), &scans, 7);
    assert_eq!(lost(&decision), [(4, 7)]);
    assert_eq!(ranges(&decision), [(1, 0, 4), (2, 4, 7), (3, 7, 9)]);
    let alone = decide(Some(4), &[scan(2, HeaderState::Missing, &[])], 7);
    assert_eq!(
        (lost(&alone), ranges(&alone)),
        (vec![(4, 7)], vec![(2, 4, 7)])
    );
    assert_eq!(alone.end, Offset(7));
}

#[test]
fn a_hole_over_several_segments_is_shared_out_by_their_headers() {
    let scans = [
        garbage_after(good(1, 0, 4)),
        garbage_after(scan(2, header(2, 6), &[])),
        garbage_after(scan(3, HeaderState::Damaged("crc".into()), &[])),
        scan(4, header(4, 12), &[run(13, 15, 136)]),
    ];
    let decision = decide(Some(0), &scans, 15);
    // Nobody knows where 3 began: it takes all that 2 and 4 don't prove to be theirs.
    assert_eq!(ranges(&decision), [(1, 0, 6), (3, 6, 12), (4, 12, 15)]);
    assert_eq!(
        (&decision.blank[..], &decision.set_aside[..]),
        (&[SegmentNo(2)][..], &[SegmentNo(2)][..])
    );
    assert_eq!(lost(&decision), [(4, 13)]);
    assert_eq!(decision.end, Offset(15));
}

#[test]
fn the_first_good_offset_tells_where_a_trimmed_stream_begins() {
    let input = TailInput {
        base: None,
        start: Offset(15),
        scans: &[good(3, 10, 20)],
        finals: &[],
        claimed: Offset(0),
    };
    let decision = decide_tail(&input);
    assert_eq!(ranges(&decision), [(3, 10, 20)]);
    assert_eq!(decision.damage, []);
    let nothing_left = decide_tail(&TailInput {
        scans: &[blank(3)],
        ..input
    });
    assert_eq!(
        (nothing_left.end, nothing_left.damage),
        (Offset(15), vec![])
    );
    let trimmed_away = decide_tail(&TailInput {
        scans: &[scan(3, header(3, 10), &[run(13, 20, 200)])],
        ..input
    });
    assert_eq!(
        (trimmed_away.end, lost(&trimmed_away)),
        (Offset(20), vec![])
    );
}

#[test]
fn a_segment_sealed_out_of_order_vouches_for_the_one_before_it() {
    let finals = [FinalSpan {
        no: SegmentNo(2),
        base: Offset(4),
        end: Offset(9),
    }];
    let scans = [good(1, 0, 4), good(3, 9, 11)];
    let mut input = TailInput {
        base: None,
        start: Offset(0),
        scans: &scans,
        finals: &finals,
        claimed: Offset(0),
    };
    let decision = decide_tail(&input);
    assert_eq!(ranges(&decision), [(1, 0, 4), (3, 9, 11)]);
    assert_eq!((decision.end, decision.claimed), (Offset(11), Offset(9)));

    let short = [good(1, 0, 3), good(3, 10, 11)];
    input.scans = &short;
    let decision = decide_tail(&input);
    assert_eq!(lost(&decision), [(3, 4)], "durable, for segment 2 is");
    assert_eq!(ranges(&decision), [(1, 0, 4)]);
    assert_eq!(
        decision.cut.unwrap().from,
        Offset(9),
        "nothing claims what follows"
    );
}

#[test]
fn a_segment_closed_without_a_record_vouches_for_nothing() {
    // Poisoned before anything in it was durable; the one before it was not durable either.
    let finals = [FinalSpan {
        no: SegmentNo(2),
        base: Offset(9),
        end: Offset(9),
    }];
    let scans = [good(1, 0, 4), good(3, 9, 11)];
    let decision = decide_tail(&TailInput {
        base: None,
        start: Offset(0),
        scans: &scans,
        finals: &finals,
        claimed: Offset(2),
    });
    assert_eq!((decision.end, decision.damage), (Offset(4), vec![]));
    assert_eq!(decision.blank, [SegmentNo(3)]);
}

#[test]
fn damage_behind_final_segments_finds_an_owner() {
    let finals = [FinalSpan {
        no: SegmentNo(2),
        base: Offset(4),
        end: Offset(9),
    }];
    let decision = decide_tail(&TailInput {
        base: None,
        start: Offset(0),
        scans: &[blank(1), blank(3)],
        finals: &finals,
        claimed: Offset(12),
    });
    assert_eq!(ranges(&decision), [(1, 0, 4), (3, 9, 12)]);
    assert_eq!(lost(&decision), [(0, 4), (9, 12)]);
}

#[test]
fn an_unsealed_segment_that_was_trimmed_whole_is_removed() {
    let decision = decide_tail(&TailInput {
        base: None,
        start: Offset(6),
        scans: &[good(1, 0, 4), good(2, 4, 9)],
        finals: &[],
        claimed: Offset(9),
    });
    assert_eq!(ranges(&decision), [(2, 4, 9)]);
    assert_eq!(decision.blank, [SegmentNo(1)]);
    assert_eq!(decision.set_aside, []);
}
