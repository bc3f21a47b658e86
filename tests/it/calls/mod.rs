//! Each call of the disk fails, of every kind, one after the other, in each way, once and for good.
//!
//! ```text
//!   kind of call ─┐
//!   way to fail  ─┼─▶ the whole story, with that call failing ─▶ nobody hangs, no error is a lie
//!   once / good  ─┤                                           ─▶ the fault goes: the log opens, and
//!   nth call     ─┘                                              holds all that was acked
//!        └─ of each life of the story: 1, 2, … until that life passes without meeting the fault
//! ```
//!
//! A story begins with the life whose call fails, on the disk that the lives before it left behind.
//!
//! `cargo test` takes some of them, by a seed (`TIERLOG_CALLS_SEED`); `TIERLOG_CALLS=20` takes so many of
//! each lane. All of them: `TIERLOG_CALLS=all cargo test --config profile.dev.opt-level=1 --test it -- calls::every
//! --nocapture`, or `TIERLOG_CALLS='all ReadAt'` for those of one kind. One of them, as a failure names it:
//! `TIERLOG_CALLS='SyncData Io once First 161' cargo test --test it one_call_of_the_disk`.

mod account;
mod lanes;
mod pauses;
mod rig;
mod scan;
mod sites;
mod story;

use std::{env, sync::OnceLock};

use lanes::{Lane, Outcome, Part, lanes, of_files, tell_all, tell_untouched, tell_with};
use scan::Site;
use sites::Coverage;
use story::Beginning;
use tracing::{Dispatch, dispatcher::with_default};

use crate::{observed::listener::Listener, support::say};

/// How many calls of each lane `cargo test` makes fail.
const SAMPLED: usize = 2;

/// Of kinds with no more calls than this all are taken.
const FEW: u64 = 6;

/// What was told.
struct Report {
    outcomes: Vec<Outcome>,
    coverage: Coverage,
    seed: u64,
    /// Of one kind of call alone.
    in_part: bool,
}

/// The stories of this process, which all tests look at.
fn report() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        let how_many = env::var("TIERLOG_CALLS").unwrap_or_default();
        let whole = how_many.strip_prefix("all").map(str::trim);
        let all = whole.is_some();
        let most = how_many.parse().unwrap_or(SAMPLED);
        let seed = env::var("TIERLOG_CALLS_SEED");
        let seed = seed.map_or(1, |seed| seed.parse().expect("a number"));
        let mut rng = fastrand::Rng::with_seed(seed);
        let coverage = Coverage::default();
        let beginnings = tell_untouched(&coverage);
        let mut parts = Vec::new();
        let one_kind = whole.filter(|kind| !kind.is_empty());
        let is_meant = |lane: &Lane| one_kind.is_none_or(|kind| format!("{:?}", lane.kind) == kind);
        for lane in lanes().into_iter().filter(is_meant) {
            let made = beginnings.iter().map(|life| life.made(lane.kind)).sum();
            for nth in sample(lane, made, most, &mut rng).filter(|_| !all) {
                let (beginning, nth) = place(&beginnings, lane, nth);
                parts.push(part(lane, beginning, Some(vec![nth])));
            }
            let whole = beginnings.iter().filter(|_| all);
            parts.extend(whole.map(|beginning| part(lane, beginning, None)));
        }
        for (lane, most) in of_files().into_iter().filter(|_| one_kind.is_none()) {
            parts.push(part(lane, &beginnings[0], Some((1..=most).collect())));
        }
        let outcomes = tell_all(parts, &coverage);
        Report {
            outcomes,
            coverage,
            seed,
            in_part: one_kind.is_some(),
        }
    })
}

fn part(lane: Lane, beginning: &Beginning, numbers: Option<Vec<u64>>) -> Part<'_> {
    Part {
        lane,
        beginning,
        numbers,
    }
}

/// Some of the calls of a lane, of which there are about so many, and one that is never made.
fn sample(
    lane: Lane,
    made: u64,
    most: usize,
    rng: &mut fastrand::Rng,
) -> impl Iterator<Item = u64> + use<> {
    if made <= FEW && !lane.forever {
        return (1..=made + 1).collect::<Vec<_>>().into_iter();
    }
    let mut numbers: Vec<_> = (0..most).map(|_| rng.u64(1..=made.max(1))).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter()
}

/// In which life a call is made that is the `nth` of all lives, and the how manieth it is there.
fn place(beginnings: &[Beginning], lane: Lane, nth: u64) -> (&Beginning, u64) {
    let mut left = nth;
    for beginning in beginnings {
        let made = beginning.made(lane.kind);
        if left <= made {
            return (beginning, left);
        }
        left -= made;
    }
    let last = beginnings.last().expect("a story has lives");
    (last, last.made(lane.kind) + left)
}

