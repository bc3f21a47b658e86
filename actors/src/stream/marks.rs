//! The watermarks that tickets wait on, and the tickets that wait.

use std::{collections::BTreeMap, task::Waker};

use serde::Serialize;

use super::archive::ArchiveMark;
use crate::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// How far a record has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Handed to the operating system: survives the death of the process, not of the machine.
    Written,
    /// Synced: survives power loss.
    Durable,
    /// In Tier 2, named by a published catalog object: survives the loss of the machine. Refused at
    /// once where the log has no Tier 2 that outlives it.
    Archived,
}

/// Watermarks of one life of a stream's tail, in next-offset form: everything below one is there.
///
/// They only rise. A truncation or a restart makes new ones; the old ones keep their last value
/// for the tickets that still hold them.
#[derive(Debug)]
pub struct Marks {
    written: AtomicU64,
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Shared with the other lives of the stream; none without Tier 2.
    archive: Option<Arc<ArchiveMark>>,
    /// A truncation took back everything from here on, durable as it was.
    cut_off: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    written: BTreeMap<(u64, u64), Waker>,
    durable: BTreeMap<(u64, u64), Waker>,
}

impl Waiting {
    fn of(&mut self, level: Level) -> &mut BTreeMap<(u64, u64), Waker> {
        match level {
            Level::Written => &mut self.written,
            // Without Tier 2 nobody gets to wait for `Archived`.
            Level::Durable | Level::Archived => &mut self.durable,
        }
    }
}

/// A ticket's place among those that wait.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    level: Level,
    key: (u64, u64),
}

impl Marks {
    /// Watermarks that begin where everything below `end` is durable, without Tier 2.
    pub fn starting_at(end: u64) -> Self {
        Self::with_archive(end, None)
    }

    /// The same with what the stream's lives share.
    pub fn with_archive(end: u64, archive: Option<Arc<ArchiveMark>>) -> Self {
        Self {
            written: AtomicU64::new(end),
            durable: AtomicU64::new(end),
            waiting: Mutex::default(),
            archive,
            cut_off: AtomicU64::new(u64::MAX),
        }
    }

    /// The watermark of a level.
    pub fn get(&self, level: Level) -> u64 {
        match level {
            Level::Written => self.written.load(Ordering::Acquire),
            Level::Durable => self.durable.load(Ordering::Acquire),
            Level::Archived => self.archive.as_ref().map_or(0, |archive| archive.get()),
        }
    }

    /// How far the stream is archived, where it has Tier 2.
    pub fn archive(&self) -> Option<&Arc<ArchiveMark>> {
        self.archive.as_ref()
    }

    /// A truncation takes back everything from `end` on. Tickets that were told that it is durable
    /// stay told; those that wait to see it archived will never.
    pub fn cut_off(&self, end: u64) {
        self.cut_off.fetch_min(end, Ordering::AcqRel);
        if let Some(archive) = &self.archive {
            archive.wake_beyond(end);
        }
    }

