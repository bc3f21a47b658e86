//! logdb: `append` puts a record into a ring in memory; a thread of its own writes what is there, when there
//! are 1,024 records, after 10 ms, or when somebody flushes; `flush` waits for its fdatasync. Both sides
//! sleep between looks, so that the pauses are made short here.

use std::{ops::Range, path::Path, thread, time::Duration};

use logdb::{Config, DurabilityMode, LogDb, WaitStrategy};
use tierlog_benches::records::Records;

use super::{Kind, Log, ROOM};

pub const KIND: Kind = Kind {
    name: "logdb",
    open: |folder, _, _| Box::new(Db::open(folder)),
    append: Some("page cache, up to 10 ms later"),
    durable: Some("shared fdatasync"),
    batch: Some("fdatasync; not atomic"),
    scan: Some("CRC a record"),
    random: true,
    again: true,
};

struct Db(LogDb);

impl Db {
    fn open(folder: &Path) -> Self {
        let db = LogDb::open(Config {
            data_dir: folder.join("logdb"),
            segment_size: ROOM,
            // A sync when somebody asks for one, as the others do.
            durability_mode: DurabilityMode::Async,
            wait_strategy: WaitStrategy {
                park_duration: Duration::from_micros(20),
                ..WaitStrategy::default()
            },
            ..Config::default()
        });
        Self(db.expect("a log"))
    }
}

impl Log for Db {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        for n in range {
            self.0.append(records.get(n)).expect("taken");
        }
    }

    fn hand_over(&self, _: usize) {
        while self.0.committed_cursor() < self.0.producer_cursor() {
            thread::sleep(Duration::from_micros(20));
        }
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.0.append(payload).expect("taken");
        self.0.flush().expect("synced");
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        self.0.append_batch(payloads).expect("taken");
        self.0.flush().expect("synced");
    }

    fn sync(&self) {
        self.0.flush().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let records = self.0.scan(0, self.0.producer_cursor());
        for record in records.expect("a reader") {
            see(&record.expect("read").content);
        }
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let record = self.0.read(at as u64).expect("read");
        see(&record.expect("it is there").content);
    }

    fn close(self: Box<Self>) {
        let closed = self.0.shutdown(Duration::from_secs(60));
        closed.expect("closed");
    }
}
