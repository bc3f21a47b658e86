//! Opening again: after a clean close, and after the process that had it was killed.

use std::time::Instant;

use tierlog::Settings;
use tierlog_benches::{
    appends, place,
    records::Records,
    segments,
    table::{Contestant, compete},
    work,
};

use crate::{
    child::{self, OURS, SEGMENTS},
    logs::{self, Kind, Place, Use},
    ours,
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;

pub fn run() {
    many_segments();
    same_bytes();
}

/// A log of ours with many sealed segments, of one record each.
fn many_segments() {
    let counts = [1_000, 10_000].map(work::count);
    let places = counts.map(|count| {
        let place = Place::new();
        place::runtime().block_on(segments::fill(place.path(), count));
        place
    });
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for (count, place) in counts.iter().zip(&places) {
        for killed in [false, true] {
            let state = if killed { "killed" } else { "closed" };
            let run =
                move || open_ours(place, SEGMENTS, || segments::settings(place.path()), killed);
            contestants.push((
                format!("tierlog, {count} sealed segments, {state}"),
                Box::new(run),
            ));
        }
    }
    compete("opening", "ms", ROUNDS, contestants);
}

fn open_ours(place: &Place, name: &str, settings: impl Fn() -> Settings, killed: bool) -> f64 {
    if killed {
        child::kill(name, place.path());
    } else {
        place::runtime().block_on(async {
            let (log, _) = appends::open(settings()).await;
            appends::close(log).await;
        });
    }
    place::runtime().block_on(async {
        let begun = Instant::now();
        let (log, _) = appends::open(settings()).await;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(log.recovery().clean, !killed);
        appends::close(log).await;
        took
    })
}

/// The same records in each log.
fn same_bytes() {
    let records = Records::new(SIZE, work::count(500_000), 1);
    let records = &records;
    for killed in [false, true] {
        let mut contestants: Vec<Contestant<'_>> = Vec::new();
        for kind in logs::all().into_iter().filter(|kind| kind.again) {
            let place = Place::new();
            let log = (kind.open)(place.path(), Use::Append, 1);
            log.fill(records);
            log.close();
            let run = move || open(kind, &place, records.count(), killed);
            contestants.push((kind.name.into(), Box::new(run)));
        }
        let place = Place::new();
        place::runtime().block_on(async {
            let (log, stream) = appends::open(ours::settings(place.path(), Use::Durable)).await;
            appends::appender(&stream, records, records.of(0)).await;
            appends::close(log).await;
        });
        let run = move || {
            let settings = || ours::settings(place.path(), Use::Again);
            open_ours(&place, OURS, settings, killed)
        };
        contestants.push((OURS.into(), Box::new(run)));
        let state = if killed { "a kill" } else { "a clean close" };
        let count = records.count();
        let title = format!(
            "opening {count} records of {SIZE} B, in as few files as each makes, after {state}"
        );
        compete(&title, "ms", ROUNDS, contestants);
    }
}

fn open(kind: Kind, place: &Place, count: usize, killed: bool) -> f64 {
    if killed {
        child::kill(kind.name, place.path());
    } else {
        (kind.open)(place.path(), Use::Again, 1).close();
    }
    let begun = Instant::now();
    let log = (kind.open)(place.path(), Use::Again, 1);
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let mut seen = 0;
    log.visit(&mut |_| seen += 1);
    assert!(seen >= count, "{}: {seen} of {count} are there", kind.name);
    log.close();
    took
}
