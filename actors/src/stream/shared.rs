//! What the handles of a stream, its readers and its writer share, and the door through which
//! every append goes.

use std::collections::VecDeque;

use serde::Serialize;
use tierlog_storage::{Incarnation, Offset, StreamId, planted, segment::NewRecord};

use super::{
    archive::ArchiveMark,
    bell::Bell,
    budget::Budget,
    callers,
    door::Door,
    keeping::Keeping,
    marks::{Level, Marks},
    segments::Segments,
    tail::{Tail, TailBudget},
    ticket::{Life, Ticket},
};
pub use super::{
    door::{DoorLimits, IfOutcome, Refusal, Settled},
    lives::{LifeChange, NextLife},
};
use crate::{
    error::Error,
    kind::Kind,
    protocol::writer::{Append, Control, LaneMsg, Payload},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        lane, watch,
    },
};

/// What each queued message costs beside its payload, in bytes.
const MESSAGE_COST: usize = 128;

/// Where a stream stands. All but `incarnation` are in next-offset form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Watermarks {
    /// The first offset that is there.
    pub start: Offset,
    /// Everything below is synced.
    pub durable: Offset,
    /// Everything below is in Tier 2, or trimmed. Without Tier 2 it stays at `start`.
    pub archived: Offset,
    /// Everything below is handed to the operating system.
    pub written: Offset,
    /// The offset of the next record that is accepted.
    pub next: Offset,
    /// The life of the tail.
    pub incarnation: Incarnation,
}

/// A stream, as everybody but its writer sees it.
pub struct StreamShared {
    /// Its identity.
    pub id: StreamId,
    /// Its name.
    pub name: Arc<str>,
    /// Where its records are.
    pub segments: Segments,
    /// Its most recent frames.
    pub tail: Tail,
    /// What its accepted records hold.
    pub budget: Arc<Budget>,
    /// Rung when the lane has been drained, or a block has been lifted, or the door was shut.
    pub bell: Bell,
    /// Held while the start is moved up or the end is moved back, from the look at where they are
    /// to the commit, or a trim and a truncation that cross could pass one another.
    pub edges: tokio::sync::Mutex<()>,
    /// Held by the trim whose turn it is, so that `edges` is refused to it by a truncation alone.
    pub trims: tokio::sync::Mutex<()>,
    /// How much of it is kept.
    pub keeping: Keeping,
    limits: DoorLimits,
    door: Mutex<Door>,
    pub(super) lane_in: lane::Sender<LaneMsg>,
    /// The other end, kept so that what lies on the lane of a dead writer can be resolved: flume
    /// drops nothing by itself when the last receiver goes.
    pub(super) lane_out: lane::Receiver<LaneMsg>,
    start: AtomicU64,
    /// The number of the present life, for readers that look at it before each record.
    pub(super) life_number: AtomicU64,
    pub(super) watch: watch::Sender<Watermarks>,
    pub(super) cuts: Mutex<VecDeque<(Incarnation, Offset)>>,
}

impl StreamShared {
    /// A stream whose records `start..end` are durable.
    pub fn new(
        id: StreamId,
        name: &str,
        limits: DoorLimits,
        budget: Arc<Budget>,
        tail: Arc<TailBudget>,
        begin: Begin,
    ) -> Arc<Self> {
        let (lane_in, lane_out) = lane::bounded(limits.lane);
        let end = begin.end.get();
        let archived = begin.archive.as_ref().map_or(0, |archive| archive.get());
        let marks = Marks::with_archive(end, begin.archive);
        let life = Life::new(begin.incarnation, Arc::new(marks));
        let watermarks = Watermarks {
            start: begin.start,
            durable: begin.end,
            archived: begin.start.max(Offset(archived)),
            written: begin.end,
            next: begin.end,
            incarnation: begin.incarnation,
        };
        Arc::new(Self {
            id,
            name: name.into(),
            segments: Segments::default(),
            tail: Tail::new(tail),
            budget,
            bell: Bell::default(),
            edges: tokio::sync::Mutex::default(),
            trims: tokio::sync::Mutex::default(),
            keeping: Keeping::default(),
            limits,
            door: Mutex::new(Door {
                next: end,
                life,
                blocked: None,
                held_shut: false,
                shut: None,
                timed: None,
            }),
            lane_in,
            lane_out,
            start: AtomicU64::new(begin.start.get()),
            life_number: AtomicU64::new(begin.incarnation.get()),
            watch: watch::Sender::new(watermarks),
            cuts: Mutex::default(),
        })
    }

