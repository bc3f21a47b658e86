//! The catalog and the manifest of a directory: made of one, and made into one.

use std::collections::BTreeMap;

use super::{ArchivedSegment, ArchivedStream, Catalog, Change, Refused, SegmentKey};
use crate::{
    ids::{Epoch, Incarnation, Offset, SegmentNo, StreamId},
    manifest::{
        ColdCopy, Entry, ManifestState, Residency, SegmentState, SegmentStatus, StreamState,
    },
};

impl Catalog {
    /// What the local manifest says is archived: of each stream the segments below `archived(stream)`
    /// that have an object and are not trimmed.
    ///
    /// # Errors
    /// Where these are no stretch without gaps that ends at `archived(stream)`, or an object has a key
    /// that is not the one of its segment.
    pub fn of(
        state: &ManifestState,
        archived: impl Fn(StreamId) -> Offset,
    ) -> Result<Self, Refused> {
        let streams = state.streams.iter().map(|(&stream, local)| {
            let refuse = |why: String| Refused(format!("stream {stream}: {why}"));
            let end = archived(stream);
            let found = archived_of(stream, local, end).map_err(refuse)?;
            if end > found.start && found.end() != end {
                return Err(refuse(format!(
                    "it is archived up to {end}, and its objects reach to {}",
                    found.end()
                )));
            }
            Ok((stream, found))
        });
        Self::new(streams.collect::<Result<Vec<_>, _>>()?)
    }

    /// The snapshot of a manifest in which every archived segment is in Tier 2 alone, with nothing
    /// behind the archived end. `capacity` is what a segment is meant to hold.
    pub fn entries(&self, epoch: Epoch, capacity: u64) -> Vec<Entry> {
        let segments: usize = self
            .streams
            .values()
            .map(|known| known.segments.len())
            .sum();
        let begin = Entry::SnapshotBegin {
            epoch,
            streams: self.streams.len() as u64,
            segments: segments as u64,
        };
        let streams = self.streams.iter().flat_map(|(&stream, known)| {
            let segments =
                known
                    .segments
                    .iter()
                    .map(move |(&segment, archived)| Entry::SnapshotSegment {
                        stream,
                        segment,
                        state: archived.restored(stream, segment, capacity),
                    });
            std::iter::once(known.restored(stream)).chain(segments)
        });
        std::iter::once(begin)
            .chain(streams)
            .chain([Entry::SnapshotEnd {}])
            .collect()
    }
}

/// Whether a change may have been published by an earlier life of the directory that has this manifest:
/// all that is published was made durable here before. A copy of the directory that went on has the same
/// owners on record; what it published is not known here.
pub fn is_known(state: &ManifestState, change: &Change) -> bool {
    let local = |stream: &StreamId| state.streams.get(stream);
    match change {
        Change::Stream {
            stream,
            name,
            created_ns,
        } => local(stream).is_some_and(|s| (&s.name, s.created_ns) == (name, *created_ns)),
        Change::Trimmed { stream, start } => local(stream).is_some_and(|s| *start <= s.start),
        Change::Segment {
            stream,
            segment,
            archived,
        } => local(stream).is_some_and(|s| {
            let object = |state: &SegmentState| {
                // One that is being deleted was an object all the same.
                let cold = state.residency.cold.as_ref().map(|cold| ColdCopy {
                    dropped: false,
                    ..cold.clone()
                });
                (state.salt, state.status, cold)
            };
            let restored = archived.restored(*stream, *segment, 0);
            let known = s.segments.get(segment);
            archived.facts.end <= s.start
                || known.is_some_and(|known| object(known) == object(&restored))
        }),
    }
}

impl ArchivedStream {
    fn restored(&self, stream: StreamId) -> Entry {
        Entry::SnapshotStream {
            stream,
            name: self.name.clone(),
            created_ns: self.created_ns,
            start: self.start,
            next: self.end(),
            next_segment: self.next_segment,
            incarnation: Incarnation::ZERO,
            mark: None,
        }
    }
}

impl ArchivedSegment {
    fn restored(&self, stream: StreamId, segment: SegmentNo, capacity: u64) -> SegmentState {
        let cold = ColdCopy {
            key: self.key(stream, segment).to_string(),
            len: self.len,
            crc: self.crc,
            dropped: false,
        };
        SegmentState {
            status: SegmentStatus::Sealed(self.facts),
            residency: Residency {
                hot: false,
                cold: Some(cold),
                ..Residency::hot()
            },
            ..SegmentState::open(self.salt, capacity, self.epoch, Incarnation::ZERO)
        }
    }
}

fn archived_of(
    stream: StreamId,
    local: &StreamState,
    end: Offset,
) -> Result<ArchivedStream, String> {
    let mut found = ArchivedStream {
        name: local.name.clone(),
        created_ns: local.created_ns,
        start: local.start,
        next_segment: local.next_segment,
        segments: BTreeMap::new(),
    };
    let kept = local.segments.iter().filter(|(_, state)| {
        let range = state.status.range();
        range.is_none_or(|(base, end)| base < end && end > local.start)
    });
    for (&segment, state) in kept {
        let cold = state.residency.cold.as_ref().filter(|cold| !cold.dropped);
        let (SegmentStatus::Sealed(facts), Some(cold)) = (state.status, cold) else {
            // The first one that is not archived is the next that will be.
            found.next_segment = segment;
            break;
        };
        if facts.end > end {
            found.next_segment = segment;
            break;
        }
        let key = SegmentKey::parse(&cold.key);
        let archived = ArchivedSegment {
            salt: state.salt,
            facts,
            epoch: key.map_or(Epoch::ZERO, |key| key.epoch),
            len: cold.len,
            crc: cold.crc,
        };
        if key != Some(archived.key(stream, segment)) {
            return Err(format!("segment {segment} has the object {:?}", cold.key));
        }
        found.segments.insert(segment, archived);
    }
    Ok(found)
}
