//! The catalog: which streams and segments of a log are in Tier 2, and how that changes.
//!
//! ```text
//!   offsets    0 ─────────── start ─────────────────────────── archived end
//!                       ┌──────┼──────┬─────────────┬─────────────┐
//!   segments            │      ┆      │             │             │   without gaps
//!                       └──────┼──────┴─────────────┴─────────────┘
//!                        holds the start
//! ```
//!
//! What is archived of a stream is one stretch, so that its end alone says what a restored log holds.

use std::collections::{BTreeMap, BTreeSet};

use super::SegmentKey;
use crate::{
    ids::{Epoch, Offset, SegmentNo, StreamId},
    manifest::{SealedFacts, check_name},
};

/// What is archived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// The streams that were ever archived.
    pub streams: BTreeMap<StreamId, ArchivedStream>,
}

/// What is archived of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedStream {
    /// Its name.
    pub name: String,
    /// When it was created, in nanoseconds since the epoch of Unix.
    pub created_ns: u64,
    /// The first offset that is kept.
    pub start: Offset,
    /// A segment that is archived later has this number or a greater one.
    pub next_segment: SegmentNo,
    /// Its segments, without gaps; the first one holds the start.
    pub segments: BTreeMap<SegmentNo, ArchivedSegment>,
}

/// A segment that is archived: an object holds its warm file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedSegment {
    /// What the checksums of its frames are salted with.
    pub salt: u64,
    /// What it holds.
    pub facts: SealedFacts,
    /// The owner that uploaded it: part of the object's key.
    pub epoch: Epoch,
    /// The object's length.
    pub len: u64,
    /// The object's checksum.
    pub crc: u64,
}

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A stream is archived from here on.
    Stream {
        /// Its identity.
        stream: StreamId,
        /// Its name.
        name: String,
        /// When it was created, in nanoseconds since the epoch of Unix.
        created_ns: u64,
    },
    /// The next segment of a stream is archived.
    Segment {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// What is known of it.
        archived: ArchivedSegment,
    },
    /// Records before an offset are given up; segments that end there or earlier are named no more.
    /// The offset may lie behind all that is archived.
    Trimmed {
        /// The stream.
        stream: StreamId,
        /// The first offset that is kept.
        start: Offset,
    },
}

/// A change, a stream or a state that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Takes one change back.
#[derive(Debug)]
enum Undo {
    Stream(StreamId),
    Segment(StreamId, SegmentNo, SegmentNo),
    Trimmed(StreamId, Offset, BTreeMap<SegmentNo, ArchivedSegment>),
}

impl ArchivedSegment {
    /// What its object is called.
    pub const fn key(&self, stream: StreamId, segment: SegmentNo) -> SegmentKey {
        SegmentKey {
            stream,
            base: self.facts.base,
            epoch: self.epoch,
            segment,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let facts = &self.facts;
        if facts.base >= facts.end {
            return Err("holds no record");
        }
        let upright = facts.data_end <= facts.file_len
            && facts.first_ts <= facts.last_ts
            && facts.ext.is_none_or(|(min, max)| min <= max);
        upright
            .then_some(())
            .ok_or("has bounds that are the wrong way round")
    }
}

impl ArchivedStream {
    /// The offset behind the last record that is archived, or was and is trimmed.
    pub fn end(&self) -> Offset {
        let last = self.segments.last_key_value();
        last.map_or(self.start, |(_, last)| last.facts.end)
    }

    /// Whether this segment can be the next one; if so, the number behind its own.
    fn check_next(
        &self,
        segment: SegmentNo,
        archived: &ArchivedSegment,
    ) -> Result<SegmentNo, &'static str> {
        archived.check()?;
        if segment < self.next_segment {
            return Err("has a number that was used before");
        }
        let next = segment
            .0
            .checked_add(1)
            .ok_or("has the last number there is")?;
        let (base, end) = (archived.facts.base, archived.facts.end);
        let follows = match self.segments.is_empty() {
            true => base <= self.start && self.start < end,
            false => base == self.end(),
        };
        follows
            .then_some(SegmentNo(next))
            .ok_or("does not begin where the archive ends")
    }

