//! What the coordinator takes.

use std::sync::Arc;

use tierlog_storage::{
    Incarnation, Offset, SegmentNo, StreamId,
    manifest::{Entry, RetentionState, SealedFacts, SegmentStatus, Seq, StreamState},
    segment::Latched,
};

use super::Reply;
use crate::{
    coordinator::{Hot, Id, Ledger},
    error::Error,
    kind::Kind,
    stream::shared::StreamShared,
    under_way::Hold,
    writer::WriterHandle,
};

/// Admit a segment: make its file, durably, and say so in the manifest.
#[derive(Debug)]
pub struct Admit {
    /// For which stream.
    pub stream: StreamId,
    /// Its number.
    pub no: SegmentNo,
    /// The life that it belongs to.
    pub incarnation: Incarnation,
    /// Bytes to allocate at once.
    pub allocate: u64,
    /// False for the replacement of a failed segment, which is committed together with what it
    /// replaces, after its content is there.
    pub commit: bool,
    /// Who is told when there is room, if there is none now.
    pub nudge: WriterHandle,
    /// The segment, or what is short, or an error.
    pub done: Reply<Result<Admitted, AdmitError>>,
}

/// A segment that may be written to.
#[derive(Debug)]
pub struct Admitted {
    /// Its file.
    pub file: Arc<Latched>,
    /// Its number.
    pub no: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// Its size when full.
    pub capacity: u64,
    /// Bytes allocated.
    pub allocated: u64,
    /// The manifest commit that names it; zero where that is still to come.
    pub seq: Seq,
    /// The entry that names it, for those who commit it themselves.
    pub entry: Entry,
    /// Its place in the hot budget; dropped with it unused, the place is free again.
    pub guard: AdmissionGuard,
    /// Its file is nobody's to sweep, as long as its writer has it: who commits it himself has not named
    /// it yet.
    pub hold: Hold,
}

/// Why a segment was not admitted.
#[derive(Debug, Clone)]
pub enum AdmitError {
    /// A resource is short; the coordinator nudges the writer when there is room.
    Short(Kind),
    /// It failed, and may be tried again.
    Failed(Error),
}

/// Bytes of the hot budget that an admitted segment holds. The coordinator counts them until the
/// segment is gone; a guard that is dropped unused gives them back.
#[derive(Debug)]
pub struct AdmissionGuard {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) open: Option<Id>,
    pub(crate) bytes: u64,
}

impl AdmissionGuard {
    /// The segment is in use: its bytes are held until it is removed.
    pub fn keep(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(id) = self.open {
            self.ledger.begun(id, bytes);
        }
    }
}

impl Drop for AdmissionGuard {
    fn drop(&mut self) {
        self.ledger.release(Hot::of(self.bytes));
    }
}

/// A segment has its footer and is synced: say so in the manifest, and account for its true size.
#[derive(Debug)]
pub struct Rollover {
    /// Of which stream.
    pub stream: Arc<StreamShared>,
    /// Which segment.
    pub no: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// What the manifest keeps of it.
    pub facts: SealedFacts,
    /// Answered once the manifest says so.
    pub done: Reply<Result<(), Error>>,
}

/// Drop everything below `before`.
#[derive(Debug)]
pub struct Trim {
    /// Of which stream.
    pub stream: Arc<StreamShared>,
    /// The first offset to keep.
    pub before: Offset,
    /// The new start, once it is durable.
    pub done: Reply<Result<Offset, Error>>,
}

/// Keep so much of a stream from now on.
#[derive(Debug)]
pub struct Retain {
    /// Of which stream.
    pub stream: Arc<StreamShared>,
    /// How much.
    pub retention: RetentionState,
    /// Answered once the manifest says so.
    pub done: Reply<Result<(), Error>>,
}

/// A repair or a truncation has changed what segments there are; the manifest says so, durably.
#[derive(Debug)]
pub struct Changed {
    /// Of which stream.
    pub stream: StreamId,
    /// Named by nothing any more: remove their files, and free their bytes.
    pub gone: Vec<SegmentNo>,
    /// They end here now, without a footer, and have their segment file alone; with their salts.
    pub closed: Vec<(SegmentNo, u64, SegmentStatus)>,
    /// The files of what is gone are nobody's to sweep until they are removed.
    pub holds: Vec<Hold>,
}

/// The stream is open from now on: readers go by its list of segments.
#[derive(Debug)]
pub struct Attach {
    /// It.
    pub stream: Arc<StreamShared>,
    /// What the manifest said of it when it was opened.
    pub state: StreamState,
}

/// Make the segment file again, since it is to be cut.
#[derive(Debug)]
pub struct Hydrate {
    /// Of which stream.
    pub stream: StreamId,
    /// Which segment.
    pub no: SegmentNo,
    /// Answered once it is hot.
    pub done: Reply<Result<(), Error>>,
}
