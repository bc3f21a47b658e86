//! A stream's unsealed segments, read and decided over.

use std::collections::BTreeMap;

use super::decide::{FinalSpan, KeptSegment, TO_FILE_END, TailDecision, TailInput, decide_tail};
use crate::{
    disk::{Access, Disk},
    error::{Damage, Result, StorageError},
    ids::{LogId, Offset, SegmentNo, StreamId},
    layout::Layout,
    manifest::{SegmentState, StreamState},
    segment::{
        HEADER_LEN, HeaderState, Latched, Run, ScanExpect, SegmentScan, SparseIndex,
        block::{BlockError, read_block},
        scan::scan,
    },
};

/// How much is read at once.
pub(super) const BLOCK: usize = 1 << 20;

/// Where something of a log is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) layout: &'a Layout,
    pub(super) log: LogId,
}

/// One unsealed segment, as far as it can be read.
#[derive(Debug)]
pub(super) struct TailFile {
    pub(super) salt: u64,
    pub(super) capacity: u64,
    /// None where the file is gone.
    pub(super) file: Option<Latched>,
    len: u64,
    index: SparseIndex,
}

/// A stream's tail.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) stream: StreamId,
    pub(super) files: BTreeMap<SegmentNo, TailFile>,
    pub(super) decision: TailDecision,
    /// Where the stream begins.
    start: Offset,
    /// Segments that the manifest closed before anything in them was durable, behind the end.
    pub(super) hollow: Vec<SegmentNo>,
}

/// The offsets of one segment that stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) no: SegmentNo,
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) end_byte: u64,
}

/// A stretch of good frames that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) no: SegmentNo,
    pub(super) run: Run,
}

/// A tail, divided at what is claimed.
#[derive(Debug, Default)]
pub(super) struct Divided {
    pub(super) stay: Vec<Stay>,
    /// Kept segments of which nothing stays.
    pub(super) emptied: Vec<SegmentNo>,
    pub(super) moved: Vec<Moved>,
}

impl Tail {
    /// Reads the unsealed segments of a stream and decides what of them counts.
    pub(super) fn read(
        place: &Place<'_>,
        stream: StreamId,
        state: &StreamState,
        claim: Option<Offset>,
    ) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut scans = Vec::new();
        // The last one first: beside a live writer, what a later segment claims of an earlier one
        // was written before, and so it is seen.
        for (&no, segment) in state
            .segments
            .iter()
            .rev()
            .filter(|(_, s)| s.status.is_open())
        {
            let (file, scan) = read_segment(place, stream, no, segment)?;
            files.insert(no, file);
            scans.push(scan);
        }
        scans.reverse();
        let first_open = scans.first().map(|scan| scan.no);
        let ranges = state.segments.iter().filter_map(|(&no, s)| {
            let (base, end) = s.status.range()?;
            Some(FinalSpan { no, base, end })
        });
        let (before, among): (Vec<_>, Vec<_>) =
            ranges.partition(|span| first_open.is_none_or(|first| span.no < first));
        let mark = state
            .mark
            .as_ref()
            .map_or(Offset::ZERO, |mark| mark.durable);
        let base = before
            .iter()
            .filter(|span| span.base < span.end)
            .map(|span| span.end)
            .max();
        let decision = decide_tail(&TailInput {
            base,
            start: state.start,
            scans: &scans,
            finals: &among,
            claimed: mark.max(claim.unwrap_or_default()),
        });
        let behind = |span: &&FinalSpan| span.base == span.end && span.base > decision.end;
        let hollow = before
            .iter()
            .chain(&among)
            .filter(behind)
            .map(|span| span.no)
            .collect();
        Ok(Self {
            stream,
            files,
            decision,
            start: state.start,
            hollow,
        })
    }

    /// Divides what is kept at the first frame that nothing claims to be durable.
    ///
    /// A claim never ends inside a frame; if it did, the whole frame would count as unclaimed.
    pub(super) fn divided(&self) -> Result<Divided> {
        let mut divided = Divided::default();
        for kept in &self.decision.keep {
            let unclaimed = kept
                .runs
                .iter()
                .position(|run| run.end > self.decision.claimed);
            let Some(at) = unclaimed else {
                divided.stay.push(self.stay(kept, kept.end, kept.end_byte));
                continue;
            };
            let first = self.unclaimed_part(kept.no, &kept.runs[at])?;
            // A segment begins to move at its first unclaimed frame. Damage before that frame stays
            // where it is, with the bytes in which it lies.
            // Of what was trimmed meanwhile nothing stays: the trim left the segment to its writer, and
            // nobody comes for it any more. Closed, it would take of the budget for good.
            if kept.base.max(self.start) < first.base && divided.moved.is_empty() {
                divided.stay.push(self.stay(kept, first.base, first.start));
            } else {
                divided.emptied.push(kept.no);
            }
            let behind = kept.runs[at + 1..].iter().copied();
            let no = kept.no;
            let runs = std::iter::once(first).chain(behind);
            divided.moved.extend(runs.map(|run| Moved { no, run }));
        }
        Ok(divided)
    }

    /// All that is kept, where it is.
    pub(super) fn undivided(&self) -> Divided {
        let keep = self.decision.keep.iter();
        Divided {
            stay: keep
                .map(|kept| self.stay(kept, kept.end, kept.end_byte))
                .collect(),
            ..Divided::default()
        }
    }

    fn stay(&self, kept: &KeptSegment, end: Offset, end_byte: u64) -> Stay {
        let end_byte = match end_byte {
            TO_FILE_END => self.file_end(kept.no),
            known => known,
        };
        Stay {
            no: kept.no,
            base: kept.base,
            end,
            end_byte,
        }
    }

    /// Frames lie at multiples of 8; what is beyond the last of these in a file is none.
    fn file_end(&self, no: SegmentNo) -> u64 {
        let len = self.files.get(&no).map_or(0, |file| file.len);
        (len & !7).max(HEADER_LEN)
    }

    /// The part of a run from its first unclaimed frame on.
    fn unclaimed_part(&self, no: SegmentNo, run: &Run) -> Result<Run> {
        let claimed = self.decision.claimed;
        let mut at = *run;
        if let Some(entry) = self
            .files
            .get(&no)
            .and_then(|file| file.index.floor(claimed))
            && entry.pos > run.start
            && entry.pos < run.end_byte
        {
            (at.base, at.start) = (entry.offset, entry.pos);
        }
        while at.base < claimed {
            let block = self.block(no, &at)?;
            for (head, frame) in block.frames() {
                if head.end() > claimed {
                    return Ok(at);
                }
                (at.base, at.start) = (head.end(), at.start + frame.len() as u64);
            }
        }
        Ok(at)
    }

    /// The frames at the start of a stretch that was good when it was scanned.
    pub(super) fn block(&self, no: SegmentNo, run: &Run) -> Result<crate::segment::Block> {
        let Some((file, salt)) = self.file(no) else {
            return Err(StorageError::Invalid {
                what: format!("segment {no} has frames and no file"),
            });
        };
        read_block(file, salt, run.start, run.end_byte, run.base, BLOCK).map_err(|e| match e {
            BlockError::Disk(error) => error,
            // It was good a moment ago: the disk gives different bytes for the same place.
            BlockError::Bad { pos, offset, fault } => StorageError::Corrupt(Damage {
                stream: self.stream,
                segment: no,
                from: offset,
                to: run.end,
                bytes: (pos, run.end_byte),
                what: format!("read well once and then not again: {fault}"),
            }),
        })
    }

    fn file(&self, no: SegmentNo) -> Option<(&Latched, u64)> {
        let file = self.files.get(&no)?;
        Some((file.file.as_ref()?, file.salt))
    }

    /// What was found to be damaged, as it is reported.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let damage = self.decision.damage.iter();
        damage
            .map(|d| Damage {
                stream: self.stream,
                segment: d.segment,
                from: d.from,
                to: d.to,
                bytes: (
                    d.bytes.0,
                    d.bytes.1.min(self.file_end(d.segment).max(d.bytes.0)),
                ),
                what: d.what.clone(),
            })
            .collect()
    }
}

