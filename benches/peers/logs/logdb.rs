//! logdb: `append` puts a record into a ring in memory; a thread of its own writes what is there, when there
//! are 1,024 records, after 10 ms, or when somebody flushes; `flush` waits for its fdatasync. Both sides
//! sleep between looks, so that the pauses are made short here.

use std::{
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

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

struct Db {
    log: LogDb,
    appended: AtomicBool,
}

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
        Self {
            log: db.expect("a log"),
            appended: AtomicBool::new(false),
        }
    }
}

impl Log for Db {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        self.appended.store(true, Ordering::Relaxed);
        for n in range {
            self.log.append(records.get(n)).expect("taken");
        }
    }

    fn hand_over(&self, _: usize) {
        while self.log.committed_cursor() < self.log.producer_cursor() {
            thread::sleep(Duration::from_micros(20));
        }
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.appended.store(true, Ordering::Relaxed);
        self.log.append(payload).expect("taken");
        self.log.flush().expect("synced");
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        self.appended.store(true, Ordering::Relaxed);
        self.log.append_batch(payloads).expect("taken");
        self.log.flush().expect("synced");
    }

    fn sync(&self) {
        self.log.flush().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let records = self.log.scan(0, self.log.producer_cursor());
        for record in records.expect("a reader") {
            see(&record.expect("read").content);
        }
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let record = self.log.read(at as u64).expect("read");
        see(&record.expect("it is there").content);
    }

    fn close(self: Box<Self>) {
        // One that was opened again and not appended to waits for its whole deadline, since what it counts as
        // synced begins at nothing (logdb 0.6.0, `pipeline/signal.rs:37`); dropping it waits for 5 s.
        if self.appended.into_inner() {
            let closed = self.log.shutdown(Duration::from_secs(60));
            closed.expect("closed");
        }
    }
}