    // ---- what callers do -------------------------------------------------------------------

    /// Takes one record, or refuses it and gives it back.
    ///
    /// # Errors
    /// The refusal, and the record.
    pub fn submit_one(&self, record: NewRecord) -> Result<Ticket, (Refusal, NewRecord)> {
        if let Err(error) = self.check_len(record.size()) {
            return Err((Refusal::Failed(error), record));
        }
        let cost = record.encoded_len_max() + MESSAGE_COST;
        let mut door = self.lock();
        self.accept(&mut door, cost, Payload::One(record))
            .map_err(|(refusal, payload)| match payload {
                Payload::One(record) => (refusal, record),
                _ => unreachable!("a refusal gives back what it was given"),
            })
    }

    /// Takes one record if the next offset is `expected`.
    pub fn submit_if(&self, expected: Offset, record: NewRecord) -> IfOutcome {
        if let Err(error) = self.check_len(record.size()) {
            return IfOutcome::Refused(Refusal::Failed(error), record);
        }
        let cost = record.encoded_len_max() + MESSAGE_COST;
        let mut door = self.lock();
        if let Some(refusal) = door.refusal() {
            return IfOutcome::Refused(refusal, record);
        }
        if door.next != expected.get() {
            let life = Arc::clone(&door.life);
            return IfOutcome::Elsewhere {
                next: Offset(door.next),
                settled: Settled {
                    life,
                    next: door.next,
                },
                record,
            };
        }
        match self.accept(&mut door, cost, Payload::One(record)) {
            Ok(ticket) => IfOutcome::Accepted(ticket),
            Err((refusal, Payload::One(record))) => IfOutcome::Refused(refusal, record),
            Err(_) => unreachable!("a refusal gives back what it was given"),
        }
    }

    /// Takes several records, all or nothing.
    ///
    /// # Errors
    /// The refusal, and the records.
    pub fn submit_batch(
        &self,
        records: Vec<NewRecord>,
    ) -> Result<Ticket, (Refusal, Vec<NewRecord>)> {
        if records.is_empty() {
            let what = "a batch needs at least one record".into();
            return Err((Refusal::Failed(Error::InvalidInput { what }), records));
        }
        // A record alone counts what it holds; many of them also what a frame takes for each.
        let len = match records.as_slice() {
            [alone] => alone.size(),
            many => many.iter().map(NewRecord::encoded_len_max).sum(),
        };
        if let Err(error) = self.check_len(len) {
            return Err((Refusal::Failed(error), records));
        }
        let cost = len + records.len() * MESSAGE_COST;
        let mut door = self.lock();
        self.accept(&mut door, cost, Payload::Batch(records))
            .map_err(|(refusal, payload)| match payload {
                Payload::Batch(records) => (refusal, records),
                _ => unreachable!("a refusal gives back what it was given"),
            })
    }

    /// Takes what an appender has encoded.
    ///
    /// # Errors
    /// The refusal, and the buffer as it was.
    pub fn submit_encoded(
        &self,
        builder: Box<tierlog_storage::segment::FrameBuilder>,
    ) -> Result<Ticket, (Refusal, Box<tierlog_storage::segment::FrameBuilder>)> {
        let cost = builder.len() + MESSAGE_COST;
        let mut door = self.lock();
        self.accept(&mut door, cost, Payload::Encoded(builder))
            .map_err(|(refusal, payload)| match payload {
                Payload::Encoded(builder) => (refusal, builder),
                _ => unreachable!("a refusal gives back what it was given"),
            })
    }

