//! Segments that are compressed, dropped, made again, cut and trimmed, while they are read.

mod ahead;
mod beside;
mod copies;
mod crashes;
mod cut;
mod finished;
mod mixed;
mod moves;
mod shut;
mod stopped;
mod tool;

use std::path::{Path, PathBuf};

use tierlog::{
    Stream,
    testing::storage::disk::{Disk, sim::SimDisk},
};

use crate::{
    faults::{
        rig::{Rig, eventually},
        workload::payload,
    },
    support::{read_all, texts, within},
};

/// A log whose hot budget is four segments.
pub fn rig(disk: &SimDisk) -> Rig {
    Rig::sim(disk)
        .with("idle_mark", "1h")
        .with("hot_budget", "320KiB")
        .with("tail_cache", "0B")
        .with("read_cache", "0B")
}

/// A payload that names its offset, long enough that some forty fill a segment.
pub fn long(id: u64) -> String {
    format!("{} {}", payload(id), "log ".repeat(480))
}

pub async fn append(stream: &Stream, ids: std::ops::Range<u64>) {
    for id in ids {
        within(stream.append(long(id))).await.expect("an ack");
    }
}

/// The files of a stream with this ending.
pub fn files(disk: &SimDisk, stream: &Stream, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new("/log/streams").join(stream.id().to_string());
    let names = disk.list(&dir).expect("a folder");
    let paths = names.into_iter().map(|entry| dir.join(entry.name));
    paths
        .filter(|path| path.extension().is_some_and(|end| end == ending))
        .collect()
}

pub async fn holds(stream: &Stream, ids: std::ops::Range<u64>) {
    let expected: Vec<_> = ids.map(long).collect();
    assert!(
        texts(&read_all(stream).await) == expected,
        "what was appended"
    );
}

/// Waits until all but the open segment are compressed and `hot` segment files are left at most.
pub async fn settled(disk: &SimDisk, stream: &Stream, hot: usize) {
    eventually("the segments are where they belong", || {
        files(disk, stream, "tls").len() <= hot && !files(disk, stream, "tlz").is_empty()
    })
    .await;
}
