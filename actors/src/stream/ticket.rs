//! Tickets: what an accepted append gives back, and how each one ends.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use serde::Serialize;
use tierlog_storage::{Incarnation, Offset, planted, segment::NewRecord};

use super::marks::{Level, Marks, Place};
use crate::{
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// What an append has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// The offset of the first record.
    pub offset: Offset,
    /// How many records it covers; their offsets follow one another.
    pub count: u32,
    /// The level that was waited for.
    pub level: Level,
}

/// An append that failed, with the records where they are surely not in the log and still at hand.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct AppendError {
    /// Why.
    pub error: Error,
    /// What was to be appended. Empty when the outcome is unknown, or when the bytes are gone.
    pub records: Vec<NewRecord>,
}

impl From<AppendError> for Error {
    fn from(failed: AppendError) -> Self {
        failed.error
    }
}

/// One life of a stream's tail, shared by the door, the writer and the tickets given out in it.
#[derive(Debug)]
pub struct Life {
    /// Its number; rises with each restart and truncation.
    pub number: Incarnation,
    /// What its tickets wait on.
    pub marks: Arc<Marks>,
    /// Everything accepted at or beyond this offset failed; `u64::MAX` while all is well.
    cut: AtomicU64,
    fate: Mutex<Fate>,
    /// Lives before this one with the same marks, whose tickets below their cut still wait.
    before: Vec<Weak<Life>>,
}

#[derive(Debug, Default)]
struct Fate {
    /// From which offset on which error holds, in rising order.
    errors: Vec<(u64, Error)>,
    /// Records to hand back, by the first offset of their ticket.
    records: BTreeMap<u64, Vec<NewRecord>>,
}

impl Life {
    /// A life that begins with everything below the marks durable.
    pub fn new(number: Incarnation, marks: Arc<Marks>) -> Arc<Self> {
        Arc::new(Self {
            number,
            marks,
            cut: AtomicU64::new(u64::MAX),
            fate: Mutex::default(),
            before: Vec::new(),
        })
    }

    /// A life that goes on with the same marks after what was queued in this one had failed.
    pub fn go_on(self: &Arc<Self>) -> Arc<Self> {
        let alive = |life: &&Weak<Self>| life.strong_count() > 0;
        let mut before: Vec<_> = self.before.iter().filter(alive).cloned().collect();
        before.push(Arc::downgrade(self));
        Arc::new(Self {
            number: self.number,
            marks: Arc::clone(&self.marks),
            cut: AtomicU64::new(u64::MAX),
            fate: Mutex::default(),
            before,
        })
    }

    /// Ends everything accepted at or beyond `from`: tickets there resolve with the error of the
    /// last entry that is not beyond them, and take back their records.
    ///
    /// Tickets below `from` go on waiting for the marks. A second call ends only those: what a
    /// ticket was told stays what it was told. It holds for the lives before this one too. Their
    /// tickets below the cut wait for a write that may now never become durable, and nobody else
    /// would tell them.
    pub fn end(&self, errors: Vec<(u64, Error)>, records: BTreeMap<u64, Vec<NewRecord>>) {
        debug_assert!(
            errors.is_sorted_by_key(|(from, _)| *from),
            "errors in offset order"
        );
        let Some(from) = errors.first().map(|(from, _)| *from) else {
            return;
        };
        for life in self.before.iter().filter_map(Weak::upgrade) {
            life.end_below_cut(&errors, BTreeMap::new());
        }
        self.end_below_cut(&errors, records);
        self.marks.wake_beyond(from);
    }

    fn end_below_cut(&self, errors: &[(u64, Error)], records: BTreeMap<u64, Vec<NewRecord>>) {
        let mut fate = self.lock();
        let cut = self.cut.load(Ordering::Acquire);
        let below: Vec<_> = errors.iter().filter(|(at, _)| *at < cut).cloned().collect();
        let Some(from) = below.first().map(|(from, _)| *from) else {
            return;
        };
        fate.errors.splice(0..0, below);
        for (first, handed_back) in records {
            if first < cut {
                fate.records.insert(first, handed_back);
            }
        }
        self.cut.store(from, Ordering::Release);
    }

