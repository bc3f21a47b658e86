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
    /// 0 for hot.
    pub tier: u8,
    /// The offset of its first record.
    pub base: Offset,
    /// One past its last record.
    pub end: Offset,
    /// Bytes of frames.
    pub bytes: u64,
    /// Bytes of the file that count, footer included.
    pub file_len: u64,
    /// Nanoseconds since 1970, where the manifest knows.
    pub first_timestamp: Option<u64>,
    /// Nanoseconds since 1970, where the manifest knows.
    pub last_timestamp: Option<u64>,
    /// Its file.
    pub path: PathBuf,
    /// Its object, in Tier 2. There is none in this version.
    pub object_key: Option<String>,
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
        tier: 0,
        base: segment.base,
        end: segment.end(),
        bytes: end_byte.saturating_sub(tierlog_storage::segment::HEADER_LEN),
        file_len,
        first_timestamp: first,
        last_timestamp: last,
        path: layout.segment(stream, segment.no),
        object_key: None,
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
            archived: state.start,
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
