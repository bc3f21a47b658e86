//! What a story was told of each stream, and what has to be there afterwards.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use tierlog::{Ack, AppendError, Error, ErrorKind, From, Level, Offset, Record, Stream};

/// An error is told for what it is: nothing was damaged here.
pub fn fair(what: &str, error: &Error) {
    let lies = matches!(error.kind(), ErrorKind::Restore);
    assert!(
        !lies,
        "{what}: a call failed, and damage was told: {error:?}"
    );
}

/// What one stream was asked for, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Account {
    ids: u64,
    len: usize,
    /// By offset: acked as durable, and not given up since.
    acked: BTreeMap<u64, u64>,
    /// Surely not in the log.
    never: BTreeSet<u64>,
    /// Trimmed at least so far, and at most.
    start: (u64, u64),
}

/// The bytes of a record: its id, and noise that no compression makes smaller.
fn payload(id: u64, len: usize) -> Vec<u8> {
    let mut bytes = format!("{id:08}").into_bytes();
    bytes.resize(len.max(8), 0);
    fastrand::Rng::with_seed(id).fill(&mut bytes[8..]);
    bytes
}

impl Account {
    pub fn of(len: usize) -> Self {
        Self {
            len,
            ..Self::default()
        }
    }

    /// Appends one record.
    pub async fn append(&mut self, stream: &Stream, level: Level) {
        self.ids += 1;
        let id = self.ids;
        let outcome = stream.append_at(payload(id, self.len), level).await;
        self.appended(id, level, outcome);
    }

    fn appended(&mut self, id: u64, level: Level, outcome: Result<Ack, AppendError>) {
        match outcome {
            // Not safe from the end of the process that is to come: nobody promised so.
            Ok(_) if level == Level::Written => {}
            Ok(ack) => {
                let before = self.acked.insert(ack.offset.get(), id);
                assert_eq!(before, None, "an offset was acked twice");
            }
            Err(failed) => {
                fair("append", &failed.error);
                if !failed.records.is_empty() {
                    self.never.insert(id);
                }
            }
        }
    }

    pub async fn trim(&mut self, stream: &Stream, before: u64) {
        self.start.1 = self.start.1.max(before);
        match stream.trim(Offset(before)).await {
            Ok(start) => {
                self.start.0 = self.start.0.max(start.get());
                self.acked = self.acked.split_off(&start.get());
            }
            Err(error) => fair("trim", &error),
        }
    }

    /// Appends several, one behind the other, without waiting in between.
    pub async fn several(&mut self, stream: &Stream, count: u64) {
        let ids: Vec<_> = (self.ids + 1..=self.ids + count).collect();
        self.ids += count;
        let appends = ids.iter().map(|id| stream.append(payload(*id, self.len)));
        for (id, outcome) in ids.iter().zip(join_all(appends).await) {
            self.appended(*id, Level::Durable, outcome);
        }
    }

    /// Appends several at once: one frame.
    pub async fn batch(&mut self, stream: &Stream, count: u64) {
        let ids: Vec<_> = (self.ids + 1..=self.ids + count).collect();
        self.ids += count;
        let records = ids.iter().map(|id| payload(*id, self.len).into());
        match stream.append_batch(records.collect()).await {
            Ok(ack) => {
                for (offset, id) in (ack.offset.get()..).zip(ids) {
                    let before = self.acked.insert(offset, id);
                    assert_eq!(before, None, "an offset was acked twice");
                }
            }
            Err(failed) => {
                fair("append a batch", &failed.error);
                if !failed.records.is_empty() {
                    self.never.extend(ids);
                }
            }
        }
    }

    /// Cuts off the newest records.
    pub async fn truncate(&mut self, stream: &Stream, count: u64) {
        let now = stream.watermarks();
        let Some(last) = now.durable.get().checked_sub(count + 1) else {
            return;
        };
        // Done or not, or not known: what was beyond it is nobody's any more.
        let gone = self.acked.split_off(&(last + 1));
        match stream.truncate_after(Some(Offset(last))).await {
            // It was refused, and nothing has happened.
            Err(Error::Archived { .. }) => self.acked.extend(gone),
            Err(error) => fair("truncate", &error),
            Ok(_) => {}
        }
    }

    /// Reads as far as it can be read, and compares.
    pub async fn read(&self, stream: &Stream) {
        let mut reader = match stream.reader(From::Earliest).await {
            Ok(reader) => reader,
            Err(error) => return fair("reader", &error),
        };
        loop {
            match reader.next_batch(10).await {
                Ok(batch) if batch.is_empty() => return,
                Ok(batch) => self.known(&batch),
                Err(error) => return fair("read", &error),
            }
        }
    }

    /// What was read is what was appended.
    fn known(&self, records: &[Record]) {
        for record in records {
            let offset = record.offset.get();
            let id = self.id_of(record);
            let acked = self.acked.get(&offset);
            assert!(
                acked.is_none_or(|acked| *acked == id),
                "{offset}: {id}, {acked:?}"
            );
            assert!(!self.never.contains(&id), "record {id} was handed back");
        }
    }

    fn id_of(&self, record: &Record) -> u64 {
        let text = std::str::from_utf8(&record.payload[..8]).expect("an id");
        let id = text.parse().expect("a number");
        assert!(
            record.payload == payload(id, self.len),
            "{id} has other bytes"
        );
        assert!(id <= self.ids, "{id} came from nowhere");
        id
    }

    /// Everything that was acked is there, once and in order, and nothing that was never appended.
    pub async fn check(&self, stream: &Stream) {
        let start = stream.watermarks().start.get();
        let (least, most) = self.start;
        assert!((least..=most).contains(&start), "{least} {start} {most}");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let mut read = Vec::new();
        loop {
            let batch = reader.next_batch(100).await.expect("all of it can be read");
            if batch.is_empty() {
                break;
            }
            read.extend(batch);
        }
        self.known(&read);
        let ids: Vec<_> = read.iter().map(|record| self.id_of(record)).collect();
        assert!(
            ids.is_sorted_by(|a, b| a < b),
            "twice, or out of order: {ids:?}"
        );
        let offsets: Vec<_> = read.iter().map(|record| record.offset.get()).collect();
        assert!(
            offsets.iter().copied().eq(start..start + read.len() as u64),
            "{offsets:?}"
        );
        for (offset, id) in self.acked.range(start..) {
            let there = offsets.contains(offset);
            assert!(
                there,
                "record {id} at {offset} was acked, and {offsets:?} are there"
            );
        }
    }
}
