//! The account of the hot budget.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::protocol::coordinator::AdmissionGuard;

/// Bytes that hot segments hold. An open segment counts with its full size, since it may grow to
/// that without asking again.
#[derive(Debug)]
pub struct Ledger {
    used: AtomicU64,
    limit: Option<u64>,
}

impl Ledger {
    /// An account that begins with what is on disk.
    pub fn new(used: u64, limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(used),
            limit,
        })
    }

    /// What is held.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// What may be held.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Books bytes for a segment. The one caller has decided before.
    pub fn book(self: &Arc<Self>, bytes: u64) -> AdmissionGuard {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        AdmissionGuard {
            ledger: Arc::clone(self),
            bytes,
        }
    }

    /// Gives bytes back. A segment found damaged may have counted for less than it gives back:
    /// the account stops at zero.
    pub fn release(&self, bytes: u64) {
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used.saturating_sub(bytes))
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_gives_back_unless_kept() {
        let ledger = Ledger::new(5, Some(100));
        let dropped = ledger.book(10);
        let kept = ledger.book(20);
        assert_eq!(ledger.used(), 35);
        drop(dropped);
        kept.keep();
        assert_eq!(ledger.used(), 25);
        ledger.release(1_000);
        assert_eq!(ledger.used(), 0);
    }
}
