//! seglog: one segment file, one writer. `append` fills a buffer of 16 KiB in the process and writes it
//! when it is full; `flush_writer` writes the rest; `commit` adds a marker and syncs. What no marker stands
//! behind is gone after a restart.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use seglog::{
    read::{ReadHint, Reader},
    write::Writer,
};
use tierlog_benches::records::Records;

use super::{
    Kind, Log, ROOM, Use,
    group::{Group, Sink},
};

pub const KIND: Kind = Kind {
    name: "seglog",
    open: |folder, used, _| Box::new(Seglog::open(folder, used)),
    append: Some("page cache, no commit marker"),
    durable: Some("fdatasync, shared by our queue"),
    batch: Some("fdatasync"),
    scan: Some("CRC a record"),
    random: true,
    again: true,
};

const START: u64 = 64;

struct One {
    writer: Writer<0>,
    committed: u64,
}

impl Sink for One {
    fn write(&mut self, payload: &[u8]) {
        self.writer.append_data(payload).expect("room");
    }

    fn sync(&mut self) {
        self.committed += 1;
        self.writer.commit(self.committed).expect("synced");
    }
}

struct Seglog {
    group: Group<One>,
    path: PathBuf,
    places: Mutex<Vec<u64>>,
}

impl Seglog {
    fn open(folder: &Path, used: Use) -> Self {
        let path = folder.join("segment");
        let writer = match used {
            Use::Again => Writer::open(&path, ROOM as usize, START),
            _ => Writer::create(&path, ROOM as usize, START),
        };
        let writer = writer.expect("a segment");
        let committed = writer.last_committed_position().unwrap_or(0);
        Self {
            group: Group::new(One { writer, committed }),
            path,
            places: Mutex::default(),
        }
    }

    fn reader(&self) -> Reader<0> {
        let flushed = self.group.sink().writer.flushed_offset();
        Reader::open_read_only(&self.path, Some(flushed)).expect("a reader")
    }
}

impl Log for Seglog {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, alone: bool) {
        if alone {
            let mut sink = self.group.sink();
            range.for_each(|n| sink.write(records.get(n)));
        } else {
            range.for_each(|n| self.group.sink().write(records.get(n)));
        }
    }

    fn hand_over(&self, _: usize) {
        self.group.sink().writer.flush_writer().expect("written");
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
        let mut reader = self.reader();
        let mut records = reader.iter(START);
        while let Some(record) = records.next_record().expect("read") {
            see(&record.data);
        }
    }

    fn fill(&self, records: &Records) {
        let mut sink = self.group.sink();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..records.count() {
            let (place, _) = sink.writer.append_data(records.get(n)).expect("room");
            places.push(place);
        }
        sink.sync();
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner)[at];
        // A reader holds buffers of its own, so that an app keeps one a thread.
        thread_local!(static OPEN: std::cell::RefCell<Option<(PathBuf, Reader<0>)>> = const { std::cell::RefCell::new(None) });
        OPEN.with_borrow_mut(|open| {
            if open.as_ref().is_none_or(|(path, _)| *path != self.path) {
                *open = Some((self.path.clone(), self.reader()));
            }
            let (_, reader) = open.as_mut().expect("just opened");
            see(&reader
                .read_record(place, ReadHint::Random)
                .expect("read")
                .data);
        });
    }

    fn close(self: Box<Self>) {
        let one = self.group.into_sink();
        one.writer.close().expect("closed");
    }
}
