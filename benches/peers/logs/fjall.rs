//! fjall: a store of keys. Its smallest path to the disk is one item, which goes into the journal and into a
//! tree in memory, and then `persist`; or a batch that is committed with a persist mode. The journal is locked
//! while it is synced, so that commits never share an fdatasync. Nothing leaves its memory for other files
//! here.

use std::{
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tierlog_benches::records::Records;

use super::{Kind, Log};

pub const KIND: Kind = Kind {
    name: "fjall",
    open: |folder, _, _| Box::new(Items::open(folder)),
    append: Some("page cache, and a tree in memory"),
    durable: Some("an fdatasync each"),
    batch: Some("fdatasync"),
    scan: Some("nothing, from memory"),
    random: true,
    again: true,
};

struct Items {
    database: Database,
    items: Keyspace,
    next: AtomicU64,
}

impl Items {
    fn open(folder: &Path) -> Self {
        let database = Database::builder(folder.join("fjall"))
            .manual_journal_persist(true)
            .max_journaling_size(1 << 30)
            .worker_threads(1)
            .open()
            .expect("a database");
        let options = || KeyspaceCreateOptions::default().max_memtable_size(512 << 20);
        let items = database.keyspace("bench", options).expect("a keyspace");
        let last = items.last_key_value();
        let next = last.map_or(0, |last| {
            let key = last.key().expect("read");
            u64::from_be_bytes(key.as_ref().try_into().expect("as they are made")) + 1
        });
        Self {
            database,
            items,
            next: AtomicU64::new(next),
        }
    }

    fn key(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Log for Items {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        for n in range {
            let inserted = self.items.insert(self.key(), records.get(n));
            inserted.expect("written");
        }
    }

    fn hand_over(&self, _: usize) {
        self.database.persist(PersistMode::Buffer).expect("written");
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.batch(0, &[payload]);
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for payload in payloads {
            batch.insert(&self.items, self.key(), *payload);
        }
        batch.commit().expect("synced");
    }

    fn sync(&self) {
        self.database
            .persist(PersistMode::SyncData)
            .expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        for item in self.items.iter() {
            see(&item.value().expect("read"));
        }
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let item = self.items.get((at as u64).to_be_bytes()).expect("read");
        see(&item.expect("it is there"));
    }
}
