//! Which pages of a file have room on the disk.

use std::collections::BTreeMap;

/// Page numbers, kept as ranges that neither overlap nor touch: start to end, the end exclusive.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    ranges: BTreeMap<u64, u64>,
}

impl Room {
    /// How many pages there are.
    pub(super) fn pages(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// The first page of `from..end` that has no room yet.
    pub(super) fn first_missing(&self, from: u64, end: u64) -> Option<u64> {
        let at = match self.ranges.range(..=from).next_back() {
            Some((_, &covered)) => from.max(covered),
            None => from,
        };
        (at < end).then_some(at)
    }

    /// Adds `from..end`, of which any part may be there; takes pages from the lowest on while
    /// `free` lasts, and returns the end of what is there now.
    pub(super) fn add(&mut self, from: u64, end: u64, mut free: u64) -> u64 {
        let mut at = from;
        while let Some(missing) = self.first_missing(at, end) {
            let next = self
                .ranges
                .range(missing..)
                .next()
                .map_or(end, |(&start, _)| start);
            let upto = next.min(end).min(missing.saturating_add(free));
            if upto == missing {
                return missing;
            }
            free -= upto - missing;
            self.insert_gap(missing, upto);
            at = upto;
        }
        end
    }

    /// Drops what lies at `end` or behind it.
    pub(super) fn cut(&mut self, end: u64) {
        self.ranges.split_off(&end);
        if let Some(mut last) = self.ranges.last_entry() {
            *last.get_mut() = end.min(*last.get());
        }
    }

    /// Adds a range of which nothing is there, joined with its neighbours.
    fn insert_gap(&mut self, mut start: u64, mut end: u64) {
        if let Some((&before, &touching)) = self.ranges.range(..start).next_back()
            && touching == start
        {
            start = before;
        }
        if let Some(after) = self.ranges.remove(&end) {
            end = after;
        }
        self.ranges.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_holds(
            steps in prop::collection::vec((0u64..60, 0u64..20, 0u64..25, any::<bool>()), 1..40)
        ) {
            let (mut room, mut set) = (Room::default(), BTreeSet::new());
            for (from, len, free, cut) in steps {
                if cut {
                    room.cut(from);
                    set.retain(|&page| page < from);
                } else {
                    let mut left = free;
                    let mut reached = from + len;
                    for page in from..from + len {
                        if !set.contains(&page) && left == 0 {
                            reached = page;
                            break;
                        }
                        left -= u64::from(set.insert(page));
                    }
                    prop_assert_eq!(room.add(from, from + len, free), reached);
                }
                prop_assert_eq!(room.pages(), set.len() as u64);
                for page in 0..90 {
                    let missing = room.first_missing(page, page + 1).is_some();
                    prop_assert_eq!(missing, !set.contains(&page));
                }
            }
        }
    }
}
