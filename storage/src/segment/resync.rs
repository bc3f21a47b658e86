//! Finding the next good frame behind a bad one.
//!
//! Frames start at multiples of 8, so behind damage every such place is tried: marker, a head that
//! makes sense, a possible base offset, and then the checksum over the whole frame.
//!
//! ```text
//!        from                            at
//!   ─────┬───────────────────────────────┬─────────────────
//!        │ the frame with offset E,      │ a good frame,
//!        │ damaged, and maybe more       │ base B
//!   ─────┴───────────────────────────────┴─────────────────
//!   at == from:  B >= E
//!   at >  from:  E < B <= E + (at - from) / MIN_RECORD
//! ```
//!
//! **Payloads that look like frames.** A payload may hold anything, a copy of a segment file too.
//! - A frame copied from another segment has another salt and never passes.
//! - A copy of a frame of this very segment may pass only if its base is possible here. A copy of
//!   an earlier frame is refused by `B > E`, since what holds the copy was appended after it. What
//!   is left is a copy of a frame that is itself within the damage. Offsets are assigned once under
//!   one salt (whatever is written again goes to a new segment), so those are the very bytes that
//!   were appended at these offsets: they are found at another place, and are not wrong.
//! - Somebody who reads the salt out of the file and makes up a frame with a possible base can have
//!   it taken for a real one if his payload is then damaged in front of it. A checksum does not
//!   protect from forgery; who can read the segment can read all of the log. The bounds on `B`, and
//!   that a claim never goes beyond its frame, keep what such a frame can say small.
//!
//! Where only the body of the bad frame is damaged, none of this matters: its head says where the
//! next one begins, and if a good frame that continues the offsets is there, it is that one, and
//! nothing in between is looked at.
//!
//! **What it costs.** A head without its frame is cheap to make up, and a payload may be full of them,
//! each with a great length. So no more than twice the bytes that were passed are put through the
//! checksum frame by frame. What is beyond that is checked by sums of the file, which are made in one
//! pass (`sums.rs`): for two short pieces a head, whatever length it names. Both together are linear
//! in the length of the segment, for all damage in it, and nothing is left out: a frame is found or
//! not, as if each had been checked by itself.

use super::{
    file::Latched,
    frame::{AT_BASE, AT_CRC, FRAME_HEAD, FrameHead, MARKER, MIN_RECORD, begun_crc, frame_crc},
    sums::Sums,
    window::{WINDOW, Window},
};
use crate::{
    Offset,
    crc::{crc64, joined},
    error::Result,
};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Where the bad frame begins; it is tried too.
    pub(super) from: u64,
    /// The offset with which the frame at `from` ought to begin; `None` where that is unknown.
    pub(super) expected: Option<Offset>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The next good frame, and where it lies.
    Frame(u64, FrameHead),
    /// No frame up to the end.
    Nothing {
        /// True if there is anything but zeros.
        nonzero: bool,
    },
}

/// Looks for good frames in a segment, from front to back.
#[derive(Debug)]
pub(super) struct Resync<'a> {
    /// The bytes of the segment.
    pub(super) window: Window<'a>,
    salt: u64,
    sums: Sums<'a>,
    /// Where it began to look.
    begun: u64,
    /// Bytes that were put through the checksum frame by frame.
    spent: u64,
}

impl<'a> Resync<'a> {
    /// One that looks at the bytes from `begun` up to `end`.
    pub(super) fn new(file: &'a Latched, salt: u64, begun: u64, end: u64) -> Self {
        Self {
            window: Window::new(file, end),
            salt,
            sums: Sums::new(file, end),
            begun,
            spent: 0,
        }
    }

    /// Everything before `pos` is done with.
    pub(super) fn pass(&mut self, pos: u64) {
        self.sums.forget_before(pos);
    }

    /// Looks for the next good frame from `wanted.from` on, which never goes back.
    pub(super) fn find(&mut self, wanted: &Wanted) -> Result<Found> {
        self.pass(wanted.from);
        if let Some((at, head)) = self.by_its_head(wanted)? {
            return Ok(Found::Frame(at, head));
        }
        let mut nonzero = false;
        let mut pos = wanted.from.next_multiple_of(8);
        loop {
            let bytes = self.window.at(pos, FRAME_HEAD)?;
            let (steps, _) = bytes.as_chunks::<8>();
            let tried = (steps.len() + 1).saturating_sub(FRAME_HEAD / 8);
            if tried == 0 {
                nonzero |= bytes.iter().any(|byte| *byte != 0);
                return Ok(Found::Nothing { nonzero });
            }
            for (nth, step) in steps[..tried].iter().enumerate() {
                nonzero |= *step != [0; 8];
                if step[..4] == MARKER {
                    let at = pos + nth as u64 * 8;
                    if let Some(head) = self.good(at, &bytes[nth * 8..], wanted)? {
                        return Ok(Found::Frame(at, head));
                    }
                }
            }
            pos += tried as u64 * 8;
            self.pass(pos);
        }
    }

