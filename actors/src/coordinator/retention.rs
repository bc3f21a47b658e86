//! What a stream need not keep any more: a pure decision.
//!
//! ```text
//!  start                                                   end
//!   │  0  │  1  │  2  │  3  │  4  │ open                    │
//!   └─────┴─────┴─────┴─────┴─────┴─────────────────────────┘
//!   by age: all up to the last whose last record is too old   ──▶│1
//!   by bytes: the oldest, until what is left fits             ────────▶│2
//!   the farther one counts, but not beyond the lowest lease   ──────▶│ in 2: up to its border
//! ```
//!
//! Only whole segments go, and never the open one. Timestamps of a stream never fall, so a segment
//! of which the last one is not known is as old as the next one that has one, or older.

use tierlog_storage::Offset;

/// A segment that has ended. They are told in the order of their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// One past its last record.
    pub end: Offset,
    /// Bytes of its segment file, whichever tier it is in.
    pub bytes: u64,
    /// The timestamp of its last record; `None` where it ended without a footer.
    pub last_ts: Option<u64>,
}

/// What a stream keeps at most; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How old records get, in nanoseconds.
    pub age_ns: Option<u64>,
    /// Bytes of segment files.
    pub bytes: Option<u64>,
}

impl Limits {
    /// Nothing is ever given up.
    pub fn are_none(&self) -> bool {
        self.age_ns.is_none() && self.bytes.is_none()
    }
}

/// What there is to decide about.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// The segments that have ended.
    pub ended: &'a [Ended],
    /// Bytes of what has not.
    pub open_bytes: u64,
    /// The lowest place that a reader stands on.
    pub lease: Option<Offset>,
    /// The time now.
    pub now_ns: u64,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The first offset that is kept; `None` where nothing goes.
    pub start: Option<Offset>,
    /// A reader stands on more that would go.
    pub held_back: bool,
}

/// Decides which segments go.
pub fn decide(kept: Kept<'_>, limits: Limits) -> Verdict {
    let over = by_age(kept, limits.age_ns).max(by_bytes(kept, limits.bytes));
    let going = &kept.ended[..over];
    let passes = |segment: &&Ended| kept.lease.is_none_or(|lease| segment.end <= lease);
    let free = going.iter().take_while(passes).count();
    Verdict {
        start: going[..free].last().map(|segment| segment.end),
        held_back: free < over,
    }
}

/// How many are too old.
fn by_age(kept: Kept<'_>, limit: Option<u64>) -> usize {
    let Some(limit) = limit else {
        return 0;
    };
    let mut over = 0;
    for (at, segment) in kept.ended.iter().enumerate() {
        match segment.last_ts {
            None => {}
            Some(ts) if kept.now_ns.saturating_sub(ts) > limit => over = at + 1,
            Some(_) => break,
        }
    }
    over
}

/// How many of the oldest have to go for the rest to fit.
fn by_bytes(kept: Kept<'_>, limit: Option<u64>) -> usize {
    let Some(limit) = limit else {
        return 0;
    };
    let sizes = kept.ended.iter().map(|segment| u128::from(segment.bytes));
    let mut left = u128::from(kept.open_bytes) + sizes.sum::<u128>();
    let mut over = 0;
    for segment in kept.ended {
        if left <= u128::from(limit) {
            break;
        }
        left -= u128::from(segment.bytes);
        over += 1;
    }
    over
}

#[cfg(test)]
mod tests;
