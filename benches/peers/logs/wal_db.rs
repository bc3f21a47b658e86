//! wal-db: `append` is one `pwrite` a record, by as many threads as want to; `sync` is an fdatasync that
//! those who wait share. Its file is not allocated ahead.

use std::{
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
};

use tierlog_benches::records::Records;
use wal_db::{Lsn, Wal};

use super::{Kind, Log};

pub const KIND: Kind = Kind {
    name: "wal-db",
    open: |folder, _, _| Box::new(WalDb::open(folder)),
    append: Some("page cache"),
    durable: Some("shared fdatasync"),
    batch: Some("fdatasync; not atomic"),
    scan: Some("CRC a record"),
    random: true,
    again: true,
};

struct WalDb {
    wal: Wal,
    places: Mutex<Vec<Lsn>>,
}

impl WalDb {
    fn open(folder: &Path) -> Self {
        Self {
            wal: Wal::open(folder.join("wal")).expect("a log"),
            places: Mutex::default(),
        }
    }
}

impl Log for WalDb {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        for n in range {
            let _place = self.wal.append(records.get(n)).expect("written");
        }
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        let _place = self.wal.append_and_sync(payload).expect("synced");
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        for payload in payloads {
            let _place = self.wal.append(payload).expect("written");
        }
        self.wal.sync().expect("synced");
    }

    fn sync(&self) {
        self.wal.sync().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        for record in self.wal.iter().expect("a reader") {
            see(record.expect("read").data());
        }
    }

    fn fill(&self, records: &Records) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..records.count() {
            places.push(self.wal.append(records.get(n)).expect("written"));
        }
        self.sync();
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner)[at];
        let mut records = self.wal.iter_from(place).expect("a reader");
        let record = records.next().expect("it is there");
        see(record.expect("read").data());
    }
}
