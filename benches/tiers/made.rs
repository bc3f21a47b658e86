//! Logs to measure with.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tierlog::{FlushPolicy, SegmentInfo, Settings, Size, Stream, Supervisor};
use tierlog_benches::place;
use tierlog_storage::{
    disk::RealDisk,
    layout::Layout,
    manifest::{Current, SegmentStatus, WarmCopy, replay},
    warm::WarmIdentity,
};

/// A line of a service's log, of so many bytes. It compresses to about a quarter.
pub fn line(n: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(n);
    let mut line = Vec::with_capacity(size + 80);
    while line.len() < size {
        let part = format!(
            "ts={} level=info service=orders-{} took={}us path=/v1/items/{:x} status=200 ",
            1_700_000_000_000_u64 + n * 37,
            random.u8(..8),
            random.u32(..100_000),
            random.u64(..),
        );
        line.extend_from_slice(part.as_bytes());
    }
    line.truncate(size);
    line
}

/// Bytes that do not get shorter.
pub fn noise(n: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(n);
    (0..size).map(|_| random.u8(..)).collect()
}

pub fn settings(folder: &TempDir) -> Settings {
    Settings {
        flush: FlushPolicy::Every(Duration::from_millis(50)),
        segment_size: Size::mib(16),
        max_record: Size::mib(1),
        ..place::settings(folder)
    }
}

/// Fills a stream of a log, and seals it.
pub async fn fill(stream: &Stream, count: u64, payload: impl Fn(u64) -> Vec<u8>) {
    let mut appender = stream.appender();
    for n in 0..count {
        appender.push(&payload(n)).await.expect("room");
    }
    appender.send().await.expect("room");
    stream.seal().await.expect("sealed");
}

/// Waits until segments are as they are wanted.
pub async fn until(stream: &Stream, wanted: impl Fn(&[SegmentInfo]) -> bool) -> Vec<SegmentInfo> {
    loop {
        let segments = stream.segments().await.expect("segments");
        if wanted(&segments) {
            return segments;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One segment, compressed.
pub struct Warm {
    pub folder: TempDir,
    pub identity: WarmIdentity,
    pub copy: WarmCopy,
    pub path: PathBuf,
}

/// Makes it, of what does not get shorter.
pub fn warm(bytes: u64) -> Warm {
    let folder = place::folder();
    place::runtime().block_on(async {
        let log = Supervisor::open(Settings {
            segment_size: Size::new(bytes + (8 << 20)),
            hot_budget: Some(Size::new(4 * (bytes + (8 << 20)))),
            ..settings(&folder)
        })
        .await
        .expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        fill(&stream, bytes / 1_000, |n| noise(n, 1_000)).await;
        until(&stream, |all| all[0].compressed_len.is_some()).await;
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
    });
    let layout = Layout::new(folder.path().join("log"));
    let current = Current::read(&RealDisk, &layout)
        .expect("read")
        .expect("a log");
    let state = replay(&RealDisk, &layout, &current).expect("read").state;
    let (&stream, known) = state.streams.iter().next().expect("a stream");
    let (&segment, known) = known.segments.iter().next().expect("a segment");
    let SegmentStatus::Sealed(facts) = known.status else {
        panic!("it is sealed");
    };
    let identity = WarmIdentity {
        log: state.log,
        stream,
        segment,
        salt: known.salt,
        facts,
    };
    Warm {
        copy: known.residency.warm.expect("it is compressed"),
        path: layout.warm(stream, segment),
        identity,
        folder,
    }
}
