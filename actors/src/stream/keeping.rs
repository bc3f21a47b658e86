//! How much a stream keeps, and what its readers stand on meanwhile.

use std::{fmt, time::Duration};

use tierlog_storage::{Offset, manifest::RetentionState};

use crate::{
    clock::Clock,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// No reader stands there.
const NOWHERE: u64 = u64::MAX;

/// What a stream keeps.
#[derive(Debug, Default)]
pub struct Keeping {
    limits: Mutex<RetentionState>,
    /// Held from a commit of new limits until they are shown, so that what is shown last was
    /// committed last.
    pub turn: tokio::sync::Mutex<()>,
    /// Where its readers stand.
    pub leases: Leases,
}

impl Keeping {
    /// The limits, as the manifest says.
    pub fn limits(&self) -> RetentionState {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest says these.
    pub fn show(&self, limits: RetentionState) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}

/// Where the readers of a stream stand. A reader says so when it goes on to other bytes, not for each
/// record, and takes no lock for it.
#[derive(Debug, Default)]
pub struct Leases(Mutex<Vec<Weak<Place>>>);

#[derive(Debug)]
struct Place {
    /// Where.
    at: AtomicU64,
    /// Since when, by the log's clock.
    since_ns: AtomicU64,
}

/// The place of one reader. It is nowhere once this is dropped.
pub struct Lease {
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
}

impl Leases {
    /// A place for a reader, which stands nowhere yet.
    pub fn take(&self, clock: Arc<dyn Clock>) -> Lease {
        let place = Arc::new(Place {
            at: AtomicU64::new(NOWHERE),
            since_ns: AtomicU64::new(0),
        });
        let mut places = self.lock();
        if places.len() == places.capacity() {
            // What is left of readers that are gone must not add up.
            places.retain(|place| place.strong_count() > 0);
        }
        places.push(Arc::downgrade(&place));
        Lease { place, clock }
    }

    /// The lowest place at or behind `start` that a reader has come to no longer than `most` ago. A
    /// reader below the start stands on nothing.
    pub fn lowest(&self, start: Offset, now_ns: u64, most: Duration) -> Option<Offset> {
        let mut places = self.lock();
        let mut lowest = None;
        places.retain(|place| {
            let Some(place) = place.upgrade() else {
                return false;
            };
            let at = place.at.load(Ordering::Acquire);
            let since = place.since_ns.load(Ordering::Relaxed);
            // A clock that was set back does not make a lease last for ever.
            let age = Duration::from_nanos(now_ns.abs_diff(since));
            if at != NOWHERE && at >= start.get() && age < most {
                lowest = Some(lowest.map_or(at, |least: u64| least.min(at)));
            }
            true
        });
        lowest.map(Offset)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The reader stands here now.
    pub fn stand(&self, at: Offset) {
        let now = self.clock.now_ns();
        self.place.since_ns.store(now, Ordering::Relaxed);
        // Behind the time: who sees the new place sees no older time with it.
        self.place.at.store(at.get(), Ordering::Release);
    }

    /// The reader has read all there is.
    pub fn leave(&self) {
        self.place.at.store(NOWHERE, Ordering::Release);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.place).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    const MOST: Duration = Duration::from_nanos(10);

    #[test]
    fn the_lowest_place_counts_until_its_time_is_over() {
        let (hand, leases) = (Arc::new(Hand::default()), Leases::default());
        let take = || leases.take(Arc::clone(&hand) as Arc<dyn Clock>);
        let lowest = |start, now| leases.lowest(Offset(start), now, MOST).map(Offset::get);
        let (slow, quick, idle) = (take(), take(), take());
        assert_eq!(lowest(0, 0), None, "nobody has read yet");
        slow.stand(Offset(3));
        hand.0.store(5, Ordering::Relaxed);
        quick.stand(Offset(8));
        idle.stand(Offset(1));
        idle.leave();
        assert_eq!(lowest(0, 9), Some(3));
        assert_eq!(lowest(4, 9), Some(8), "below the start nobody stands");
        assert_eq!(lowest(0, 10), Some(8), "the slow one has lost its lease");
        assert_eq!(lowest(0, 15), None);
        slow.stand(Offset(4));
        assert_eq!(lowest(0, 14), Some(4), "it has read again");
        drop(slow);
        assert_eq!(lowest(0, 14), Some(8));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_lease_last() {
        let (hand, leases) = (Arc::new(Hand::default()), Leases::default());
        hand.0.store(1_000, Ordering::Relaxed);
        let lease = leases.take(Arc::clone(&hand) as Arc<dyn Clock>);
        lease.stand(Offset(3));
        assert_eq!(leases.lowest(Offset(0), 995, MOST), Some(Offset(3)));
        assert_eq!(leases.lowest(Offset(0), 500, MOST), None);
    }

    #[test]
    fn readers_that_are_gone_leave_nothing_behind() {
        let (hand, leases) = (Arc::new(Hand::default()), Leases::default());
        for _ in 0..10_000 {
            drop(leases.take(Arc::clone(&hand) as Arc<dyn Clock>));
        }
        assert!(leases.lock().len() < 16);
    }
}
