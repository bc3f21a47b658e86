//! Stretches of objects that were fetched, or are being fetched, for those who read on.
//!
//! Readers come in several jobs at once, each for what lies a little behind what the one before reads. So a
//! stretch is known from the moment in which it is asked for, and whoever wants bytes of it waits for the
//! same answer.

use std::{collections::VecDeque, fmt, ops::Range};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use tierlog_cold::store::StoreError;
use tierlog_storage::catalog::SegmentKey;

/// Windows that are kept, of all objects together.
pub(super) const WINDOWS: usize = 8;
/// The most bytes that are fetched beyond what was asked for.
pub(super) const AHEAD_MAX: u64 = 2 << 20;
/// What is fetched beyond it where reading goes on for the first time.
pub(super) const AHEAD_FIRST: u64 = 256 << 10;
/// One who begins so little behind what was fetched reads on: jobs overtake each other.
const NEAR: u64 = 256 << 10;

/// The answer of the store, for however many wait for it.
pub(super) type Arriving = Shared<BoxFuture<'static, Result<Bytes, StoreError>>>;

/// A stretch of an object.
#[derive(Clone)]
pub(super) struct Window {
    key: SegmentKey,
    range: Range<u64>,
    /// How much more than was asked for it holds; 0 where nobody read on.
    ahead: u64,
    bytes: Arriving,
}

impl Window {
    pub(super) fn new(key: SegmentKey, range: Range<u64>, ahead: u64, bytes: Arriving) -> Self {
        Self {
            key,
            range,
            ahead,
            bytes,
        }
    }

    /// Its bytes, when they are there.
    pub(super) fn bytes(&self) -> Arriving {
        self.bytes.clone()
    }

    /// Of these bytes, which are its own, as much of a range that begins in it as it holds.
    pub(super) fn part(&self, bytes: &Bytes, range: Range<u64>) -> Bytes {
        let at = |pos: u64| {
            let within = usize::try_from(pos.saturating_sub(self.range.start));
            within.unwrap_or(usize::MAX).min(bytes.len())
        };
        bytes.slice(at(range.start)..at(range.end))
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("key", &self.key)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Those of all objects, the one last that was used last.
#[derive(Debug, Default)]
pub(super) struct Windows(VecDeque<Window>);

impl Windows {
    /// The one that holds a byte.
    pub(super) fn find(&mut self, key: &SegmentKey, pos: u64) -> Option<Window> {
        let holds = |window: &Window| window.key == *key && window.range.contains(&pos);
        let window = self.0.remove(self.0.iter().position(holds)?)?;
        self.0.push_back(window.clone());
        Some(window)
    }

    /// What to fetch for a range of an object of so many bytes whose beginning is in no window; and how much
    /// of that is ahead.
    pub(super) fn fetch(
        &self,
        key: &SegmentKey,
        range: &Range<u64>,
        len: u64,
    ) -> (Range<u64>, u64) {
        let own = self.0.iter().filter(|window| window.key == *key);
        let before = own
            .filter(|window| window.range.end <= range.start)
            .filter(|window| range.start - window.range.end <= NEAR)
            .max_by_key(|window| window.range.end);
        let Some(before) = before else {
            return (range.clone(), 0);
        };
        // With what was leapt over: somebody is about to come for it.
        let from = before.range.end;
        let ahead = further(before.ahead);
        let end = (from + (range.end - range.start) + ahead).min(len);
        (from..end.max(range.end), ahead)
    }

    /// What is to be fetched behind a window, if one who reads up to a byte is about to come there. What lies
    /// before the window is forgotten then: nobody reads it again who goes on.
    pub(super) fn behind(
        &mut self,
        window: &Window,
        up_to: u64,
        len: u64,
    ) -> Option<(Range<u64>, u64)> {
        let Range { start, end } = window.range;
        if window.ahead == 0 || up_to < start + (end - start) / 2 || end >= len {
            return None;
        }
        let own = |other: &Window| other.key == window.key;
        if self
            .0
            .iter()
            .any(|other| own(other) && other.range.contains(&end))
        {
            return None;
        }
        self.0
            .retain(|other| !own(other) || other.range.end > start);
        let ahead = further(window.ahead);
        Some((end..(end + ahead).min(len), ahead))
    }

    /// Keeps one; the one that was used longest ago goes if there are too many.
    pub(super) fn keep(&mut self, window: Window) {
        if self.0.len() == WINDOWS {
            self.0.pop_front();
        }
        self.0.push_back(window);
    }

    /// Lets go of one.
    pub(super) fn let_go(&mut self, window: &Window) {
        self.0.retain(|known| !known.bytes.ptr_eq(&window.bytes));
    }

    /// The bytes of each.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<u64> {
        let bytes = |window: &Window| window.range.end - window.range.start;
        self.0.iter().map(bytes).collect()
    }

    /// Lets go of all of an object.
    pub(super) fn forget(&mut self, key: &SegmentKey) {
        self.0.retain(|window| window.key != *key);
    }
}

/// How much is fetched ahead by one who had this much.
fn further(ahead: u64) -> u64 {
    (ahead * 2).clamp(AHEAD_FIRST, AHEAD_MAX)
}
