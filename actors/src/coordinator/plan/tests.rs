use proptest::prelude::*;
use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    manifest::{Residency, SealedFacts, SegmentStatus, WarmCopy},
};

use super::*;

fn id(no: u64) -> Id {
    (StreamId::from_bytes([1; 16]), SegmentNo(no))
}

fn sealed(no: u64, len: u64) -> Known {
    Known::hot(
        7,
        SegmentStatus::Sealed(SealedFacts {
            base: Offset(no * 10),
            end: Offset(no * 10 + 10),
            data_end: len - 10,
            file_len: len,
            first_ts: no,
            last_ts: no + 1,
            ext: None,
            digest: 0,
            flush_failed: false,
        }),
    )
}

fn with(mut known: Known, hot: bool, warm: Option<u64>, used: u64) -> Known {
    known.residency = Residency {
        hot,
        warm: warm.map(|file_len| WarmCopy { file_len, crc: 0 }),
        ..Residency::hot()
    };
    known.used.touch(used);
    known
}

const LIMITS: Limits = Limits {
    hot: Some(1_000),
    hot_used: 0,
    hot_wanted: 100,
    warm: None,
    warm_under_way: 0,
    segment_size: 100,
    workers: 2,
    patience: Duration::from_secs(30),
};

fn table(known: impl IntoIterator<Item = (u64, Known)>) -> Table {
    let mut table = Table::default();
    for (no, known) in known {
        table.put(id(no), known);
    }
    table
}

#[test]
fn the_oldest_are_compressed_first_as_far_as_workers_reach() {
    let table = table((0..5).rev().map(|no| (no, sealed(no, 90))));
    let now = Instant::now();
    let moves = plan(&table, &LIMITS, now);
    assert_eq!(moves, [Move::Warm(id(0)), Move::Warm(id(1))]);
    let none = Limits {
        workers: 0,
        ..LIMITS
    };
    assert_eq!(plan(&table, &none, now), []);
    let endless = Limits {
        hot: None,
        ..LIMITS
    };
    assert_eq!(plan(&table, &endless, now), [], "nothing is gained by it");
    let off = Limits {
        warm: Some(0),
        ..LIMITS
    };
    assert_eq!(plan(&table, &off, now), []);
}

#[test]
fn the_warm_budget_is_never_passed_whatever_compression_comes_to() {
    let table = table([
        (0, with(sealed(0, 90), true, Some(40), 0)),
        (1, sealed(1, 90)),
        (2, sealed(2, 90)),
    ]);
    let limits = |warm, warm_under_way| Limits {
        warm: Some(warm),
        warm_under_way,
        ..LIMITS
    };
    let now = Instant::now();
    let count = |limits: &Limits| plan(&table, limits, now).len();
    assert_eq!(count(&limits(40 + 180, 0)), 2);
    assert_eq!(count(&limits(40 + 179, 0)), 1);
    assert_eq!(count(&limits(40 + 179, 90)), 0);
    assert_eq!(count(&limits(40 + 89, 0)), 0);
}

#[test]
fn a_segment_file_goes_only_for_room_and_only_with_another_copy_the_least_used_first() {
    let table = table([
        (0, with(sealed(0, 90), true, Some(40), 9)),
        (1, with(sealed(1, 90), true, Some(40), 3)),
        (2, with(sealed(2, 90), true, Some(40), 5)),
        (3, sealed(3, 90)),
    ]);
    let now = Instant::now();
    let limits = |hot_used| Limits {
        hot_used,
        workers: 0,
        ..LIMITS
    };
    assert_eq!(plan(&table, &limits(900), now), []);
    assert_eq!(plan(&table, &limits(901), now), [Move::DropHot(id(1))]);
    assert_eq!(
        plan(&table, &limits(1_000), now),
        [Move::DropHot(id(1)), Move::DropHot(id(2))]
    );
    let all = plan(&table, &limits(9_000), now);
    assert_eq!(all.len(), 3, "one has no other copy: {all:?}");
}

#[test]
fn what_is_moving_or_has_just_failed_is_left_alone() {
    let now = Instant::now();
    let later = now + std::time::Duration::from_secs(1);
    let mut moving = with(sealed(0, 90), true, Some(40), 0);
    moving.moving = Some(now);
    let mut failed = sealed(1, 90);
    failed.not_before = Some(later);
    let table = table([(0, moving), (1, failed)]);
    let full = Limits {
        hot_used: 950,
        ..LIMITS
    };
    assert_eq!(plan(&table, &full, now), []);
    assert_eq!(plan(&table, &LIMITS, later), [Move::Warm(id(1))]);
}

