//! What a stream's writer takes.
//!
//! Everything whose order matters travels on the lane: a seal stands behind the appends that it
//! seals. The kameo mailbox carries only what may overtake them.

use tierlog_storage::{
    Offset,
    segment::{FrameBuilder, FrameSeal, NewRecord, Record},
};

use super::Reply;
use crate::{error::Error, stream::budget::Permit};

/// A message on the lane.
#[derive(Debug)]
pub enum LaneMsg {
    /// Records in the order of their offsets.
    Append(Append),
    /// A command that takes effect behind everything accepted before it.
    Control(Control),
}

/// Accepted records, the first of which has the offset `first`.
#[derive(Debug)]
pub struct Append {
    /// The offset of the first record.
    pub first: u64,
    /// The bytes that it holds; they ride along so that they come back exactly once.
    pub permit: Permit,
    /// The records.
    pub what: Payload,
}

/// What is appended at once: never split over two frames.
#[derive(Debug)]
pub enum Payload {
    /// One record.
    One(NewRecord),
    /// Several, all or nothing.
    Batch(Vec<NewRecord>),
    /// Several that a client-side appender has encoded already.
    Encoded(Box<FrameBuilder>),
}

impl Payload {
    /// How many records.
    pub fn count(&self) -> u32 {
        match self {
            Self::One(_) => 1,
            // Batches are limited in bytes, and each record takes at least two.
            Self::Batch(records) => u32::try_from(records.len()).unwrap_or(u32::MAX),
            Self::Encoded(builder) => builder.count(),
        }
    }

    /// The records, to be handed back.
    pub fn into_records(self) -> Vec<NewRecord> {
        match self {
            Self::One(record) => vec![record],
            Self::Batch(records) => records,
            Self::Encoded(builder) => {
                let seal = FrameSeal {
                    base: Offset(0),
                    durable: Offset(0),
                    salt: 0,
                };
                // What this process has just encoded decodes; should it not, there is nothing
                // left to hand back, and the ticket still ends with its error.
                builder
                    .finish(&seal)
                    .records()
                    .map_while(Result::ok)
                    .map(as_appended)
                    .collect()
            }
        }
    }
}

/// A record as it was appended.
fn as_appended(record: Record) -> NewRecord {
    let Record {
        payload,
        key,
        ext_id,
        ..
    } = record;
    NewRecord {
        payload,
        key,
        ext_id,
    }
}

/// A command in the order of the lane.
#[derive(Debug)]
pub enum Control {
    /// Answer once everything accepted so far is durable; sync now, whatever the policy.
    Flush(Reply<Result<Offset, Error>>),
    /// Seal the active segment; answer with its end once the manifest says so.
    Seal(Reply<Result<Offset, Error>>),
    /// Remove every record at or beyond the offset. The door stays shut until it is done.
    Truncate(Offset, Reply<Result<Offset, Error>>),
    /// Write and sync what is left, mark the end, and stop. The door is shut for good.
    Retire(Reply<Retired>),
}

/// How a writer ended its work.
#[derive(Debug)]
pub struct Retired {
    /// What the manifest should say of the stream's end; empty where it could not be reached.
    pub entries: Vec<tierlog_storage::manifest::Entry>,
    /// Accepted records that could not be made durable.
    pub undrained: u64,
    /// What stood in the way.
    pub error: Option<Error>,
}

/// Control mailbox: room was made; look again whether a segment can be had.
#[derive(Debug)]
pub struct Nudge;

/// Control mailbox: tell what the writer is doing.
#[derive(Debug)]
pub struct Inspect(pub Reply<WriterHealth>);

/// What a writer is doing.
#[derive(Debug, Clone, serde::Serialize)]
pub struct WriterHealth {
    /// The stream's name.
    pub stream: String,
    /// Frames written and not durable.
    pub held_frames: usize,
    /// A repair after a failed write or sync is going on.
    pub repairing: bool,
    /// Failed writes and syncs that were recovered from.
    pub repaired: u64,
    /// Why it refuses appends for good, if it does.
    pub failed: Option<String>,
}
