//! Where a stream ends: the decision of P6, without touching a disk.
//!
//! All unsealed segments of a stream are one tail. The walk goes through it in order with X, the
//! offset that must come next, and M, the greatest offset that anything claims to have been durable
//! (frames wherever they stand in the tail, footers, marks, the claims file, sealed segments).
//!
//! ```text
//! what stands at X                            M <= X: was never durable    M > X: was durable
//! ------------------------------------------  ---------------------------  -----------------------
//! a frame with base X                         taken                        taken
//! zeros, nothing behind                       the end                      damage X..M, the end is M
//! bytes that are no frame, nothing behind     cut                          damage X..M, the end is M
//! bytes that are no frame, a frame B > X      cut, with all behind         damage X..B, on from B
//! bytes that are no frame, a frame B = X,
//!   both in one segment                       cut, with all behind         damage X..X, on from X
//! a frame B < X                               cut, with all behind         not a frame (see above)
//! a torn or a whole footer, the next
//!   segment begins with X                     on from X                    on from X
//! a blank segment, the next begins with X     on from X; removed           on from X; removed
//! a blank segment, the next begins B > X      cut, with all behind         damage X..B, on from B
//! a bad header, its first frame is X          cut, with all behind         damage X..X, on from X
//! a bad header, its first frame is B > X      cut, with all behind         damage X..B, on from B
//! no file                                     as blank, and reported       as blank, and reported
//! ```
//!
//! Two of the lines deserve their scenario. Pages reach the disk in any order, and two files have
//! no order at all: after a power cut the second segment may be there while the first, not yet
//! synced, is blank; so a hole below later frames proves nothing, only a claim does. And a writer
//! that poisoned a segment may have begun to write its records again to the next one, created ahead,
//! when the power went before the commit that closes the first: both then hold the same offsets,
//! none of them acked, and what comes second is cut.
//!
//! The damaged bytes stay where they are, inside the range of a segment that is closed around them:
//! whoever reads these offsets gets `Corrupt`, for ever. New records go behind M, never in the place
//! of lost ones.

mod walk;

use serde::Serialize;

use self::walk::Walk;
use crate::{
    ids::{Offset, SegmentNo},
    segment::{Run, SegmentScan},
};

/// A sealed or closed segment that is numbered behind an unsealed one.
///
/// Sealing is a commit of its own for each segment and so can overtake that of an earlier one; what
/// such a segment holds was durable, and so was everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalSpan {
    /// The segment.
    pub no: SegmentNo,
    /// Its first offset.
    pub base: Offset,
    /// The offset behind its last one.
    pub end: Offset,
}

/// Everything that the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct TailInput<'a> {
    /// Where the tail must begin: the end of the last final segment before it, if there is one.
    pub base: Option<Offset>,
    /// The stream's start; everything before it was trimmed.
    pub start: Offset,
    /// The unsealed segments in the order of their numbers.
    pub scans: &'a [SegmentScan],
    /// Final segments among or behind the unsealed ones, in the order of their numbers.
    pub finals: &'a [FinalSpan],
    /// The greatest claim from outside the segments: marks and the claims file.
    pub claimed: Offset,
}

/// One unsealed segment of which something is kept, and the offsets that are found there from now
/// on. Ranges of kept and final segments follow one another without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSegment {
    /// The segment.
    pub no: SegmentNo,
    /// The first offset of its range.
    pub base: Offset,
    /// The offset behind its range.
    pub end: Offset,
    /// The byte behind what is kept; [`TO_FILE_END`] where damage reaches to the file's end.
    pub end_byte: u64,
    /// The good stretches within the range.
    pub runs: Vec<Run>,
}

/// Stands for "to the end of the file, wherever that is" in a decision about bytes.
pub const TO_FILE_END: u64 = u64::MAX;

/// Offsets that were durable and can't be read any more; an empty range is damage that took no
/// record with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailDamage {
    /// The segment in which the damage begins.
    pub segment: SegmentNo,
    /// The first lost offset.
    pub from: Offset,
    /// The first good offset behind it.
    pub to: Offset,
    /// The bytes of `segment`, the end exclusive.
    pub bytes: (u64, u64),
    /// What was found.
    pub what: String,
}

/// Where a torn tail was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The segment in which the first dropped byte stands.
    pub segment: SegmentNo,
    /// Its position.
    pub pos: u64,
    /// The bytes of whole frames among what was dropped.
    pub dropped_bytes_known: u64,
    /// The offset from which on everything was dropped.
    pub from: Offset,
}

/// What becomes of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailDecision {
    /// The offset of the next record.
    pub end: Offset,
    /// Everything below was claimed to be durable; at most `end`.
    pub claimed: Offset,
    /// The segments that hold something.
    pub keep: Vec<KeptSegment>,
    /// What can't be read, in order.
    pub damage: Vec<TailDamage>,
    /// The torn end, if there was one.
    pub cut: Option<Cut>,
    /// Unsealed segments that hold nothing that counts: blank, cut, or overtaken by others.
    pub blank: Vec<SegmentNo>,
    /// Those among them that hold bytes which no cut explains: they are kept for people to look at.
    pub set_aside: Vec<SegmentNo>,
}

/// Decides where a stream ends and what of its unsealed segments counts.
pub fn decide_tail(input: &TailInput<'_>) -> TailDecision {
    let mut walk = Walk::new(input);
    let mut finals = input.finals.iter().filter(|f| f.base < f.end).peekable();
    for (at, scan) in input.scans.iter().enumerate() {
        while let Some(span) = finals.next_if(|f| f.no < scan.no) {
            walk.pass(span, at);
        }
        if !walk.visit(at, scan) {
            break;
        }
    }
    for span in finals {
        walk.pass(span, input.scans.len());
    }
    walk.decision()
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
