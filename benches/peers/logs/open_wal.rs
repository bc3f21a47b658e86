//! open-wal: one writer. `append` encodes into memory; `commit` writes all of it with one call and syncs,
//! and there is no way to write without that.

use std::{ops::Range, path::Path};

use open_wal::{Lsn, Wal, WalConfig};
use tierlog_benches::records::Records;

use super::{
    Kind, Log, ROOM, Use,
    group::{Group, Sink},
};

pub const KIND: Kind = Kind {
    name: "open-wal",
    open: |folder, used, _| Box::new(OpenWal::open(folder, used)),
    append: Some("memory, then one fdatasync at the end"),
    durable: Some("fdatasync, shared by our queue"),
    batch: Some("fdatasync; not atomic"),
    scan: Some("CRC a record"),
    // A reader starts at the oldest segment, wherever it is to begin.
    random: false,
    again: true,
};

struct One(Wal);

impl Sink for One {
    fn write(&mut self, payload: &[u8]) {
        self.0.append(payload).expect("room");
    }

    fn sync(&mut self) {
        self.0.commit().expect("synced");
    }
}

struct OpenWal {
    group: Group<One>,
}

impl OpenWal {
    fn open(folder: &Path, _: Use) -> Self {
        let config = WalConfig {
            segment_size: ROOM,
            max_record_size: 1 << 20,
        };
        let (wal, _) = Wal::open(&folder.join("wal"), config).expect("a log");
        Self {
            group: Group::new(One(wal)),
        }
    }
}

impl Log for OpenWal {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, alone: bool) {
        if alone {
            let mut sink = self.group.sink();
            range.for_each(|n| sink.write(records.get(n)));
        } else {
            range.for_each(|n| self.group.sink().write(records.get(n)));
        }
    }

    fn hand_over(&self, _: usize) {
        self.group.sink().sync();
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.group.durable(payload);
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        let mut sink = self.group.sink();
        payloads.iter().for_each(|payload| sink.write(payload));
        sink.sync();
    }

    fn sync(&self) {
        self.group.sink().sync();
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let sink = self.group.sink();
        let mut reader = sink.0.reader_from(Lsn(0)).expect("a reader");
        while let Some(record) = reader.next() {
            see(record.expect("read").1);
        }
    }
}