#[test]
fn room_will_come_while_anything_can_still_go() {
    let now = Instant::now();
    let with_room = |known: Known, limits: &Limits| will_free(&table([(0, known)]), limits, now);
    let small = Limits {
        warm: Some(50),
        ..LIMITS
    };
    assert!(with_room(sealed(0, 90), &LIMITS));
    assert!(
        !with_room(sealed(0, 90), &small),
        "it does not fit the warm budget"
    );
    assert!(with_room(with(sealed(0, 90), true, Some(50), 0), &small));
    assert!(!with_room(with(sealed(0, 90), false, Some(50), 0), &small));
    let mut moving = sealed(0, 90);
    moving.moving = Some(now);
    assert!(with_room(moving.clone(), &small));
    let late = Limits {
        patience: Duration::ZERO,
        ..small
    };
    assert!(!with_room(moving, &late), "it may never end");
    let failed = |seconds, failures| {
        let mut failed = sealed(0, 90);
        failed.not_before = Some(now + Duration::from_secs(seconds));
        failed.failures = failures;
        failed
    };
    assert!(with_room(failed(1, 1), &LIMITS), "it is tried again");
    assert!(!with_room(failed(600, 1), &LIMITS), "not soon");
    assert!(!with_room(failed(1, 8), &LIMITS), "it always fails");
    assert!(!will_free(&Table::default(), &LIMITS, now));
}

/// A disk that never returned kept the only worker: what waited behind it was taken for room to come,
/// and its writers waited for a rollover that no one would ever do.
#[test]
fn what_waits_for_a_worker_that_never_returns_is_no_room_to_come() {
    let now = Instant::now();
    let stuck_since = |seconds| {
        let mut stuck = sealed(0, 90);
        stuck.moving = Some(now);
        let table = table([(0, stuck), (1, sealed(1, 90))]);
        (table, now + Duration::from_secs(seconds))
    };
    let busy = Limits {
        workers: 0,
        ..LIMITS
    };
    let (young, at) = stuck_since(29);
    assert!(will_free(&young, &busy, at), "it may end");
    let (old, at) = stuck_since(30);
    assert!(!will_free(&old, &busy, at));
    assert!(will_free(&old, &LIMITS, at), "another worker is free");
    let mut both = old;
    both.put(id(2), with(sealed(2, 90), true, Some(40), 0));
    assert!(will_free(&both, &busy, at), "it needs no worker to go");
}

/// One that could be tried, and that no worker is free for, was waited for until a moment that had
/// passed: the coordinator span until another one ended.
#[test]
fn a_moment_that_has_passed_is_not_waited_for() {
    let now = Instant::now();
    let at = |seconds| {
        let mut known = sealed(0, 90);
        known.not_before = Some(now + Duration::from_secs(seconds));
        known
    };
    let table = table([(0, at(0)), (1, at(5)), (2, at(3)), (3, sealed(3, 90))]);
    assert_eq!(again_at(&table, now), Some(now + Duration::from_secs(3)));
    assert_eq!(again_at(&table, now + Duration::from_secs(5)), None);
}

#[test]
fn a_wish_is_met_where_there_is_room_and_else_what_is_colder_goes_first() {
    let table = table([
        (0, with(sealed(0, 90), false, Some(40), 9)),
        (1, with(sealed(1, 90), true, Some(40), 3)),
        (2, with(sealed(2, 90), true, Some(40), 20)),
    ]);
    let now = Instant::now();
    let limits = |hot_used| Limits { hot_used, ..LIMITS };
    assert_eq!(
        hydrate(&table, &limits(800), id(0), now),
        [Move::Hydrate(id(0))]
    );
    assert_eq!(
        hydrate(&table, &limits(990), id(0), now),
        [Move::DropHot(id(1))]
    );
    assert_eq!(hydrate(&table, &LIMITS, id(1), now), [], "it is hot");
    assert_eq!(hydrate(&table, &LIMITS, id(7), now), [], "it is gone");
}

proptest! {
    /// Whatever there is: no last copy goes, no budget is passed, nothing moves twice at once.
    #[test]
    fn no_plan_loses_a_copy_or_passes_a_budget(
        segments in prop::collection::vec((1u64..200, any::<bool>(), prop::option::of(1u64..200), 0u64..50, any::<bool>()), 0..20),
        hot_used in 0u64..3_000, hot in prop::option::of(0u64..2_000), warm in prop::option::of(0u64..2_000), workers in 0usize..5,
    ) {
        let now = Instant::now();
        let table = table(segments.iter().enumerate().map(|(no, (len, hot, warm, used, moving))| {
            let mut known = with(sealed(no as u64, len + 20), *hot || warm.is_none(), *warm, *used);
            known.moving = moving.then_some(now);
            (no as u64, known)
        }));
        let limits = Limits { hot, hot_used, warm, workers, ..LIMITS };
        let moves = plan(&table, &limits, now);
        let mut warm_after = table.warm_bytes();
        let mut seen = std::collections::BTreeSet::new();
        for step in &moves {
            let (Move::Warm(id) | Move::DropHot(id) | Move::Hydrate(id)) = step;
            prop_assert!(seen.insert(*id), "twice at once");
            let known = table.get(id).unwrap();
            prop_assert!(known.moving.is_none());
            match step {
                Move::Warm(_) => warm_after += known.hot_bytes(100),
                Move::DropHot(_) => prop_assert!(known.residency.warm.is_some()),
                Move::Hydrate(_) => prop_assert!(false, "nobody wished it"),
            }
        }
        if let Some(warm) = warm {
            prop_assert!(warm_after <= warm.max(table.warm_bytes()));
        }
        prop_assert!(moves.iter().filter(|m| matches!(m, Move::Warm(_))).count() <= workers);
    }
}
