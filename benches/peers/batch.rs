//! Batches of 100 records of 100 B, all or nothing, each waited for until it is on disk, by one task.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tierlog::{NewRecord, Stream};
use tierlog_benches::{
    appends, place,
    records::{self, Check},
    table::{Contestant, compete},
    work,
};

use crate::{
    logs::{self, Kind, Place, Use},
    ours, threads,
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;
const TOGETHER: usize = 100;

fn time() -> Duration {
    Duration::from_millis(work::count(500) as u64)
}

pub fn run() {
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for kind in logs::all() {
        if let Some(end) = kind.batch {
            let name = format!("{} ({end})", kind.name);
            contestants.push((name, Box::new(move || through(kind))));
        }
    }
    contestants.push((
        "tierlog append_batch (fdatasync)".into(),
        Box::new(through_ours),
    ));
    let title = format!("durable batches of {TOGETHER} x {SIZE} B, 1 task");
    compete(&title, "records/s", ROUNDS, contestants);
}

/// The records of the batch of a number.
fn fill(records: &mut [Vec<u8>], batch: usize) {
    for (n, record) in records.iter_mut().enumerate() {
        records::stamp(record, 0, batch * TOGETHER + n);
    }
}

fn through(kind: Kind) -> f64 {
    let place = Place::new();
    let log = (kind.open)(place.path(), Use::Durable, 1);
    let records = std::sync::Mutex::new(vec![records::filling(SIZE); TOGETHER]);
    let waits = threads::again(1, time(), |task, batch| {
        let mut records = records.lock().expect("one thread");
        fill(&mut records, batch);
        let payloads: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        log.batch(task, &payloads);
    });
    let mut check = Check::new(SIZE, 1);
    log.visit(&mut |payload| check.see(payload));
    logs::told(kind, check.counts(&[waits.counts()[0] * TOGETHER]));
    log.close();
    waits.rate() * TOGETHER as f64
}

/// Appends batches until the time is over; gives how many, and records a second.
async fn again(stream: Stream) -> (usize, f64) {
    let mut records = vec![records::filling(SIZE); TOGETHER];
    let (mut batches, begun) = (0, Instant::now());
    while begun.elapsed() < time() {
        fill(&mut records, batches);
        let batch = records.iter();
        let batch = batch.map(|record| NewRecord::new(Bytes::copy_from_slice(record)));
        stream.append_batch(batch.collect()).await.expect("durable");
        batches += 1;
    }
    let rate = (batches * TOGETHER) as f64 / begun.elapsed().as_secs_f64();
    (batches, rate)
}

fn through_ours() -> f64 {
    let place = Place::new();
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(place.path(), Use::Durable)).await;
        let task = tokio::spawn(again(stream.clone()));
        let (batches, rate) = task.await.expect("it ends");
        let (mut check, mut reader) = (Check::new(SIZE, 1), appends::reader(&stream).await);
        appends::visit(&mut reader, |payload| check.see(payload)).await;
        check
            .counts(&[batches * TOGETHER])
            .expect("all of it is there");
        appends::close(log).await;
        rate
    })
}
