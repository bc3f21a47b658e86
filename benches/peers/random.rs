//! Reading single records by their number, or by whatever place a log gave for each, in the page cache.

use std::time::Instant;

use tierlog::{Offset, ReadMode, Reader, Settings, Stream, Supervisor};
use tierlog_benches::{
    appends, place,
    records::Records,
    table::{Contestant, compete},
    work,
};

use crate::{
    logs::{self, Log, Place, Use},
    ours,
};

const ROUNDS: usize = 5;
/// Of which a file without a log knows where each record is.
const SIZE: usize = 100;

fn reads() -> usize {
    work::count(5_000)
}

/// The same in each round, and for all.
fn numbers(records: &Records) -> impl Iterator<Item = usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let count = records.count();
    (0..reads()).map(move |_| random.usize(..count))
}

pub fn run() {
    let records = Records::new(SIZE, work::count(500_000), 1);
    let records = &records;
    let places = [Place::new(), Place::new()];
    let runtime = place::runtime();
    let modes = [ReadMode::Pread, ReadMode::Map];
    let logs = [0, 1].map(|at| runtime.block_on(fill(&places[at], modes[at], records)));
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for kind in logs::all() {
        if kind.random {
            let place = Place::new();
            let log = (kind.open)(place.path(), Use::Append, 1);
            log.fill(records);
            let run = move || {
                let rate = read(log.as_ref(), records);
                // The log goes before its folder.
                let _stays = &place;
                rate
            };
            contestants.push((kind.name.into(), Box::new(run)));
        }
    }
    for ((_, stream), mode) in logs.iter().zip(["pread", "map"]) {
        let (name, runtime) = (format!("tierlog, seek and visit, {mode}"), &runtime);
        let run = move || {
            runtime.block_on(async { read_ours(&mut appends::reader(stream).await, records).await })
        };
        contestants.push((name, Box::new(run)));
    }
    let title = format!(
        "random reads of {SIZE} B, one after the other, of {} records",
        records.count()
    );
    compete(&title, "reads/s", ROUNDS, contestants);
    for (log, _) in logs {
        runtime.block_on(appends::close(log));
    }
}

/// A log of ours, with all of it in a sealed segment.
async fn fill(place: &Place, read: ReadMode, records: &Records) -> (Supervisor, Stream) {
    let settings = Settings {
        read,
        ..ours::settings(place.path(), Use::Append)
    };
    let (log, stream) = appends::open(settings).await;
    appends::appender(&stream, records, records.of(0)).await;
    stream.seal().await.expect("sealed");
    (log, stream)
}

fn read(log: &dyn Log, records: &Records) -> f64 {
    let begun = Instant::now();
    for at in numbers(records) {
        let mut seen = false;
        log.read(at, &mut |payload| seen = payload == records.get(at));
        assert!(seen, "record {at}");
    }
    reads() as f64 / begun.elapsed().as_secs_f64()
}

async fn read_ours(reader: &mut Reader, records: &Records) -> f64 {
    let begun = Instant::now();
    for at in numbers(records) {
        let mut seen = false;
        reader.seek(Offset(at as u64));
        let visited = reader.visit(1, |record| seen = record.payload == records.get(at));
        visited.await.expect("read");
        assert!(seen, "record {at}");
    }
    reads() as f64 / begun.elapsed().as_secs_f64()
}
