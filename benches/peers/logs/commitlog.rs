//! commitlog: one writer. `append_msg` is one `write` a record, and an entry of an index that is mapped into
//! memory. Its `flush` calls `File::flush`, which does nothing, and msync for the index: there is no way to
//! make its records durable.

use std::{
    ops::Range,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use commitlog::{
    CommitLog, LogOptions, ReadLimit,
    message::{MessageBuf, MessageSet},
};
use tierlog_benches::records::Records;

use super::{Kind, Log, ROOM, Use};

pub const SINGLE: Kind = Kind {
    name: "commitlog",
    open: |folder, used, _| Box::new(Messages::open(folder, used, 1)),
    append: Some("page cache"),
    durable: None,
    batch: None,
    scan: Some("CRC a record"),
    random: true,
    again: true,
};

pub const BATCHES: Kind = Kind {
    name: "commitlog, batches of 100",
    open: |folder, used, _| Box::new(Messages::open(folder, used, 100)),
    append: Some("page cache"),
    scan: None,
    random: false,
    again: false,
    ..SINGLE
};

struct Messages {
    log: Mutex<CommitLog>,
    together: usize,
}

impl Messages {
    fn open(folder: &Path, _: Use, together: usize) -> Self {
        let mut options = LogOptions::new(folder.join("commitlog"));
        options
            .segment_max_bytes(ROOM as usize)
            .index_max_items(2_000_000)
            .message_max_bytes(4 << 20);
        Self {
            log: Mutex::new(CommitLog::new(options).expect("a log")),
            together,
        }
    }

    fn log(&self) -> MutexGuard<'_, CommitLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Messages {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, alone: bool) {
        if self.together > 1 {
            let mut messages = MessageBuf::default();
            for from in range.clone().step_by(self.together) {
                messages.clear();
                for n in from..(from + self.together).min(range.end) {
                    messages.push(records.get(n)).expect("small");
                }
                self.log().append(&mut messages).expect("written");
            }
        } else if alone {
            let mut log = self.log();
            for n in range {
                log.append_msg(records.get(n)).expect("written");
            }
        } else {
            for n in range {
                self.log().append_msg(records.get(n)).expect("written");
            }
        }
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let (log, mut next) = (self.log(), 0);
        loop {
            let messages = log.read(next, ReadLimit::max_bytes(256 << 10));
            let messages = messages.expect("read");
            if messages.is_empty() {
                return;
            }
            for message in messages.iter() {
                assert!(message.verify_hash());
                see(message.payload());
                next += 1;
            }
        }
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let messages = self.log().read(at as u64, ReadLimit::max_bytes(1 << 10));
        let messages = messages.expect("read");
        let message = messages.iter().next().expect("it is there");
        assert!(message.verify_hash());
        see(message.payload());
    }
}
