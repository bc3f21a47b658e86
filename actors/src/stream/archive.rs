//! How far a stream is archived, and the tickets that wait for it.
//!
//! What is archived is never taken back, so that one watermark serves all lives of a stream's tail: a
//! ticket of a life that has ended goes on waiting here for a record that was durable by then.

use std::{collections::BTreeMap, task::Waker};

use tierlog_storage::StreamId;

use crate::{
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, Notify, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Offsets that somebody waits to see archived, by stream: what is still in an open segment has to be
/// sealed some day. The coordinator takes all of them at once.
#[derive(Debug, Default)]
pub struct ArchiveWishes {
    open: Mutex<BTreeMap<StreamId, u64>>,
    come: Notify,
}

impl ArchiveWishes {
    fn add(&self, stream: StreamId, end: u64) {
        let risen = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = open.entry(stream).or_default();
            std::mem::replace(wanted, end.max(*wanted)) < end
        };
        if risen {
            self.come.notify_one();
        }
    }

    /// Takes all of them; waits for the first. Cancel-safe. For one who listens.
    pub async fn take(&self) -> BTreeMap<StreamId, u64> {
        loop {
            let taken = {
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *open)
            };
            if !taken.is_empty() {
                return taken;
            }
            // A wish that comes in between leaves a permit, and the wait ends at once.
            self.come.notified().await;
        }
    }
}

/// The watermark of one stream.
#[derive(Debug)]
pub struct ArchiveMark {
    stream: StreamId,
    wishes: Arc<ArchiveWishes>,
    archived: AtomicU64,
    /// What lies below was trimmed.
    start: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    tickets: BTreeMap<(u64, u64), Waker>,
    failed: Option<Error>,
}