#[test]
fn every_call_of_the_disk_may_fail_and_nothing_acked_is_lost() {
    let Report {
        outcomes,
        seed,
        in_part,
        ..
    } = report();
    let failed = outcomes.iter().filter(|told| told.failure.is_some());
    let failed: Vec<_> = failed.map(Outcome::to_string).collect();
    let struck = outcomes.iter().filter(|told| told.struck > 0).count();
    say(&format!(
        "{} stories, {struck} met their fault; seed {seed}",
        outcomes.len()
    ));
    assert!(failed.is_empty(), "seed {seed}: {failed:#?}");
    assert!(
        struck * 2 > outcomes.len() || *in_part,
        "{struck} of {}",
        outcomes.len()
    );
}

/// Places that no story comes by, and why not: file, call, reason.
const APART: &[(&str, &str, &str)] = &[
    (
        "actors/src/coordinator/tasks.rs",
        "Remove",
        "the manifest has no room for a segment that was made: tests/it/faults/full.rs",
    ),
    (
        "actors/src/supervisor/open.rs",
        "Remove",
        "the leftovers of a stream whose writer is begun anew: tests/it/faults/points.rs",
    ),
    (
        "cold/src/store/dir/folders.rs",
        "RemoveDir",
        "a folder whose name can't be synced: cold/tests/stores/dir_crashes.rs",
    ),
    (
        "storage/src/claims.rs",
        "ReadAt",
        "a slot that another process writes at this moment: storage/src/claims/tests.rs",
    ),
    (
        "storage/src/manifest/log.rs",
        "Remove",
        "a manifest that never counted, of an open that died: storage/tests/recovery/crashes.rs",
    ),
    (
        "storage/src/manifest/reserve.rs",
        "Remove",
        "a reserve that was cut short: storage/src/manifest/tests/faults.rs",
    ),
    (
        "storage/src/recovery/create.rs",
        "RemoveDir",
        "the folder above the log's can't be synced: storage/tests/recovery/creation.rs",
    ),
    (
        "storage/src/recovery/judge/blank.rs",
        "ReadAt",
        "a blank segment that was asked for in vain, by chance: tests/it/sweep/planted.rs",
    ),
    (
        "storage/src/recovery/sweep.rs",
        "Open",
        "a leftover in the directory: tests/it/sweep/planted.rs",
    ),
    ("storage/src/recovery/sweep.rs", "Len", "the same"),
    (
        "storage/src/recovery/tail.rs",
        "ReadAt",
        "a segment shorter than its header: storage/tests/recovery/damage.rs",
    ),
    (
        "storage/src/segment/sums.rs",
        "ReadAt",
        "damage that is looked behind: storage/src/segment/tests/lookalike.rs",
    ),
];

#[test]
fn every_place_in_the_sources_that_calls_a_disk_was_come_by() {
    let Report {
        coverage, in_part, ..
    } = report();
    if *in_part {
        return;
    }
    let sites = scan::sites();
    assert!(sites.len() > 120, "only {} places: {sites:#?}", sites.len());
    let unknown = coverage.unknown(&sites);
    assert!(unknown.is_empty(), "the scan overlooks {unknown:#?}");
    let is_apart = |site: &&Site| {
        let kind = format!("{:?}", site.kind);
        APART
            .iter()
            .any(|(file, call, _)| site.file == *file && kind == *call)
    };
    let missed = coverage.missed(&sites);
    let (apart, missed): (Vec<_>, Vec<_>) = missed.iter().partition(is_apart);
    say(&format!("{} places, {} apart", sites.len(), apart.len()));
    for (file, call, why) in APART {
        let is_there = |site: &Site| site.file == *file && format!("{:?}", site.kind) == *call;
        assert!(sites.iter().any(is_there), "{file} has no {call}: {why}");
    }
    assert!(missed.is_empty(), "nobody came by {missed:#?}");
}

/// The one that the environment names; none without it.
#[test]
fn one_call_of_the_disk_may_fail_that_was_named() {
    let Ok(named) = env::var("TIERLOG_CALLS") else {
        return;
    };
    let named_apart = of_files().into_iter().map(|(lane, _)| lane);
    let beginnings = tell_untouched(&Coverage::default());
    for lane in lanes().into_iter().chain(named_apart) {
        for beginning in &beginnings {
            let name = format!("{lane} {:?} ", beginning.life);
            let nth = named.strip_prefix(&*name).and_then(|nth| nth.parse().ok());
            if let Some(nth) = nth {
                tell_named(lane, beginning, nth);
            }
        }
    }
}

fn tell_named(lane: Lane, beginning: &Beginning, nth: u64) {
    let listener = Listener::default();
    let told = with_default(&Dispatch::new(listener.clone()), || {
        tell_with(lane, beginning, nth, &Coverage::default())
    });
    say(&told.to_string());
    if told.failure.is_some() {
        panic!("{:#?}", listener.lines());
    }
}
