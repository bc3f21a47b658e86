//! What becomes of a file in a stream's folder: decided from its name, what the manifest says, and
//! what the file says of itself. For an open, which looks before anybody else is at work, and for a
//! sweep of a log that is.
//!
//! ```text
//! a segment file that is not named                         what becomes of it, once the manifest counts
//! -------------------------------------------------------  -------------------------------------------
//! its segment is known, and lives elsewhere                 removed: dropped, or begun and not committed
//! blank                                                     removed: created ahead, never committed
//! holds another segment than its name says                  quarantined
//! written under a commit beyond the manifest's end          nothing is touched: commits were lost
//! never committed by its number, claims no commit           removed: a copy of a recovery that died
//! ends before the stream's start                            removed: a trim that was not finished
//! anything else with a good header of this log              quarantined
//! another log's, or no good header                          left alone, reported
//!
//! a compressed copy that is not named                        what becomes of it
//! -------------------------------------------------------  -------------------------------------------
//! its segment is known                                      removed: unfinished, or dropped
//! holds another segment than its name says                  quarantined
//! its segment was never named, or lies before the start     removed
//! anything else with a good head of this log                quarantined
//! another log's, or no good head                            left alone, reported
//!
//! a segment that was being written anew (.tls.tmp)          removed
//! what is no regular file, or has another name              left alone, reported
//! ```

use std::path::Path;

use self::blank::is_all_zeros;
use crate::{
    disk::{Access, Disk, Entry},
    error::{Result, StorageError},
    ids::{LogId, Offset, SegmentNo, StreamId},
    layout::{parse_segment_name, parse_segment_tmp_name, parse_warm_name},
    manifest::{Seq, StreamState},
    segment::{Footer, HEADER_LEN, SegmentHeader},
    warm::{HEAD_LEN, WarmHead},
};

/// What the name of a file says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A segment file.
    Segment(SegmentNo),
    /// The compressed copy of a segment.
    Warm(SegmentNo),
    /// A file that is being made, to take the name of another.
    Unfinished(SegmentNo),
}

