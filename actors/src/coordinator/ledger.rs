//! The account of the hot budget.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    meters::{Meters, Share},
    protocol::coordinator::AdmissionGuard,
};

/// What hot segments hold, or what comes back of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hot {
    /// Bytes. An open segment counts with its full size, since it may grow to that without asking
    /// again.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// What hot segments hold, and what they may hold.
#[derive(Debug)]
pub struct Ledger {
    bytes: Account,
    segments: Account,
    limit: Option<u64>,
}

/// A sum, and the part of a gauge that shows it.
#[derive(Debug)]
struct Account {
    sum: AtomicU64,
    shown: Share,
}

impl Account {
    fn new(sum: u64, shown: Share) -> Self {
        shown.add(sum);
        let sum = AtomicU64::new(sum);
        Self { sum, shown }
    }

    fn add(&self, n: u64) {
        self.sum.fetch_add(n, Ordering::Relaxed);
        self.shown.add(n);
    }

    /// A segment found damaged may have counted for less than it gives back: it stops at zero.
    fn sub(&self, n: u64) {
        let fall = |sum: u64| Some(sum.saturating_sub(n));
        let (Ok(before) | Err(before)) =
            self.sum
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fall);
        self.shown.sub(n.min(before));
    }
}

impl Ledger {
    /// An account that begins with what is on disk.
    pub fn new(on_disk: Hot, limit: Option<u64>, meters: &Meters) -> Arc<Self> {
        Arc::new(Self {
            bytes: Account::new(on_disk.bytes, Share::of(&meters.hot_bytes)),
            segments: Account::new(on_disk.segments, Share::of(&meters.hot_segments)),
            limit,
        })
    }

    /// Bytes that are held.
    pub fn used(&self) -> u64 {
        self.bytes.sum.load(Ordering::Relaxed)
    }

    /// What may be held.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Books the bytes of another segment. The one caller has decided before.
    pub fn book(self: &Arc<Self>, bytes: u64) -> AdmissionGuard {
        self.bytes.add(bytes);
        self.segments.add(1);
        AdmissionGuard {
            ledger: Arc::clone(self),
            bytes,
        }
    }

    /// Books more bytes for a segment that is booked already.
    pub fn book_more(&self, bytes: u64) {
        self.bytes.add(bytes);
    }

    /// Gives back.
    pub fn release(&self, freed: Hot) {
        self.bytes.sub(freed.bytes);
        self.segments.sub(freed.segments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_gives_back_unless_kept() {
        let hot = |bytes, segments| Hot { bytes, segments };
        let ledger = Ledger::new(hot(5, 1), Some(100), &Meters::new());
        let held = || hot(ledger.used(), ledger.segments.sum.load(Ordering::Relaxed));
        let dropped = ledger.book(10);
        let kept = ledger.book(20);
        assert_eq!(held(), hot(35, 3));
        drop(dropped);
        kept.keep();
        assert_eq!(held(), hot(25, 2));
        ledger.book_more(7);
        ledger.release(hot(12, 1));
        assert_eq!(held(), hot(20, 1));
        ledger.release(hot(1_000, 2));
        assert_eq!(held(), hot(0, 0));
    }
}
