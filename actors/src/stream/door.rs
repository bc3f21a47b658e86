//! The door of a stream: what it knows, and how it refuses.

use std::{sync::Arc, time::Duration};

use tierlog_storage::{Offset, segment::NewRecord};
use tokio::time::Instant;

use super::{
    budget::Short,
    marks::Level,
    shared::StreamShared,
    ticket::{Life, Ticket},
};
use crate::{error::Error, kind::Kind};

/// Why an append was refused at the door. Nothing happened.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// A resource is short.
    WouldBlock(Kind),
    /// It can't be appended.
    Failed(Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WouldBlock(kind) => Self::WouldBlock { kind },
            Refusal::Failed(error) => error,
        }
    }
}

/// How an `append_if` came out at the door.
#[derive(Debug)]
pub enum IfOutcome {
    /// Accepted.
    Accepted(Ticket),
    /// The stream is elsewhere: wait until `next` is durable in this life before saying so.
    Elsewhere {
        /// The next offset found.
        next: Offset,
        /// Tells when that is durable.
        settled: Settled,
        /// The record.
        record: NewRecord,
    },
    /// Refused.
    Refused(Refusal, NewRecord),
}

/// Whether a next offset that was found is durable.
#[derive(Debug)]
pub struct Settled {
    pub(super) life: Arc<Life>,
    pub(super) next: u64,
}

impl Settled {
    /// Waits until everything below it is durable; false when it came to nothing, so that the
    /// stream has to be looked at again.
    pub async fn is_settled(self) -> bool {
        match self.next.checked_sub(1) {
            Some(last) => Ticket::new(self.life, last, 1).await.is_ok(),
            None => true,
        }
    }
}

/// The door: offsets are given out and messages put on the lane under one lock, so that the order
/// of the lane is the order of the offsets.
#[derive(Debug)]
pub(super) struct Door {
    /// The next offset to give out.
    pub(super) next: u64,
    pub(super) life: Arc<Life>,
    /// Set while the writer can't take anything: what is short.
    pub(super) blocked: Option<Kind>,
    /// A truncation or a restart is under way.
    pub(super) held_shut: bool,
    /// Set for good: why everything is refused.
    pub(super) shut: Option<Error>,
    /// The append that is being timed.
    pub(super) timed: Option<Timed>,
}

/// An append whose way to durable is timed. There is one at a time, so that the clock is read once
/// for what becomes durable together and not once a record: the first one that is accepted after the
/// last one was durable, and so about the one that waits longest of its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    /// One past its last record.
    pub(super) end: u64,
    since: Instant,
}

impl Door {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if let Some(error) = &self.shut {
            return Some(Refusal::Failed(error.clone()));
        }
        if self.held_shut {
            return Some(Refusal::WouldBlock(Kind::Admission));
        }
        self.blocked.map(Refusal::WouldBlock)
    }

    /// So many records are on the lane.
    #[inline]
    pub(super) fn accepted(&mut self, count: u32) {
        self.next += u64::from(count);
        if self.timed.is_none() {
            let (end, since) = (self.next, Instant::now());
            self.timed = Some(Timed { end, since });
        }
    }

    /// Records at or beyond `end` will never be durable in the life that accepted them.
    pub(super) fn forget_timed_beyond(&mut self, end: u64) {
        self.timed.take_if(|timed| timed.end > end);
    }
}

impl StreamShared {
    /// How long the timed append took, once it is durable; then another one is timed.
    pub fn timed_append(&self) -> Option<Duration> {
        let mut door = self.lock();
        let durable = door.life.marks.get(Level::Durable);
        let timed = door.timed.take_if(|timed| timed.end <= durable)?;
        drop(door);
        Some(timed.since.elapsed())
    }
}

/// Limits of a stream's door.
#[derive(Debug, Clone, Copy)]
pub struct DoorLimits {
    /// Messages on the lane.
    pub lane: usize,
    /// The largest record or batch, encoded.
    pub max_record: usize,
}

impl Short {
    /// The kind that a refusal names.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Queued => Kind::Admission,
            Self::Unsynced => Kind::Flush,
        }
    }
}