    /// Puts a command behind everything accepted so far. A truncation shuts the door until it is
    /// done, since offsets given out behind it would be wrong.
    ///
    /// # Errors
    /// The refusal; the command's answer slot is dropped.
    pub fn submit_control(&self, control: Control) -> Result<(), Refusal> {
        let mut door = self.lock();
        if let Some(error) = &door.shut {
            return Err(Refusal::Failed(error.clone()));
        }
        if door.held_shut {
            return Err(Refusal::WouldBlock(Kind::Admission));
        }
        let truncates = matches!(control, Control::Truncate(..));
        if self.lane_in.try_send(LaneMsg::Control(control)).is_err() {
            return Err(Refusal::WouldBlock(Kind::Admission));
        }
        if truncates {
            door.held_shut = true;
        }
        Ok(())
    }

    /// Shuts the door for good, and has the writer end behind everything accepted so far.
    pub async fn retire(&self, control: Control) {
        self.shut(Error::Closed);
        // Nobody else gets onto the lane any more, so that waiting for room keeps the order.
        let _ = self.lane_in.send_async(LaneMsg::Control(control)).await;
    }

    /// Whether a record of so many bytes, or a smaller one, would be refused with this kind now.
    ///
    /// All that can be short is looked at, and not only what a refusal would name first: whoever is
    /// refused with one kind and told at once that it is not short would ask again for ever.
    fn is_short(&self, kind: Kind, bytes: usize) -> bool {
        let door = self.lock();
        match door.refusal() {
            Some(Refusal::WouldBlock(short)) => short == kind,
            Some(Refusal::Failed(_)) => false,
            None => {
                kind == Kind::Admission && self.lane_in.is_full()
                    || self
                        .budget
                        .shortages(bytes + MESSAGE_COST)
                        .any(|short| short.kind() == kind)
            }
        }
    }

    /// Resolves when a command would be taken, or refused for good: a command needs no bytes, and
    /// stands in the way of nothing that keeps records out. Cancel-safe.
    pub async fn ready_for_control(&self) {
        self.bell
            .wait_until(|| {
                let door = self.lock();
                door.shut.is_some() || !(door.held_shut || self.lane_in.is_full())
            })
            .await;
    }

    /// Resolves when a record of so many bytes would not be refused with this kind. Another kind
    /// may be short by then, and others may be faster. Cancel-safe.
    pub async fn ready(&self, kind: Kind, bytes: usize) {
        let clear = || !self.is_short(kind, bytes);
        if clear() {
            // Refused a moment ago, and free again: those who freed it, and those who were refused
            // as well, get their turn before this one asks again.
            tokio::task::yield_now().await;
            return;
        }
        let log = self.budget.parent();
        loop {
            let stream = self.bell.wait_until(clear);
            let own = self.budget.bell.wait_until(clear);
            let shared = async {
                match log {
                    Some(log) => log.bell.wait_until(clear).await,
                    None => std::future::pending().await,
                }
            };
            // In a fixed order: whichever rings, the same look follows. A random one would make a model
            // of this take another course each time.
            tokio::select! {
                biased;
                () = stream => {}
                () = own => {}
                () = shared => {}
            }
            if clear() {
                return;
            }
        }
    }

    /// Where the stream stands now.
    pub fn watermarks(&self) -> Watermarks {
        let door = self.lock();
        self.watermarks_of(&door)
    }

    /// One past the last record that was accepted and has not failed since.
    pub fn accepted_end(&self) -> Offset {
        Offset(self.lock().next)
    }

    /// Watermarks, published at each advance. `next` is as of the last one.
    pub fn watch(&self) -> watch::Receiver<Watermarks> {
        self.watch.subscribe()
    }

    /// The first offset that is there.
    pub fn start(&self) -> Offset {
        Offset(self.start.load(Ordering::Acquire))
    }

