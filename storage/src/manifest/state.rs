//! What the manifest says, in memory: the sum of its entries.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    PartsState, RetentionState, Segments, Seq, apply::Undo, entry::Entry, wire::Reader, wire::Wire,
    wire::wire_struct,
};
use crate::{
    error::Result,
    ids::{Epoch, Incarnation, LogId, Offset, OwnerId, SegmentNo, StreamId},
};

/// The sum of a manifest's entries.
///
/// Streams are added and renumbered by [`ManifestState::apply`] alone: it keeps an index of their
/// names beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestState {
    /// Which log this is about.
    pub log: LogId,
    /// The latest owner.
    pub epoch: Epoch,
    /// The sequence of the last entry that is part of this. A snapshot takes no sequences: it has
    /// the one at which it was taken.
    pub seq: Seq,
    /// The number of the last catalog object in Tier 2 that is this directory's own.
    pub published: Option<u64>,
    /// The owners that this directory was, or tried to be: the one that made the latest claim known, and
    /// those of which it is not known whether theirs came to be.
    pub claims: Vec<ClaimState>,
    /// Uploads in parts of which something may be left in Tier 2, the oldest first.
    pub parts: Vec<PartsState>,
    /// The streams.
    pub streams: BTreeMap<StreamId, StreamState>,
    #[serde(skip)]
    pub(super) names: BTreeMap<String, StreamId>,
    /// Set between the two ends of a snapshot that is being read.
    #[serde(skip)]
    pub(super) pending: Option<PendingSnapshot>,
}

/// What the beginning of a snapshot announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingSnapshot {
    pub(super) streams: u64,
    pub(super) segments: u64,
}

/// What the manifest says of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// When it was created, in nanoseconds since the epoch of Unix.
    pub created_ns: u64,
    /// The first offset that is kept.
    pub start: Offset,
    /// The highest end known. An open segment may hold more.
    pub next: Offset,
    /// The first segment number that was never used.
    pub next_segment: SegmentNo,
    /// The life of its tail.
    pub incarnation: Incarnation,
    /// Its latest mark; a truncation takes it away.
    pub mark: Option<MarkState>,
    /// A published catalog object names every segment that ends here or before.
    pub archived: Offset,
    /// How much it keeps.
    pub retention: RetentionState,
    /// Its segments.
    pub segments: Segments,
}

/// An owner of Tier 2 that this directory was, or tried to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClaimState {
    /// The number of its claim.
    pub number: u64,
    /// It.
    pub owner: OwnerId,
}

/// How far a stream was durable when somebody last said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MarkState {
    /// Every record below is durable.
    pub durable: Offset,
    /// The segment that was being written, if any.
    pub segment: Option<SegmentNo>,
    /// The byte behind the last durable frame of that segment.
    pub end_byte: u64,
    /// The life of the tail that this was said about.
    pub incarnation: Incarnation,
    /// The stream was closed in order: nothing stood behind the mark.
    pub clean: bool,
}

wire_struct!(MarkState {
    durable,
    segment,
    end_byte,
    incarnation,
    clean
});

/// What the manifest says of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentState {
    /// What its frames' checksums are salted with.
    pub salt: u64,
    /// How many bytes it is meant to hold.
    pub capacity: u64,
    /// The owner that created it.
    pub epoch: Epoch,
    /// The life of the tail in which it was created.
    pub incarnation: Incarnation,
    /// Whether it may still grow.
    pub status: SegmentStatus,
    /// Where copies of it are.
    pub residency: Residency,
}

wire_struct!(SegmentState {
    salt,
    capacity,
    epoch,
    incarnation,
    status,
    residency
});

/// Whether a segment may still grow, and where it ends if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SegmentStatus {
    /// It is part of the tail: what it holds, only its bytes say.
    Open,
    /// It ends where the manifest says; there is no footer.
    Closed {
        /// Its first offset.
        base: Offset,
        /// The offset behind its last record.
        end: Offset,
        /// The byte behind its last frame.
        end_byte: u64,
    },
    /// It is complete and ends with a footer.
    Sealed(SealedFacts),
}

