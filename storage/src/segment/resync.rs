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
//! The work is bounded by the damaged stretch for honest bytes. A payload full of made-up heads
//! with great lengths makes each of them be checksummed: damaged bytes times the rest of the
//! segment, at the speed of the checksum.

use super::{
    file::Latched,
    frame::{FRAME_HEAD, FrameHead, MARKER, MIN_RECORD, begun_crc, frame_crc},
    window::{WINDOW, Window},
};
use crate::{Offset, error::Result};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The salt of the segment.
    pub(super) salt: u64,
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

/// Looks for the next good frame from `wanted.from` up to `end`.
pub(super) fn find(file: &Latched, end: u64, wanted: &Wanted) -> Result<Found> {
    let mut window = Window::new(file, end);
    if let Some((at, head)) = by_its_head(&mut window, wanted)? {
        return Ok(Found::Frame(at, head));
    }
    let mut nonzero = false;
    let mut pos = wanted.from.next_multiple_of(8);
    loop {
        let bytes = window.at(pos, FRAME_HEAD)?;
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
                if let Some(head) = good(&window, at, &bytes[nth * 8..], wanted)? {
                    return Ok(Found::Frame(at, head));
                }
            }
        }
        pos += tried as u64 * 8;
    }
}

/// The frame at `from`, if it is good after all, or the one to which the head of the bad one
/// points, if that continues the offsets.
fn by_its_head(window: &mut Window<'_>, wanted: &Wanted) -> Result<Option<(u64, FrameHead)>> {
    let bytes = window.at(wanted.from, FRAME_HEAD)?;
    if let Some(head) = good(window, wanted.from, &bytes, wanted)? {
        return Ok(Some((wanted.from, head)));
    }
    let Some(bad) = FrameHead::parse(&bytes) else {
        return Ok(None);
    };
    if wanted.expected.is_some_and(|expected| expected != bad.base) {
        return Ok(None);
    }
    let at = wanted.from + bad.total_len() as u64;
    let bytes = window.at(at, FRAME_HEAD)?;
    let head = good(window, at, &bytes, wanted)?.filter(|head| head.base == bad.end());
    Ok(head.map(|head| (at, head)))
}

/// The head at the start of `bytes`, which lie at `at`, if a good frame is there that may be the
/// wanted one.
fn good(window: &Window<'_>, at: u64, bytes: &[u8], wanted: &Wanted) -> Result<Option<FrameHead>> {
    match FrameHead::parse(bytes).filter(|head| possible(head, at, wanted)) {
        Some(head) if is_whole(window, at, bytes, &head, wanted.salt)? => Ok(Some(head)),
        _ => Ok(None),
    }
}

/// True if the frame at `at`, of which `bytes` are the start, is all there and has the checksum
/// that its head names. Holds no more than a window of it: its length was said by a head that may
/// be damage.
pub(super) fn is_whole(
    window: &Window<'_>,
    at: u64,
    bytes: &[u8],
    head: &FrameHead,
    salt: u64,
) -> Result<bool> {
    let total = head.total_len();
    if total as u64 > window.end().saturating_sub(at) {
        return Ok(false);
    }
    let crc = match bytes.get(..total) {
        Some(frame) => Some(frame_crc(frame, salt)),
        None => streamed_crc(window, at, bytes, total, salt)?,
    };
    Ok(crc == Some(head.crc))
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

/// The CRC of a frame of which only the start was read; `None` where the file ends within it.
fn streamed_crc(
    window: &Window<'_>,
    at: u64,
    start: &[u8],
    total: usize,
    salt: u64,
) -> Result<Option<u64>> {
    let mut crc = begun_crc(start, salt);
    let end = at + total as u64;
    let mut pos = at + start.len() as u64;
    let mut rest = Window::new(window.file(), end);
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
