//! walrus-rust: `append_for_topic` is one `pwrite` a record into a sparse file of 1 GB. Told to sync each, it
//! calls fsync with the topic locked, so that two appends of one topic never share one. A batch goes by a
//! ring of io_uring that is made for it, and is synced always.
//!
//! Its folder is read from the environment, its descriptors are kept until the process ends, and its first
//! schedule is that of the process: opened first to sync each, it would open all files with `O_SYNC`.

use std::{
    ops::Range,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tierlog_benches::{place, records::Records};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use super::{Kind, Log, Use};

pub const KIND: Kind = Kind {
    name: "walrus-rust",
    open: |folder, used, _| Box::new(Topic::open(folder, used)),
    append: Some("page cache"),
    durable: Some("an fsync each"),
    batch: Some("fsync; not atomic"),
    scan: Some("FNV a record"),
    // It is read from where it was read last.
    random: false,
    again: true,
};

const TOPIC: &str = "bench";
const FOLDER: &str = "WALRUS_DATA_DIR";

/// Starts this process again, with the environment that walrus reads, unless it has that.
pub fn as_walrus_wants() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let own = std::env::current_exe().expect("a program");
    let error = Command::new(own)
        .args(std::env::args_os().skip(1))
        .env(FOLDER, place::root())
        .env("WALRUS_QUIET", "1")
        .exec();
    panic!("{error}");
}

struct Topic(Walrus);

/// A key is one name below walrus's folder, so that a log stands beside its round's folder.
fn key(folder: &Path) -> String {
    let name = folder.file_name().expect("a name").to_string_lossy();
    format!("walrus-{name}")
}

fn make(key: &str, schedule: FsyncSchedule) -> Walrus {
    // Reads are noted every so often, and never here.
    let reads = ReadConsistency::AtLeastOnce {
        persist_every: u32::MAX,
    };
    Walrus::with_consistency_and_schedule_for_key(key, reads, schedule).expect("a log")
}

impl Topic {
    fn open(folder: &Path, used: Use) -> Self {
        static FIRST: AtomicU32 = AtomicU32::new(0);
        if FIRST.fetch_add(1, Ordering::Relaxed) == 0 {
            drop(make("walrus-first", FsyncSchedule::NoFsync));
            remove(&place::root().join("walrus-first"));
        }
        let schedule = match used {
            Use::Append => FsyncSchedule::NoFsync,
            _ => FsyncSchedule::SyncEach,
        };
        Self(make(&key(folder), schedule))
    }
}

/// Removes what a log of this folder left.
pub fn forget(folder: &Path) {
    let beside = place::root().join(key(folder));
    if beside.exists() {
        remove(&beside);
    }
}

/// Removes a log; its descriptors stay open, so that its files are emptied first.
fn remove(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = std::fs::File::options().write(true).open(entry.path());
        file.and_then(|file| file.set_len(0)).expect("emptied");
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

impl Log for Topic {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        for n in range {
            self.0
                .append_for_topic(TOPIC, records.get(n))
                .expect("written");
        }
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.0.append_for_topic(TOPIC, payload).expect("synced");
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        self.0
            .batch_append_for_topic(TOPIC, payloads)
            .expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        // A batch has 2,000 entries at most, and the limit of bytes is a little more than these, since it is also
        // what is read for a batch. When a batch of walrus-rust 0.2.0 ended by bytes within the last full block,
        // the next one went on behind that block, and 8,709 of 60,000 records of 1 KiB did not come.
        let first = self.0.read_next(TOPIC, false).expect("read");
        let size = first.map_or(0, |entry| entry.data.len());
        loop {
            let entries = self
                .0
                .batch_read_for_topic(TOPIC, 2_200 * (64 + size), true);
            let entries = entries.expect("read");
            if entries.is_empty() {
                return;
            }
            entries.iter().for_each(|entry| see(&entry.data));
        }
    }
}
