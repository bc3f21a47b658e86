//! Power cuts and kills at every call that changes something on the disk, on a simulated disk that
//! forgets what was never synced: pages, lengths and names, each on its own.
//!
//! One run of a workload over several lives of a log is stopped at its n-th changing call, for
//! every n. The disk that each stop leaves is cut in several ways, and every state is recovered by
//! the production code and held against what was promised.

mod check;
mod workload;

use std::collections::BTreeMap;

use tierlog::{
    FlushPolicy, Settings, Size,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
};

use crate::{sim, support::say, track::Track};

/// What is known of each stream.
pub type Tracks = BTreeMap<&'static str, Track>;

/// A stopped machine.
struct Stopped {
    disk: SimDisk,
    tracks: Tracks,
    /// The changing calls that were made.
    changes: u64,
}

/// Runs the workload until the `halt`th changing call.
fn run_until(settings: &Settings, halt: u64) -> Stopped {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let changing = Calls::of_kinds(&CallKind::CHANGING);
    plan.fail(changing.nth(halt).forever(), Fault::Halt);
    let faulty = FaultDisk::new(std::sync::Arc::new(disk.clone()), plan.clone());
    let mut stopped_by = None;
    let tracks = sim::run(workload::run(settings, &faulty, &mut stopped_by));
    if halt == u64::MAX {
        assert_eq!(stopped_by, None, "nothing stops it");
    }
    Stopped {
        disk,
        tracks,
        changes: plan.changes(),
    }
}

/// The ways in which the power goes at one stop.
fn cuts(n: u64) -> impl Iterator<Item = Cut> {
    let seeds = (0..3).map(move |s| Cut::Seeded(n * 31 + s));
    [Cut::AllLost, Cut::AllKept].into_iter().chain(seeds)
}

/// Stops the workload at each `step`th changing call and recovers every state; gives how many.
fn every_stop(settings: &Settings, from: u64, step: usize) -> u64 {
    let whole = run_until(settings, u64::MAX);
    assert!(whole.tracks.values().all(|track| track.created));
    let mut states = 0;
    for n in (from..=whole.changes).step_by(step) {
        let stopped = run_until(settings, n);
        for cut in cuts(n) {
            let left = stopped.disk.preview_cut(cut);
            check::recovers(settings, &left, &stopped.tracks, n);
            states += 1;
        }
        check::recovers_half_way(settings, &stopped.disk, &stopped.tracks, n);
        check::recovers(settings, &stopped.disk.crash_process(), &stopped.tracks, n);
        states += 2;
    }
    say(&format!(
        "{} changing calls, {states} states",
        whole.changes
    ));
    states
}

#[test]
fn acked_records_survive_power_cuts_when_each_write_is_synced() {
    let states = every_stop(&sim::tiny(), 1, 1);
    assert!(states > 1_000, "{states}");
}

#[test]
fn acked_records_survive_power_cuts_when_syncs_are_timed() {
    let settings = Settings {
        flush: FlushPolicy::Every(std::time::Duration::from_millis(2)),
        ..sim::tiny()
    };
    every_stop(&settings, 1, 4);
}

#[test]
fn acked_records_survive_power_cuts_when_syncs_wait_for_bytes() {
    let settings = Settings {
        flush: FlushPolicy::Bytes(Size::kib(1)),
        ..sim::tiny()
    };
    every_stop(&settings, 3, 4);
}