    fn check(&self) -> Result<(), String> {
        check_name(&self.name).map_err(|e| e.to_string())?;
        let mut so_far = Self {
            name: String::new(),
            next_segment: SegmentNo::ZERO,
            segments: BTreeMap::new(),
            ..*self
        };
        for (&segment, archived) in &self.segments {
            so_far.next_segment = so_far
                .check_next(segment, archived)
                .map_err(|why| format!("segment {segment} {why}"))?;
            // Only the last one counts for what follows.
            so_far.segments = BTreeMap::from([(segment, *archived)]);
        }
        match so_far.next_segment <= self.next_segment {
            true => Ok(()),
            false => Err("its next segment is one that it has".to_owned()),
        }
    }
}

impl Catalog {
    /// The catalog of these streams.
    ///
    /// # Errors
    /// Where two of them have one identity or one name, or one contradicts itself.
    pub fn new(
        streams: impl IntoIterator<Item = (StreamId, ArchivedStream)>,
    ) -> Result<Self, Refused> {
        let (mut catalog, mut names) = (Self::default(), BTreeSet::new());
        for (stream, archived) in streams {
            let refuse = |why: String| Refused(format!("stream {stream}: {why}"));
            archived.check().map_err(refuse)?;
            if !names.insert(archived.name.clone()) {
                return Err(refuse(format!("the name {:?} is taken", archived.name)));
            }
            if catalog.streams.insert(stream, archived).is_some() {
                return Err(refuse("it stands there twice".to_owned()));
            }
        }
        Ok(catalog)
    }

    /// The offset behind the last record of a stream that is archived, or was and is trimmed.
    pub fn archived_end(&self, stream: StreamId) -> Offset {
        self.streams
            .get(&stream)
            .map_or(Offset::ZERO, ArchivedStream::end)
    }

