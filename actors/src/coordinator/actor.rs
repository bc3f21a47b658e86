//! The loop: decide, begin a task, take its outcome. Nothing is awaited inside a handler.

use std::{collections::HashMap, fmt, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::StreamId;
use tokio::time::Instant;

use super::{
    admission::{Demand, Verdict, decide},
    handle::CoordinatorHandle,
    ledger::{Hot, Ledger},
    moves::Mover,
    table::{Id, Table},
    tasks::{self, Effect, Tasks},
};
use crate::{
    context::LogContext,
    error::Error,
    exec::Running,
    kind::Kind,
    manifest::{Ended, ManifestHandle},
    meters::Share,
    protocol::{
        Reply,
        coordinator::{Admit, AdmitError, Attach, Changed, Hydrate, Rollover, Trim},
    },
    stream::{bell::Bell, shared::StreamShared},
    writer::WriterHandle,
};

/// Starts it. `on_disk` is what segments hold already.
pub fn spawn(
    log: Arc<LogContext>,
    mover: Mover,
    table: Table,
    on_disk: Hot,
) -> (CoordinatorHandle, Ended<CoordinatorActor>) {
    let capacity = log.options.coordinator_queue;
    let ledger = Ledger::new(on_disk, log.options.hot_budget, &log.meters);
    let drained = Arc::new(Bell::default());
    let actor = CoordinatorActor {
        most_tasks: log.options.max_streams * 2 + 64,
        waiting: Share::of(&log.meters.coordinator_queue),
        warm_bytes: Share::of(&log.meters.warm_bytes),
        warm_segments: Share::of(&log.meters.warm_segments),
        log,
        tasks: mover.tasks.clone(),
        mover,
        table,
        streams: HashMap::new(),
        hydrating: HashMap::new(),
        stirred: true,
        again_at: None,
        ledger: Arc::clone(&ledger),
        drained: Arc::clone(&drained),
        wanting: HashMap::new(),
        under_way: FuturesUnordered::new(),
        broken: None,
    };
    let prepared = PreparedActor::new(mailbox::bounded(capacity));
    (
        CoordinatorHandle::new(prepared.actor_ref().clone(), ledger, drained),
        prepared.spawn(actor),
    )
}

/// The coordinator.
pub struct CoordinatorActor {
    pub(super) log: Arc<LogContext>,
    tasks: Tasks,
    pub(super) mover: Mover,
    pub(super) ledger: Arc<Ledger>,
    /// Every segment that has ended.
    pub(super) table: Table,
    /// Streams that are open.
    pub(super) streams: HashMap<StreamId, Arc<StreamShared>>,
    /// Those who wait for a segment file that is made again.
    pub(super) hydrating: HashMap<Id, Vec<Reply<Result<(), Error>>>>,
    /// Something has changed since it was last decided what moves.
    pub(super) stirred: bool,
    /// When something that failed may be tried again.
    pub(super) again_at: Option<Instant>,
    /// Writers that were refused and are told when there is room.
    pub(super) wanting: HashMap<StreamId, WriterHandle>,
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, Effect>>,
    most_tasks: usize,
    /// Messages in the mailbox.
    waiting: Share,
    warm_bytes: Share,
    warm_segments: Share,
    drained: Arc<Bell>,
    /// A folder could not be synced: nothing here is certain any more.
    pub(super) broken: Option<Error>,
}

impl CoordinatorActor {
    /// Told to whoever asked, and remembered.
    fn refuse(&mut self, admit: Admit, kind: Kind) {
        self.wanting.insert(admit.stream, admit.nudge);
        self.stirred = true;
        let _ = admit.done.send(Err(AdmitError::Short(kind)));
    }

    pub(super) fn nudge_all(&mut self) {
        for (_, writer) in self.wanting.drain() {
            // A full control mailbox loses nothing: the writer asks again by itself after a while.
            writer.nudge();
        }
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Sealed(id, known, freed) => {
                self.table.put(id, known);
                self.freed(freed);
            }
            Effect::Gone(stream, gone) => {
                let size = self.log.options.segment_size;
                let mut freed = Hot::default();
                for (no, bytes) in gone {
                    let known = self.table.remove(&(stream, no));
                    let bytes = known.map_or(bytes, |known| known.hot_bytes(size));
                    freed.bytes += bytes;
                    // What was blank has given its place back by itself.
                    freed.segments += u64::from(bytes > 0);
                }
                self.freed(freed);
            }
            Effect::Moved(id, moved) => self.moved(id, moved),
            Effect::DiskFull { stream, writer } => {
                self.wanting.insert(stream, writer);
            }
            Effect::Broken(error) => self.broken = Some(error),
        }
        self.stirred = true;
        self.warm_bytes.set(self.table.warm_bytes());
        self.warm_segments.set(self.table.warm_segments());
    }

    pub(super) fn freed(&mut self, freed: Hot) {
        self.ledger.release(freed);
        self.nudge_all();
    }

    async fn run(
        &mut self,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Error> {
        loop {
            if let Some(error) = &self.broken {
                tracing::error!(target: "tierlog::coordinator", %error, "a folder could not be synced");
                return Err(error.clone());
            }
            if std::mem::take(&mut self.stirred) {
                self.move_segments();
            }
            let takes_more = self.under_way.len() < self.most_tasks;
            let again_at = self.again_at;
            let readers = Arc::clone(&self.log.readers);
            tokio::select! {
                biased;
                Some(effect) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.take_effect(effect);
                }
                signal = mailbox.recv(), if takes_more => {
                    self.waiting.set_len(mailbox.len());
                    self.drained.ring();
                    return Ok(signal);
                }
                wishes = readers.wishes.take() => self.grant(wishes),
                () = until(again_at) => {
                    self.again_at = None;
                    self.stirred = true;
                }
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for CoordinatorActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorActor")
            .field("hot_bytes", &self.ledger.used())
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl Drop for CoordinatorActor {
    fn drop(&mut self) {
        self.drained.ring();
    }
}

impl Actor for CoordinatorActor {
    type Args = Self;
    type Error = Error;

    async fn on_start(actor: Self, _: ActorRef<Self>) -> Result<Self, Error> {
        Ok(actor)
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Error> {
        self.run(mailbox).await
    }
}

impl Message<Admit> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, admit: Admit, _: &mut Context<Self, ()>) {
        self.log.faults.at("coordinator.admit").await;
        let want = self.log.options.segment_size;
        let verdict = decide(Demand {
            used: self.ledger.used(),
            limit: self.ledger.limit(),
            want,
            manifest_has_room: !admit.commit || self.tasks.manifest.has_room(),
        });
        match verdict {
            Verdict::OverBudget => {
                let kind = self.over_budget();
                self.refuse(admit, kind);
            }
            Verdict::ManifestFull => self.refuse(admit, Kind::Manifest),
            Verdict::Admit => {
                let guard = self.ledger.book(want);
                self.under_way
                    .push(Box::pin(tasks::admit(self.tasks.clone(), admit, guard)));
            }
        }
    }
}

impl Message<Rollover> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, rollover: Rollover, _: &mut Context<Self, ()>) {
        self.log.faults.at("coordinator.rollover").await;
        self.under_way
            .push(Box::pin(tasks::roll_over(self.tasks.clone(), rollover)));
    }
}

impl Message<Trim> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, trim: Trim, _: &mut Context<Self, ()>) {
        self.log.faults.at("coordinator.trim").await;
        if !self.tasks.manifest.has_room() {
            let _ = trim.done.send(Err(Error::would_block(Kind::Manifest)));
            return;
        }
        self.under_way
            .push(Box::pin(tasks::trim(self.tasks.clone(), trim)));
    }
}

impl Message<Changed> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, changed: Changed, _: &mut Context<Self, ()>) {
        let Changed {
            stream,
            gone,
            closed,
        } = changed;
        let cut = self.take_closed(stream, closed);
        let task = tasks::clean_up(self.tasks.clone(), stream, gone, cut);
        self.under_way.push(Box::pin(task));
        self.stirred = true;
    }
}

impl Message<Attach> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, attach: Attach, _: &mut Context<Self, ()>) {
        self.attach(attach.stream, &attach.state);
    }
}

impl Message<Hydrate> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, hydrate: Hydrate, _: &mut Context<Self, ()>) {
        self.hydrate_for(hydrate);
    }
}

impl Tasks {
    /// What the coordinator's tasks need.
    pub fn new(
        log: Arc<LogContext>,
        manifest: ManifestHandle,
        epoch: tierlog_storage::Epoch,
        running: Running,
    ) -> Self {
        Self {
            log,
            manifest,
            epoch,
            running,
        }
    }
}
