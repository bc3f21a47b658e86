//! The ways in which tierlog takes records, without waiting for the disk.

use std::{ops::Range, time::Duration};

use tempfile::TempDir;
use tierlog::{
    FlushPolicy, From, Level, NewRecord, Reader, Settings, Size, Stream, Supervisor, Ticket,
    TryAppend,
};

use crate::{place, records::Records};

/// The window is large enough for a whole run, and nothing is synced until its end.
pub fn settings(folder: &TempDir) -> Settings {
    Settings {
        flush: FlushPolicy::Manual,
        unsynced_bytes: Size::mib(256),
        segment_size: Size::mib(256),
        ..place::settings(folder)
    }
}

/// A log with one stream, which has taken a record already.
pub async fn open(settings: Settings) -> (Supervisor, Stream) {
    let log = Supervisor::open(settings).await.expect("a log");
    let stream = log.log().stream("bench").await.expect("a stream");
    (log, stream)
}

/// Closes it.
pub async fn close(log: Supervisor) {
    let report = log.shutdown(Duration::from_secs(60)).await.expect("closed");
    assert!(report.clean, "all of it was written");
}

/// By an [`Appender`](tierlog::Appender) of its own.
pub async fn appender(stream: &Stream, records: &Records, range: Range<usize>) {
    let mut appender = stream.appender();
    let mut last = None;
    for n in range {
        if let Some(ticket) = appender.push(records.get(n)).await.expect("room") {
            last = Some(ticket);
        }
    }
    let rest = appender.send().await.expect("room");
    rest.or(last)
        .expect("something was sent")
        .at(Level::Written)
        .await
        .expect("written");
}

/// A ticket for one record, whatever it has to wait for.
async fn ticket(stream: &Stream, payload: bytes::Bytes) -> Ticket {
    let mut record = NewRecord::new(payload);
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return ticket,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                record = payload;
                stream.ready_for(kind, 16 * 1024).await;
            }
            Err(TryAppend::Failed { error, .. }) => panic!("{error}"),
        }
    }
}

/// By `try_append`, and then all tickets are awaited.
pub async fn tickets(stream: &Stream, records: &Records, range: Range<usize>) {
    let mut tickets = Vec::with_capacity(range.len());
    for n in range {
        let ticket = ticket(stream, records.shared(n)).await;
        tickets.push(ticket.at(Level::Written));
    }
    for ticket in tickets {
        ticket.await.expect("written");
    }
}

/// One after the other.
pub async fn awaited(stream: &Stream, records: &Records, range: Range<usize>) {
    for n in range {
        stream
            .append_at(records.shared(n), Level::Written)
            .await
            .expect("written");
    }
}

/// Shows all that a reader gets until the end.
pub async fn visit(reader: &mut Reader, mut see: impl FnMut(&[u8])) -> usize {
    let mut seen = 0;
    loop {
        let count = reader
            .visit(usize::MAX, |record| see(record.payload))
            .await
            .expect("read");
        if count == 0 {
            return seen;
        }
        seen += count;
    }
}

/// A reader from the first record on.
pub async fn reader(stream: &Stream) -> Reader {
    stream.reader(From::Earliest).await.expect("a reader")
}
