//! The contestants: each as the least that the work needs of it, and what its calls wait for.
//!
//! What a call waits for was read in the source of the version that the workspace pins; `README.md` cites
//! the lines.

mod commitlog;
mod fjall;
mod group;
mod logdb;
mod okaywal;
mod open_wal;
mod plain;
mod raft_engine;
mod seglog;
mod wal_db;
mod walrus;

use std::{ops::Range, path::Path};

use tempfile::TempDir;
use tierlog_benches::{place, records::Records, table};

pub use walrus::as_walrus_wants;

/// Room that a log has before it has to make more: what any run here appends fits.
pub const ROOM: u64 = 96 << 20;

/// The folder of a round, which is gone afterwards, with what walrus has beside it.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(place::folder())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        walrus::forget(self.path());
    }
}

/// A log, used by threads.
pub trait Log: Send + Sync {
    /// Appends some records, one call each, without waiting for the disk. `alone` is a hint that no other
    /// thread appends meanwhile, so that a log that takes one writer need not be locked for each.
    fn append(&self, _task: usize, _records: &Records, _range: Range<usize>, _alone: bool) {
        unreachable!("it is not asked to");
    }

    /// Waits until the kernel has `count` records that were appended.
    fn hand_over(&self, _count: usize) {}

    /// Appends one and waits for the disk.
    fn durable(&self, _task: usize, _payload: &[u8]) {
        unreachable!("it is not asked to");
    }

    /// Appends several, all or nothing, and waits for the disk.
    fn batch(&self, _task: usize, _payloads: &[&[u8]]) {
        unreachable!("it is not asked to");
    }

    /// Waits until all that was appended is on disk, as far as it can be asked to.
    fn sync(&self) {}

    /// Shows everything, from the first record on.
    fn visit(&self, see: &mut dyn FnMut(&[u8]));

    /// Appends these, to be visited and read: each can be found by its number afterwards.
    fn fill(&self, records: &Records) {
        self.append(0, records, 0..records.count(), true);
        self.hand_over(records.count());
        self.sync();
    }

    /// Shows one of those that it was filled with.
    fn read(&self, _at: usize, _see: &mut dyn FnMut(&[u8])) {
        unreachable!("it is not asked to");
    }

    /// Ends it, as its users are told to.
    fn close(self: Box<Self>) {}
}

/// What it is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Appending without waiting for the disk.
    Append,
    /// Appending and waiting for it.
    Durable,
    /// Opening again, of what somebody left there.
    Again,
}

/// A contestant.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// For so many tasks.
    pub open: fn(&Path, Use, usize) -> Box<dyn Log>,
    /// Where records are when a run of appends has ended; `None`: it has no such way.
    pub append: Option<&'static str>,
    /// The same of a durable append; what differs from an fdatasync that others share is said.
    pub durable: Option<&'static str>,
    /// The same of an atomic batch.
    pub batch: Option<&'static str>,
    /// What a scan checks.
    pub scan: Option<&'static str>,
    /// Whether one record is read by its number or place.
    pub random: bool,
    /// Whether it can be opened again and finds its records.
    pub again: bool,
}

/// All of them but tierlog. The first is what rates are compared with.
pub fn all() -> Vec<Kind> {
    let plain = [plain::BUFFERED, plain::ALLOCATED, plain::MEMORY];
    let peers = [
        raft_engine::SINGLE,
        raft_engine::BATCHES,
        okaywal::KIND,
        walrus::KIND,
        wal_db::KIND,
        open_wal::KIND,
        logdb::KIND,
        seglog::KIND,
        commitlog::SINGLE,
        commitlog::BATCHES,
        fjall::KIND,
    ];
    plain.into_iter().chain(peers).collect()
}

/// Says it where a peer did not give back what it took; the run goes on.
pub fn told(kind: Kind, outcome: Result<(), String>) {
    if let Err(what) = outcome {
        table::blame(kind.name, &what);
    }
}

/// That of a name.
pub fn named(name: &str) -> Kind {
    let all = all().into_iter();
    let mut of_name = all.filter(|kind| kind.name == name);
    of_name.next().expect("a contestant")
}