/// What is known of a sealed segment without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SealedFacts {
    /// Its first offset.
    pub base: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// The byte behind its last frame, where the footer begins.
    pub data_end: u64,
    /// The file's length, footer included.
    pub file_len: u64,
    /// The timestamp of its first record.
    pub first_ts: u64,
    /// The timestamp of its last record.
    pub last_ts: u64,
    /// The least and the greatest ext_id, where there is any.
    pub ext: Option<(u64, u64)>,
    /// The digest over the checksums of its frames.
    pub digest: u64,
    /// A flush of it had failed once.
    pub flush_failed: bool,
}

wire_struct!(SealedFacts {
    base,
    end,
    data_end,
    file_len,
    first_ts,
    last_ts,
    ext,
    digest,
    flush_failed
});

/// Where copies of a segment are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Residency {
    /// The segment file itself.
    pub hot: bool,
    /// The compressed file.
    pub warm: Option<WarmCopy>,
    /// An upload that was begun and is neither finished nor aborted.
    pub upload: Option<UploadState>,
    /// The object.
    pub cold: Option<ColdCopy>,
    /// The local copy was found damaged and is to be fetched again.
    pub needs_recovery: bool,
}

wire_struct!(Residency {
    hot,
    warm,
    upload,
    cold,
    needs_recovery
});

/// A compressed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WarmCopy {
    /// Its length.
    pub file_len: u64,
    /// Its checksum.
    pub crc: u64,
}

wire_struct!(WarmCopy { file_len, crc });

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadState {
    /// The object's key.
    pub key: String,
    /// What tells it from another one of the same key.
    pub upload_id: String,
}

wire_struct!(UploadState { key, upload_id });

/// An object in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColdCopy {
    /// Its key.
    pub key: String,
    /// Its length.
    pub len: u64,
    /// Its checksum.
    pub crc: u64,
    /// It is being deleted and no longer counts as a copy.
    pub dropped: bool,
}

wire_struct!(ColdCopy {
    key,
    len,
    crc,
    dropped
});

impl Wire for SegmentStatus {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open => out.push(0),
            Self::Closed {
                base,
                end,
                end_byte,
            } => {
                out.push(1);
                base.put(out);
                end.put(out);
                end_byte.put(out);
            }
            Self::Sealed(facts) => {
                out.push(2);
                facts.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.array()? {
            [0] => Self::Open,
            [1] => Self::Closed {
                base: Wire::take(from)?,
                end: Wire::take(from)?,
                end_byte: Wire::take(from)?,
            },
            [2] => Self::Sealed(Wire::take(from)?),
            _ => return None,
        })
    }
}

impl SegmentStatus {
    /// The offsets that it holds, the end exclusive; `None` while only its bytes say.
    pub const fn range(&self) -> Option<(Offset, Offset)> {
        match self {
            Self::Open => None,
            Self::Closed { base, end, .. } => Some((*base, *end)),
            Self::Sealed(facts) => Some((facts.base, facts.end)),
        }
    }

    /// It is part of the tail.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// The byte behind the last frame; `None` while only its bytes say.
    pub const fn end_byte(&self) -> Option<u64> {
        match self {
            Self::Open => None,
            Self::Closed { end_byte, .. } => Some(*end_byte),
            Self::Sealed(facts) => Some(facts.data_end),
        }
    }
}

impl Residency {
    /// The segment file alone, as every segment begins.
    pub const fn hot() -> Self {
        Self {
            hot: true,
            warm: None,
            upload: None,
            cold: None,
            needs_recovery: false,
        }
    }

    /// There is an object that counts as a copy.
    pub fn is_cold(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| !cold.dropped)
    }
}

impl SegmentState {
    /// A segment as it begins: open, with its file alone.
    pub const fn open(salt: u64, capacity: u64, epoch: Epoch, incarnation: Incarnation) -> Self {
        Self {
            salt,
            capacity,
            epoch,
            incarnation,
            status: SegmentStatus::Open,
            residency: Residency::hot(),
        }
    }
}

