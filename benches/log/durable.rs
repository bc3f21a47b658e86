//! Durable appends: each task waits until its record survives power loss before it goes on.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use tierlog::Supervisor;

use tierlog_benches::{
    place,
    plain::{self, Room},
    table::{Contestant, Row, compete, print},
    work,
};

const ROUNDS: usize = 5;
fn time() -> Duration {
    Duration::from_millis(work::count(1_000) as u64)
}

pub fn run() {
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "pwrite 4 KiB + fdatasync, allocated file".into(),
            Box::new(|| disk(Room::Allocated)),
        ),
        (
            "pwrite 4 KiB + fdatasync, growing file".into(),
            Box::new(|| disk(Room::Growing)),
        ),
        ("tierlog, 1 task".into(), Box::new(|| tasks(1))),
        ("tierlog, 16 tasks".into(), Box::new(|| tasks(16))),
        ("tierlog, 64 tasks".into(), Box::new(|| tasks(64))),
    ];
    compete("durable append, 100 B", "acks/s", ROUNDS, contestants);
    latency();
}

fn disk(room: Room) -> f64 {
    let folder = place::folder();
    let file = open(&folder, room);
    let page = [7; 4096];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time() {
        file.write_all_at(&page, count * 4096).expect("written");
        file.sync_data().expect("synced");
        count += 1;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn open(folder: &tempfile::TempDir, room: Room) -> File {
    plain::file(&folder.path().join("plain"), room, 64 << 20)
}

fn tasks(count: usize) -> f64 {
    let folder = place::folder();
    place::runtime().block_on(async {
        let log = Supervisor::open(place::settings(&folder))
            .await
            .expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        stream.append("warm").await.expect("durable");
        let begun = Instant::now();
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let stream = stream.clone();
                tokio::spawn(async move {
                    let payload = bytes::Bytes::from(vec![b'x'; 100]);
                    let mut acks = 0_u64;
                    while begun.elapsed() < time() {
                        stream.append(payload.clone()).await.expect("durable");
                        acks += 1;
                    }
                    acks
                })
            })
            .collect();
        let mut acks = 0;
        for task in tasks {
            acks += task.await.expect("it ends");
        }
        let rate = acks as f64 / begun.elapsed().as_secs_f64();
        assert_eq!(
            stream.watermarks().durable.get(),
            acks + 1,
            "every ack is a record"
        );
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        rate
    })
}

/// One task: what an append waits for, beside a thread that writes and syncs by itself.
fn latency() {
    let (mut plain, mut ours): (Vec<_>, Vec<_>) = Default::default();
    for _ in 0..work::rounds(ROUNDS) {
        plain.push(plain_latencies());
        ours.push(our_latencies());
    }
    for (title, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |rounds: &[Vec<f64>]| {
            rounds
                .iter()
                .map(|r| r[(r.len() as f64 * share) as usize])
                .collect()
        };
        let rows = [
            Row {
                name: "pwrite 128 B + fdatasync, allocated file".into(),
                figures: of(&plain),
            },
            Row {
                name: "tierlog append, 1 task".into(),
                figures: of(&ours),
            },
        ];
        print(
            &format!("latency of a durable append, {title}"),
            "us",
            &rows,
        );
    }
}

fn samples() -> u64 {
    work::count(1_500) as u64
}

fn plain_latencies() -> Vec<f64> {
    let folder = place::folder();
    let file = open(&folder, Room::Allocated);
    let record = [7; 128];
    sorted((0..samples()).map(|n| {
        let begun = Instant::now();
        file.write_all_at(&record, n * 128).expect("written");
        file.sync_data().expect("synced");
        begun.elapsed()
    }))
}

fn our_latencies() -> Vec<f64> {
    let folder = place::folder();
    place::runtime().block_on(async {
        let log = Supervisor::open(place::settings(&folder))
            .await
            .expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        stream.append("warm").await.expect("durable");
        let payload = bytes::Bytes::from(vec![b'x'; 100]);
        // A task, as an app has them: `block_on` would add a thread of its own to those of the runtime.
        let appending = tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..samples() {
                let begun = Instant::now();
                stream.append(payload.clone()).await.expect("durable");
                times.push(begun.elapsed());
            }
            times
        });
        let times = appending.await.expect("it ends");
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        sorted(times.into_iter())
    })
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut micros: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e6).collect();
    micros.sort_by(f64::total_cmp);
    micros
}
