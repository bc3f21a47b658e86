//! Where a reader begins.

use tierlog_storage::{Offset, segment::RecordRef};

use super::cursor::Reader;
use crate::{
    error::Error,
    stream::segments::{Segment, SegmentKind},
};

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At this offset. One that is not there yet can only be followed.
    Offset(Offset),
    /// At the first record that is there.
    Earliest,
    /// Behind the last record that may be read.
    Latest,
    /// At the first record of this time (nanoseconds since 1970) or later.
    Timestamp(u64),
    /// At the first record, in the order of offsets, whose ext_id is this or greater.
    ExtId(u64),
}

/// Which record is the first one wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Timestamp(u64),
    ExtId(u64),
}

impl Filter {
    pub(super) fn wants(self, record: &RecordRef<'_>) -> bool {
        match self {
            Self::Timestamp(ts) => record.timestamp >= ts,
            Self::ExtId(least) => record.ext_id.is_some_and(|ext_id| ext_id >= least),
        }
    }

    /// Whether a segment surely has no such record.
    pub(super) fn skips(self, segment: &Segment) -> bool {
        let SegmentKind::Sealed(facts) = &segment.kind else {
            return false;
        };
        match self {
            Self::Timestamp(ts) => facts.last_ts < ts,
            Self::ExtId(least) => facts.ext.is_none_or(|(_, greatest)| greatest < least),
        }
    }
}

impl Reader {
    /// Sets the position, or what is to be looked for from there on.
    pub(super) fn go_to(&mut self, from: From) -> Result<(), Error> {
        let start = self.stream.start();
        match from {
            From::Offset(asked) if asked < start => return Err(Error::Trimmed { asked, start }),
            From::Offset(asked) => {
                let next = self.stream.watermarks().next;
                if asked > next && !self.options.follow {
                    let what = format!("offset {asked} is not there yet; the next one is {next}");
                    return Err(Error::InvalidInput { what });
                }
                self.position = asked;
            }
            From::Earliest => self.position = start,
            From::Latest => self.position = self.limit().max(start),
            From::Timestamp(ts) => {
                self.filter = Some(Filter::Timestamp(ts));
                self.position = self.not_after_time(ts).max(start);
            }
            From::ExtId(least) => {
                self.filter = Some(Filter::ExtId(least));
                self.position = start;
            }
        }
        Ok(())
    }

    /// An offset before which no record is of this time or later, by what is in memory.
    fn not_after_time(&self, ts: u64) -> Offset {
        let segments = self.stream.segments.all();
        // Timestamps never fall, so nothing before a record that is too early is late enough.
        let early = |segment: &Segment| match (&segment.kind, segment.index()) {
            (SegmentKind::Sealed(facts), _) => facts.first_ts < ts,
            (_, Some(index)) => {
                let index = index
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                index.entries().first().is_some_and(|first| first.ts < ts)
            }
            (_, None) => false,
        };
        let Some(segment) = segments.iter().rev().find(|segment| early(segment)) else {
            return Offset::ZERO;
        };
        let entry = segment.index().and_then(|index| {
            index
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .floor_ts(ts)
        });
        entry
            .map_or(segment.base, |entry| entry.offset)
            .max(segment.base)
    }
}
