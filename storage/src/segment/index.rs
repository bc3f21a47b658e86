//! The sparse index: where to begin reading for an offset or a time.
//!
//! ```text
//!   ┌────────────┬────────────┬────────────────┐
//!   │ offset u64 │ pos u64    │ timestamp u64  │   24 B, one about every 64 KiB of frames
//!   └────────────┴────────────┴────────────────┘
//! ```
//!
//! Each entry is the start of a frame: its base offset, its place in the file and the timestamp of
//! its first record. The first frame always has one, so whoever begins at an entry misses nothing.

use crate::Offset;

/// How far apart entries are, at least.
pub const INDEX_EVERY: u64 = 64 * 1024;

/// The bytes of an entry in a footer.
pub const INDEX_ENTRY: usize = 24;

const _: () = assert!(INDEX_ENTRY == size_of::<IndexEntry>() && INDEX_ENTRY.is_multiple_of(8));

/// The start of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The offset of the frame's first record.
    pub offset: Offset,
    /// Where the frame lies in the file.
    pub pos: u64,
    /// The timestamp of the frame's first record.
    pub ts: u64,
}

impl IndexEntry {
    pub(super) fn encode(&self) -> [u8; INDEX_ENTRY] {
        let mut out = [0; INDEX_ENTRY];
        out[..8].copy_from_slice(&self.offset.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.pos.to_le_bytes());
        out[16..].copy_from_slice(&self.ts.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; INDEX_ENTRY]) -> Self {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self {
            offset: Offset(number(0)),
            pos: number(8),
            ts: number(16),
        }
    }
}

/// Starts of frames, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SparseIndex {
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    /// Takes note of the next frame; keeps it when it is the first one or [`INDEX_EVERY`] bytes
    /// behind the last one kept.
    #[inline]
    pub fn note(&mut self, offset: Offset, pos: u64, ts: u64) {
        if let Some(last) = self.entries.last() {
            debug_assert!(
                last.offset < offset && last.pos < pos,
                "frames come in order"
            );
            if pos.saturating_sub(last.pos) < INDEX_EVERY {
                return;
            }
        }
        self.entries.push(IndexEntry { offset, pos, ts });
    }

    /// The entries.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The last entry at or before an offset: reading from there meets the offset, if it is there.
    pub fn floor(&self, offset: Offset) -> Option<IndexEntry> {
        self.before(|entry| entry.offset <= offset)
    }

    /// Where to begin so as not to miss any record of time `ts` or later.
    ///
    /// That is the last entry whose time is *before* `ts`: where an entry has just that time, the
    /// end of the frame before it may have it too. Without such an entry it is the first one;
    /// `None` only for an empty index.
    pub fn floor_ts(&self, ts: u64) -> Option<IndexEntry> {
        self.before(|entry| entry.ts < ts)
            .or_else(|| self.entries.first().copied())
    }

    /// The first entry at or behind a place in the file: a border to which a read may be cut.
    pub fn ceil_pos(&self, pos: u64) -> Option<IndexEntry> {
        let at = self.entries.partition_point(|entry| entry.pos < pos);
        self.entries.get(at).copied()
    }

    fn before(&self, is_before: impl Fn(&IndexEntry) -> bool) -> Option<IndexEntry> {
        let behind = self.entries.partition_point(is_before);
        Some(self.entries[behind.checked_sub(1)?])
    }

    /// An index that was read; the caller has checked that the entries are in order.
    pub(super) fn of(entries: Vec<IndexEntry>) -> Self {
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(frames: &[(u64, u64, u64)]) -> SparseIndex {
        let mut index = SparseIndex::default();
        for (offset, pos, ts) in frames {
            index.note(Offset(*offset), *pos, *ts);
        }
        index
    }

    #[test]
    fn the_first_frame_is_kept_and_then_one_every_64_kib() {
        let every = INDEX_EVERY;
        let index = index(&[
            (5, 128, 1),
            (6, 256, 1),
            (7, 128 + every - 8, 1),
            (8, 128 + every, 1),
            (9, 128 + 3 * every, 1),
        ]);
        let kept: Vec<_> = index.entries().iter().map(|entry| entry.offset.0).collect();
        assert_eq!(kept, [5, 8, 9]);
    }

    #[test]
    fn a_time_that_two_frames_share_is_searched_from_the_earlier_one() {
        let far = INDEX_EVERY;
        let index = index(&[
            (0, 0, 10),
            (10, far, 20),
            (20, 2 * far, 20),
            (30, 3 * far, 30),
        ]);
        let from = |ts| index.floor_ts(ts).unwrap().offset.0;
        assert_eq!(from(0), 0);
        assert_eq!(from(10), 0);
        assert_eq!(from(11), 0);
        // Frames between entry 0 and entry 10 may end with records of time 20.
        assert_eq!(from(20), 0);
        assert_eq!(from(21), 20);
        assert_eq!(from(u64::MAX), 30);
        assert_eq!(SparseIndex::default().floor_ts(5), None);
    }

    #[test]
    fn places_are_rounded_up_to_a_frame() {
        let index = index(&[(0, 128, 0), (9, 128 + INDEX_EVERY, 0)]);
        let to = |pos| index.ceil_pos(pos).map(|entry| entry.offset.0);
        assert_eq!(to(0), Some(0));
        assert_eq!(to(128), Some(0));
        assert_eq!(to(129), Some(9));
        assert_eq!(to(129 + INDEX_EVERY), None);
    }

    proptest! {
        #[test]
        fn an_entry_round_trips(offset: u64, pos: u64, ts: u64) {
            let entry = IndexEntry { offset: Offset(offset), pos, ts };
            prop_assert_eq!(IndexEntry::decode(&entry.encode()), entry);
        }

        #[test]
        fn the_floor_of_an_offset_is_the_last_entry_not_beyond_it(
            steps in prop::collection::vec(1u64..50, 0..30), wanted in 0u64..1000,
        ) {
            let mut index = SparseIndex::default();
            let mut offset = 0;
            for (nth, step) in steps.iter().enumerate() {
                index.note(Offset(offset), nth as u64 * INDEX_EVERY, 0);
                offset += step;
            }
            let want = index.entries().iter().rfind(|entry| entry.offset.0 <= wanted);
            prop_assert_eq!(index.floor(Offset(wanted)), want.copied());
        }
    }
}
