//! Where every final segment of the log is, and what is being done about it.

use std::{collections::BTreeMap, sync::Arc};

use tierlog_storage::{
    Epoch, Offset, SegmentNo, StreamId,
    catalog::SegmentKey,
    manifest::{
        ColdCopy, ManifestState, Residency, SealedFacts, SegmentState, SegmentStatus, StreamState,
        UploadState,
    },
};
use tokio::time::Instant;

use super::plan::Move;
use crate::stream::segments::{Copies, Use};

/// Which segment.
pub type Id = (StreamId, SegmentNo);

/// A segment that has ended.
#[derive(Debug, Clone)]
pub struct Known {
    /// The salt of its frames.
    pub salt: u64,
    /// How it ended; never `Open`.
    pub status: SegmentStatus,
    /// Its copies, as the manifest says.
    pub residency: Residency,
    /// How readers use it, where its stream is open.
    pub used: Arc<Use>,
    /// All of it was trimmed: what is left is an object that is to be deleted.
    pub trimmed: bool,
    /// What is being done about it.
    pub moving: Option<Moving>,
    /// How often that failed in a row.
    pub failures: u32,
    /// Not before then it is tried again.
    pub not_before: Option<Instant>,
    /// The last of these failures was that there was nobody to do it.
    pub was_stopped: bool,
    /// Removals on their way of compressed files of what it was before it was cut. One that is made
    /// meanwhile has the same name, and would go.
    pub removals: u32,
    /// Whether it is being uploaded, which stands in the way of no other move, and how that went.
    pub upload: Uploading,
}

/// How the upload of a segment goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uploading {
    /// It is under way.
    pub is_under_way: bool,
    /// How often it failed in a row.
    pub failures: u32,
    /// Not before then it is tried again.
    pub not_before: Option<Instant>,
}

/// Something that is being done about a segment.
#[derive(Debug, Clone, Copy)]
pub struct Moving {
    /// What.
    pub step: Move,
    /// Since when.
    pub since: Instant,
}

impl Known {
    /// One that has its segment file alone.
    pub fn hot(salt: u64, status: SegmentStatus) -> Self {
        Self {
            salt,
            status,
            residency: Residency::hot(),
            used: Arc::default(),
            trimmed: false,
            moving: None,
            failures: 0,
            not_before: None,
            was_stopped: false,
            removals: 0,
            upload: Uploading::default(),
        }
    }

    /// What the manifest says of one that has ended, in a stream that begins at `start`.
    pub fn of(segment: &SegmentState, start: Offset) -> Self {
        let end = segment.status.range().map(|(_, end)| end);
        Self {
            residency: segment.residency.clone(),
            trimmed: end.is_some_and(|end| end <= start) && !segment.residency.hot,
            ..Self::hot(segment.salt, segment.status)
        }
    }

    /// What it takes of the hot budget. One that is not sealed counts in full.
    pub fn hot_bytes(&self, segment_size: u64) -> u64 {
        match &self.status {
            _ if !self.residency.hot => 0,
            SegmentStatus::Sealed(facts) => facts.file_len,
            SegmentStatus::Closed { .. } | SegmentStatus::Open => segment_size,
        }
    }

    /// What it takes of the warm budget.
    pub fn warm_bytes(&self) -> u64 {
        self.residency.warm.map_or(0, |warm| warm.file_len)
    }

    /// What the manifest keeps of it, if it is sealed.
    pub fn facts(&self) -> Option<&SealedFacts> {
        match &self.status {
            SegmentStatus::Sealed(facts) => Some(facts),
            _ => None,
        }
    }

    /// What readers find.
    pub fn copies(&self) -> Copies {
        Copies::of(&self.residency)
    }

    /// It is being compressed.
    pub fn is_warming(&self) -> bool {
        matches!(self.moving, Some(moving) if matches!(moving.step, Move::Warm(_)))
    }

    /// Its segment file is being made again.
    pub fn is_hydrating(&self) -> bool {
        matches!(self.moving, Some(moving) if matches!(moving.step, Move::Hydrate(_)))
    }

    /// Its compressed file is being made again from the object.
    pub fn is_fetching(&self) -> bool {
        matches!(self.moving, Some(moving) if matches!(moving.step, Move::Fetch(_)))
    }

