//! What a durable append waits for while segments are compressed and uploaded as fast as that goes.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tierlog::{Settings, Supervisor};
use tierlog_benches::{
    place,
    table::{Row, percentile, print},
    work,
};

use crate::made::{self, fill, line};

const ROUNDS: usize = 5;
const BYTES: usize = 192 << 20;
/// What is measured of an idle log.
const IDLE: usize = 2_000;
/// Between two appends, so that they are the load of an app and not one of their own.
const PAUSE: Duration = Duration::from_millis(1);

pub fn run() {
    let folder = place::folder();
    let data = folder.path().join("log");
    let count = work::count(BYTES / 1_000) as u64;
    place::runtime().block_on(async {
        let log = Supervisor::open(made::settings(&folder))
            .await
            .expect("a log");
        let stream = log.log().stream("bulk").await.expect("a stream");
        fill(&stream, count, |n| line(n, 1_000)).await;
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
    });
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..work::rounds(ROUNDS) {
        idle.push(measure(&data, false));
        busy.push(measure(&data, true));
    }
    for (title, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |rounds: &mut [Vec<f64>]| {
            let figures = rounds.iter_mut().map(|round| percentile(round, share));
            figures.collect()
        };
        let rows = [
            Row {
                name: "idle".into(),
                figures: of(&mut idle),
            },
            Row {
                name: "while a backlog is compressed and uploaded".into(),
                figures: of(&mut busy),
            },
        ];
        let title = format!("latency of a durable append, 100 B, 1 task, {title}");
        print(&title, "us", &rows);
    }
}

/// Of a copy of the log, which with Tier 2 has all of its segments to archive.
fn measure(data: &Path, busy: bool) -> Vec<f64> {
    let folder = place::folder();
    copy(data, &folder.path().join("log"));
    // What the copy left in the cache is not to be written during the measurement.
    rustix::fs::sync();
    let settings = Settings {
        flush: tierlog::FlushPolicy::Always,
        cold: busy.then(|| {
            let bucket = folder.path().join("bucket");
            let uri = format!("fs://{}", bucket.display());
            uri.parse().expect("a place")
        }),
        ..made::settings(&folder)
    };
    place::runtime().block_on(async {
        let log = Supervisor::open(settings).await.expect("a log");
        let bulk = log.log().stream("bulk").await.expect("a stream");
        let stream = log.log().stream("bench").await.expect("a stream");
        stream.append("first").await.expect("durable");
        let payload = bytes::Bytes::from(vec![b'x'; 100]);
        let mut micros = Vec::new();
        let goes_on = |done: usize| match busy {
            true => {
                let marks = bulk.watermarks();
                done == 0 || marks.archived < marks.durable
            }
            false => done < work::count(IDLE),
        };
        while goes_on(micros.len()) {
            let begun = Instant::now();
            stream.append(payload.clone()).await.expect("durable");
            micros.push(begun.elapsed().as_secs_f64() * 1e6);
            tokio::time::sleep(PAUSE).await;
        }
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        assert!(!micros.is_empty());
        micros
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).expect("copied")),
        }
    }
}
