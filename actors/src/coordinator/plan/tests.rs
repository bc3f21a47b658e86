use proptest::prelude::*;
use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    manifest::{Residency, SealedFacts, SegmentStatus, WarmCopy},
};

use super::{super::table::Moving, *};

fn id(no: u64) -> Id {
    (StreamId::from_bytes([1; 16]), SegmentNo(no))
}

pub(super) fn sealed(no: u64, len: u64) -> Known {
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

pub(super) const LIMITS: Limits = Limits {
    hot: Some(1_000),
    hot_used: 0,
    hot_wanted: 100,
    warm: None,
    warm_under_way: 0,
    segment_size: 100,
    workers: 2,
    archives: false,
    outlives: false,
    archives_now: false,
    transfers: 0,
    sealing: false,
    patience: Duration::from_secs(30),
};

fn being_warmed(since: Instant) -> Option<Moving> {
    Some(Moving {
        step: Move::Warm(id(0)),
        since,
    })
}

fn frees(table: &Table, limits: &Limits, now: Instant) -> bool {
    will_free(table, limits, now) == Wait::Time
}

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

/// The oldest one was a few bytes too long for the warm budget, and the next one was not. Writers were told
/// to wait, since one of them fitted; only the oldest was tried, for ever.
#[test]
fn one_that_is_too_long_for_the_warm_budget_does_not_keep_shorter_ones_from_it() {
    let table = table([(0, sealed(0, 95)), (1, sealed(1, 90))]);
    let limits = Limits {
        warm: Some(92),
        workers: 1,
        ..LIMITS
    };
    let now = Instant::now();
    assert!(frees(&table, &limits, now));
    assert_eq!(plan(&table, &limits, now), [Move::Warm(id(1))]);
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
    moving.moving = being_warmed(now);
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
    let with_room = |known: Known, limits: &Limits| frees(&table([(0, known)]), limits, now);
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
    moving.moving = being_warmed(now);
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
    assert!(!frees(&Table::default(), &LIMITS, now));
}

/// A disk that never returned kept the only worker: what waited behind it was taken for room to come,
/// and its writers waited for a rollover that no one would ever do.
#[test]
fn what_waits_for_a_worker_that_never_returns_is_no_room_to_come() {
    let now = Instant::now();
    let stuck_since = |seconds| {
        let mut stuck = sealed(0, 90);
        stuck.moving = being_warmed(now);
        let table = table([(0, stuck), (1, sealed(1, 90))]);
        (table, now + Duration::from_secs(seconds))
    };
    let busy = Limits {
        workers: 0,
        ..LIMITS
    };
    let (young, at) = stuck_since(29);
    assert!(frees(&young, &busy, at), "it may end");
    let (old, at) = stuck_since(30);
    assert!(!frees(&old, &busy, at));
    assert!(frees(&old, &LIMITS, at), "another worker is free");
    let mut both = old;
    both.put(id(2), with(sealed(2, 90), true, Some(40), 0));
    assert!(frees(&both, &busy, at), "it needs no worker to go");
}

/// What fills the budget may be no segment that has ended: one that is being sealed, or made again.
#[test]
fn what_is_being_sealed_or_made_again_is_room_to_come() {
    let now = Instant::now();
    let none = table([]);
    assert!(!frees(&none, &LIMITS, now));
    let sealing = |warm, workers| {
        let sealing = true;
        let limits = Limits {
            sealing,
            warm,
            workers,
            ..LIMITS
        };
        frees(&none, &limits, now)
    };
    assert!(sealing(None, 1) && sealing(Some(100), 1));
    assert!(!sealing(Some(99), 1), "it would have no room there either");
    assert!(!sealing(None, 0), "nobody compresses it");
    let mut again = with(sealed(0, 90), false, Some(40), 0);
    assert!(!frees(&table([(0, again.clone())]), &LIMITS, now));
    again.moving = Some(Moving {
        step: Move::Hydrate(id(0)),
        since: now,
    });
    let again = table([(0, again)]);
    assert!(frees(&again, &LIMITS, now));
    assert!(
        !frees(&again, &LIMITS, now + LIMITS.patience),
        "not for ever"
    );
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

/// A segment, by what a property test draws.
#[derive(Debug, Clone)]
struct Drawn {
    len: u64,
    hot: bool,
    warm: Option<u64>,
    used: u64,
    moving: bool,
    cold: bool,
    trimmed: bool,
    uploading: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let sizes = (1u64..200, prop::option::of(1u64..200), 0u64..50);
    let flags = any::<(bool, bool, bool, bool, bool)>();
    (sizes, flags).prop_map(|((len, warm, used), flags)| {
        let (hot, moving, cold, trimmed, uploading) = flags;
        let trimmed = trimmed && cold;
        Drawn {
            len,
            hot: !trimmed && (hot || (warm.is_none() && !cold)),
            warm: warm.filter(|_| !trimmed),
            used,
            moving,
            cold,
            trimmed,
            uploading: uploading && !cold,
        }
    })
}

impl Drawn {
    fn known(&self, no: u64, now: Instant) -> Known {
        let mut known = with(sealed(no, self.len + 20), self.hot, self.warm, self.used);
        known.moving = being_warmed(now).filter(|_| self.moving);
        known.residency.cold = self.cold.then(|| cold::tests::object(no));
        known.trimmed = self.trimmed;
        known.upload.is_under_way = self.uploading;
        known
    }
}

proptest! {
    /// Whatever there is: no last copy goes, no budget is passed, nothing moves twice at once.
    #[test]
    fn no_plan_loses_a_copy_or_passes_a_budget(
        segments in prop::collection::vec(drawn(), 0..20),
        (hot_used, hot) in (0u64..3_000, prop::option::of(0u64..2_000)),
        warm in prop::option::of(0u64..2_000),
        (workers, transfers) in (0usize..5, 0usize..4),
        (archived, published) in (0u64..250, prop::option::of(0u64..250)),
        outlives: bool,
    ) {
        let now = Instant::now();
        let drawn = segments.iter().enumerate();
        let mut table = table(drawn.map(|(no, drawn)| (no as u64, drawn.known(no as u64, now))));
        cold::tests::archive(&mut table, archived, published, outlives);
        let archives = transfers > 0;
        let limits = Limits { hot, hot_used, warm, workers, archives, transfers, ..LIMITS };
        let moves = plan(&table, &limits, now);
        let mut warm_after = table.warm_bytes();
        let mut seen = std::collections::BTreeSet::new();
        for step in &moves {
            let (id, known) = (step.id(), table.get(&step.id()).unwrap());
            if let Move::Upload(_) = step {
                prop_assert!(!known.trimmed && known.residency.cold.is_none());
                prop_assert!(known.residency.warm.is_some() && !known.upload.is_under_way);
                continue;
            }
            prop_assert!(seen.insert(id), "twice at once");
            prop_assert!(known.moving.is_none());
            match step {
                Move::Warm(_) => warm_after += known.hot_bytes(100),
                Move::DropHot(_) => prop_assert!(table.can_leave_hot(id, known)),
                Move::DropWarm(_) => {
                    warm_after -= known.warm_bytes();
                    prop_assert!(outlives && known.residency.is_cold());
                    prop_assert!(known.facts().unwrap().end.get() <= archived, "published");
                }
                Move::DropCold(_) => prop_assert!(known.trimmed && !known.upload.is_under_way),
                _ => prop_assert!(false, "nobody wished it"),
            }
        }
        if let Some(warm) = warm {
            prop_assert!(warm_after <= warm.max(table.warm_bytes()));
        }
        let count = |is: fn(&Move) -> bool| moves.iter().filter(|step| is(step)).count();
        prop_assert!(count(|m| matches!(m, Move::Warm(_))) <= workers);
        prop_assert!(count(|m| matches!(m, Move::Upload(_) | Move::DropCold(_))) <= transfers);
    }
}
