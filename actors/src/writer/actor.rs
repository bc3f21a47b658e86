//! The writer's state and its loop.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures::future::BoxFuture;
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::{Offset, SegmentNo, StreamId, claims::Claim};
use tokio::{sync::oneshot, time::Instant};

use super::{
    active::{Active, Owner},
    alarm::Alarm,
    controls::Barrier,
    handle::WriterHandle,
    policy::When,
    queue::Queue,
    roll::NextSegment,
    sealing::Sealing,
    write::{Held, WriteInFlight},
};
use crate::{
    context::Generation,
    error::Error,
    exec::Running,
    kind::Kind,
    manifest::Ended,
    meters::Share,
    protocol::{
        Reply,
        writer::{Inspect, LaneMsg, Nudge, WriterHealth},
    },
    stream::{
        marks::Level,
        shared::{NextLife, StreamShared},
        ticket::Life,
    },
    sync::lane,
};

/// Messages that the control mailbox holds.
const CONTROL_MAILBOX: usize = 16;

/// What a writer is begun with.
#[derive(Debug)]
pub struct Start {
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Its stream, whose life begins where everything is durable.
    pub stream: Arc<StreamShared>,
    /// Its slot in the claims file.
    pub slot: u32,
    /// The segment left at a clean close, if it goes on.
    pub active: Option<tierlog_storage::recovery::ActiveSegment>,
    /// The first segment number that was never used.
    pub next_segment: SegmentNo,
    /// The time stamp of the last record.
    pub last_ts: u64,
    /// Counts its jobs, its flushes among them.
    pub running: Running,
}

/// Starts it.
pub fn spawn(start: Start) -> (WriterHandle, Ended<WriterActor>) {
    let prepared = PreparedActor::new(mailbox::bounded(CONTROL_MAILBOX));
    let name = Arc::clone(&start.stream.name);
    let handle = WriterHandle::new(prepared.actor_ref().clone(), name);
    let actor = WriterActor::new(start, handle.clone());
    (handle, prepared.spawn(actor))
}

/// The writer of one stream.
pub struct WriterActor {
    pub(super) generation: Generation,
    pub(super) stream: Arc<StreamShared>,
    pub(super) handle: WriterHandle,
    pub(super) lane: lane::Receiver<LaneMsg>,
    /// What waited on it at the last look.
    pub(super) waiting: Share,
    pub(super) life: Arc<Life>,
    pub(super) slot: u32,
    pub(super) running: Running,
    /// Accepted, not handed to a write.
    pub(super) queue: Queue,
    /// The offset of the next record that comes off the lane.
    pub(super) taken: u64,
    pub(super) write: Option<WriteInFlight>,
    /// Written, not durable; in offset order.
    pub(super) held: VecDeque<Held>,
    pub(super) held_bytes: u64,
    /// Counted among the log's dirty streams.
    pub(super) dirty: bool,
    pub(super) flush: Option<FlushInFlight>,
    /// A flush request that waits for room in the flusher's mailbox.
    pub(super) flush_send: Option<BoxFuture<'static, ()>>,
    pub(super) active: Option<Active>,
    pub(super) next: NextSegment,
    pub(super) next_no: SegmentNo,
    pub(super) next_failures: u32,
    /// Those of them that were errors, in a row; what is only short passes.
    pub(super) next_errors: u32,
    pub(super) sealing: Option<Sealing>,
    /// Those who wait for a durable end.
    pub(super) flush_waiters: VecDeque<(u64, Reply<Result<Offset, Error>>)>,
    /// A command that waits until what stands before it is done.
    pub(super) barrier: Option<Barrier>,
    pub(super) blocked: Option<Kind>,
    /// When to look again whether the disk has room.
    pub(super) space_retry: Option<Instant>,
    /// When the end is to be marked in the manifest.
    pub(super) mark_at: Option<Instant>,
    pub(super) marking: Option<oneshot::Receiver<Result<tierlog_storage::manifest::Seq, Error>>>,
    pub(super) repaired: u64,
    pub(super) repairing: bool,
    pub(super) failed: Option<Error>,
    pub(super) retired: bool,
}

