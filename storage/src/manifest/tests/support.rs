//! A log directory on a simulated disk, and short entries to fill a manifest with.

use std::sync::Arc;

use super::arbitrary::LOG;
use crate::{
    disk::{
        Access, Disk,
        fault::{FaultDisk, FaultPlan},
        sim::SimDisk,
    },
    error::Result,
    ids::StreamId,
    layout::Layout,
    manifest::{
        Current, Entry, ManifestLog, ManifestOptions, ManifestState, Replayed, Seq, replay,
    },
};

pub(super) const OPTIONS: ManifestOptions = ManifestOptions {
    chunk_size: 16 << 10,
    rotate_bytes: 64 << 10,
};

/// A disk that can be made to fail, and the simulated one below.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) sim: SimDisk,
    pub(super) plan: FaultPlan,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layout: Layout,
}

impl Bench {
    /// An empty log directory, durably there.
    pub(super) fn new() -> Self {
        Self::over(SimDisk::new())
    }

    pub(super) fn over(sim: SimDisk) -> Self {
        let layout = Layout::new("/data");
        if sim.list(layout.root()).is_err() {
            sim.create_dir(layout.root()).unwrap();
            sim.create_dir(&layout.manifest_dir()).unwrap();
            sim.sync_dir("/".as_ref()).unwrap();
            sim.sync_dir(layout.root()).unwrap();
        }
        let plan = FaultPlan::new();
        let disk = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        Self {
            sim,
            plan,
            disk,
            layout,
        }
    }

    pub(super) fn create(&self, number: u64, state: &ManifestState) -> Result<ManifestLog> {
        ManifestLog::create(&self.disk, &self.layout, number, state, &OPTIONS, number)
    }

    pub(super) fn publish(&self, number: u64, state: &ManifestState) -> ManifestLog {
        let mut log = self.create(number, state).unwrap();
        log.publish().unwrap();
        log
    }

    /// A published manifest 1 of an empty log, and its state.
    pub(super) fn begin(&self) -> (ManifestLog, ManifestState) {
        let state = ManifestState::new(LOG);
        (self.publish(1, &state), state)
    }

    pub(super) fn current(&self) -> Current {
        Current::read(&*self.disk, &self.layout).unwrap().unwrap()
    }

    pub(super) fn replay(&self) -> Result<Replayed> {
        replay(&*self.disk, &self.layout, &self.current())
    }

    pub(super) fn bytes(&self, path: &std::path::Path) -> Vec<u8> {
        let file = self.sim.open(path, Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Makes `bytes` all that a file holds.
    pub(super) fn put(&self, path: &std::path::Path, bytes: &[u8]) {
        let file = match self.sim.open(path, Access::ReadWrite) {
            Ok(file) => file,
            Err(_) => self.sim.create_new(path).unwrap(),
        };
        file.set_len(0).unwrap();
        file.write_at(bytes, 0).unwrap();
    }
}

pub(super) fn id(n: u64) -> StreamId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    StreamId::from_bytes(bytes)
}

/// A commit that adds a stream.
pub(super) fn stream(n: u64) -> Vec<Entry> {
    vec![Entry::StreamCreated {
        stream: id(n),
        name: format!("stream {n}"),
        created_ns: n,
    }]
}

/// A commit of this many entries, one of which needs about `bytes` bytes.
pub(super) fn bulky(from: u64, entries: u64, bytes: usize) -> Vec<Entry> {
    (from..from + entries)
        .map(|n| Entry::StreamCreated {
            stream: id(n),
            name: format!("{n:0>len$}", len = bytes.saturating_sub(24 + 16 + 2 + 8)),
            created_ns: n,
        })
        .collect()
}

/// All commits went through; the sequence of the last one.
#[track_caller]
pub(super) fn done(results: Result<Vec<Result<Seq>>>) -> Seq {
    let seqs: Vec<Seq> = results.unwrap().into_iter().map(Result::unwrap).collect();
    seqs.last().copied().unwrap_or_default()
}