impl ArchiveMark {
    /// A stream that is archived up to `end`.
    pub fn new(stream: StreamId, end: u64, wishes: Arc<ArchiveWishes>) -> Arc<Self> {
        Arc::new(Self {
            stream,
            wishes,
            archived: AtomicU64::new(end),
            start: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    /// The watermark, in next-offset form.
    pub fn get(&self) -> u64 {
        self.archived.load(Ordering::Acquire)
    }

    /// Raises it, and wakes the tickets that it reaches. What is no news is left alone: a restart may
    /// tell it again.
    pub fn advance(&self, to: u64) {
        if self.archived.fetch_max(to, Ordering::AcqRel) >= to {
            return;
        }
        let woken = {
            let mut waiting = self.lock();
            let beyond = waiting.tickets.split_off(&(to.saturating_add(1), 0));
            std::mem::replace(&mut waiting.tickets, beyond)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// The stream begins here: what was trimmed before it was archived never will be. Wakes the tickets
    /// of that.
    pub fn trimmed(&self, start: u64) {
        if self.start.fetch_max(start, Ordering::AcqRel) >= start {
            return;
        }
        let woken = {
            let mut waiting = self.lock();
            let kept = waiting.tickets.split_off(&(start.saturating_add(1), 0));
            std::mem::replace(&mut waiting.tickets, kept)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Where the stream begins.
    pub fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// Nothing more will be archived: every wait ends with this.
    pub fn fail(&self, error: Error) {
        let woken = {
            let mut waiting = self.lock();
            waiting.failed.get_or_insert(error);
            std::mem::take(&mut waiting.tickets)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Why nothing more will be archived.
    pub fn failure(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// As that of the other marks: the caller looks again afterwards.
    pub(super) fn register(
        &self,
        target: u64,
        place: Option<(u64, u64)>,
        waker: &Waker,
    ) -> (u64, u64) {
        let key = {
            let mut waiting = self.lock();
            if let Some(place) = place {
                waiting.tickets.remove(&place);
            }
            waiting.next_id += 1;
            let key = (target, waiting.next_id);
            waiting.tickets.insert(key, waker.clone());
            key
        };
        if place.is_none() {
            self.wishes.add(self.stream, target);
        }
        key
    }

    pub(super) fn forget(&self, place: (u64, u64)) {
        self.lock().tickets.remove(&place);
    }

    /// Wakes every ticket beyond `from`: its record may have been cut off.
    pub(super) fn wake_beyond(&self, from: u64) {
        let woken = self.lock().tickets.split_off(&(from.saturating_add(1), 0));
        woken.into_values().for_each(Waker::wake);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().tickets.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tierlog_storage::{Incarnation, Offset};

    use super::{
        super::{
            budget::Budget,
            marks::Level,
            shared::{Begin, DoorLimits, LifeChange, StreamShared},
            tail::TailBudget,
            ticket::Ticket,
        },
        *,
    };
    use crate::meters::Share;

    fn stream(wishes: &Arc<ArchiveWishes>) -> Arc<StreamShared> {
        let limits = DoorLimits {
            lane: 100,
            max_record: 1_000,
        };
        let id = StreamId::generate();
        let begin = Begin {
            start: Offset(0),
            end: Offset(0),
            incarnation: Incarnation(1),
            archive: Some(ArchiveMark::new(id, 0, Arc::clone(wishes))),
        };
        let (budget, tail) = (
            Budget::new(100_000, None),
            TailBudget::new(0, Share::default()),
        );
        StreamShared::new(id, "s", limits, budget, tail, begin)
    }

    fn append(stream: &StreamShared) -> Ticket {
        let ticket = stream.submit_one(vec![1].into()).expect("room");
        ticket.at(Level::Archived)
    }

    fn durable(stream: &StreamShared, end: u64) {
        stream.life().marks.advance_written(end);
        stream.life().marks.advance_durable(end);
    }

    #[tokio::test]
    async fn a_ticket_waits_for_the_archive_through_a_restart() {
        let wishes = Arc::default();
        let stream = stream(&wishes);
        let (mut kept, mut lost) = (append(&stream), append(&stream));
        assert!(futures::poll!(&mut kept).is_pending());
        assert!(futures::poll!(&mut lost).is_pending());
        assert_eq!(wishes.take().await, BTreeMap::from([(stream.id, 2)]));
        durable(&stream, 1);
        let change = LifeChange::Recovered {
            lost: false,
            why: "a test",
        };
        stream.begin_life(Incarnation(2), Offset(1), change);
        let failed = lost.await.expect_err("it was not recovered");
        assert!(
            matches!(failed.error, Error::NotAppended { .. }),
            "{failed}"
        );
        assert!(
            futures::poll!(&mut kept).is_pending(),
            "durable is not archived"
        );
        stream.advance_archived(Offset(1));
        assert_eq!(kept.await.expect("archived").level, Level::Archived);
        assert_eq!(stream.watermarks().archived, Offset(1));
        assert_eq!(stream.life().marks.archive().expect("one").waiting(), 0);
    }

    #[tokio::test]
    async fn a_ticket_whose_record_is_cut_off_is_told_so_whatever_is_archived_there_later() {
        let wishes = Arc::default();
        let stream = stream(&wishes);
        let (kept, mut cut) = (append(&stream), append(&stream));
        assert!(futures::poll!(&mut cut).is_pending());
        durable(&stream, 2);
        stream.begin_life(Incarnation(2), Offset(1), LifeChange::Truncated);
        stream.advance_archived(Offset(9));
        let failed = cut.await.expect_err("it was taken back");
        assert!(matches!(failed.error, Error::Truncated { .. }), "{failed}");
        assert_eq!(kept.await.expect("archived").offset, Offset(0));
    }

    /// A record was trimmed while its bucket was out of reach: nobody would ever archive it, and its
    /// ticket waited for that for ever.
    #[tokio::test]
    async fn a_ticket_whose_record_is_trimmed_before_it_is_archived_is_told_so() {
        let wishes = Arc::default();
        let stream = stream(&wishes);
        let (mut archived, mut trimmed, mut kept) =
            (append(&stream), append(&stream), append(&stream));
        for ticket in [&mut archived, &mut trimmed, &mut kept] {
            assert!(futures::poll!(ticket).is_pending());
        }
        durable(&stream, 3);
        stream.advance_archived(Offset(1));
        stream.advance_start(Offset(2));
        assert!(archived.await.is_ok(), "it had been archived before");
        let failed = trimmed.await.expect_err("nobody archives it any more");
        assert!(
            matches!(
                failed.error,
                Error::Trimmed {
                    asked: Offset(1),
                    start: Offset(2)
                }
            ),
            "{failed}"
        );
        assert!(futures::poll!(&mut kept).is_pending(), "it is still there");
        stream.advance_archived(Offset(3));
        assert!(kept.await.is_ok());
    }

    #[tokio::test]
    async fn when_nothing_more_will_be_archived_every_wait_ends() {
        let wishes = Arc::default();
        let stream = stream(&wishes);
        let (reached, mut waits) = (append(&stream), append(&stream));
        assert!(futures::poll!(&mut waits).is_pending());
        durable(&stream, 2);
        stream.advance_archived(Offset(1));
        stream.end_archive(Error::Closed);
        let failed = waits.await.expect_err("nobody archives it");
        assert!(matches!(failed.error, Error::Closed), "{failed}");
        let failed = append(&stream).await.expect_err("nor what comes later");
        assert!(matches!(failed.error, Error::Closed), "{failed}");
        assert!(reached.await.is_ok(), "what is archived stays so");
    }
}