    /// The length of its object.
    pub fn cold_bytes(&self) -> u64 {
        self.residency.cold.as_ref().map_or(0, |cold| cold.len)
    }

    /// Something is begun with it.
    pub fn begin(&mut self, step: Move, epoch: Epoch, now: Instant) {
        if let (Move::Upload((stream, segment)), Some(facts)) = (step, self.facts()) {
            let base = facts.base;
            let key = SegmentKey {
                stream,
                base,
                epoch,
                segment,
            };
            // Whatever becomes of it, there may be an object of this name from now on.
            self.residency.upload.get_or_insert(UploadState {
                key: key.to_string(),
                upload_id: epoch.to_string(),
            });
            self.upload.is_under_way = true;
            self.upload.not_before = None;
            return;
        }
        self.moving = Some(Moving { step, since: now });
        self.not_before = None;
    }

    /// There is somebody again to do what nobody was there for.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.was_stopped) {
            (self.failures, self.not_before) = (0, None);
        }
    }

    /// An object of it was verified.
    pub fn uploaded(&mut self, copy: &ColdCopy) {
        self.residency.upload = None;
        self.residency.cold = Some(copy.clone());
        self.upload = Uploading::default();
    }

    /// Its compressed file is being removed.
    pub fn is_leaving_warm(&self) -> bool {
        matches!(self.moving, Some(moving) if matches!(moving.step, Move::DropWarm(_)))
    }

    /// Whether an upload may begin at this time.
    pub fn may_upload(&self, now: Instant) -> bool {
        let upload = &self.upload;
        let is_due = !upload.is_under_way && upload.not_before.is_none_or(|at| at <= now);
        let is_new = self.facts().is_some() && self.residency.cold.is_none();
        is_due && is_new && !self.trimmed && self.residency.warm.is_some()
    }

    /// Whether it may be moved at this time.
    pub fn is_free(&self, now: Instant) -> bool {
        let is_due = self.not_before.is_none_or(|at| at <= now);
        self.moving.is_none() && self.removals == 0 && is_due
    }
}

/// What Tier 2 holds of a stream.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The stream's name.
    pub name: Arc<str>,
    /// When it was created, in nanoseconds since the epoch of Unix.
    pub created_ns: u64,
    /// Its first offset.
    pub start: Offset,
    /// The catalog names every segment that ends here or before.
    pub archived: Offset,
    /// Its first offset as the catalog says; `None` where the catalog does not know the stream, or is
    /// not known itself.
    pub published: Option<Offset>,
}

/// All of them. It is what decisions are made from; nothing else keeps count.
#[derive(Debug, Default)]
pub struct Table {
    segments: BTreeMap<Id, Known>,
    archives: BTreeMap<StreamId, Archive>,
    /// What Tier 2 holds outlives the process.
    pub outlives: bool,
    /// A publication is under way: what it names may be in the catalog already.
    pub publishing: bool,
    warm: Sum,
    cold: Sum,
}

/// What copies of a kind add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Their bytes.
    pub bytes: u64,
    /// How many there are.
    pub segments: u64,
}

impl Sum {
    fn add(&mut self, is_there: bool, bytes: u64) {
        self.bytes += bytes;
        self.segments += u64::from(is_there);
    }

    fn take(&mut self, is_there: bool, bytes: u64) {
        self.bytes -= bytes;
        self.segments -= u64::from(is_there);
    }
}

impl Table {
    /// What the manifest says.
    pub fn of(state: &ManifestState) -> Self {
        let mut table = Self::default();
        for (&stream, known) in &state.streams {
            table.take_stream(stream, known);
            for (&no, segment) in &known.segments {
                if !segment.status.is_open() {
                    table.put((stream, no), Known::of(segment, known.start));
                }
            }
        }
        table
    }

    /// A stream as the manifest knew it at some time. What the catalog says of it stays as it is known, and
    /// what is archived is never taken back: a claim may have told of more since.
    pub fn take_stream(&mut self, stream: StreamId, state: &StreamState) {
        let known = self.archive(stream);
        let published = known.and_then(|known| known.published);
        let archived = known.map(|known| known.archived).unwrap_or_default();
        let archive = Archive {
            name: state.name.as_str().into(),
            created_ns: state.created_ns,
            start: state.start,
            archived: archived.max(state.archived),
            published,
        };
        self.archives.insert(stream, archive);
    }

