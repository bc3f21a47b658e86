//! The segments of a stream, and which of them a trim takes.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::{Index, RangeBounds},
};

use serde::Serialize;

use super::state::SegmentState;
use crate::ids::{Offset, SegmentNo};

/// The segments of a stream by their numbers.
///
/// Beside them it keeps those that a trim changes, by where they end. A trim that looked at all segments took
/// about 40 instructions for each of them, however few it freed; and each replay of it as many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Segments {
    map: BTreeMap<SegmentNo, SegmentState>,
    #[serde(skip)]
    forgettable: BTreeSet<(Offset, SegmentNo)>,
}

/// Where a segment ends of which something is forgotten once the stream starts there or behind.
fn forgettable(segment: &SegmentState) -> Option<Offset> {
    let (_, end) = segment.status.range()?;
    let copies = &segment.residency;
    let local = copies.hot || copies.warm.is_some() || copies.needs_recovery;
    let object = copies.cold.is_some() || copies.upload.is_some();
    // What has an object stays known until that is deleted.
    (local || !object).then_some(end)
}

/// Where a segment ends that holds records, once that is known.
fn filled_end(segment: &SegmentState) -> Option<Offset> {
    let range = segment.status.range();
    range.filter(|(base, end)| base < end).map(|range| range.1)
}

impl Segments {
    /// None.
    pub const fn new() -> Self {
        Self {
            map: BTreeMap::new(),
            forgettable: BTreeSet::new(),
        }
    }

    /// Puts a segment in; gives the one that had this number.
    pub fn insert(&mut self, no: SegmentNo, segment: SegmentState) -> Option<SegmentState> {
        let after = forgettable(&segment);
        let before = self.map.insert(no, segment);
        let was = before.as_ref().and_then(forgettable);
        if was != after {
            self.forgettable.extend(after.map(|end| (end, no)));
            self.leave(was, no);
        }
        before
    }

    /// Takes a segment out.
    pub fn remove(&mut self, no: &SegmentNo) -> Option<SegmentState> {
        let before = self.map.remove(no)?;
        self.leave(forgettable(&before), *no);
        Some(before)
    }

    fn leave(&mut self, end: Option<Offset>, no: SegmentNo) {
        if let Some(end) = end {
            self.forgettable.remove(&(end, no));
        }
    }

    /// Changes what is said of a segment, if there is such a one.
    pub fn change(&mut self, no: SegmentNo, change: impl FnOnce(&mut SegmentState)) {
        if let Some(mut segment) = self.map.get(&no).cloned() {
            change(&mut segment);
            self.insert(no, segment);
        }
    }

    /// Takes out what may still grow.
    pub fn remove_open(&mut self) {
        // Where a trim frees them nobody knows, so that they are in the map alone.
        self.map.retain(|_, segment| !segment.status.is_open());
    }

    /// Those of which a trim up to `start` forgets something, in the order of their ends.
    pub(super) fn forgettable_below(&self, start: Offset) -> Vec<SegmentNo> {
        let all = ..=(start, SegmentNo(u64::MAX));
        let found = self.forgettable.range(all).inspect(|_| look());
        found.map(|&(_, no)| no).collect()
    }

    /// Those that hold records and are known to end behind an offset, in their order. Each ends where the next
    /// one begins, or before: so the first one is searched for by halves.
    pub(super) fn filled_behind(
        &self,
        offset: Offset,
    ) -> impl Iterator<Item = (SegmentNo, &SegmentState)> {
        let filled_from = |no: u64| {
            let mut behind = self.range(SegmentNo(no)..);
            behind.find_map(|(no, segment)| Some((*no, filled_end(segment)?)))
        };
        let (first, last) = (self.map.first_key_value(), self.map.last_key_value());
        // Below `low` none ends behind the offset; behind `high`, and there, all do.
        let mut low = first.map_or(0, |(no, _)| no.0);
        let mut high = last.map_or(0, |(no, _)| no.0);
        while low < high {
            let middle = u64::midpoint(low, high);
            match filled_from(middle) {
                Some((no, end)) if end <= offset => low = no.0.saturating_add(1),
                _ => high = middle,
            }
        }
        let found = self.range(SegmentNo(low)..);
        found
            .filter(move |(_, segment)| filled_end(segment).is_some_and(|end| end > offset))
            .map(|(no, segment)| (*no, segment))
    }

    /// One of them.
    pub fn get(&self, no: &SegmentNo) -> Option<&SegmentState> {
        self.map.get(no)
    }

    /// Whether there is such a one.
    pub fn contains_key(&self, no: &SegmentNo) -> bool {
        self.map.contains_key(no)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.map.iter())
    }

    /// Those with such numbers.
    pub fn range(
        &self,
        numbers: impl RangeBounds<SegmentNo>,
    ) -> impl DoubleEndedIterator<Item = (&SegmentNo, &SegmentState)> {
        self.map.range(numbers).inspect(|_| look())
    }

    /// Their numbers.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &SegmentNo> {
        self.iter().map(|(no, _)| no)
    }

    /// What is said of each.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &SegmentState> {
        self.iter().map(|(_, segment)| segment)
    }
}

impl Index<&SegmentNo> for Segments {
    type Output = SegmentState;

    fn index(&self, no: &SegmentNo) -> &SegmentState {
        &self.map[no]
    }
}

/// Segments in the order of their numbers.
#[derive(Debug, Clone)]
pub struct Iter<'a>(btree_map::Iter<'a, SegmentNo, SegmentState>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a SegmentNo, &'a SegmentState);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().inspect(|_| look())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().inspect(|_| look())
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = (&'a SegmentNo, &'a SegmentState);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Called for each segment that somebody comes by.
#[cfg(not(test))]
const fn look() {}

#[cfg(test)]
fn look() {
    LOOKS.set(LOOKS.get() + 1);
}

#[cfg(test)]
thread_local! {
    /// How many segments this thread came by.
    pub(super) static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
