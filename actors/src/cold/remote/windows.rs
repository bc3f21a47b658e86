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
type Arriving = Shared<BoxFuture<'static, Result<Bytes, StoreError>>>;

/// A stretch of an object.
#[derive(Clone)]
pub(super) struct Window {
    key: SegmentKey,
    range: Range<u64>,
    /// How much more than was asked for it holds; 0 where nobody read on.
    ahead: u64,
    /// It holds the end of the object.
    ends: bool,
    bytes: Arriving,
}

impl Window {
    /// One of an object of so many bytes.
    pub(super) fn new(key: SegmentKey, len: u64, fetch: Fetch, bytes: Arriving) -> Self {
        Self {
            key,
            ends: fetch.range.end >= len,
            range: fetch.range,
            ahead: fetch.ahead,
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

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) range: Range<u64>,
    /// How much of that is ahead of what is asked for.
    pub(super) ahead: u64,
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

    /// What to fetch for a range of an object of so many bytes whose beginning is in no window.
    pub(super) fn fetch(&self, key: &SegmentKey, range: &Range<u64>, len: u64) -> Fetch {
        let own = self.0.iter().filter(|window| window.key == *key);
        let before = own
            .filter(|window| window.range.end <= range.start)
            .filter(|window| range.start - window.range.end <= NEAR)
            .max_by_key(|window| window.range.end);
        let (from, ahead) = match before {
            // With what was leapt over: somebody is about to come for it.
            Some(before) => (before.range.end, further(before.ahead)),
            None if range.start == 0 => (0, self.carried(key)),
            None => (range.start, 0),
        };
        let end = (from + (range.end - range.start) + ahead).min(len);
        Fetch {
            range: from..end.max(range.end),
            ahead,
        }
    }

    /// How much one has ahead who read the object before this one to its end.
    fn carried(&self, key: &SegmentKey) -> u64 {
        let is_before = |other: &SegmentKey| {
            other.stream == key.stream && other.segment.0.checked_add(1) == Some(key.segment.0)
        };
        let before = self.0.iter().filter(|window| is_before(&window.key));
        let ends = before
            .filter(|window| window.ends)
            .map(|window| window.ahead);
        ends.max().unwrap_or(0)
    }

    /// What is to be fetched behind a window, if one who reads up to a byte is about to come there. What lies
    /// before the window is forgotten then: nobody reads it again who goes on.
    pub(super) fn behind(&mut self, window: &Window, up_to: u64, len: u64) -> Option<Fetch> {
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
        Some(Fetch {
            range: end..(end + ahead).min(len),
            ahead,
        })
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

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future};
    use tierlog_storage::{Epoch, Offset, SegmentNo, StreamId};

    use super::*;

    const LEN: u64 = 5 << 20;

    fn window(key: SegmentKey, fetch: Fetch) -> Window {
        let bytes = future::ready(Ok(Bytes::new())).boxed().shared();
        Window::new(key, LEN, fetch, bytes)
    }

    /// Reads an object in small pieces, head and end first, and gives how often something was fetched.
    fn read_on(windows: &mut Windows, key: SegmentKey) -> usize {
        let mut fetched = 0;
        let pieces = (0..LEN).step_by(64 << 10).map(|pos| pos..pos + (64 << 10));
        let opening = [0..128, LEN - 4_096..LEN];
        for range in opening.into_iter().chain(pieces) {
            let fetch = match windows.find(&key, range.start) {
                Some(window) => windows.behind(&window, range.end, LEN),
                None => Some(windows.fetch(&key, &range, LEN)),
            };
            if let Some(fetch) = fetch {
                fetched += 1;
                windows.keep(window(key, fetch));
            }
        }
        fetched
    }

    #[test]
    fn one_who_reads_on_in_the_next_object_begins_there_with_what_he_had_ahead() {
        let stream = StreamId::generate();
        let of = |stream, no: u64| SegmentKey {
            stream,
            base: Offset(no * 100),
            epoch: Epoch(1),
            segment: SegmentNo(no),
        };
        let mut windows = Windows::default();
        let first = read_on(&mut windows, of(stream, 6));
        let next = read_on(&mut windows, of(stream, 7));
        assert!(next <= 4 && next < first, "{next} behind {first}");
        // Not in that of another stream, nor in one further on.
        for other in [of(StreamId::generate(), 8), of(stream, 9)] {
            let range = 0..128;
            let fetch = windows.fetch(&other, &range, LEN);
            assert_eq!(fetch, Fetch { range, ahead: 0 });
        }
    }
}
