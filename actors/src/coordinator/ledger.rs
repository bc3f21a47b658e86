//! The account of the hot budget.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tierlog_storage::{
    SegmentNo, StreamId,
    manifest::{ManifestState, SegmentStatus},
};
use tokio::time::Instant;

use super::table::Id;
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

impl Hot {
    /// What a segment of so many bytes holds; without any it is not hot.
    pub fn of(bytes: u64) -> Self {
        let segments = u64::from(bytes > 0);
        Self { bytes, segments }
    }
}

/// What hot segments hold, and what they may hold.
///
/// Of each segment that holds something it is known for what: those that have ended stand in the
/// [`Table`](super::Table), those that are written to or are about to be sealed in `open`, and those
/// that were made ahead have a guard.
#[derive(Debug)]
pub struct Ledger {
    bytes: Account,
    segments: Account,
    limit: Option<u64>,
    open: Mutex<BTreeMap<Id, Open>>,
}

/// A segment that is written to, or about to be sealed.
#[derive(Debug, Clone, Copy)]
struct Open {
    bytes: u64,
    /// When it was first written to.
    since: Instant,
}

impl Open {
    fn of(bytes: u64) -> Self {
        let since = Instant::now();
        Self { bytes, since }
    }
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
    /// An account that begins with what the manifest says is on disk.
    pub fn of(
        state: &ManifestState,
        segment_size: u64,
        limit: Option<u64>,
        meters: &Meters,
    ) -> Arc<Self> {
        let mut hot = Hot::default();
        let mut open = BTreeMap::new();
        for (&stream, known) in &state.streams {
            for (&no, segment) in known.segments.iter().filter(|it| it.1.residency.hot) {
                let bytes = match &segment.status {
                    SegmentStatus::Sealed(facts) => facts.file_len,
                    SegmentStatus::Closed { .. } => segment_size,
                    SegmentStatus::Open => {
                        open.insert((stream, no), Open::of(segment_size));
                        segment_size
                    }
                };
                hot.bytes = hot.bytes.saturating_add(bytes);
                hot.segments += 1;
            }
        }
        Self::new(hot, open, limit, meters)
    }

    fn new(hot: Hot, open: BTreeMap<Id, Open>, limit: Option<u64>, meters: &Meters) -> Arc<Self> {
        Arc::new(Self {
            bytes: Account::new(hot.bytes, Share::of(&meters.hot_bytes)),
            segments: Account::new(hot.segments, Share::of(&meters.hot_segments)),
            limit,
            open: Mutex::new(open),
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

    /// Books the bytes of another segment, which will be open if `open` says which it is, and has ended
    /// otherwise. The one caller has decided before.
    pub fn book(self: &Arc<Self>, open: Option<Id>, bytes: u64) -> AdmissionGuard {
        self.take(Hot { bytes, segments: 1 });
        AdmissionGuard {
            ledger: Arc::clone(self),
            open,
            bytes,
        }
    }

    /// Takes, whether it is there or not: it is on disk already.
    pub fn take(&self, more: Hot) {
        self.bytes.add(more.bytes);
        self.segments.add(more.segments);
    }

    /// Gives back.
    pub fn release(&self, freed: Hot) {
        self.bytes.sub(freed.bytes);
        self.segments.sub(freed.segments);
    }

    /// A segment that was made ahead is written to: it holds its bytes until it has ended or is gone.
    pub(crate) fn begun(&self, id: Id, bytes: u64) {
        self.lock().insert(id, Open::of(bytes));
    }

    /// An open segment has ended, or is gone: what it holds is the caller's to settle.
    pub fn ended(&self, id: &Id) -> Option<u64> {
        self.lock().remove(id).map(|open| open.bytes)
    }

    /// Whether a segment is open.
    pub fn is_open(&self, id: &Id) -> bool {
        self.lock().contains_key(id)
    }

    /// The open segments of a stream below a number.
    pub fn open_below(&self, stream: StreamId, below: SegmentNo) -> Vec<SegmentNo> {
        let open = self.lock();
        let of_stream = open.range((stream, SegmentNo::ZERO)..(stream, below));
        of_stream.map(|((_, no), _)| *no).collect()
    }

    /// Whether a segment is being sealed, and has been for no longer than `patience`: the one behind it
    /// is written to from that moment on.
    pub fn is_sealing(&self, now: Instant, patience: Duration) -> bool {
        let open = self.lock();
        let mut neighbours = open.iter().zip(open.iter().skip(1));
        neighbours.any(|((first, _), (second, behind))| {
            first.0 == second.0 && behind.since + patience > now
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_gives_back_unless_kept() {
        let hot = |bytes, segments| Hot { bytes, segments };
        let id = |no| (StreamId::from_bytes([1; 16]), SegmentNo(no));
        let ledger = Ledger::new(hot(5, 1), BTreeMap::new(), Some(100), &Meters::new());
        let held = || hot(ledger.used(), ledger.segments.sum.load(Ordering::Relaxed));
        let dropped = ledger.book(Some(id(1)), 10);
        let kept = ledger.book(Some(id(2)), 20);
        assert_eq!(held(), hot(35, 3));
        drop(dropped);
        kept.keep();
        assert_eq!(held(), hot(25, 2));
        assert_eq!(ledger.open_below(id(0).0, SegmentNo(9)), [SegmentNo(2)]);
        let (now, patience) = (Instant::now(), Duration::from_secs(5));
        assert!(!ledger.is_sealing(now, patience));
        ledger.begun(id(3), 0);
        assert!(
            ledger.is_sealing(now, patience),
            "there is another one behind it"
        );
        assert!(
            !ledger.is_sealing(now + 2 * patience, patience),
            "not for ever"
        );
        assert_eq!(ledger.ended(&id(3)), Some(0));
        assert_eq!(ledger.ended(&id(2)), Some(20));
        assert_eq!((ledger.ended(&id(2)), ledger.ended(&id(1))), (None, None));
        ledger.book(None, 7).keep();
        assert_eq!(held(), hot(32, 3));
        ledger.release(hot(12, 2));
        assert_eq!(held(), hot(20, 1));
        ledger.release(hot(1_000, 2));
        assert_eq!(held(), hot(0, 0));
    }
}
