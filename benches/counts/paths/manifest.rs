//! The manifest of a log with many sealed segments: reading it, and committing to it.

use std::sync::Arc;

use tierlog_counts::{alone, counted};
use tierlog_storage::{
    disk::{Disk, RealDisk},
    ids::{Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId},
    layout::Layout,
    manifest::{Current, Entry, ManifestLog, ManifestOptions, ManifestState, replay},
};

const STREAMS: u64 = 20;

/// What creating a segment and sealing it says.
fn entries(n: u64) -> [Entry; 2] {
    let (no, stream) = (n / STREAMS, stream(n % STREAMS));
    let segment = SegmentNo(no);
    [
        Entry::SegmentCreated {
            stream,
            segment,
            salt: n,
            capacity: 16 << 20,
            epoch: Epoch(1),
            incarnation: Incarnation(1),
        },
        Entry::Sealed {
            stream,
            segment,
            base: Offset(no * 1000),
            end: Offset(no * 1000 + 1000),
            data_end: 100_000,
            file_len: 101_000,
            first_ts: n,
            last_ts: n + 1,
            ext: None,
            digest: n,
            flush_failed: false,
        },
    ]
}

fn stream(n: u64) -> StreamId {
    StreamId::from_bytes(u128::from(n).to_be_bytes())
}

/// Replays what was committed one by one, behind the snapshot of an empty log; the units are entries.
pub fn replay_commits(count: usize) -> usize {
    let (_folder, disk, layout, mut log, mut state) = fresh();
    for n in 0..count as u64 / 2 {
        commit(&mut log, &mut state, entries(n).to_vec());
    }
    replayed(&disk, &layout, count / 2 * 2)
}

/// Replays a snapshot of so many segments, which is a few commits of many entries; the units are entries.
pub fn replay_snapshot(count: usize) -> usize {
    let (_folder, disk, layout, log, mut state) = fresh();
    for n in 0..count as u64 {
        state
            .apply_all(&entries(n))
            .expect("they follow one another");
    }
    drop(log);
    let mut log = created(&disk, &layout, 2, &state);
    log.publish().expect("published");
    replayed(&disk, &layout, count)
}

/// Commits a segment's entries at a time; the units are entries.
pub fn commits(count: usize) -> usize {
    let (_folder, _disk, _layout, mut log, mut state) = fresh();
    let segments: Vec<_> = (0..count.div_ceil(2) as u64)
        .map(|n| entries(n).to_vec())
        .collect();
    let count = segments.len() * 2;
    counted(|| {
        for entries in segments {
            commit(&mut log, &mut state, entries);
        }
    });
    count
}

type Fresh = (
    tempfile::TempDir,
    Arc<dyn Disk>,
    Layout,
    ManifestLog,
    ManifestState,
);

/// An empty log of some streams, published.
fn fresh() -> Fresh {
    let folder = alone::folder();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let layout = Layout::new(folder.path().join("log"));
    for made in [layout.root(), &layout.manifest_dir()] {
        disk.create_dir(made).expect("a folder");
    }
    let mut state = ManifestState::new(LogId::from_bytes([1; 16]));
    for n in 0..STREAMS {
        let entry = Entry::StreamCreated {
            stream: stream(n),
            name: format!("stream {n}"),
            created_ns: n,
        };
        state.apply(&entry).expect("a new stream");
    }
    let mut log = created(&disk, &layout, 1, &state);
    log.publish().expect("published");
    (folder, disk, layout, log, state)
}

fn created(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    number: u64,
    state: &ManifestState,
) -> ManifestLog {
    let options = ManifestOptions::default();
    ManifestLog::create(disk, layout, number, state, &options, number).expect("a manifest")
}

fn commit(log: &mut ManifestLog, state: &mut ManifestState, entries: Vec<Entry>) {
    let results = log.commit(&[entries], state).expect("committed");
    for result in results {
        result.expect("they follow one another");
    }
}

fn replayed(disk: &Arc<dyn Disk>, layout: &Layout, least: usize) -> usize {
    let current = Current::read(&**disk, layout)
        .expect("read")
        .expect("published");
    let replayed = counted(|| replay(&**disk, layout, &current)).expect("good");
    assert_eq!(replayed.report.damage, [""; 0]);
    let entries = replayed.report.entries as usize;
    assert!(entries >= least, "all of them are read");
    entries
}
