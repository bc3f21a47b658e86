//! One durable append to each of 1,000 streams, all at once.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use tierlog::{Stream, Supervisor};
use tierlog_benches::{
    appends, place,
    plain::{self, Room},
    records,
    table::{Contestant, compete},
    work,
};

use crate::{
    logs::{self, Log, Place, Use},
    ours, threads,
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;

pub fn run() {
    let count = work::count(1_000);
    let record = records::filling(SIZE);
    let record = &record;
    let place = Place::new();
    let files = make_files(&place, count);
    let files = &files;
    let groups_place = Place::new();
    let groups = (logs::named("raft-engine").open)(groups_place.path(), Use::Durable, count);
    let runtime = place::runtime();
    let ours = Place::new();
    let (log, streams) = runtime.block_on(open_streams(&ours, count));
    let (mut turns, mut threaded) = (0, 0);
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "allocated files, pwrite + fdatasync each in turn".into(),
            Box::new(move || {
                turns += 1;
                let begun = Instant::now();
                files.iter().for_each(|file| put(file, turns, record));
                count as f64 / begun.elapsed().as_secs_f64()
            }),
        ),
        (
            "the same by 16 threads".into(),
            Box::new(move || {
                threaded += 1;
                let slowest = slowest(16, |task| {
                    let own = files.iter().skip(task).step_by(16);
                    own.for_each(|file| put(file, 1_000 + threaded, record));
                });
                count as f64 / slowest.as_secs_f64()
            }),
        ),
        (
            "raft-engine, groups in one file, a thread each".into(),
            Box::new(|| {
                let slowest = slowest(count, |task| groups.durable(task, record));
                count as f64 / slowest.as_secs_f64()
            }),
        ),
        (
            "tierlog, a stream and a task each".into(),
            Box::new(|| runtime.block_on(all_at_once(&streams, record))),
        ),
    ];
    let title = format!("one durable append to each of {count} streams at once, {SIZE} B");
    compete(&title, "acks/s", ROUNDS, contestants);
    let done = work::rounds(ROUNDS);
    counts(groups.as_ref(), count * done);
    for stream in &streams {
        assert_eq!(stream.watermarks().durable.get() as usize, 1 + done);
    }
    runtime.block_on(appends::close(log));
}

fn make_files(place: &Place, count: usize) -> Vec<File> {
    let paths = (0..count).map(|n| place.path().join(format!("stream-{n}")));
    let files = paths.map(|path| plain::file(&path, Room::Allocated, 64 << 10));
    files.collect()
}

/// Streams that have taken a record each.
async fn open_streams(place: &Place, count: usize) -> (Supervisor, Vec<Stream>) {
    let log = Supervisor::open(ours::settings(place.path(), Use::Durable));
    let log = log.await.expect("a log");
    let mut streams = Vec::new();
    for n in 0..count {
        let name = format!("stream-{n}");
        streams.push(log.log().stream(&name).await.expect("a stream"));
    }
    let firsts = streams.iter().map(|stream| stream.append("first"));
    let mut acks = join_all(firsts).await.into_iter();
    assert!(acks.all(|ack| ack.is_ok()), "the first ones are durable");
    (log, streams)
}

fn put(file: &File, round: u64, record: &[u8]) {
    let at = (round * record.len() as u64) % (32 << 10);
    file.write_all_at(record, at).expect("written");
    file.sync_data().expect("synced");
}

/// How long it takes from when the first of them begins until the last has ended.
fn slowest(count: usize, work: impl Fn(usize) + Sync) -> Duration {
    let times = threads::run(count, |task, begun| {
        work(task);
        (begun, Instant::now())
    });
    let first = times.iter().map(|time| time.0).min().expect("a thread");
    let last = times.iter().map(|time| time.1).max().expect("a thread");
    last - first
}

fn counts(log: &dyn Log, expected: usize) {
    let mut seen = 0;
    log.visit(&mut |_| seen += 1);
    assert_eq!(seen, expected, "every ack is a record");
}

async fn all_at_once(streams: &[Stream], record: &[u8]) -> f64 {
    let payload = Bytes::copy_from_slice(record);
    let begun = Instant::now();
    let tasks: Vec<_> = streams
        .iter()
        .map(|stream| {
            let (stream, payload) = (stream.clone(), payload.clone());
            tokio::spawn(async move { stream.append(payload).await.expect("durable") })
        })
        .collect();
    for task in tasks {
        task.await.expect("it ends");
    }
    streams.len() as f64 / begun.elapsed().as_secs_f64()
}