    /// The limit of a record or batch, encoded.
    pub fn max_record(&self) -> usize {
        self.limits.max_record
    }

    /// The number of the present life. Without a lock: readers ask before each record, and again
    /// after they have fetched one, so that they never give out what a newer life put there.
    #[inline]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.life_number.load(Ordering::Acquire))
    }

    /// The end of the lowest truncation since `seen`, and the number of the life now.
    pub fn cut_since(&self, seen: Incarnation) -> (Option<Offset>, Incarnation) {
        let now = self.lock().life.number;
        let cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let end = cuts
            .iter()
            .filter(|(number, _)| *number > seen)
            .map(|(_, end)| *end)
            .min();
        (end, now)
    }

    fn accept(
        &self,
        door: &mut Door,
        cost: usize,
        what: Payload,
    ) -> Result<Ticket, (Refusal, Payload)> {
        if let Some(refusal) = door.refusal() {
            return Err((refusal, what));
        }
        let permit = match self.budget.take(cost) {
            Ok(permit) => permit,
            Err(short) => return Err((Refusal::WouldBlock(short.kind()), what)),
        };
        let (first, count) = (door.next, what.count());
        let permit = callers::lent(permit);
        let message = LaneMsg::Append(Append {
            first,
            permit,
            what,
        });
        match self.lane_in.try_send(message) {
            Ok(()) => {
                door.accepted(count);
                Ok(Ticket::new(Arc::clone(&door.life), first, count))
            }
            Err(refused) => match refused.into_inner() {
                // The permit inside is dropped here: a refusal leaves no trace.
                LaneMsg::Append(append) => Err((Refusal::WouldBlock(Kind::Admission), append.what)),
                LaneMsg::Control(_) => unreachable!("an append was sent"),
            },
        }
    }

    fn check_len(&self, len: usize) -> Result<(), Error> {
        let limit = self.limits.max_record;
        if len > limit && !planted::is("oversize_record_accepted") {
            Err(Error::RecordTooLarge { len, limit })
        } else {
            Ok(())
        }
    }

    // ---- what the writer does ---------------------------------------------------------------

    /// The lane's end for the writer.
    pub fn lane(&self) -> lane::Receiver<LaneMsg> {
        self.lane_out.clone()
    }

    /// The present life.
    pub fn life(&self) -> Arc<Life> {
        Arc::clone(&self.lock().life)
    }

    /// Says what is short, or that nothing is.
    pub fn set_blocked(&self, kind: Option<Kind>) {
        let changed = {
            let mut door = self.lock();
            std::mem::replace(&mut door.blocked, kind) != kind
        };
        if changed {
            self.bell.ring();
        }
    }

    /// Resolves when no truncation is under way any more.
    pub async fn edges_settle(&self) {
        drop(self.edges.lock().await);
    }

    /// Everything below `start` was trimmed, durably.
    pub fn advance_start(&self, start: Offset) {
        self.start.fetch_max(start.get(), Ordering::AcqRel);
        if let Some(archive) = self.life().marks.archive() {
            archive.trimmed(start.get());
        }
        self.publish();
    }

    fn watermarks_of(&self, door: &Door) -> Watermarks {
        let start = self.start();
        let durable = Offset(door.life.marks.get(Level::Durable)).max(start);
        let written = Offset(door.life.marks.get(Level::Written)).max(durable);
        Watermarks {
            start,
            durable,
            archived: start.max(Offset(door.life.marks.get(Level::Archived))),
            written,
            next: Offset(door.next).max(written),
            incarnation: door.life.number,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Door> {
        // A panic under this lock would be a failed assertion of the marks; the door itself is
        // whole after each statement.
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a stream begins when it is opened.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The first offset that is there.
    pub start: Offset,
    /// One past the last durable record.
    pub end: Offset,
    /// The life of its tail.
    pub incarnation: Incarnation,
    /// How far it is archived, where it can be.
    pub archive: Option<Arc<ArchiveMark>>,
}
