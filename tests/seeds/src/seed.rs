//! One seed, from its first process to the last.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
};

use tierlog::testing::storage::{disk::sim::SimDisk, ids::seed_identities};

use crate::{
    lives::live,
    observer::Counts,
    panics::{self, Panics},
    trace::Keeps,
    world::World,
};

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The sum of its trace, and how many lines that has.
    pub sum: (u64, u64),
    /// The trace, if it was to be kept.
    pub lines: Vec<String>,
    /// What broke a promise.
    pub failures: Vec<String>,
    /// What it came by.
    pub points: BTreeMap<String, u64>,
}

/// Runs a seed.
pub fn run(seed: u64, keeps: Keeps) -> Outcome {
    let found = Panics::default();
    panics::take(Some(found.clone()));
    seed_identities(Some(seed));
    let world = World::new(seed, keeps);
    let recorder = Counts(world.points.clone());
    let lived = catch_unwind(AssertUnwindSafe(|| {
        metrics::with_local_recorder(&recorder, || {
            tracing::subscriber::with_default(world.listener.clone(), || {
                let (mut heir, mut disk) = (world.clone(), SimDisk::new());
                for number in 0..world.plan.lives {
                    (heir, disk) = live(&heir, number, disk, false);
                    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    if !found.is_empty() {
                        return;
                    }
                }
                live(&heir, world.plan.lives, disk, true);
            });
        });
    }));
    panics::take(None);
    world.time.stop();
    let mut failures = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    if lived.is_err() && failures.is_empty() {
        failures.push("it ended in the midst of it".to_owned());
    }
    for failure in &failures {
        world.trace.say("FAILED", format_args!("{failure}"));
    }
    Outcome {
        sum: world.trace.sum(),
        lines: world.trace.take(),
        failures,
        points: world.points.take(),
    }
}
