//! Frames in memory, and a reader's place in them.

use bytes::Bytes;
use tierlog_storage::{
    Offset, SegmentNo,
    segment::{Block, Frame, FrameFault, FrameHead, Record, RecordRef, Records},
};

/// Checked frames, back to back, and the place in them.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    /// The byte behind the frame that is being read.
    at: usize,
    frame: Option<Records>,
    /// The range of the frame that is being read.
    span: (Offset, Offset),
    span_bytes: (usize, usize),
    /// Records at or beyond this are not given out for now.
    pub(super) limit: Offset,
    /// Records at or beyond this are never given out of this chunk.
    hard: Offset,
    first: Offset,
    /// The segment, and where the chunk begins in it; nothing where it came out of memory.
    home: Option<(SegmentNo, u64)>,
}

/// A frame that passed its checksum and still can't be read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: (Offset, Offset),
    /// The segment and the bytes; nothing where the frame came out of memory.
    pub(super) home: Option<(SegmentNo, (u64, u64))>,
    pub(super) what: String,
}

/// What came of one step in a frame.
#[derive(Debug)]
pub(super) enum Step {
    /// The record at the position was taken.
    Took,
    /// Another record stands there; it was not taken.
    Sparse(Offset),
    /// The frame can't be read.
    Bad(FrameFault),
    /// The frame is at its end.
    End,
}

/// Hands the next record to `keep`, if it is the one at `position`.
#[inline]
pub(super) fn take_shared(
    records: &mut Records,
    position: Offset,
    keep: impl FnOnce(Record),
) -> Step {
    match records.next() {
        Some(Ok(record)) if record.offset == position => {
            keep(record);
            Step::Took
        }
        Some(Ok(record)) => Step::Sparse(record.offset),
        Some(Err(fault)) => Step::Bad(fault),
        None => Step::End,
    }
}

/// Shows the next record to `see`, if it is the one at `position`.
#[inline]
pub(super) fn take_borrowed(
    records: &mut Records,
    position: Offset,
    see: impl FnOnce(RecordRef<'_>),
) -> Step {
    match records.next_ref() {
        Some(Ok(record)) if record.offset == position => {
            see(record);
            Step::Took
        }
        Some(Ok(record)) => Step::Sparse(record.offset),
        Some(Err(fault)) => Step::Bad(fault),
        None => Step::End,
    }
}

impl Chunk {
    /// A block of a segment, of which records below `hard` may be read.
    pub(super) fn of_block(block: &Block, no: SegmentNo, hard: Offset) -> Self {
        let home = Some((no, block.pos));
        Self::new(block.bytes.clone(), block.first, block.end.min(hard), home)
    }

    /// A frame out of memory.
    pub(super) fn of_tail(frame: &Frame) -> Self {
        Self::new(frame.bytes.clone(), frame.base, frame.end(), None)
    }

    fn new(bytes: Bytes, first: Offset, hard: Offset, home: Option<(SegmentNo, u64)>) -> Self {
        Self {
            bytes,
            at: 0,
            frame: None,
            span: (first, first),
            span_bytes: (0, 0),
            limit: first,
            hard,
            first,
            home,
        }
    }

    /// Lets records below `limit` be read; says whether `position` is one of them.
    pub(super) fn reach(&mut self, position: Offset, limit: Offset) -> bool {
        self.limit = limit.min(self.hard);
        self.first <= position && position < self.limit
    }

    /// Begins anew, so that a position that was passed can be read again.
    pub(super) fn rewind(&mut self) {
        (self.at, self.frame) = (0, None);
    }

    /// Takes the records from `position` on, up to `end`, which is not beyond the limit. Gives the
    /// position behind the last one taken, and what stopped it before `end`.
    #[inline]
    pub(super) fn take(
        &mut self,
        mut position: Offset,
        end: Offset,
        mut step: impl FnMut(&mut Records, Offset) -> Step,
    ) -> (Offset, Option<Box<Fault>>) {
        while position < end {
            let Some(records) = &mut self.frame else {
                if let Err(fault) = self.open_frame(position) {
                    return (position, Some(fault));
                }
                continue;
            };
            let stopped = loop {
                if position == end {
                    return (position, None);
                }
                match step(records, position) {
                    Step::Took => position = Offset(position.0 + 1),
                    stopped => break stopped,
                }
            };
            let fault = match stopped {
                Step::Took | Step::End => {
                    self.frame = None;
                    continue;
                }
                Step::Sparse(found) => {
                    format!("record {found} stands where record {position} should be")
                }
                Step::Bad(fault) => fault.to_string(),
            };
            return (position, Some(self.fault(fault)));
        }
        (position, None)
    }

    /// Opens the frame that holds `position`, the next one or one behind it.
    fn open_frame(&mut self, position: Offset) -> Result<(), Box<Fault>> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let head = FrameHead::parse(rest).filter(|head| head.total_len() <= rest.len());
            let Some(head) = head else {
                (self.span, self.span_bytes) = ((position, self.hard), (self.at, self.bytes.len()));
                return Err(self.fault("the frames end before their offsets do".into()));
            };
            let frame = self.at..self.at + head.total_len();
            (self.span, self.span_bytes) = ((head.base, head.end()), (frame.start, frame.end));
            self.at = frame.end;
            if head.end() <= position {
                continue;
            }
            let mut records = match Records::of(self.bytes.slice(frame)) {
                Ok(records) => records,
                Err(fault) => return Err(self.fault(fault.to_string())),
            };
            records.skip_to(position);
            self.frame = Some(records);
            return Ok(());
        }
    }

    #[cold]
    fn fault(&mut self, what: String) -> Box<Fault> {
        self.frame = None;
        let home = self.home.map(|(no, pos)| {
            let (from, to) = self.span_bytes;
            (no, (pos + from as u64, pos + to as u64))
        });
        Box::new(Fault {
            span: self.span,
            home,
            what,
        })
    }
}
