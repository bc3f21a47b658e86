//! Records on their way: what waits to be sent, what was sent and has no ack yet, and what came
//! back because the disk was full.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tierlog::{Ack, AppendError, Error, Kind, Level, NewRecord, Offset, Stream, Ticket, TryAppend};

use crate::exit::Ending;
use crate::input::{Batch, Room};

/// What came of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// One more is on its way.
    Sent,
    /// As many as allowed are on their way.
    WindowFull,
    /// The log has no room for the next one, of so many bytes.
    NoRoom(Kind, usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flight {
    stream: Stream,
    level: Level,
    window: usize,
    waiting: VecDeque<Waiting>,
    sent: VecDeque<(Ticket, u64)>,
    /// The outcome of the first of `sent`, when it was seen by [`Flight::landed`].
    outcome: Option<Result<Ack, AppendError>>,
    /// Came back without a side effect, in order. Nothing is sent past them: they are sent again,
    /// before all others, once everything behind them has come back too.
    returned: VecDeque<NewRecord>,
}

/// A record that waits, and what its batch takes up, in the last one of it.
#[derive(Debug)]
struct Waiting {
    record: NewRecord,
    room: Option<Room>,
}

impl Flight {
    pub(super) fn new(stream: Stream, level: Level, window: usize) -> Self {
        Self {
            stream,
            level,
            window,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            outcome: None,
            returned: VecDeque::new(),
        }
    }

    /// More records, behind all others.
    pub(super) fn board(&mut self, batch: Batch) {
        let Batch { records, room } = batch;
        let waiting = |record| Waiting { record, room: None };
        self.waiting.extend(records.into_iter().map(waiting));
        if let Some(last) = self.waiting.back_mut() {
            last.room = Some(room);
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.returned.is_empty()
    }

    /// Whether nothing that was sent is without an outcome.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Gives up what has not been sent.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.returned.clear();
    }

    /// Sends the next one that waits.
    pub(super) fn send(&mut self) -> Result<Step, Ending> {
        if !self.returned.is_empty() {
            if !self.sent.is_empty() {
                return Ok(Step::WindowFull);
            }
            // The disk was full a moment ago; ask before trying again.
            let bytes = self.returned.front().map_or(0, weight);
            while let Some(record) = self.returned.pop_back() {
                self.waiting.push_front(Waiting { record, room: None });
            }
            return Ok(Step::NoRoom(Kind::Admission, bytes));
        }
        if self.sent.len() >= self.window {
            return Ok(Step::WindowFull);
        }
        let Some(Waiting { record, room }) = self.waiting.pop_front() else {
            return Ok(Step::Sent);
        };
        let bytes = weight(&record);
        match self.stream.try_append(record) {
            Ok(ticket) => {
                self.sent.push_back((ticket.at(self.level), bytes as u64));
                Ok(Step::Sent)
            }
            Err(TryAppend::WouldBlock { kind, payload }) => {
                self.waiting.push_front(Waiting {
                    record: payload,
                    room,
                });
                Ok(Step::NoRoom(kind, bytes))
            }
            Err(TryAppend::Failed { error, .. }) => Err(error.into()),
        }
    }

    /// Waits until the first of those that were sent has its outcome; for ever when there is none.
    /// Cancelling it loses nothing.
    pub(super) async fn landed(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        let Some((ticket, _)) = self.sent.front_mut() else {
            return std::future::pending().await;
        };
        let outcome = poll_fn(|cx| match Pin::new(&mut *ticket).poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Pending,
        });
        self.outcome = Some(outcome.await);
    }

    /// The offset and the bytes of the next ack, if it has come.
    pub(super) fn take_landed(&mut self) -> Result<Option<(Offset, u64)>, Ending> {
        loop {
            let outcome = match self.outcome.take() {
                Some(outcome) => outcome,
                None => match self.sent.front_mut().and_then(|(ticket, _)| ticket.now()) {
                    Some(outcome) => outcome,
                    None => return Ok(None),
                },
            };
            let bytes = self.sent.pop_front().map_or(0, |(_, bytes)| bytes);
            match outcome {
                Ok(ack) if self.returned.is_empty() => return Ok(Some((ack.offset, bytes))),
                Ok(_) => {
                    return Err(Ending::Failed {
                        what: "a record was appended past one that had found no room".into(),
                        kind: "reopen",
                        advice: "read the stream to see which records it has".into(),
                    });
                }
                Err(refused) => self.take_back(refused)?,
            }
        }
    }

    /// A record that found the disk full, or that was queued behind one, comes back and is sent
    /// again later; anything else ends the run.
    fn take_back(&mut self, refused: AppendError) -> Result<(), Ending> {
        let again = match &refused.error {
            Error::StorageFull => true,
            Error::NotAppended { .. } => !self.returned.is_empty(),
            _ => false,
        };
        if !again || refused.records.is_empty() {
            return Err(refused.into());
        }
        self.returned.extend(refused.records);
        Ok(())
    }
}

/// What a record counts for.
fn weight(record: &NewRecord) -> usize {
    record.payload.len()
}