    /// Takes a change in.
    ///
    /// # Errors
    /// One that makes no sense is refused and changes nothing.
    pub fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        self.apply_noting(change).map(drop)
    }

    /// Takes all of the changes in, or none of them.
    ///
    /// # Errors
    /// That of the first one that makes no sense.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<(), Refused> {
        let mut undo = Vec::new();
        for change in changes {
            match self.apply_noting(change) {
                Ok(step) => undo.push(step),
                Err(refused) => {
                    self.take_back(undo);
                    return Err(refused);
                }
            }
        }
        Ok(())
    }

    /// What `f` says of the catalog as it would be with all of these changes.
    ///
    /// # Errors
    /// That of the first one that makes no sense.
    pub fn with<T>(
        &mut self,
        changes: &[Change],
        f: impl FnOnce(&Self) -> T,
    ) -> Result<T, Refused> {
        let mut undo = Vec::new();
        let applied = changes.iter().try_for_each(|change| {
            undo.push(self.apply_noting(change)?);
            Ok(())
        });
        let out = applied.map(|()| f(self));
        self.take_back(undo);
        out
    }

    /// Takes in a change that an earlier life of this directory has published. The manifest may know of
    /// it, and be ahead of it: a trim is durable there before it is published, and the last life may
    /// have ended before it took the publication in.
    ///
    /// # Errors
    /// A change that contradicts what is known is refused and changes nothing.
    pub fn adopt(&mut self, change: &Change) -> Result<(), Refused> {
        let known = match change {
            Change::Stream {
                stream,
                name,
                created_ns,
            } => self
                .streams
                .get(stream)
                .is_some_and(|known| (&known.name, known.created_ns) == (name, *created_ns)),
            Change::Segment {
                stream,
                segment,
                archived,
            } => self.streams.get(stream).is_some_and(|known| {
                archived.facts.end <= known.start || known.segments.get(segment) == Some(archived)
            }),
            Change::Trimmed { stream, start } => self
                .streams
                .get(stream)
                .is_some_and(|known| *start <= known.start),
        };
        if known { Ok(()) } else { self.apply(change) }
    }

    /// [`Self::adopt`], for a catalog that an earlier life of this directory has put there whole.
    ///
    /// # Errors
    /// One that contradicts what is known.
    pub fn adopt_whole(&mut self, whole: &Self) -> Result<(), Refused> {
        whole.changes().try_for_each(|change| self.adopt(&change))
    }

    /// The changes that make this catalog of an empty one, apart from numbers that were used before.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        self.streams.iter().flat_map(|(&stream, known)| {
            let (name, created_ns) = (known.name.clone(), known.created_ns);
            let segments =
                known
                    .segments
                    .iter()
                    .map(move |(&segment, &archived)| Change::Segment {
                        stream,
                        segment,
                        archived,
                    });
            [
                Change::Stream {
                    stream,
                    name,
                    created_ns,
                },
                Change::Trimmed {
                    stream,
                    start: known.start,
                },
            ]
            .into_iter()
            .chain(segments)
        })
    }

    fn apply_noting(&mut self, change: &Change) -> Result<Undo, Refused> {
        match change {
            Change::Stream {
                stream,
                name,
                created_ns,
            } => self.add_stream(*stream, name, *created_ns),
            Change::Segment {
                stream,
                segment,
                archived,
            } => self.known(*stream)?.add(*stream, *segment, archived),
            Change::Trimmed { stream, start } => self.known(*stream)?.trim(*stream, *start),
        }
    }

    fn known(&mut self, stream: StreamId) -> Result<&mut ArchivedStream, Refused> {
        let known = self.streams.get_mut(&stream);
        known.ok_or_else(|| Refused(format!("stream {stream} is not known")))
    }

    fn add_stream(
        &mut self,
        stream: StreamId,
        name: &str,
        created_ns: u64,
    ) -> Result<Undo, Refused> {
        check_name(name).map_err(|e| Refused(e.to_string()))?;
        if self.streams.contains_key(&stream) {
            return Err(Refused(format!("stream {stream} exists already")));
        }
        if self.streams.values().any(|other| other.name == name) {
            return Err(Refused(format!(
                "a stream of the name {name:?} exists already"
            )));
        }
        let added = ArchivedStream {
            name: name.to_owned(),
            created_ns,
            start: Offset::ZERO,
            next_segment: SegmentNo::ZERO,
            segments: BTreeMap::new(),
        };
        self.streams.insert(stream, added);
        Ok(Undo::Stream(stream))
    }

    fn take_back(&mut self, steps: Vec<Undo>) {
        for step in steps.into_iter().rev() {
            match step {
                Undo::Stream(stream) => drop(self.streams.remove(&stream)),
                Undo::Segment(stream, segment, next) => {
                    if let Some(known) = self.streams.get_mut(&stream) {
                        known.segments.remove(&segment);
                        known.next_segment = next;
                    }
                }
                Undo::Trimmed(stream, start, mut dropped) => {
                    if let Some(known) = self.streams.get_mut(&stream) {
                        known.start = start;
                        known.segments.append(&mut dropped);
                    }
                }
            }
        }
    }
}

impl ArchivedStream {
    fn add(
        &mut self,
        stream: StreamId,
        segment: SegmentNo,
        archived: &ArchivedSegment,
    ) -> Result<Undo, Refused> {
        let next = self
            .check_next(segment, archived)
            .map_err(|why| Refused(format!("segment {segment} of stream {stream} {why}")))?;
        self.segments.insert(segment, *archived);
        let before = std::mem::replace(&mut self.next_segment, next);
        Ok(Undo::Segment(stream, segment, before))
    }

    fn trim(&mut self, stream: StreamId, start: Offset) -> Result<Undo, Refused> {
        if start < self.start {
            return Err(Refused(format!(
                "stream {stream} starts at {}, which is behind {start}",
                self.start
            )));
        }
        let kept = self
            .segments
            .iter()
            .find(|(_, known)| known.facts.end > start);
        let dropped = match kept.map(|(&first, _)| first) {
            Some(first) => {
                let kept = self.segments.split_off(&first);
                std::mem::replace(&mut self.segments, kept)
            }
            None => std::mem::take(&mut self.segments),
        };
        let before = std::mem::replace(&mut self.start, start);
        Ok(Undo::Trimmed(stream, before, dropped))
    }
}