    /// Where a truncation has cut; `u64::MAX` for nowhere.
    pub fn was_cut_off(&self) -> u64 {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Raises `written` and wakes the tickets that it reaches.
    ///
    /// # Panics
    /// When it would fall: a broken invariant of the one writer that calls this.
    pub fn advance_written(&self, to: u64) {
        let before = self.written.swap(to, Ordering::AcqRel);
        assert!(before <= to, "written fell from {before} to {to}");
        self.wake(Level::Written, to);
    }

    /// Raises `durable` and wakes the tickets that it reaches.
    ///
    /// # Panics
    /// When it would fall or pass `written`: a broken invariant of the one writer that calls this.
    pub fn advance_durable(&self, to: u64) {
        let written = self.written.load(Ordering::Acquire);
        assert!(to <= written, "durable {to} would pass written {written}");
        let before = self.durable.swap(to, Ordering::AcqRel);
        assert!(before <= to, "durable fell from {before} to {to}");
        self.wake(Level::Durable, to);
    }

    /// Registers a waker for when the level reaches `target`, or renews the one at `place`. The
    /// caller checks the watermark again afterwards: whoever raises it looks at the waiting list
    /// after raising, so one of the two sees the other.
    pub fn register(
        &self,
        level: Level,
        target: u64,
        place: Option<Place>,
        waker: &Waker,
    ) -> Place {
        if let (Level::Archived, Some(archive)) = (level, &self.archive) {
            let before = place.map(|place| place.key);
            let key = archive.register(target, before, waker);
            return Place { level, key };
        }
        let mut waiting = self.lock();
        if let Some(place) = place {
            waiting.of(place.level).remove(&place.key);
        }
        waiting.next_id += 1;
        let place = Place {
            level,
            key: (target, waiting.next_id),
        };
        waiting.of(level).insert(place.key, waker.clone());
        place
    }

    /// Gives up a place; a ticket that is dropped leaves nothing behind.
    pub fn forget(&self, place: Place) {
        match (place.level, &self.archive) {
            (Level::Archived, Some(archive)) => archive.forget(place.key),
            _ => drop(self.lock().of(place.level).remove(&place.key)),
        }
    }

    /// Wakes every ticket that waits for something beyond `from`: it will never come this way.
    pub fn wake_beyond(&self, from: u64) {
        let woken: Vec<Waker> = {
            let mut waiting = self.lock();
            let mut woken = Vec::new();
            for level in [Level::Written, Level::Durable] {
                woken.extend(
                    waiting
                        .of(level)
                        .split_off(&(from.saturating_add(1), 0))
                        .into_values(),
                );
            }
            woken
        };
        woken.into_iter().for_each(Waker::wake);
        if let Some(archive) = &self.archive {
            archive.wake_beyond(from);
        }
    }

    /// How many tickets wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        let waiting = self.lock();
        waiting.written.len() + waiting.durable.len()
    }

    fn wake(&self, level: Level, reached: u64) {
        let woken = {
            let mut waiting = self.lock();
            let list = waiting.of(level);
            if list.is_empty() {
                return;
            }
            let beyond = list.split_off(&(reached.saturating_add(1), 0));
            std::mem::replace(list, beyond)
        };
        // Outside the lock: a woken task may run at once and register again.
        woken.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic runs under this lock but wakers' clones; the map stays whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use futures::task::{ArcWake, waker};

    use super::*;

    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(arc_self: &Arc<Self>) {
            arc_self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_advance_wakes_exactly_what_it_reaches() {
        let marks = Marks::starting_at(0);
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        for target in [1, 2, 2, 3] {
            marks.register(Level::Durable, target, None, &waker(Arc::clone(&woken)));
        }
        marks.advance_written(3);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "written is not durable");
        marks.advance_durable(2);
        assert_eq!(woken.0.load(Ordering::SeqCst), 3);
        assert_eq!(marks.waiting(), 1);
    }

    #[test]
    fn a_dropped_or_renewed_place_leaves_nothing_behind() {
        let marks = Marks::starting_at(0);
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = waker(woken);
        let first = marks.register(Level::Written, 5, None, &waker);
        let second = marks.register(Level::Durable, 5, Some(first), &waker);
        assert_eq!(marks.waiting(), 1);
        marks.forget(second);
        assert_eq!(marks.waiting(), 0);
    }

    #[test]
    fn a_cut_wakes_those_beyond_it_only() {
        let marks = Marks::starting_at(0);
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        for target in [4, 5, 6] {
            marks.register(Level::Durable, target, None, &waker(Arc::clone(&woken)));
        }
        marks.wake_beyond(4);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    #[should_panic(expected = "would pass written")]
    fn durable_never_passes_written() {
        Marks::starting_at(0).advance_durable(1);
    }

    #[test]
    #[should_panic(expected = "written fell")]
    fn a_watermark_never_falls() {
        let marks = Marks::starting_at(0);
        marks.advance_written(2);
        marks.advance_written(1);
    }
}
