//! raft-engine: a log for many Raft groups. A write is a batch of entries; writers that come together are
//! written by the first of them, and synced once if one of them asks for it. Each task here has a group of
//! its own, as it is meant.
//!
//! Where the disk is waited for it is set up as TiKV does: files are written ahead, and so that the first one
//! is such a file, too, one of them is filled before.

use std::{
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use tierlog_benches::records::Records;

use super::{Kind, Log, ROOM, Use};

pub const SINGLE: Kind = Kind {
    name: "raft-engine",
    open: |folder, used, tasks| Box::new(Groups::open(folder, used, tasks, 1)),
    append: Some("page cache"),
    durable: Some("shared fdatasync"),
    batch: Some("shared fdatasync"),
    scan: Some("CRC a batch"),
    random: true,
    again: true,
};

pub const BATCHES: Kind = Kind {
    name: "raft-engine, batches of 100",
    open: |folder, used, tasks| Box::new(Groups::open(folder, used, tasks, 100)),
    append: Some("page cache"),
    durable: None,
    batch: None,
    scan: None,
    random: false,
    again: false,
};

/// An entry is any message that tells its index. This one has a number and bytes, and comes with protobuf.
struct Numbered;

impl MessageExt for Numbered {
    type Entry = UninterpretedOption;

    fn index(entry: &Self::Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

/// The group that fills the first file.
const FILLER: u64 = u64::MAX >> 1;

struct Groups {
    engine: Engine,
    /// The next index of each group, which are numbered from 1.
    next: Vec<AtomicU64>,
    together: usize,
}

fn entry(index: u64, payload: &[u8]) -> UninterpretedOption {
    let mut entry = UninterpretedOption::new();
    entry.set_positive_int_value(index);
    entry.set_string_value(payload.to_vec());
    entry
}

impl Groups {
    fn open(folder: &Path, used: Use, tasks: usize, together: usize) -> Self {
        let ahead = used == Use::Durable;
        let size = if ahead { ROOM / 6 } else { ROOM };
        let config = Config {
            dir: folder.join("raft").to_string_lossy().into_owned(),
            // None of the others compresses.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(size),
            prefill_for_recycle: ahead,
            prefill_limit: ahead.then_some(ReadableSize(4 * size)),
            ..Config::default()
        };
        let engine = Engine::open(config).expect("an engine");
        let next = (1..=tasks as u64).map(|group| {
            let last = engine.last_index(group).unwrap_or(0);
            AtomicU64::new(last + 1)
        });
        let own = Self {
            next: next.collect(),
            engine,
            together,
        };
        if ahead {
            let bytes = vec![0; size as usize];
            own.write(FILLER, std::iter::once(entry(1, &bytes)), true);
            // The next one finds the first file full.
            own.write(FILLER, std::iter::once(entry(2, &[0])), true);
        }
        own
    }

    fn write(&self, group: u64, entries: impl Iterator<Item = UninterpretedOption>, sync: bool) {
        let mut batch = LogBatch::with_capacity(1);
        let entries: Vec<_> = entries.collect();
        let added = batch.add_entries::<Numbered>(group, &entries);
        added.expect("small enough");
        self.engine.write(&mut batch, sync).expect("written");
    }

    fn numbered<'a>(
        &self,
        task: usize,
        payloads: impl Iterator<Item = &'a [u8]>,
    ) -> impl Iterator<Item = UninterpretedOption> {
        payloads.map(move |payload| {
            let index = self.next[task].fetch_add(1, Ordering::Relaxed);
            entry(index, payload)
        })
    }
}

impl Log for Groups {
    fn append(&self, task: usize, records: &Records, range: Range<usize>, _: bool) {
        for from in range.clone().step_by(self.together) {
            let some = from..(from + self.together).min(range.end);
            let some = self.numbered(task, some.map(|n| records.get(n)));
            self.write(task as u64 + 1, some, false);
        }
    }

    fn durable(&self, task: usize, payload: &[u8]) {
        self.batch(task, &[payload]);
    }

    fn batch(&self, task: usize, payloads: &[&[u8]]) {
        let some = self.numbered(task, payloads.iter().copied());
        self.write(task as u64 + 1, some, true);
    }

    fn sync(&self) {
        self.engine.sync().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        for group in 1..=self.next.len() as u64 {
            let end = self.engine.last_index(group).map_or(0, |last| last + 1);
            let mut entries = Vec::new();
            for from in (1..end).step_by(4096) {
                entries.clear();
                let to = (from + 4096).min(end);
                let fetched =
                    self.engine
                        .fetch_entries_to::<Numbered>(group, from, to, None, &mut entries);
                fetched.expect("read");
                entries
                    .iter()
                    .for_each(|entry| see(entry.get_string_value()));
            }
        }
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let entry = self.engine.get_entry::<Numbered>(1, at as u64 + 1);
        let entry = entry.expect("read").expect("it is there");
        see(entry.get_string_value());
    }
}