    /// The frame at `from`, if it is good after all, or the one to which the head of the bad one
    /// points, if that continues the offsets.
    fn by_its_head(&mut self, wanted: &Wanted) -> Result<Option<(u64, FrameHead)>> {
        let bytes = self.window.at(wanted.from, FRAME_HEAD)?;
        if let Some(head) = self.good(wanted.from, &bytes, wanted)? {
            return Ok(Some((wanted.from, head)));
        }
        let Some(bad) = FrameHead::parse(&bytes) else {
            return Ok(None);
        };
        if wanted.expected.is_some_and(|expected| expected != bad.base) {
            return Ok(None);
        }
        let at = wanted.from + bad.total_len() as u64;
        let bytes = self.window.at(at, FRAME_HEAD)?;
        let head = self.good(at, &bytes, wanted)?;
        Ok(head
            .filter(|head| head.base == bad.end())
            .map(|head| (at, head)))
    }

    /// The head at the start of `bytes`, which lie at `at`, if a good frame is there that may be the
    /// wanted one.
    fn good(&mut self, at: u64, bytes: &[u8], wanted: &Wanted) -> Result<Option<FrameHead>> {
        match FrameHead::parse(bytes).filter(|head| possible(head, at, wanted)) {
            Some(head) if self.is_whole(at, bytes, &head)? => Ok(Some(head)),
            _ => Ok(None),
        }
    }

    /// True if the frame at `at`, of which `bytes` are the start, is all there and has the checksum
    /// that its head names. Holds no more than a window of it: its length was said by a head that
    /// may be damage.
    pub(super) fn is_whole(&mut self, at: u64, bytes: &[u8], head: &FrameHead) -> Result<bool> {
        let total = head.total_len();
        if total as u64 > self.window.end().saturating_sub(at) {
            return Ok(false);
        }
        let crc = if self.affords(at, total) {
            self.spend(total);
            match bytes.get(..total) {
                Some(frame) => Some(frame_crc(frame, self.salt)),
                None => self.streamed_crc(at, bytes, total)?,
            }
        } else {
            self.summed_crc(at, bytes, total)?
        };
        Ok(crc == Some(head.crc))
    }

    /// One that puts nothing through the checksum frame by frame.
    #[cfg(test)]
    pub(super) fn by_sums_alone(mut self) -> Self {
        self.spent = u64::MAX / 2;
        self
    }

    /// Whether a frame may be put through the checksum, though it may turn out to be none. Good
    /// frames always may: each passes what it costs.
    pub(super) fn affords(&self, at: u64, total: usize) -> bool {
        let (at, total) = (at.saturating_sub(self.begun), total as u64);
        self.spent + total <= 2 * (at + total)
    }

    /// A frame was put through the checksum.
    pub(super) fn spend(&mut self, total: usize) {
        self.spent += total as u64;
    }

    /// The CRC of a frame of which only the start was read; `None` where the file ends within it.
    fn streamed_crc(&self, at: u64, start: &[u8], total: usize) -> Result<Option<u64>> {
        let mut crc = begun_crc(start, self.salt);
        let end = at + total as u64;
        let mut pos = at + start.len() as u64;
        let mut rest = Window::new(self.window.file(), end);
        while pos < end {
            let more = rest.at(pos, WINDOW)?;
            if more.is_empty() {
                return Ok(None);
            }
            crc.write(&more);
            pos += more.len() as u64;
        }
        Ok(Some(crc.sum64()))
    }

    /// The same for the price of two short pieces.
    fn summed_crc(&mut self, at: u64, start: &[u8], total: usize) -> Result<Option<u64>> {
        let (from, to) = (at + AT_BASE as u64, at + total as u64);
        let Some(rest) = self.sums.of(from, to)? else {
            return Ok(None);
        };
        let first = crc64(&[&self.salt.to_le_bytes(), &start[..AT_CRC]]);
        Ok(Some(joined(first, rest, to - from)))
    }
}

fn possible(head: &FrameHead, at: u64, wanted: &Wanted) -> bool {
    let Some(expected) = wanted.expected else {
        return true;
    };
    if at == wanted.from {
        return head.base >= expected;
    }
    let between = (at - wanted.from) / MIN_RECORD as u64;
    head.base > expected && head.base.since(expected) <= between
}