/// A sync at the flusher.
#[derive(Debug)]
pub struct FlushInFlight {
    /// `None` once the flusher has died with it.
    pub(super) done: Option<oneshot::Receiver<Result<(), Error>>>,
    pub(super) up_to: Offset,
    pub(super) since: Instant,
}

impl WriterActor {
    fn new(start: Start, handle: WriterHandle) -> Self {
        let Start {
            generation,
            stream,
            slot,
            active,
            next_segment,
            last_ts,
            running,
        } = start;
        let life = stream.life();
        let taken = life.marks.get(Level::Written);
        let active = active.map(|found| Active::reopened(found, life.number, &stream));
        let queue = Queue::starting_at(last_ts, generation.log.options.frame_target());
        Self {
            lane: stream.lane(),
            waiting: Share::of(&generation.log.meters.lane_queue),
            queue,
            generation,
            stream,
            handle,
            life,
            slot,
            running,
            taken,
            write: None,
            held: VecDeque::new(),
            held_bytes: 0,
            dirty: false,
            flush: None,
            flush_send: None,
            active,
            next: NextSegment::None,
            next_no: next_segment,
            next_failures: 0,
            next_errors: 0,
            sealing: None,
            flush_waiters: VecDeque::new(),
            barrier: None,
            blocked: None,
            space_retry: None,
            mark_at: None,
            marking: None,
            repaired: 0,
            repairing: false,
            failed: None,
            retired: false,
        }
    }

    /// Everything below is durable.
    pub(super) fn durable(&self) -> u64 {
        self.life.marks.get(Level::Durable)
    }

    /// Everything below is written.
    pub(super) fn written(&self) -> u64 {
        self.life.marks.get(Level::Written)
    }

    pub(super) fn owner(&self) -> Owner {
        Owner {
            log: self.generation.id,
            stream: self.stream.id,
            epoch: self.generation.epoch,
            now_ns: self.generation.log.clock.now_ns(),
        }
    }

    pub(super) fn stream_id(&self) -> StreamId {
        self.stream.id
    }

    pub(super) fn claim(&self, durable: Offset) -> Claim {
        Claim {
            stream: self.stream.id,
            epoch: self.generation.epoch,
            incarnation: self.life.number,
            durable,
        }
    }

    /// Borrows nothing, so that the actor need not be shared between threads to wait for it.
    pub(super) fn fault(&self, point: &'static str) -> impl Future<Output = ()> + Send + use<> {
        let faults = self.generation.log.faults.clone();
        async move { faults.at(point).await }
    }

    /// Starts whatever can be started.
    async fn step(&mut self) {
        if self.failed.is_some() {
            return;
        }
        self.start_write().await;
        self.start_flush().await;
        self.start_barrier().await;
        self.start_next().await;
        self.start_mark();
        self.note_dirty();
    }