impl StreamState {
    /// A stream as it begins.
    pub const fn new(name: String, created_ns: u64) -> Self {
        Self {
            name,
            created_ns,
            start: Offset::ZERO,
            next: Offset::ZERO,
            next_segment: SegmentNo::ZERO,
            incarnation: Incarnation::ZERO,
            mark: None,
            archived: Offset::ZERO,
            retention: RetentionState::DEFAULT,
            segments: Segments::new(),
        }
    }

    fn snapshot_entry(&self, stream: StreamId) -> Entry {
        Entry::SnapshotStream {
            stream,
            name: self.name.clone(),
            created_ns: self.created_ns,
            start: self.start,
            next: self.next,
            next_segment: self.next_segment,
            incarnation: self.incarnation,
            mark: self.mark,
        }
    }
}

impl ManifestState {
    /// A log of which nothing was said yet.
    pub const fn new(log: LogId) -> Self {
        Self {
            log,
            epoch: Epoch::ZERO,
            seq: Seq::ZERO,
            published: None,
            claims: Vec::new(),
            parts: Vec::new(),
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            pending: None,
        }
    }

    /// The stream of this name.
    pub fn find(&self, name: &str) -> Option<StreamId> {
        self.names.get(name).copied()
    }

    /// One segment, where there is such a one.
    pub fn segment(&self, stream: StreamId, segment: SegmentNo) -> Option<&SegmentState> {
        self.streams.get(&stream)?.segments.get(&segment)
    }

    /// The entries that bring a new state to where this one is, apart from [`ManifestState::seq`].
    pub fn snapshot(&self) -> Vec<Entry> {
        self.snapshot_entries().collect()
    }

    /// [`Self::snapshot`], one by one.
    pub(super) fn snapshot_entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let segments: usize = self.streams.values().map(|s| s.segments.len()).sum();
        let begin = Entry::SnapshotBegin {
            epoch: self.epoch,
            streams: self.streams.len() as u64,
            segments: segments as u64,
        };
        let published = self.published.map(|number| Entry::Published { number });
        let claims = self.claims.iter();
        let claims = claims.map(|&ClaimState { number, owner }| Entry::ColdClaim { number, owner });
        let parts = self.parts.iter().map(|parts| Entry::PartsBegun {
            key: parts.key.clone(),
            id: parts.id.clone(),
        });
        let streams = self.streams.iter().flat_map(|(&stream, state)| {
            let segments =
                state
                    .segments
                    .iter()
                    .map(move |(&segment, state)| Entry::SnapshotSegment {
                        stream,
                        segment,
                        state: state.clone(),
                    });
            let end = state.archived;
            let archived = (end > Offset::ZERO).then_some(Entry::Archived { stream, end });
            let retention = state.retention;
            let says = retention != RetentionState::DEFAULT;
            let retention = says.then_some(Entry::Retention { stream, retention });
            std::iter::once(state.snapshot_entry(stream))
                .chain(segments)
                .chain(archived)
                .chain(retention)
        });
        std::iter::once(begin)
            .chain(published)
            .chain(claims)
            .chain(parts)
            .chain(streams)
            .chain(std::iter::once(Entry::SnapshotEnd {}))
    }

    /// Takes all of the entries in, or none of them.
    pub fn apply_all(&mut self, entries: &[Entry]) -> Result<()> {
        self.apply_all_noting(entries, &mut Vec::new())
    }

    /// [`Self::apply_all`], noting how to take all of them back.
    pub(super) fn apply_all_noting(
        &mut self,
        entries: &[Entry],
        undo: &mut Vec<Undo>,
    ) -> Result<()> {
        let before = undo.len();
        entries
            .iter()
            .try_for_each(|entry| self.apply_noting(entry, undo))
            .inspect_err(|_| self.roll_back(undo, before))
    }

    /// Takes back what was noted beyond the first `keep` steps, newest first.
    pub(super) fn roll_back(&mut self, undo: &mut Vec<Undo>, keep: usize) {
        for step in undo.drain(keep..).rev() {
            step.take_back(self);
        }
    }
}
