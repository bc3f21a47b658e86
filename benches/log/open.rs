//! Opening a log of many sealed segments, after a clean close and after a crash of the log.

use std::time::{Duration, Instant};

use tierlog::Supervisor;
use tokio::runtime::Runtime;

use tierlog_benches::{
    place, segments,
    table::{Contestant, compete},
    work,
};

const ROUNDS: usize = 5;

pub fn run() {
    let counts = [1_000, 10_000].map(work::count);
    let folders = counts.map(|count| {
        let folder = place::folder();
        place::runtime().block_on(segments::fill(folder.path(), count));
        folder
    });
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for (count, folder) in counts.iter().zip(&folders) {
        contestants.push((
            format!("{count} sealed segments, closed cleanly"),
            Box::new(move || open(folder, true)),
        ));
        contestants.push((
            format!("{count} sealed segments, not closed"),
            Box::new(move || open(folder, false)),
        ));
    }
    compete("opening", "ms", ROUNDS, contestants);
}

/// Opens it; `clean` says how it is left behind for the next time it is opened by the other one,
/// so each call first brings it into its own state.
fn open(folder: &tempfile::TempDir, clean: bool) -> f64 {
    let leave = |runtime: Runtime| {
        runtime.block_on(async {
            let log = Supervisor::open(segments::settings(folder.path()))
                .await
                .expect("a log");
            if clean {
                log.shutdown(Duration::from_secs(60)).await.expect("closed");
            } else {
                drop(log);
            }
        });
        // The actors are gone with the runtime, and so is their lock.
        drop(runtime);
    };
    leave(place::runtime());
    let runtime = place::runtime();
    runtime.block_on(async {
        let begun = Instant::now();
        let log = Supervisor::open(segments::settings(folder.path()))
            .await
            .expect("a log");
        let took = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(log.recovery().clean, clean);
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        took
    })
}