    fn note_dirty(&mut self) {
        let dirty = self.write.is_some() || !self.held.is_empty();
        if dirty != self.dirty {
            self.dirty = dirty;
            let count = &self.generation.log.dirty;
            if dirty {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// When to wake up though nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let stall = self.generation.log.options.stall_after;
        let stalls = self.waiting_since().map(|at| at + stall);
        let flush = match self.when_to_flush() {
            When::At(at) => Some(at),
            // It came due after the last look: without a wake-up nobody would look again, and a
            // record that no other follows would never be durable.
            When::Now => Some(Instant::now()),
            When::Never => None,
        };
        let others = [
            flush,
            self.next.retry_at().filter(|_| self.wants_next()),
            self.space_retry,
            self.mark_at.filter(|_| self.marking.is_none()),
            self.age_at(),
        ];
        stalls.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Since when others are waited for, by whom tickets wait.
    fn waiting_since(&self) -> Option<Instant> {
        let since = [
            self.write.as_ref().map(|write| write.since),
            self.flush.as_ref().map(|flush| flush.since),
            self.sealing.as_ref().and_then(Sealing::waiting_since),
            self.next.asked_since().filter(|_| self.waits_for_place()),
        ];
        since.into_iter().flatten().min()
    }

    async fn woken(&mut self) {
        let now = Instant::now();
        let stall = self.generation.log.options.stall_after;
        if self.waiting_since().is_some_and(|at| at + stall <= now) {
            // Nobody can say what the disk will do with it, nor when: the stream stays closed.
            let why = format!("the disk did not answer within {stall:?}");
            self.fail(Error::indeterminate(&why));
            return;
        }
        if self.space_retry.is_some_and(|at| at <= now) {
            self.retry_space();
        }
        if self.age_at().is_some_and(|at| at <= now) {
            self.roll_by_age();
        }
    }

    /// Ends everything that waits: what was handed to a write has an unknown outcome, what was
    /// queued behind it is handed back. The stream refuses until the log is opened again.
    pub(super) fn fail(&mut self, why: Error) {
        tracing::error!(target: "tierlog::writer", stream = %self.stream.name, error = %why, "the stream stops");
        let durable = self.durable();
        let queued = self.queue.front().map_or(self.taken, |frame| frame.first);
        let mut errors = vec![(queued, Error::not_appended(&why))];
        if durable < queued {
            errors.insert(0, (durable, Error::indeterminate(&why)));
        }
        let refuse = Error::failed(&why);
        let taken = self.queue.give_up();
        self.stream
            .fail_queued(queued, errors, taken, NextLife::Refuse(refuse.clone()));
        for (_, reply) in self.flush_waiters.drain(..) {
            let _ = reply.send(Err(refuse.clone()));
        }
        if let Some(barrier) = self.barrier.take() {
            barrier.fail(&refuse);
        }
        self.failed = Some(refuse);
        self.held.clear();
        self.held_bytes = 0;
        self.write = None;
        self.flush = None;
        self.flush_send = None;
        self.sealing = None;
        self.note_dirty();
    }

    async fn run(&mut self, mailbox: &mut MailboxReceiver<Self>) -> Option<Signal<Self>> {
        let mut alarm = Alarm::default();
        loop {
            if self.retired {
                return None;
            }
            self.fill().await;
            self.step().await;
            if self.retired {
                return None;
            }
            let listens = self.listens();
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                outcome = pending_or(self.write.as_mut().map(|write| &mut write.outcome)) => {
                    self.written_outcome(outcome).await;
                }
                outcome = pending_or(self.flush.as_mut().and_then(|flush| flush.done.as_mut())) => {
                    self.flushed(outcome).await;
                }
                () = pending_or(self.flush_send.as_mut()) => {
                    self.flush_send = None;
                    self.flusher_has_room();
                }
                event = Sealing::event(&mut self.sealing) => self.sealing_event(event).await,
                answer = pending_or(self.next.asked()) => self.next_answered(answer),
                outcome = pending_or(self.marking.as_mut()) => self.marked(outcome.is_ok()),
                signal = mailbox.recv() => return signal,
                message = self.lane.recv_async(), if listens => {
                    // The lane's other end lives in the stream itself, so that it never closes.
                    if let Ok(message) = message {
                        self.take_first(message).await;
                    }
                }
                () = alarm.by(wake_at) => self.woken().await,
            }
        }
    }
}

/// The future, or one that never resolves.
async fn pending_or<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl Drop for WriterActor {
    fn drop(&mut self) {
        self.held.clear();
        self.write = None;
        self.note_dirty();
    }
}

impl fmt::Debug for WriterActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterActor")
            .field("stream", &self.stream.name)
            .field("taken", &self.taken)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Actor for WriterActor {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(actor: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(actor)
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Infallible> {
        // Boxed: the loop's future is large, and kameo moves it around.
        let run: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(self.run(mailbox));
        Ok(run.await)
    }
}

impl Message<Nudge> for WriterActor {
    type Reply = ();

    async fn handle(&mut self, _: Nudge, _: &mut Context<Self, ()>) {
        self.next.retry_now();
        if self.space_retry.is_some() {
            self.space_retry = Some(Instant::now());
        }
    }
}

impl Message<Inspect> for WriterActor {
    type Reply = ();

    async fn handle(&mut self, Inspect(done): Inspect, _: &mut Context<Self, ()>) {
        let _ = done.send(WriterHealth {
            stream: self.stream.name.to_string(),
            held_frames: self.held.len(),
            repairing: self.repairing,
            repaired: self.repaired,
            failed: self.failed.as_ref().map(ToString::to_string),
        });
    }
}