fn read_segment(
    place: &Place<'_>,
    stream: StreamId,
    no: SegmentNo,
    state: &SegmentState,
) -> Result<(TailFile, SegmentScan)> {
    let path = place.layout.segment(stream, no);
    let mut tail = TailFile {
        salt: state.salt,
        capacity: state.capacity,
        file: None,
        len: 0,
        index: SparseIndex::default(),
    };
    let file = match place.disk.open(&path, Access::Read) {
        Ok(file) => Latched::new(file, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((tail, missing(no)));
        }
        Err(error) => return Err(StorageError::io("open", path, error)),
    };
    let expect = ScanExpect {
        log: place.log,
        stream,
        segment: no,
        salt: state.salt,
    };
    let mut index = SparseIndex::default();
    let mut scan = scan(&file, &expect, HEADER_LEN, &mut |head, pos, _| {
        index.note(head.base, pos, head.base_ts);
    })?;
    tail.len = file.len()?;
    scan.header = judged(scan.header, &file, state)?;
    tail.file = Some(file);
    tail.index = index;
    Ok((tail, scan))
}

fn missing(no: SegmentNo) -> SegmentScan {
    SegmentScan {
        no,
        header: HeaderState::Missing,
        runs: Vec::new(),
        max_claim: Offset::ZERO,
        last_ts: 0,
        nonzero_after: false,
        footer: None,
    }
}

/// What the header means, given what the manifest says of the segment.
fn judged(header: HeaderState, file: &Latched, state: &SegmentState) -> Result<HeaderState> {
    Ok(match header {
        // Written after the segment was created, so never by an earlier owner or life. A later one
        // is fine: a segment goes on being written after a clean restart.
        HeaderState::Valid(h) if h.epoch < state.epoch || h.incarnation < state.incarnation => {
            HeaderState::Damaged("it is older than the segment".to_owned())
        }
        // There is a file, so this one is only too short.
        HeaderState::Missing => {
            let mut bytes = [0; HEADER_LEN as usize];
            let read = file.read_at(&mut bytes, 0)?;
            match bytes[..read].iter().all(|byte| *byte == 0) {
                true => HeaderState::Blank,
                false => HeaderState::Damaged("it is cut short".to_owned()),
            }
        }
        other => other,
    })
}
