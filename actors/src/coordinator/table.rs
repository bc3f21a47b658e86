//! Where every final segment of the log is, and what is being done about it.

use std::{collections::BTreeMap, sync::Arc};

use tierlog_storage::{
    SegmentNo, StreamId,
    manifest::{ManifestState, Residency, SealedFacts, SegmentStatus},
};
use tokio::time::Instant;

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
    /// Since when something is being done about it.
    pub moving: Option<Instant>,
    /// How often that failed in a row.
    pub failures: u32,
    /// Not before then it is tried again.
    pub not_before: Option<Instant>,
}

impl Known {
    /// One that has its segment file alone.
    pub fn hot(salt: u64, status: SegmentStatus) -> Self {
        Self {
            salt,
            status,
            residency: Residency::hot(),
            used: Arc::default(),
            moving: None,
            failures: 0,
            not_before: None,
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

    /// Whether it may be moved at this time.
    pub fn is_free(&self, now: Instant) -> bool {
        self.moving.is_none() && self.not_before.is_none_or(|at| at <= now)
    }
}

/// All of them. It is what decisions are made from; nothing else keeps count.
#[derive(Debug, Default)]
pub struct Table {
    segments: BTreeMap<Id, Known>,
    warm_bytes: u64,
    warm_segments: u64,
}

impl Table {
    /// What the manifest says.
    pub fn of(state: &ManifestState) -> Self {
        let mut table = Self::default();
        for (&stream, known) in &state.streams {
            for (&no, segment) in &known.segments {
                if segment.status.is_open() {
                    continue;
                }
                let known = Known {
                    residency: segment.residency.clone(),
                    ..Known::hot(segment.salt, segment.status)
                };
                table.put((stream, no), known);
            }
        }
        table
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

    fn count(&mut self, known: &Known) {
        self.warm_bytes += known.warm_bytes();
        self.warm_segments += u64::from(known.residency.warm.is_some());
    }

    fn discount(&mut self, known: &Known) {
        self.warm_bytes -= known.warm_bytes();
        self.warm_segments -= u64::from(known.residency.warm.is_some());
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
        self.warm_bytes
    }

    /// How many there are.
    pub fn warm_segments(&self) -> u64 {
        self.warm_segments
    }
}
