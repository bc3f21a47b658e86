//! Opening a log of many sealed segments, after a clean close and after a crash of the log.

use std::time::{Duration, Instant};

use tierlog::{FlushPolicy, NewRecord, Settings, Size, Supervisor};
use tokio::runtime::Runtime;

use tierlog_benches::{
    place,
    table::{Contestant, compete},
    work,
};

const ROUNDS: usize = 5;

pub fn run() {
    let counts = [1_000, 10_000].map(work::count);
    let folders: Vec<_> = counts.iter().map(|count| fill(*count)).collect();
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

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        flush: FlushPolicy::Manual,
        segment_size: Size::kib(68),
        max_record: Size::kib(16),
        ..place::settings(folder)
    }
}

fn fill(count: usize) -> tempfile::TempDir {
    let folder = place::folder();
    place::runtime().block_on(async {
        let log = Supervisor::open(settings(&folder)).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        for n in 0..count {
            let ticket = loop {
                match stream.try_append(NewRecord::from(format!("record {n}"))) {
                    Ok(ticket) => break ticket,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            stream.seal().await.expect("sealed");
            ticket.await.expect("durable");
        }
        assert_eq!(stream.segments().await.expect("segments").len(), count);
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
    });
    folder
}

/// Opens it; `clean` says how it is left behind for the next time it is opened by the other one,
/// so each call first brings it into its own state.
fn open(folder: &tempfile::TempDir, clean: bool) -> f64 {
    let leave = |runtime: Runtime| {
        runtime.block_on(async {
            let log = Supervisor::open(settings(folder)).await.expect("a log");
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
        let log = Supervisor::open(settings(folder)).await.expect("a log");
        let took = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(log.recovery().clean, clean);
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        took
    })
}
