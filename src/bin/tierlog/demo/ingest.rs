//! The first pass: the file into the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tierlog::{Appender, Counters, NewRecord, Settings, Stream, Supervisor, Ticket, TryAppend};

use crate::exit::Ending;
use crate::input::Input;
use crate::session::{Patience, room_for};

use super::STREAM;
use super::pieces::{GOES_ON, Pieces};
use super::source::Source;

/// A piece of a line that is too long for one record.
pub(super) const PIECE: u64 = 64 * 1024;
/// An appender's buffer waits for room of any kind.
const FULL: &str = "the disk is full, or slower than the input";
/// Tickets that may be unresolved. The bytes behind them are bounded by `unsynced_bytes`.
const TICKETS: usize = 1024;

/// What the first pass did.
#[derive(Debug)]
pub(super) struct Ingested {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// From the first record to the last one durable.
    pub(super) took: Duration,
    pub(super) counters: Counters,
}

pub(super) async fn run(
    supervisor: &Supervisor,
    settings: &Settings,
    source: &Source,
    json: bool,
) -> Result<Ingested, Ending> {
    let stream = supervisor.log().stream(STREAM).await?;
    // The mark of a piece counts as well.
    let room = settings.max_record.bytes() - GOES_ON.len() as u64;
    let limit = room.min(PIECE);
    let mut input = Input::spawn(source.open()?, Pieces::new(limit as usize))?;
    let bar = source.progress("appending", json);
    let began = Instant::now();
    let mut road = Road {
        appender: stream.appender(),
        stream,
        tickets: VecDeque::new(),
        patience: Patience::new(json),
    };
    let (mut records, mut bytes) = (0, 0);
    while let Some(batch) = input
        .next()
        .await
        .map_err(|refused| Ending::failed(refused.what, refused.advice))?
    {
        for record in batch.records {
            records += 1;
            bytes += record.payload.len() as u64 + u64::from(record.key.is_none());
            road.take(record).await?;
        }
        bar.set_position(bytes);
    }
    road.arrive().await?;
    bar.finish_and_clear();
    Ok(Ingested {
        records,
        bytes,
        took: began.elapsed(),
        counters: supervisor.counters(),
    })
}

/// The way of records into the stream: lines through an [`Appender`], marked pieces one by one. Both
/// end in one lane, so their order is that of the calls.
struct Road {
    stream: Stream,
    appender: Appender,
    tickets: VecDeque<Ticket>,
    patience: Patience,
}

impl Road {
    async fn take(&mut self, record: NewRecord) -> Result<(), Ending> {
        if record.key.is_none() {
            let pushed = self.appender.push(&record.payload);
            let ticket = self.patience.wait(FULL, pushed).await?;
            return self.keep(ticket).await;
        }
        let sent = self.appender.send();
        let ticket = self.patience.wait(FULL, sent).await?;
        self.keep(ticket).await?;
        let mut record = record;
        loop {
            match self.stream.try_append(record) {
                Ok(ticket) => return self.keep(Some(ticket)).await,
                Err(TryAppend::WouldBlock { kind, payload }) => {
                    let ready = self.stream.ready_for(kind, payload.payload.len());
                    self.patience.wait(room_for(kind), ready).await;
                    record = payload;
                }
                Err(TryAppend::Failed { error, .. }) => return Err(error.into()),
            }
        }
    }

    /// Keeps a ticket until it is resolved, and waits for the oldest when they are many.
    async fn keep(&mut self, ticket: Option<Ticket>) -> Result<(), Ending> {
        self.tickets.extend(ticket);
        while let Some(outcome) = self.tickets.front_mut().and_then(Ticket::now) {
            outcome?;
            self.tickets.pop_front();
        }
        if self.tickets.len() > TICKETS
            && let Some(oldest) = self.tickets.pop_front()
        {
            oldest.await?;
        }
        Ok(())
    }

    /// Everything is sent, synced and acked.
    async fn arrive(&mut self) -> Result<(), Ending> {
        let sent = self.appender.send();
        let ticket = self.patience.wait(FULL, sent).await?;
        self.tickets.extend(ticket);
        self.stream.flush().await?;
        while let Some(ticket) = self.tickets.pop_front() {
            ticket.await?;
        }
        Ok(())
    }
}
