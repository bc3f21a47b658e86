//! Scanning segments that are in Tier 2 alone, beside opendal and zstd with the same objects. The server runs on
//! the same two cores.

use std::time::{Duration, Instant};

use opendal::Operator;
use tempfile::TempDir;
use tierlog::{ColdUri, SegmentInfo, Settings, Size, Supervisor};
use tierlog_benches::{
    place,
    table::{Contestant, compete},
    work,
};
use tokio::runtime::Runtime;

use crate::{
    made::{self, fill, line, until},
    scan::{Range, batching, decode, visiting},
    store::{self, Store},
};

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;
const SIZE: usize = 1_000;

/// Segments that are objects and nothing else, one after the other.
struct Archived {
    folder: TempDir,
    cold: ColdUri,
    operator: Operator,
    /// And their bytes.
    objects: Vec<(String, u64)>,
    range: Range,
    /// What the server runs on.
    runtime: Runtime,
}

pub fn run() {
    for name in store::NAMES {
        let made = make(name);
        let contestants: Vec<Contestant<'_>> = vec![
            (
                "opendal alone, nothing decoded, nothing checked".into(),
                Box::new(|| alone(&made, |_| ())),
            ),
            (
                "opendal, then zstd, one object after the other".into(),
                Box::new(|| {
                    let mut bytes = 0;
                    let rate = alone(&made, |object| bytes += decode(object));
                    assert_eq!(bytes, made.range.bytes, "all of them");
                    rate
                }),
            ),
            (
                "tierlog visit".into(),
                Box::new(|| visiting(settings(&made.folder, &made.cold), &made.range).bytes),
            ),
            (
                "tierlog next_batch".into(),
                Box::new(|| batching(settings(&made.folder, &made.cold), &made.range).bytes),
            ),
        ];
        let objects = made.objects.len();
        let title = format!("scan of {objects} objects of a {name}, records of {SIZE} B");
        compete(&title, "bytes of the segments/s", ROUNDS, contestants);
    }
}

/// One that keeps next to nothing here, and so has no room for what it fetches.
fn settings(folder: &TempDir, cold: &ColdUri) -> Settings {
    Settings {
        hot_budget: Some(Size::mib(40)),
        warm_budget: Some(Size::mib(1)),
        read_cache: Size::mib(16),
        cold: Some(cold.clone()),
        ..made::settings(folder)
    }
}

fn make(name: &str) -> Archived {
    let (folder, runtime) = (place::folder(), place::runtime());
    let bucket = folder.path().join("objects");
    std::fs::create_dir(&bucket).expect("a folder");
    let count = work::count(BYTES / SIZE).max((80 << 20) / SIZE) as u64;
    let (store, segments) = runtime.block_on(async {
        let store = Store::start(name, &bucket).await;
        let cold = store.uri("log").parse().expect("a place");
        let settings = settings(&folder, &cold);
        let log = Supervisor::open(settings).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        fill(&stream, count, |n| line(n, SIZE)).await;
        let is_settled = |all: &[SegmentInfo]| {
            let ended = all.iter().filter(|segment| segment.state != "open");
            ended.clone().all(|segment| segment.object_key.is_some())
                && ended.filter(|segment| segment.tier < 2).count() < 3
        };
        let segments = until(&stream, is_settled).await;
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        let cold = segments.into_iter().take_while(|segment| segment.tier == 2);
        (store, cold.collect::<Vec<_>>())
    });
    assert!(!segments.is_empty(), "some are archived and gone from here");
    let of = |segment: &SegmentInfo| {
        let key = segment.object_key.clone().expect("an object");
        (key, segment.object_len.expect("its bytes"))
    };
    Archived {
        cold: store.uri("log").parse().expect("a place"),
        operator: store.operator("log"),
        objects: segments.iter().map(of).collect(),
        range: Range::of(&segments, SIZE),
        folder,
        runtime,
    }
}

/// Reads the objects one after the other, each in parts.
fn alone(made: &Archived, mut each: impl FnMut(&[u8])) -> f64 {
    let begun = Instant::now();
    for (key, len) in &made.objects {
        let mut bytes = Vec::with_capacity(usize::try_from(*len).expect("bytes in memory"));
        let read = store::read(&made.operator, key, *len, |part| {
            bytes.extend_from_slice(&part)
        });
        made.runtime.block_on(read);
        assert_eq!(bytes.len() as u64, *len, "all of it");
        each(&bytes);
    }
    made.range.bytes as f64 / begun.elapsed().as_secs_f64()
}
