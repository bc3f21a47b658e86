//! The door of a stream: what it knows, and how it refuses.

use std::sync::Arc;

use tierlog_storage::{Offset, segment::NewRecord};

use super::{
    budget::Short,
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