    /// What Tier 2 holds of each stream.
    pub fn archives(&self) -> impl Iterator<Item = (StreamId, &Archive)> {
        self.archives
            .iter()
            .map(|(&stream, archive)| (stream, archive))
    }

    /// What it holds of one.
    pub fn archive(&self, stream: StreamId) -> Option<&Archive> {
        self.archives.get(&stream)
    }

    /// The same, to be changed.
    pub fn archive_mut(&mut self, stream: StreamId) -> Option<&mut Archive> {
        self.archives.get_mut(&stream)
    }

    /// An object that outlives the process stands for it, as a published catalog says.
    fn is_archived(&self, id: Id, known: &Known) -> bool {
        let end = known.status.range().map(|(_, end)| end);
        let archive = self.archive(id.0);
        self.outlives
            && known.residency.is_cold()
            && archive.is_some_and(|archive| end.is_some_and(|end| end <= archive.archived))
    }

    /// Whether its segment file may go.
    pub fn can_leave_hot(&self, id: Id, known: &Known) -> bool {
        let copies = &known.residency;
        copies.hot && (copies.warm.is_some() || self.is_archived(id, known))
    }

    /// Whether its compressed file may go.
    pub fn can_leave_warm(&self, id: Id, known: &Known) -> bool {
        known.residency.warm.is_some() && self.is_archived(id, known)
    }

    /// No catalog names it, or will: its object may go. Not before a publication has said that the stream
    /// begins behind it, also where none ever named it: an owner that was overtaken is refused that, and
    /// whoever went on from a copy of the directory, in which it is not trimmed, may have named it since.
    pub fn is_unpublished(&self, id: Id, known: &Known) -> bool {
        let (Some(archive), Some((_, end))) = (self.archive(id.0), known.status.range()) else {
            return false;
        };
        let is_told = archive.published.is_some_and(|start| start >= end);
        !self.publishing && is_told
    }

    /// Adds one, or replaces it.
    pub fn put(&mut self, id: Id, known: Known) {
        self.count(&known);
        if let Some(before) = self.segments.insert(id, known) {
            self.discount(&before);
        }
    }

    /// Forgets one; gives what was known.
    pub fn remove(&mut self, id: &Id) -> Option<Known> {
        let known = self.segments.remove(id)?;
        self.discount(&known);
        Some(known)
    }

    /// One of them.
    pub fn get(&self, id: &Id) -> Option<&Known> {
        self.segments.get(id)
    }

    /// Changes one, if it is there.
    pub fn change(&mut self, id: &Id, change: impl FnOnce(&mut Known)) {
        if let Some(mut known) = self.remove(id) {
            change(&mut known);
            self.put(*id, known);
        }
    }

    /// The compressor was replaced: what failed for want of one is due at once.
    pub fn resume(&mut self) {
        let stopped = self.iter().filter(|(_, known)| known.was_stopped);
        let stopped: Vec<Id> = stopped.map(|(id, _)| *id).collect();
        for id in stopped {
            self.change(&id, Known::resume);
        }
    }

    fn count(&mut self, known: &Known) {
        let copies = &known.residency;
        self.warm.add(copies.warm.is_some(), known.warm_bytes());
        self.cold.add(copies.cold.is_some(), known.cold_bytes());
    }

    fn discount(&mut self, known: &Known) {
        let copies = &known.residency;
        self.warm.take(copies.warm.is_some(), known.warm_bytes());
        self.cold.take(copies.cold.is_some(), known.cold_bytes());
    }

    /// All, in the order of streams and numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &Known)> {
        self.segments.iter()
    }

    /// Those of one stream.
    pub fn of_stream(&self, stream: StreamId) -> impl Iterator<Item = (&Id, &Known)> {
        let (first, last) = (SegmentNo::ZERO, SegmentNo(u64::MAX));
        self.segments.range((stream, first)..=(stream, last))
    }

    /// Bytes of compressed files.
    pub fn warm_bytes(&self) -> u64 {
        self.warm.bytes
    }

    /// Compressed files.
    pub fn warm(&self) -> Sum {
        self.warm
    }

    /// Objects.
    pub fn cold(&self) -> Sum {
        self.cold
    }
}