impl Kind {
    /// `None` for what is no regular file, or has no name that a log gives.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let name = &entry.name;
        let segment = || parse_segment_name(name).map(Self::Segment);
        let warm = || parse_warm_name(name).map(Self::Warm);
        let unfinished = || parse_segment_tmp_name(name).map(Self::Unfinished);
        segment()
            .or_else(warm)
            .or_else(unfinished)
            .filter(|_| entry.is_file)
    }

    /// The number of the segment that it is about.
    pub(super) fn segment(self) -> SegmentNo {
        match self {
            Self::Segment(no) | Self::Warm(no) | Self::Unfinished(no) => no,
        }
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The manifest names it.
    Named,
    /// It goes: what it is a leftover of.
    Leftover(&'static str),
    /// It is of this log and goes into the quarantine: what can't be explained.
    Unexplained(&'static str),
    /// It is not of this log, as far as can be told, and stays.
    Foreign,
    /// It was written under this entry of the manifest, which ends before: durable commits were lost.
    Beyond(u64),
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// There are zeros where a header should be; and in all of it, where that was looked at.
    Blank {
        /// There is nothing else.
        throughout: bool,
    },
    /// A segment, and where its footer says that it ends, where that was looked at and is good.
    Segment(SegmentHeader, Option<Offset>),
    /// A compressed copy.
    Warm(WarmHead),
    /// Neither.
    Other,
}

/// What is known when the files of a stream are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) log: LogId,
    pub(super) stream: StreamId,
    /// What the manifest says of the stream, if it knows it.
    pub(super) known: Option<&'a StreamState>,
    /// The last entry of the manifest.
    pub(super) end: Seq,
}

impl Judge<'_> {
    /// Judges a file, and reads of it what that takes.
    pub(super) fn file(&self, disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Verdict> {
        match self.by_name(kind) {
            Some(verdict) => Ok(verdict),
            None => Ok(self.by_contents(kind, &self.read(disk, path, kind)?)),
        }
    }

    /// What the name and the manifest tell; `None` when the file itself has to be asked.
    pub(super) fn by_name(&self, kind: Kind) -> Option<Verdict> {
        let known = self.known.map(|known| &known.segments);
        let known = known.and_then(|segments| segments.get(&kind.segment()));
        match (kind, known.map(|segment| &segment.residency)) {
            (Kind::Unfinished(_), _) => Some(Verdict::Leftover("it was not finished")),
            (Kind::Segment(_), Some(copies)) if copies.hot => Some(Verdict::Named),
            (Kind::Warm(_), Some(copies)) if copies.warm.is_some() => Some(Verdict::Named),
            // Dropped by the manifest, durably, or begun and not committed. What the segment holds
            // stands elsewhere, or was damaged before.
            (_, Some(_)) => Some(Verdict::Leftover("its segment has other copies")),
            (_, None) => None,
        }
    }

    /// By its number, nobody ever named it: nobody was told of anything in it.
    fn was_never_named(&self, no: SegmentNo) -> bool {
        self.known.is_none_or(|known| no >= known.next_segment)
    }

    /// The verdict on a file of which the manifest knows no segment.
    pub(super) fn by_contents(&self, kind: Kind, contents: &Contents) -> Verdict {
        let no = kind.segment();
        let never_named = self.was_never_named(no);
        let start = self.known.map(|known| known.start);
        let is_trimmed = |end: Offset| start.is_some_and(|start| end <= start);
        match (kind, contents) {
            // The first page of a copy may be lost while others are there.
            (Kind::Segment(_), Contents::Blank { throughout }) if never_named || *throughout => {
                Verdict::Leftover("it was created ahead, and nothing was committed")
            }
            (Kind::Segment(_), Contents::Segment(header, end)) if header.log == self.log => {
                if (header.stream, header.segment) != (self.stream, no) {
                    return Verdict::Unexplained("it holds another segment than its name says");
                }
                match never_named {
                    true if header.manifest_seq > self.end.get() => {
                        Verdict::Beyond(header.manifest_seq)
                    }
                    true if header.manifest_seq == 0 => {
                        Verdict::Leftover("it is a copy that was never committed")
                    }
                    false if end.is_some_and(is_trimmed) => {
                        Verdict::Leftover("its records were trimmed")
                    }
                    _ => Verdict::Unexplained("nothing names its segment"),
                }
            }
            (Kind::Warm(_), Contents::Warm(head)) if head.log == self.log => {
                if (head.stream, head.segment) != (self.stream, no) {
                    return Verdict::Unexplained("it holds another segment than its name says");
                }
                match never_named || is_trimmed(head.end) {
                    true if never_named => Verdict::Leftover("its segment was never committed"),
                    true => Verdict::Leftover("its records were trimmed"),
                    false => Verdict::Unexplained("nothing names its segment"),
                }
            }
            _ => Verdict::Foreign,
        }
    }

    /// What a file says of itself, as far as the verdict may depend on it.
    fn read(&self, disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Contents> {
        let file = disk.open(path, Access::Read);
        let file = file.map_err(|error| StorageError::io("open", path, error))?;
        let io = |error| StorageError::io("read", path, error);
        if matches!(kind, Kind::Warm(_)) {
            let mut bytes = [0; HEAD_LEN];
            let read = file.read_at(&mut bytes, 0).map_err(io)?;
            let head = WarmHead::decode(&bytes[..read]);
            return Ok(head.map_or(Contents::Other, Contents::Warm));
        }
        let mut bytes = [0; HEADER_LEN as usize];
        let read = file.read_at(&mut bytes, 0).map_err(io)?;
        let is_old = !self.was_never_named(kind.segment());
        if bytes[..read].iter().all(|byte| *byte == 0) {
            let throughout = is_old && is_all_zeros(&file, path)?;
            return Ok(Contents::Blank { throughout });
        }
        let Ok(Some(header)) = SegmentHeader::decode(&bytes[..read]) else {
            return Ok(Contents::Other);
        };
        let mut end = None;
        if is_old && header.log == self.log {
            let len = file.len().map_err(io)?;
            let footer = Footer::read(&*file, len, header.salt).ok();
            end = footer
                .filter(|footer| footer.segment == header.segment)
                .map(|footer| footer.end);
        }
        Ok(Contents::Segment(header, end))
    }
}

mod blank;
#[cfg(test)]
mod tests;
