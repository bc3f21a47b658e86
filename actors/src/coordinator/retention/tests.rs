use proptest::{collection::vec, option, prelude::*};

use super::*;

/// Segments of ten records each, from bytes and last timestamps.
fn ended(segments: &[(u64, Option<u64>)]) -> Vec<Ended> {
    let of = |(no, &(bytes, last_ts)): (usize, &(u64, Option<u64>))| Ended {
        end: Offset(no as u64 * 10 + 10),
        bytes,
        last_ts,
    };
    segments.iter().enumerate().map(of).collect()
}

fn start(
    segments: &[(u64, Option<u64>)],
    limits: (Option<u64>, Option<u64>),
    lease: Option<u64>,
) -> (Option<u64>, bool) {
    let ended = ended(segments);
    let kept = Kept {
        ended: &ended,
        open_bytes: 5,
        lease: lease.map(Offset),
        now_ns: 100,
    };
    let (age_ns, bytes) = limits;
    let verdict = decide(kept, Limits { age_ns, bytes });
    (verdict.start.map(Offset::get), verdict.held_back)
}

#[test]
fn the_oldest_go_until_what_is_left_fits() {
    let three = [(10, Some(1)), (20, Some(2)), (30, Some(3))];
    for (limit, expected) in [
        (None, None),
        (Some(65), None),
        (Some(64), Some(10)),
        (Some(55), Some(10)),
        (Some(54), Some(20)),
        (Some(35), Some(20)),
        (Some(34), Some(30)),
        // The open one stays, however large it is.
        (Some(0), Some(30)),
    ] {
        let (start, _) = start(&three, (None, limit), None);
        assert_eq!(start, expected, "{limit:?}");
    }
}

#[test]
fn what_holds_a_record_that_is_young_enough_stays() {
    let segments = [(1, Some(40)), (1, Some(60)), (1, Some(60)), (1, Some(90))];
    for (limit, expected) in [
        (None, None),
        (Some(60), None),
        (Some(59), Some(10)),
        (Some(40), Some(10)),
        (Some(39), Some(30)),
        (Some(10), Some(30)),
        (Some(9), Some(40)),
    ] {
        let (start, _) = start(&segments, (limit, None), None);
        assert_eq!(start, expected, "{limit:?}");
    }
}

#[test]
fn a_segment_without_a_footer_goes_with_the_next_one_that_is_too_old() {
    let segments = [
        (1, None),
        (1, Some(40)),
        (1, None),
        (1, Some(90)),
        (1, None),
    ];
    let at = |limit| start(&segments, (Some(limit), None), None).0;
    assert_eq!(at(60), None);
    assert_eq!(at(50), Some(20), "what follows it may be younger");
    assert_eq!(at(5), Some(40), "nothing tells how old the last one is");
}

#[test]
fn the_farther_of_both_limits_counts() {
    let segments = [(10, Some(40)), (10, Some(60)), (10, Some(90))];
    assert_eq!(start(&segments, (Some(50), Some(15)), None).0, Some(20));
    assert_eq!(start(&segments, (Some(30), Some(30)), None).0, Some(20));
}

#[test]
fn nothing_goes_that_a_reader_stands_on() {
    let segments = [(10, Some(1)), (10, Some(2)), (10, Some(3))];
    for (lease, expected) in [
        (None, (Some(30), false)),
        (Some(0), (None, true)),
        (Some(9), (None, true)),
        (Some(10), (Some(10), true)),
        (Some(25), (Some(20), true)),
        (Some(30), (Some(30), false)),
        (Some(999), (Some(30), false)),
    ] {
        assert_eq!(start(&segments, (None, Some(5)), lease), expected);
    }
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_old() {
    let segments = [(10, Some(1_000)), (10, Some(u64::MAX))];
    assert_eq!(start(&segments, (Some(0), None), None).0, None);
}

#[test]
fn sizes_beyond_all_bounds_are_no_trouble() {
    let segments = [(u64::MAX, Some(1)), (u64::MAX, Some(2))];
    assert_eq!(start(&segments, (None, Some(7)), None).0, Some(20));
}

prop_compose! {
    fn history()(
        steps in vec((0u64..50, 0u64..20, any::<bool>()), 0..12),
    ) -> Vec<(u64, Option<u64>)> {
        let mut ts = 0;
        let segment = |(bytes, later, sealed): (u64, u64, bool)| {
            ts += later;
            (bytes, sealed.then_some(ts))
        };
        steps.into_iter().map(segment).collect()
    }
}

proptest! {
    #[test]
    fn no_more_goes_than_must_and_no_less_than_can(
        segments in history(),
        open_bytes in 0u64..50,
        limits in (option::of(0u64..150), option::of(0u64..400)),
        lease in option::of(0u64..130),
        now_ns in 0u64..250,
    ) {
        let ended = ended(&segments);
        let (age_ns, bytes) = limits;
        let limits = Limits { age_ns, bytes };
        let lease = lease.map(Offset);
        let kept = Kept { ended: &ended, open_bytes, lease, now_ns };
        let verdict = decide(kept, limits);
        let gone = ended.iter().filter(|s| verdict.start.is_some_and(|start| s.end <= start)).count();
        let (went, left) = ended.split_at(gone);
        // A border, and within the lowest lease.
        prop_assert_eq!(verdict.start, went.last().map(|s| s.end));
        if let (Some(start), Some(lease)) = (verdict.start, lease) {
            prop_assert!(start <= lease);
        }
        let sum = |of: &[Ended]| of.iter().map(|s| s.bytes).sum::<u64>();
        let old = |s: &Ended| age_ns.is_some_and(|most| s.last_ts.is_some_and(|ts| now_ns.saturating_sub(ts) > most));
        // Whatever goes is over one of the limits: with it, there is too much, or it is too old, or
        // something behind it is.
        for at in 0..gone {
            let too_much = bytes.is_some_and(|most| open_bytes + sum(&ended[at..]) > most);
            prop_assert!(too_much || ended[at..].iter().any(old), "segment {}", at);
        }
        // Whatever stays is within both, unless a reader stands on it.
        if let Some(first) = left.first() {
            let over = old(first) || bytes.is_some_and(|most| open_bytes + sum(left) > most);
            let is_held = lease.is_some_and(|lease| lease < first.end);
            prop_assert!(!over || is_held);
            prop_assert!(!verdict.held_back || is_held);
        } else {
            prop_assert!(!verdict.held_back);
        }
        // Time only adds, and without readers no less goes.
        let later = decide(Kept { now_ns: now_ns + 30, ..kept }, limits);
        prop_assert!(later.start >= verdict.start);
        let free = decide(Kept { lease: None, ..kept }, limits);
        prop_assert!(free.start >= verdict.start);
        // What is left is decided about in the same way: nothing more goes at once.
        let again = decide(Kept { ended: left, ..kept }, limits);
        prop_assert_eq!(again.start, None);
    }
}
