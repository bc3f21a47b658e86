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

use super::{
    admission::{Demand, Verdict, decide},
    handle::CoordinatorHandle,
    ledger::{Hot, Ledger},
    tasks::{self, Effect, Tasks},
};
use crate::{
    context::LogContext,
    error::Error,
    exec::Running,
    kind::Kind,
    manifest::{Ended, ManifestHandle},
    meters::Share,
    protocol::coordinator::{Admit, AdmitError, Discard, Hydrate, Rollover, Trim},
    stream::bell::Bell,
    writer::WriterHandle,
};

/// Starts it. `on_disk` is what segments hold already.
pub fn spawn(
    log: Arc<LogContext>,
    generation: tasks::Tasks,
    on_disk: Hot,
) -> (CoordinatorHandle, Ended<CoordinatorActor>) {
    let capacity = log.options.coordinator_queue;
    let ledger = Ledger::new(on_disk, log.options.hot_budget, &log.meters);
    let drained = Arc::new(Bell::default());
    let actor = CoordinatorActor {
        most_tasks: log.options.max_streams * 2 + 64,
        waiting: Share::of(&log.meters.coordinator_queue),
        log,
        tasks: generation,
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
    log: Arc<LogContext>,
    tasks: Tasks,
    ledger: Arc<Ledger>,
    /// Writers that were refused and are told when there is room.
    wanting: HashMap<StreamId, WriterHandle>,
    under_way: FuturesUnordered<BoxFuture<'static, Effect>>,
    most_tasks: usize,
    /// Messages in the mailbox.
    waiting: Share,
    drained: Arc<Bell>,
    /// A folder could not be synced: nothing here is certain any more.
    broken: Option<Error>,
}

impl CoordinatorActor {
    /// Told to whoever asked, and remembered.
    fn refuse(&mut self, admit: Admit, kind: Kind) {
        self.wanting.insert(admit.stream, admit.nudge);
        let _ = admit.done.send(Err(AdmitError::Short(kind)));
    }

    fn nudge_all(&mut self) {
        for (_, writer) in self.wanting.drain() {
            // A full control mailbox loses nothing: the writer asks again by itself after a while.
            writer.nudge();
        }
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Freed(freed) => {
                self.ledger.release(freed);
                self.nudge_all();
            }
            Effect::DiskFull { stream, writer } => {
                self.wanting.insert(stream, writer);
            }
            Effect::Broken(error) => self.broken = Some(error),
        }
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
            let takes_more = self.under_way.len() < self.most_tasks;
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
            }
        }
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
            Verdict::OverBudget => self.refuse(admit, Kind::Admission),
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

impl Message<Discard> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, discard: Discard, _: &mut Context<Self, ()>) {
        self.under_way
            .push(Box::pin(tasks::discard(self.tasks.clone(), discard)));
    }
}

impl Message<Hydrate> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, hydrate: Hydrate, _: &mut Context<Self, ()>) {
        // Every segment is hot while there is no other tier.
        let _ = hydrate.done.send(Ok(()));
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
