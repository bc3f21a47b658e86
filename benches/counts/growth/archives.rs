//! Logs that have more in Tier 2: more bytes in as many segments, or more segments.

use std::{path::Path, time::Duration};

use tierlog::{Level, Settings, Size, Stream};
use tierlog_counts::alone;

use crate::{
    appends,
    figures::{CATALOG, region, tell},
};

/// How many segments hold more bytes.
const SEGMENTS: usize = 20;
/// Bytes of a segment's payload, where there are more segments.
const SMALL: usize = 20_000;
const RECORD: usize = 10_000;
const NEVER: Duration = Duration::from_secs(3000);

/// As many segments, of so many bytes each.
pub fn fill_bytes(bytes: usize, folder: &Path) {
    fill(SEGMENTS, bytes, folder);
}

/// So many segments, of as many bytes each.
pub fn fill_segments(segments: usize, folder: &Path) {
    fill(segments, SMALL, folder);
}

/// Opens it. What it has in Tier 2 is claimed anew by that.
pub fn open_bytes(bytes: usize, folder: &Path) {
    open(bytes, folder);
}

/// The same.
pub fn open_segments(_: usize, folder: &Path) {
    open(SMALL, folder);
}

/// The budgets hold two segments, so that all others are in Tier 2 alone, however long they are.
fn settings(bytes: usize, folder: &Path) -> Settings {
    let segment = Size::new(bytes as u64 + 96 * 1024);
    Settings {
        segment_size: segment,
        max_record: Size::kib(16),
        hot_budget: Some(Size::new(segment.bytes() * 2)),
        warm_budget: Some(segment),
        archive_after: Duration::from_millis(1),
        sweep_every: Duration::ZERO,
        cold_wait: NEVER,
        ..appends::settings(folder)
    }
}

fn fill(segments: usize, bytes: usize, folder: &Path) {
    let runtime = alone::runtime();
    runtime.block_on(async {
        let store = alone::store(&folder.join("tier2"));
        let log = alone::open_over(settings(bytes, folder), Some(store)).await;
        let stream = log.log().stream("counted").await.expect("a stream");
        for _ in 0..segments {
            append(&stream, bytes).await;
        }
        let next = stream.watermarks().next;
        let mut marks = stream.watch();
        let archived = marks.wait_for(|marks| marks.archived >= next);
        archived.await.expect("all of it is archived");
        // A blank segment would be closed as one that an open has to look through.
        let last = stream.try_append("the last one").expect("room");
        stream.flush().await.expect("durable");
        last.await.expect("durable");
        let found = stream.segments().await.expect("segments");
        let cold = found.iter().filter(|segment| segment.tier == 2).count();
        assert!(
            cold * 3 >= segments,
            "{cold} of {segments} are in Tier 2 alone"
        );
        alone::close(log).await;
    });
}

/// One segment, whose bytes do not compress.
async fn append(stream: &Stream, bytes: usize) {
    let mut random = fastrand::Rng::with_seed(stream.watermarks().next.get());
    for _ in 0..(bytes / RECORD).max(1) {
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(RECORD)
            .collect();
        stream
            .append_at(payload, Level::Written)
            .await
            .expect("written");
    }
    stream.seal().await.expect("sealed");
}

fn open(bytes: usize, folder: &Path) {
    let runtime = alone::runtime();
    let store = alone::store(&folder.join("tier2"));
    let settings = settings(bytes, folder);
    let log = region(1, || {
        runtime.block_on(alone::open_over(settings, Some(store)))
    });
    runtime.block_on(alone::close(log));
    let objects = std::fs::read_dir(folder.join("tier2/catalog")).expect("a catalog");
    let lens = objects.map(|object| object.and_then(|o| o.metadata()).expect("an object").len());
    tell(CATALOG, lens.sum::<u64>() as f64);
}
