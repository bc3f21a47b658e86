//! Byte permits: what accepted records may hold in memory until they are durable.

use tierlog_storage::planted;

use super::bell::Bell;
use crate::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A budget of bytes, at times within a larger one.
///
/// `held` is what permits hold. `unsynced` is the part of it that was written and waits for a sync;
/// it decides only which [`Kind`](crate::Kind) a refusal names.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: AtomicUsize,
    unsynced: AtomicUsize,
    parent: Option<Arc<Budget>>,
    /// Rung whenever bytes come back.
    pub bell: Bell,
}

/// Bytes taken from a budget; they come back when it is dropped. A permit rides inside the message
/// that it was taken for, so that a caller that goes away frees nothing that is still queued.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

/// Why a permit was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// What is held waits to be written.
    Queued,
    /// What is held are written bytes that wait for a sync.
    Unsynced,
}

impl Budget {
    /// A budget of `limit` bytes within `parent`.
    pub fn new(limit: usize, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: AtomicUsize::new(0),
            unsynced: AtomicUsize::new(0),
            parent,
            bell: Bell::default(),
        })
    }

    /// Takes `bytes`, here and in the larger budget, or takes nothing.
    ///
    /// # Errors
    /// Which kind of bytes stand in the way.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Permit, Short> {
        self.reserve(bytes)?;
        if let Some(parent) = &self.parent
            && let Err(short) = parent.reserve(bytes)
        {
            self.give_back(bytes);
            return Err(short);
        }
        Ok(Permit {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// What stands in the way of `bytes` now, here and in the larger budget.
    pub fn shortages(&self, bytes: usize) -> impl Iterator<Item = Short> + use<'_> {
        let own = self.shortage(bytes);
        let parent = self.parent.as_ref();
        own.into_iter()
            .chain(parent.and_then(|parent| parent.shortage(bytes)))
    }

    /// What stands in the way of `bytes` here.
    fn shortage(&self, bytes: usize) -> Option<Short> {
        let held = self.held.load(Ordering::SeqCst);
        (held > 0 && held.saturating_add(bytes) > self.limit).then(|| self.what_is_short(held))
    }

    /// The larger budget.
    pub fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Bytes held by permits.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    fn reserve(&self, bytes: usize) -> Result<(), Short> {
        let held = self.held.fetch_add(bytes, Ordering::SeqCst);
        // What is larger than the whole budget passes when nothing else is held: settings are
        // checked so that this is rare, and refusing it for good would wedge its caller.
        if held > 0 && held.saturating_add(bytes) > self.limit {
            self.held.fetch_sub(bytes, Ordering::SeqCst);
            if !planted::is("refusal_without_a_ring") {
                self.bell.ring();
            }
            return Err(self.what_is_short(held));
        }
        Ok(())
    }

    /// The larger part of what is held. It does not depend on who asks: of two callers who wait
    /// for the same bytes one would otherwise be told the other name.
    fn what_is_short(&self, held: usize) -> Short {
        let unsynced = self.unsynced.load(Ordering::SeqCst);
        if unsynced.saturating_mul(2) > held {
            Short::Unsynced
        } else {
            Short::Queued
        }
    }

    fn give_back(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes, "a permit gave back more than was held");
        self.bell.ring();
    }
}

impl Permit {
    /// Puts another permit of the same budget into this one.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(
            Arc::ptr_eq(&self.budget, &other.budget),
            "permits of two budgets"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// An empty permit of the same budget, to merge others into.
    pub fn split_empty(&self) -> Self {
        Self {
            budget: Arc::clone(&self.budget),
            bytes: 0,
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says that its bytes are written and wait for a sync, until the guard is dropped.
    pub fn written(self) -> UnsyncedPermit {
        self.budget.unsynced.fetch_add(self.bytes, Ordering::SeqCst);
        if let Some(parent) = &self.budget.parent {
            parent.unsynced.fetch_add(self.bytes, Ordering::SeqCst);
            parent.bell.ring();
        }
        // No byte came back, but what is short has another name now. Under `manual` nothing else
        // may ever ring: whoever waits for `Admission` must learn that a flush is what it takes.
        self.budget.bell.ring();
        UnsyncedPermit(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes);
            if let Some(parent) = &self.budget.parent {
                parent.give_back(self.bytes);
            }
        }
    }
}

/// A permit whose bytes are written.
#[derive(Debug)]
pub struct UnsyncedPermit(Permit);

impl Drop for UnsyncedPermit {
    fn drop(&mut self) {
        let budget = &self.0.budget;
        budget.unsynced.fetch_sub(self.0.bytes, Ordering::SeqCst);
        if let Some(parent) = &budget.parent {
            parent.unsynced.fetch_sub(self.0.bytes, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_takes_nothing_from_either_budget() {
        let log = Budget::new(100, None);
        let stream = Budget::new(60, Some(Arc::clone(&log)));
        let other = Budget::new(60, Some(Arc::clone(&log)));
        let first = stream.take(50).expect("room");
        assert_eq!(stream.take(20).err(), Some(Short::Queued));
        let second = other.take(45).expect("room");
        assert_eq!(
            other.take(10).err(),
            Some(Short::Queued),
            "the log's budget is short"
        );
        assert_eq!((stream.held(), other.held(), log.held()), (50, 45, 95));
        drop((first, second));
        assert_eq!((stream.held(), other.held(), log.held()), (0, 0, 0));
    }

    #[test]
    fn what_is_written_and_unsynced_is_named_as_such() {
        let log = Budget::new(100, None);
        let held = log.take(90).expect("room").written();
        assert_eq!(log.take(20).err(), Some(Short::Unsynced));
        drop(held);
        assert_eq!(log.shortages(100).next(), None);
    }

    #[tokio::test]
    async fn whoever_waits_for_what_is_queued_is_woken_when_it_is_written() {
        let log = Budget::new(100, None);
        let stream = Budget::new(100, Some(Arc::clone(&log)));
        let queued = stream.take(90).expect("room");
        assert_eq!(stream.shortage(20), Some(Short::Queued));
        let of_stream = stream
            .bell
            .wait_until(|| stream.shortage(20) != Some(Short::Queued));
        let of_log = log
            .bell
            .wait_until(|| stream.shortage(20) != Some(Short::Queued));
        tokio::pin!(of_stream, of_log);
        assert!(futures::poll!(of_stream.as_mut()).is_pending());
        assert!(futures::poll!(of_log.as_mut()).is_pending());
        let held = queued.written();
        assert!(futures::poll!(of_stream.as_mut()).is_ready());
        assert!(futures::poll!(of_log.as_mut()).is_ready());
        drop(held);
    }

    #[test]
    fn merged_permits_come_back_once() {
        let log = Budget::new(100, None);
        let mut all = log.take(10).expect("room");
        all.merge(log.take(20).expect("room"));
        assert_eq!(all.bytes(), 30);
        drop(all);
        assert_eq!(log.held(), 0);
    }

    #[test]
    fn a_record_over_the_whole_budget_passes_alone() {
        let log = Budget::new(10, None);
        let large = log.take(50).expect("nothing else is held");
        assert!(log.take(1).is_err());
        drop(large);
        assert_eq!(log.shortages(50).next(), None);
    }
}
