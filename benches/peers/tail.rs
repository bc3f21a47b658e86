//! How long after an append began a reader that follows has the record, where the reader gets what is on
//! disk only. None of the peers wakes a reader: they are asked again and again, and are not in this table.

use std::{os::unix::fs::FileExt, path::Path, sync::mpsc::sync_channel, thread, time::Instant};

use bytes::Bytes;
use tierlog::{From, Stream};
use tierlog_benches::{
    appends, place,
    plain::{self, Room},
    records,
    table::{Row, percentile, print},
    work,
};

use crate::{
    logs::{Place, Use},
    ours,
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;

fn samples() -> usize {
    work::count(2_000)
}

/// What an appender waited for, and after what time the reader had it, in microseconds.
type Times = (Vec<f64>, Vec<f64>);

pub fn run() {
    let (mut files, mut logs): (Vec<Times>, Vec<Times>) = Default::default();
    for _ in 0..work::rounds(ROUNDS) {
        files.push(file(Place::new().path()));
        logs.push(log(Place::new().path()));
    }
    for (share, at) in [("p50", 0.5), ("p99", 0.99)] {
        let mut row = |name: &str, of_logs: bool, read: bool| {
            let rounds = if of_logs { &mut logs } else { &mut files };
            let figures = rounds.iter_mut().map(|(acked, seen)| {
                let times = if read { seen } else { acked };
                percentile(times, at)
            });
            Row {
                name: name.into(),
                figures: figures.collect(),
            }
        };
        let rows = [
            row("the disk: pwrite + fdatasync, allocated file", false, false),
            row("the same, and a thread is woken by a channel", false, true),
            row("tierlog append, acked", true, false),
            row("tierlog, a reader that follows has it", true, true),
        ];
        let title = format!("behind a durable append of {SIZE} B, 1 task, {share}");
        print(&title, "us", &rows);
    }
}

fn micros(begun: Instant, ended: Instant) -> f64 {
    (ended - begun).as_secs_f64() * 1e6
}

fn file(folder: &Path) -> Times {
    let file = plain::file(&folder.join("plain"), Room::Allocated, 16 << 20);
    let record = records::filling(SIZE);
    let (sender, receiver) = sync_channel::<Instant>(16);
    let reader = thread::spawn(move || {
        let seen = receiver.iter().map(|begun| micros(begun, Instant::now()));
        seen.collect::<Vec<_>>()
    });
    let mut acked = Vec::new();
    for n in 0..samples() {
        let begun = Instant::now();
        let at = (n * SIZE) as u64;
        file.write_all_at(&record, at).expect("written");
        file.sync_data().expect("synced");
        sender.send(begun).expect("somebody reads");
        acked.push(micros(begun, Instant::now()));
    }
    drop(sender);
    (acked, reader.join().expect("it ends"))
}

fn log(folder: &Path) -> Times {
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(folder, Use::Durable)).await;
        stream.append("first").await.expect("durable");
        let (following, came) = follow(&stream).await;
        let reader = tokio::spawn(following);
        came.await.expect("the reader is at the end");
        let appending = tokio::spawn(again(stream));
        let (begun, acked) = appending.await.expect("it ends");
        let seen = reader.await.expect("it ends");
        assert_eq!(seen.len(), begun.len());
        let seen = begun.iter().zip(&seen).map(|(at, seen)| micros(*at, *seen));
        let seen = seen.collect();
        appends::close(log).await;
        (acked, seen)
    })
}

/// Durable appends; gives when each began, and how long it took.
async fn again(stream: Stream) -> (Vec<Instant>, Vec<f64>) {
    let (mut begun, mut acked) = (Vec::new(), Vec::new());
    let record = Bytes::from(records::filling(SIZE));
    for _ in 0..samples() {
        let at = Instant::now();
        stream.append(record.clone()).await.expect("durable");
        acked.push(micros(at, Instant::now()));
        begun.push(at);
    }
    (begun, acked)
}

/// A reader that tells when it has seen the first record, and gives when it saw each of the others.
async fn follow(
    stream: &Stream,
) -> (
    impl Future<Output = Vec<Instant>> + Send + use<>,
    tokio::sync::oneshot::Receiver<()>,
) {
    let reader = stream.reader(From::Earliest).follow();
    let mut reader = reader.await.expect("a reader");
    let (is_there, came) = tokio::sync::oneshot::channel();
    let following = async move {
        reader.visit(1, |_| ()).await.expect("read");
        is_there.send(()).expect("somebody waits");
        let mut seen = Vec::new();
        while seen.len() < samples() {
            let count = reader.visit(usize::MAX, |_| ()).await.expect("read");
            seen.resize(seen.len() + count, Instant::now());
        }
        seen
    };
    (following, came)
}
