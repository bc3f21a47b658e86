//! What is told about streams and segments.

use std::path::PathBuf;

use serde::Serialize;
use tierlog_actors::{
    protocol::supervisor::KnownStream,
    stream::{
        segments::{Segment, SegmentKind},
        shared::{StreamShared, Watermarks},
    },
};
use tierlog_storage::{Offset, SegmentNo, StreamId, layout::Layout, manifest::SegmentStatus};

/// A stream at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Its identity, which names its folder.
    pub id: StreamId,
    /// Where it stands.
    pub watermarks: Watermarks,
    /// Segments that hold records.
    pub segments: usize,
    /// Bytes of frames in them.
    pub bytes: u64,
}

/// Where a segment lives.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentInfo {
    /// Its number.
    pub segment: SegmentNo,
    /// `open`, `closed` (ended without a footer) or `sealed`.
    pub state: &'static str,
    /// Where it is read from: 0 for the segment file, 1 for its compressed file, 2 for its object.
    pub tier: u8,
    /// The offset of its first record.
    pub base: Offset,
    /// One past its last record.
    pub end: Offset,
    /// Bytes of frames.
    pub bytes: u64,
    /// Bytes of the segment file that count, footer included, whether it is there or not.
    pub file_len: u64,
    /// Bytes of the compressed file, if there is one.
    pub compressed_len: Option<u64>,
    /// Nanoseconds since 1970, where the manifest knows.
    pub first_timestamp: Option<u64>,
    /// Nanoseconds since 1970, where the manifest knows.
    pub last_timestamp: Option<u64>,
    /// The count of uses of the whole log at the last one of this segment since the stream was opened;
    /// 0 for none. The least go first when room is needed.
    pub last_use: u64,
    /// Its file: the one that it is read from.
    pub path: PathBuf,
    /// Its object in Tier 2, below the prefix of the log, if there is one.
    pub object_key: Option<String>,
    /// Bytes of that object.
    pub object_len: Option<u64>,
}

pub(crate) fn segment(layout: &Layout, stream: StreamId, segment: &Segment) -> SegmentInfo {
    let end_byte = segment.end_byte();
    let (state, file_len, first, last) = match &segment.kind {
        SegmentKind::Active => ("open", end_byte, None, None),
        SegmentKind::Closed => ("closed", end_byte, None, None),
        SegmentKind::Sealed(facts) => (
            "sealed",
            facts.file_len,
            Some(facts.first_ts),
            Some(facts.last_ts),
        ),
    };
    SegmentInfo {
        segment: segment.no,
        state,
        tier: match (segment.copies.hot, segment.copies.is_remote()) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        },
        base: segment.base,
        end: segment.end(),
        bytes: end_byte.saturating_sub(tierlog_storage::segment::HEADER_LEN),
        file_len,
        compressed_len: segment.copies.warm.map(|warm| warm.file_len),
        first_timestamp: first,
        last_timestamp: last,
        last_use: segment.used.last(),
        path: match segment.copies.hot {
            true => layout.segment(stream, segment.no),
            false => layout.warm(stream, segment.no),
        },
        object_key: segment.object(stream).map(|(key, _)| key.to_string()),
        object_len: segment.copies.cold.map(|spot| spot.len),
    }
}

pub(crate) fn open_stream(stream: &StreamShared) -> StreamInfo {
    let segments = stream.segments.all();
    StreamInfo {
        name: stream.name.to_string(),
        id: stream.id,
        watermarks: stream.watermarks(),
        segments: segments.len(),
        bytes: segments
            .iter()
            .map(|s| {
                s.end_byte()
                    .saturating_sub(tierlog_storage::segment::HEADER_LEN)
            })
            .sum(),
    }
}

pub(crate) fn known(known: &KnownStream) -> StreamInfo {
    if let Some(stream) = &known.open {
        return open_stream(stream);
    }
    let state = &known.state;
    let filled = || {
        state
            .segments
            .values()
            .filter_map(|segment| match &segment.status {
                SegmentStatus::Open => None,
                SegmentStatus::Closed {
                    base,
                    end,
                    end_byte,
                } => (base < end).then_some(*end_byte),
                SegmentStatus::Sealed(facts) => Some(facts.data_end),
            })
    };
    StreamInfo {
        name: known.name.to_string(),
        id: known.id,
        watermarks: Watermarks {
            start: state.start,
            durable: state.next,
            archived: state.start.max(state.archived),
            written: state.next,
            next: state.next,
            incarnation: state.incarnation,
        },
        segments: filled().count(),
        bytes: filled()
            .map(|end| end.saturating_sub(tierlog_storage::segment::HEADER_LEN))
            .sum(),
    }
}
