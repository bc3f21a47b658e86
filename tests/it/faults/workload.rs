//! Work on one stream that keeps account of what it was told, and compares it with what is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tierlog::{
    AppendError, Error, ErrorKind, From, NewRecord, Offset, Stream, Supervisor, Ticket, TryAppend,
    testing::storage::disk::fault::{CallKind, Calls, Fault, FaultPlan},
};

use super::rig::segment;
use crate::support::{read_all, within};

/// What was submitted to a stream, and what came of it.
#[derive(Debug, Default)]
pub struct Account {
    next_id: u64,
    /// By offset: acked and not cut off since.
    acked: BTreeMap<u64, u64>,
    /// Outcome unknown, or acked and perhaps cut off.
    maybe: BTreeSet<u64>,
    /// Surely not in the log.
    never: BTreeSet<u64>,
    /// Set once the log itself is gone: the rest of the work is not done.
    pub closed: bool,
}

/// The bytes of a record.
pub fn payload(id: u64) -> String {
    format!("{id:08}:{}", "x".repeat((id as usize * 37) % 700))
}

/// The id that the bytes name.
fn id_of(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).expect("text");
    let id = text[..8].parse().expect("an id");
    assert_eq!(text, payload(id), "the bytes are what was appended");
    id
}

impl Account {
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn outcome(&mut self, ids: &[u64], outcome: Result<tierlog::Ack, AppendError>) -> bool {
        match outcome {
            Ok(ack) => {
                assert_eq!(ack.count as usize, ids.len());
                for (at, id) in ids.iter().enumerate() {
                    let before = self.acked.insert(ack.offset.get() + at as u64, *id);
                    assert_eq!(before, None, "an offset was acked twice");
                }
                true
            }
            Err(failed) => {
                self.failed(ids, &failed);
                false
            }
        }
    }

    fn failed(&mut self, ids: &[u64], failed: &AppendError) {
        match &failed.error {
            Error::Indeterminate { .. } => self.maybe.extend(ids),
            Error::NotAppended { .. } | Error::StorageFull | Error::Unavailable { .. } => {
                self.never.extend(ids);
            }
            Error::Closed => {
                self.closed = true;
                self.never.extend(ids);
            }
            other => panic!("{other}"),
        }
        if !failed.records.is_empty() {
            let back: Vec<_> = failed.records.iter().map(|r| id_of(&r.payload)).collect();
            assert_eq!(back, ids, "what comes back is what was submitted");
        }
    }

    /// Appends records one by one, without waiting in between, until each was acked.
    pub async fn singles(&mut self, stream: &Stream, count: usize) {
        let mut wanted = count;
        while wanted > 0 && !self.closed {
            let mut tickets = Vec::new();
            for _ in 0..wanted {
                let id = self.id();
                match submit(stream, NewRecord::from(payload(id))).await {
                    Ok(ticket) => tickets.push((id, ticket)),
                    Err(error) => {
                        let records = Vec::new();
                        self.failed(&[id], &AppendError { error, records });
                        break;
                    }
                }
            }
            for (id, ticket) in tickets {
                let outcome = within(ticket).await;
                wanted -= usize::from(self.outcome(&[id], outcome));
            }
        }
    }

    /// Appends a batch until it was acked.
    pub async fn batch(&mut self, stream: &Stream, count: usize) {
        while !self.closed {
            let ids: Vec<_> = (0..count).map(|_| self.id()).collect();
            let records = ids.iter().map(|id| payload(*id).into()).collect();
            let outcome = within(stream.append_batch(records)).await;
            if self.outcome(&ids, outcome) {
                return;
            }
        }
    }

    /// Appends through an appender until it was acked.
    pub async fn appender(&mut self, stream: &Stream, count: usize) {
        while !self.closed {
            let ids: Vec<_> = (0..count).map(|_| self.id()).collect();
            let mut appender = stream.appender();
            for id in &ids {
                let sent = within(appender.push(payload(*id).as_bytes())).await;
                assert!(sent.expect("it fits").is_none());
            }
            let outcome = match within(appender.send()).await {
                Ok(ticket) => within(ticket.expect("something was buffered")).await,
                Err(error) => Err(AppendError {
                    error,
                    records: Vec::new(),
                }),
            };
            if appender.pending() > 0 {
                // It was refused, and what is still buffered is sent once more when it is dropped.
                let refused = outcome.expect_err("it was not sent");
                self.closed |= matches!(refused.error, Error::Closed);
                self.maybe.extend(&ids);
                continue;
            }
            if self.outcome(&ids, outcome) {
                return;
            }
        }
    }