    fn failure(&self, offset: u64) -> AppendError {
        let mut fate = self.lock();
        let at = fate.errors.partition_point(|(from, _)| *from <= offset);
        let error = at
            .checked_sub(1)
            .and_then(|index| fate.errors.get(index))
            .map_or(Error::Closed, |(_, error)| error.clone());
        AppendError {
            error,
            records: fate.records.remove(&offset).unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The promise of an outcome for an accepted append: a future that resolves at the level asked for
/// (`Durable` unless [`at`](Self::at) says otherwise), or with a typed error.
///
/// Cancel-safe: dropping a ticket forgets the outcome and changes nothing about the append.
#[derive(Debug)]
#[must_use = "the record is accepted, not yet durable: await the ticket to know"]
pub struct Ticket {
    life: Arc<Life>,
    offset: u64,
    count: u32,
    level: Level,
    place: Option<Place>,
    _callers: super::callers::Callers,
}

impl Ticket {
    pub(crate) fn new(life: Arc<Life>, offset: u64, count: u32) -> Self {
        Self {
            life,
            offset,
            count,
            level: Level::Durable,
            place: None,
            _callers: super::callers::Callers::last(),
        }
    }

    /// Waits for this level instead.
    pub fn at(mut self, level: Level) -> Self {
        self.leave();
        self.level = level;
        self
    }

    /// How many records it covers.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The outcome, if there is one already. After `Some(Err(_))` the records are handed out, so a
    /// second call gives the error without them.
    pub fn now(&mut self) -> Option<Result<Ack, AppendError>> {
        // The mark first, then the cut: marks may pass a cut only with records accepted after it,
        // so whoever sees such a mark also sees the cut.
        let end = self.offset + u64::from(self.count);
        let reached = self.life.marks.get(self.level) >= end
            || planted::is("early_ack")
            || planted::is("watermark_off_by_one") && self.life.marks.get(self.level) + 1 == end;
        if self.level == Level::Archived
            && let Some(error) = self.never_archived(end, reached)
        {
            return Some(Err(AppendError {
                error,
                records: Vec::new(),
            }));
        }
        if self.life.cut.load(Ordering::Acquire) <= self.offset {
            return Some(Err(self.life.failure(self.offset)));
        }
        reached.then_some(Ok(Ack {
            offset: Offset(self.offset),
            count: self.count,
            level: self.level,
        }))
    }

    /// Why the record will not be archived, though it was, or may yet be, durable.
    fn never_archived(&self, end: u64, reached: bool) -> Option<Error> {
        let Some(archive) = self.life.marks.archive() else {
            let what = "the log has no Tier 2 that outlives it, so nothing is ever archived";
            return Some(Error::Unsupported { what: what.into() });
        };
        let cut = self.life.marks.was_cut_off();
        if cut < end {
            return Some(Error::Truncated {
                end: Offset(cut),
                position: Offset(self.offset),
            });
        }
        let start = archive.start();
        if !reached && end <= start {
            return Some(Error::Trimmed {
                asked: Offset(self.offset),
                start: Offset(start),
            });
        }
        // What is not in the log at all is told as such.
        let failed = self.life.cut.load(Ordering::Acquire) <= self.offset;
        archive.failure().filter(|_| !reached && !failed)
    }

    /// Waits on the calling thread. For threads outside Tokio.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<Ack, AppendError> {
        futures::executor::block_on(self)
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.life.marks.forget(place);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Ack, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.now() {
            self.leave();
            return Poll::Ready(outcome);
        }
        let target = self.offset + u64::from(self.count);
        let place = self
            .life
            .marks
            .register(self.level, target, self.place, cx.waker());
        self.place = Some(place);
        if planted::is("ticket_looks_once") {
            return Poll::Pending;
        }
        // What happened between the first look and the registration woke nobody: look again.
        match self.now() {
            Some(outcome) => {
                self.leave();
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        task::{Wake, Waker},
    };

    use super::*;

    fn life() -> Arc<Life> {
        Life::new(Incarnation(1), Arc::new(Marks::starting_at(0)))
    }

    #[tokio::test]
    async fn a_ticket_resolves_at_its_level_and_not_before() {
        let life = life();
        let mut durable = Ticket::new(Arc::clone(&life), 0, 2);
        let mut written = Ticket::new(Arc::clone(&life), 0, 2).at(Level::Written);
        life.marks.advance_written(2);
        assert!(futures::poll!(&mut durable).is_pending());
        assert_eq!(
            written.now().expect("written").expect("ok").level,
            Level::Written
        );
        life.marks.advance_durable(1);
        assert!(
            futures::poll!(&mut durable).is_pending(),
            "half a batch is no ack"
        );
        life.marks.advance_durable(2);
        let ack = durable.await.expect("durable");
        assert_eq!((ack.offset, ack.count), (Offset(0), 2));
    }

    #[tokio::test]
    async fn a_cut_fails_what_is_beyond_it_and_hands_the_records_back() {
        let life = life();
        let before = Ticket::new(Arc::clone(&life), 0, 1);
        let at_cut = Ticket::new(Arc::clone(&life), 1, 1);
        let behind = Ticket::new(Arc::clone(&life), 2, 1);
        let handed = BTreeMap::from([(2, vec![NewRecord::from("c")])]);
        life.end(
            vec![
                (1, Error::indeterminate(&"sync")),
                (2, Error::not_appended(&"sync")),
            ],
            handed,
        );
        life.marks.advance_written(1);
        life.marks.advance_durable(1);
        assert_eq!(before.await.expect("below the cut").offset, Offset(0));
        let failed = at_cut.await.expect_err("at the cut");
        assert!(matches!(failed.error, Error::Indeterminate { .. }) && failed.records.is_empty());
        let failed = behind.await.expect_err("behind the cut");
        assert!(matches!(failed.error, Error::NotAppended { .. }));
        assert_eq!(failed.records, vec![NewRecord::from("c")]);
    }

    #[tokio::test]
    async fn marks_that_pass_a_cut_do_not_turn_a_failure_into_success() {
        let life = life();
        let mut failed = Ticket::new(Arc::clone(&life), 3, 1);
        life.end(vec![(3, Error::StorageFull)], BTreeMap::new());
        life.marks.advance_written(9);
        life.marks.advance_durable(9);
        assert!(matches!(failed.now(), Some(Err(_))));
    }

    /// A record was written and waits for its sync; what was queued behind it found no room; then
    /// the sync failed for good. The first ticket belonged to a life that had ended already, and
    /// nobody told it.
    #[tokio::test]
    async fn a_ticket_from_before_a_refusal_ends_with_the_stream() {
        let first = life();
        let written = Ticket::new(Arc::clone(&first), 0, 1);
        let mut refused = Ticket::new(Arc::clone(&first), 1, 1);
        first.end(vec![(1, Error::StorageFull)], BTreeMap::new());
        let second = first.go_on();
        drop(first);
        let third = second.go_on();
        let queued = Ticket::new(Arc::clone(&third), 1, 1);
        let why = Error::indeterminate(&"EIO");
        third.end(vec![(0, why), (1, Error::Closed)], BTreeMap::new());
        let failed = written.await.expect_err("its sync failed");
        assert!(matches!(failed.error, Error::Indeterminate { .. }));
        let told = refused.now().expect("an end").expect_err("no room");
        assert!(matches!(told.error, Error::StorageFull), "{told}");
        let failed = queued.await.expect_err("the stream ended");
        assert!(matches!(failed.error, Error::Closed));
    }

    /// Whoever waited for durability looked, and then began to listen; the news came in between, and
    /// he waited for ever. Here one thread raises the mark while another one begins to wait.
    #[test]
    fn a_ticket_that_begins_to_wait_as_its_record_becomes_durable_is_told_or_woken() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        const ROUNDS: u64 = 10_000;
        let (life, mut stuck) = (life(), Vec::new());
        let (begun, raised) = (AtomicU64::new(0), AtomicU64::new(0));
        let until = |mark: &AtomicU64, round| {
            while mark.load(Ordering::SeqCst) < round {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(&begun, round);
                    life.marks.advance_written(round);
                    life.marks.advance_durable(round);
                    raised.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                let mut ticket = Ticket::new(Arc::clone(&life), round - 1, 1);
                let woken = Arc::new(Woken(AtomicBool::new(false)));
                let waker = Waker::from(Arc::clone(&woken));
                begun.store(round, Ordering::SeqCst);
                // As far into the other thread's work as it may be: not always the same.
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                let told = Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker));
                until(&raised, round);
                if told.is_pending() && !woken.0.load(Ordering::SeqCst) {
                    stuck.push(round);
                }
            }
        });
        // Behind the scope: a panic inside would leave the other thread without its next round.
        assert!(stuck.is_empty(), "they would wait for ever: {stuck:?}");
    }

    #[tokio::test]
    async fn a_dropped_ticket_leaves_no_waiter() {
        let life = life();
        let mut ticket = Ticket::new(Arc::clone(&life), 0, 1);
        assert!(futures::poll!(&mut ticket).is_pending());
        assert_eq!(life.marks.waiting(), 1);
        drop(ticket);
        assert_eq!(life.marks.waiting(), 0);
    }
}