    /// Repeats a command until it was carried out.
    async fn command<F: Future<Output = Result<Offset, Error>>>(
        &mut self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> Option<Offset> {
        loop {
            match within(ask()).await {
                Ok(offset) => return Some(offset),
                Err(Error::Closed) => {
                    self.closed = true;
                    return None;
                }
                Err(error @ Error::Indeterminate { .. }) => drop(error),
                Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn flush(&mut self, stream: &Stream) {
        let end = self.command("flush", || stream.flush()).await;
        let last = self.acked.last_key_value().map_or(0, |(at, _)| at + 1);
        assert!(end.is_none_or(|end| end.get() >= last), "{end:?} {last}");
    }

    pub async fn seal(&mut self, stream: &Stream) {
        self.command("seal", || stream.seal()).await;
    }

    /// Drops the oldest `count` records.
    pub async fn trim(&mut self, stream: &Stream, count: u64) {
        let before = stream.watermarks().start.plus(count);
        if let Some(start) = self.command("trim", || stream.trim(before)).await {
            assert!(start >= before);
            self.acked = self.acked.split_off(&start.get());
        }
    }

    /// Cuts the newest `count` records off.
    pub async fn truncate(&mut self, stream: &Stream, count: u64) {
        let next = stream.watermarks().durable.get();
        let last = Offset(next - count - 1);
        let cut = self
            .command("truncate", || stream.truncate_after(Some(last)))
            .await;
        let gone = self.acked.split_off(&(last.get() + 1));
        match cut {
            Some(end) => {
                assert_eq!(end, last.plus(1));
                self.never.extend(gone.values());
            }
            None => self.maybe.extend(gone.values()),
        }
    }

    /// Reads what is durable and compares it with the account.
    pub async fn check(&mut self, stream: &Stream) {
        loop {
            let before = stream.watermarks();
            let records = match try_read_all(stream).await {
                Ok(records) => records,
                Err(Error::Closed) => {
                    self.closed = true;
                    return;
                }
                Err(
                    Error::Truncated { .. } | Error::Trimmed { .. } | Error::Unavailable { .. },
                ) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            if stream.watermarks().incarnation == before.incarnation {
                self.compare(before.start.get(), &records);
                return;
            }
        }
    }

    /// The same, of a log that nobody else touches.
    pub async fn check_settled(&self, stream: &Stream) {
        let marks = stream.watermarks();
        let records = within(read_all(stream)).await;
        assert_eq!(records.len() as u64, marks.durable.since(marks.start));
        self.compare(marks.start.get(), &records);
    }

    fn compare(&self, start: u64, records: &[tierlog::Record]) {
        let mut last = 0;
        let mut read = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let offset = start + at as u64;
            assert_eq!(record.offset.get(), offset, "offsets are dense");
            let id = id_of(&record.payload);
            assert!(
                id > last,
                "record {id} stands behind {last}: twice, or out of order"
            );
            assert!(
                !self.never.contains(&id),
                "record {id} was said not to be there"
            );
            last = id;
            read.insert(offset, id);
        }
        for (offset, id) in self.acked.range(start..) {
            assert_eq!(read.get(offset), Some(id), "offset {offset} was acked");
        }
        for (offset, id) in &read {
            let known = self.acked.get(offset) == Some(id) || self.maybe.contains(id);
            assert!(known, "record {id} at {offset} came from nowhere");
        }
    }

    /// All that a stream can be asked for, three times. With `plan`, writes fail now and then, so
    /// that the writer has to repair.
    pub async fn work(&mut self, stream: &Stream, plan: Option<&FaultPlan>) {
        for _ in 0..3 {
            self.singles(stream, 4).await;
            self.batch(stream, 3).await;
            self.appender(stream, 3).await;
            self.flush(stream).await;
            self.check(stream).await;
            if let Some(plan) = plan {
                // Of this stream alone: two faults at once are more than a repair can bear.
                let id = stream.id().to_string();
                let own = move |path: &Path| segment(path) && path.to_string_lossy().contains(&id);
                let armed = plan.fail(Calls::of(CallKind::WriteAt).at(own), Fault::Io);
                self.singles(stream, 2).await;
                armed.disarm();
            }
            self.seal(stream).await;
            self.singles(stream, 3).await;
            self.trim(stream, 3).await;
            if self.closed {
                return;
            }
            self.truncate(stream, 2).await;
            self.singles(stream, 1).await;
            self.check(stream).await;
        }
    }
}

/// Submits without waiting for the ack.
async fn submit(stream: &Stream, record: NewRecord) -> Result<Ticket, Error> {
    let mut record = record;
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return Ok(ticket),
            Err(TryAppend::WouldBlock { kind, payload }) => {
                record = payload;
                within(stream.ready(kind)).await;
            }
            Err(TryAppend::Failed { error, .. }) => return Err(error),
        }
    }
}

async fn try_read_all(stream: &Stream) -> Result<Vec<tierlog::Record>, Error> {
    let mut reader = within(async { stream.reader(From::Earliest).await }).await?;
    let mut records = Vec::new();
    loop {
        let batch = within(reader.next_batch(100)).await?;
        if batch.is_empty() {
            return Ok(records);
        }
        records.extend(batch);
    }
}

/// Opens a stream, again where the log was restarting.
pub async fn open_stream(log: &Supervisor, name: &str) -> Result<Stream, Error> {
    loop {
        match within(log.log().stream(name)).await {
            Ok(stream) => return Ok(stream),
            Err(Error::Closed) => return Err(Error::Closed),
            Err(Error::Indeterminate { .. } | Error::Unavailable { .. }) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
