//! The loop: decide, begin a task, take its outcome. Nothing is awaited inside a handler.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::StreamId;
use tokio::{sync::watch, time::Instant};

use super::{
    admission::{Demand, Verdict, decide},
    archive::ArchiveState,
    expiry::{self, Expiry},
    handle::CoordinatorHandle,
    ledger::{Hot, Ledger},
    moves::Mover,
    sweep::SweepState,
    table::{Id, Known, Table},
    tasks::{self, Effect, Tasks},
};
use crate::{
    cold::{ColdLink, LinkState},
    context::LogContext,
    error::Error,
    exec::Running,
    kind::Kind,
    manifest::{Ended, ManifestHandle},
    meters::{Meters, Share},
    protocol::{
        Reply,
        coordinator::{Admit, AdmitError, Attach, Changed, Hydrate, Retain, Rollover, Trim},
        sweep::Sweep,
    },
    stream::{bell::Bell, shared::StreamShared},
    writer::WriterHandle,
};

/// Starts it. `table` and `ledger` say what is on disk.
pub fn spawn(
    log: Arc<LogContext>,
    mover: Mover,
    table: Table,
    ledger: Arc<Ledger>,
) -> (CoordinatorHandle, Ended<CoordinatorActor>) {
    let capacity = log.options.coordinator_queue;
    let drained = Arc::new(Bell::default());
    let actor = CoordinatorActor {
        most_tasks: log.options.max_streams * 2 + 64,
        waiting: Share::of(&log.meters.coordinator_queue),
        shares: TierShares::of(&log.meters),
        archive: ArchiveState::default(),
        expiry: Expiry::default(),
        sweep: SweepState::new(log.options.sweep_every),
        unnamed: UnnamedShares::of(&log.meters),
        link: log.cold.as_ref().map(|cold| cold.watch()),
        log,
        tasks: mover.tasks.clone(),
        mover,
        table,
        streams: BTreeMap::new(),
        hydrating: BTreeMap::new(),
        stirred: true,
        again_at: None,
        ledger: Arc::clone(&ledger),
        drained: Arc::clone(&drained),
        wanting: BTreeMap::new(),
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
    pub(super) streams: BTreeMap<StreamId, Arc<StreamShared>>,
    /// Those who wait for a segment file that is made again.
    pub(super) hydrating: BTreeMap<Id, Vec<Reply<Result<(), Error>>>>,
    /// Something has changed since it was last decided what moves.
    pub(super) stirred: bool,
    /// When something that failed may be tried again.
    pub(super) again_at: Option<Instant>,
    /// What is known of Tier 2, and how things stand with it.
    pub(super) archive: ArchiveState,
    /// When it is looked at what streams need not keep.
    pub(super) expiry: Expiry,
    /// Sweeps.
    pub(super) sweep: SweepState,
    /// What the last one left where it is.
    pub(super) unnamed: UnnamedShares,
    link: Option<watch::Receiver<LinkState>>,
    /// Writers that were refused and are told when there is room.
    pub(super) wanting: BTreeMap<StreamId, WriterHandle>,
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, Effect>>,
    most_tasks: usize,
    /// Messages in the mailbox.
    waiting: Share,
    shares: TierShares,
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
        for writer in std::mem::take(&mut self.wanting).into_values() {
            // A full control mailbox loses nothing: the writer asks again by itself after a while.
            writer.nudge();
        }
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Sealed(id, known) => {
                self.expiry.look_at(id.0);
                // Unless it is gone by now, or its next writer has told of it.
                if self.ledger.is_open(&id) {
                    self.settle(id, *known);
                }
                self.nudge_all();
            }
            Effect::Gone(stream, gone) => {
                self.start_moved(stream);
                for no in gone {
                    self.give_up(&(stream, no));
                }
                self.nudge_all();
            }
            Effect::Cleaned(stream, cut, effect) => {
                self.cleaned(stream, cut);
                self.take_effect(*effect);
            }
            Effect::Moved(id, moved) => self.moved(id, moved),
            Effect::Published(outcome) => self.published(outcome),
            Effect::Swept(step) => self.swept(step),
            Effect::Retained(stream) => self.expiry.look_at(stream),
            Effect::Expired(stream, outcome, effect) => {
                self.take_effect(*effect);
                self.expired(stream, outcome);
            }
            Effect::DiskFull { stream, writer } => {
                self.wanting.insert(stream, writer);
            }
            Effect::Broken(error) => self.broken = Some(error),
        }
        self.stirred = true;
        self.shares.show(&self.table);
    }

    /// A segment has ended, or ends elsewhere now: it counts for what it takes.
    pub(super) fn settle(&mut self, id: Id, known: Known) {
        let size = self.log.options.segment_size;
        let takes = known.hot_bytes(size);
        let before = self.table.get(&id).map(|known| known.hot_bytes(size));
        let before = before.or_else(|| self.ledger.ended(&id)).unwrap_or(0);
        self.table.put(id, known);
        self.ledger.take(Hot::of(takes));
        self.ledger.release(Hot::of(before));
    }

    /// A segment is gone from this machine; its object, if it has one, goes later.
    fn give_up(&mut self, id: &Id) {
        let size = self.log.options.segment_size;
        let took = self.table.get(id).map(|known| known.hot_bytes(size));
        let took = took.or_else(|| self.ledger.ended(id)).unwrap_or(0);
        self.ledger.release(Hot::of(took));
        self.trimmed(*id);
    }

    /// A segment is gone. What was never written to has given its place back by itself.
    pub(super) fn forget(&mut self, id: &Id) {
        let known = self.table.remove(id);
        let took = known.map(|known| known.hot_bytes(self.log.options.segment_size));
        let took = took.or_else(|| self.ledger.ended(id)).unwrap_or(0);
        self.ledger.release(Hot::of(took));
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
                self.keep_to_limits();
            }
            let takes_more = self.under_way.len() < self.most_tasks;
            let again_at = self
                .again_at
                .into_iter()
                .chain(self.archive.next_at())
                .chain(self.expiry.next_at())
                .chain(self.sweep.next_at())
                .min();
            let readers = Arc::clone(&self.log.readers);
            let cold = self.log.cold.clone();
            let compressor = self.mover.compressor.clone();
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
                wishes = to_archive(cold.as_deref()) => self.want_archived(wishes),
                Some(sealed) = self.archive.seals.next(), if !self.archive.seals.is_empty() => {
                    self.sealed(sealed);
                }
                () = compressor.replaced() => {
                    self.table.resume();
                    self.stirred = true;
                }
                state = next_state(&mut self.link) => self.link_changed(&state),
                () = until(again_at) => {
                    self.again_at = None;
                    self.seal_what_is_wanted();
                    self.sweep_if_due();
                    self.stirred = true;
                }
            }
        }
    }
}

/// What segments take in the tiers that have no ledger.
struct TierShares([(Share, Share); 2]);

impl TierShares {
    fn of(meters: &Meters) -> Self {
        let share = |bytes, segments| (Share::of(bytes), Share::of(segments));
        Self([
            share(&meters.warm_bytes, &meters.warm_segments),
            share(&meters.cold_bytes, &meters.cold_segments),
        ])
    }

    fn show(&mut self, table: &Table) {
        let sums = [table.warm(), table.cold()];
        for ((bytes, segments), sum) in self.0.iter_mut().zip(sums) {
            bytes.set(sum.bytes);
            segments.set(sum.segments);
        }
    }
}

/// What the last sweep found that is not named, and did not remove: objects, and files.
pub(super) struct UnnamedShares([Share; 4]);

impl UnnamedShares {
    fn of(meters: &Meters) -> Self {
        let shown = [
            &meters.quarantined_objects,
            &meters.foreign_objects,
            &meters.quarantined_files,
            &meters.foreign_files,
        ];
        Self(shown.map(Share::of))
    }

    pub(super) fn show(&mut self, quarantined: u64, foreign: u64) {
        let [of_this_log, of_others, ..] = &mut self.0;
        of_this_log.set(quarantined);
        of_others.set(foreign);
    }

    pub(super) fn show_files(&mut self, quarantined: u64, foreign: u64) {
        let [.., of_this_log, of_others] = &mut self.0;
        of_this_log.set(quarantined);
        of_others.set(foreign);
    }
}

async fn to_archive(cold: Option<&ColdLink>) -> BTreeMap<StreamId, u64> {
    match cold {
        Some(cold) => cold.wishes.take().await,
        None => std::future::pending().await,
    }
}

async fn next_state(link: &mut Option<watch::Receiver<LinkState>>) -> LinkState {
    let Some(link) = link else {
        return std::future::pending().await;
    };
    match link.changed().await {
        Ok(()) => link.borrow_and_update().clone(),
        Err(_) => std::future::pending().await,
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
                let guard = self.ledger.book(Some((admit.stream, admit.no)), want);
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

impl Message<Retain> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, retain: Retain, _: &mut Context<Self, ()>) {
        if !self.tasks.manifest.has_room() {
            let _ = retain.done.send(Err(Error::would_block(Kind::Manifest)));
            return;
        }
        self.under_way
            .push(Box::pin(expiry::retain(self.tasks.clone(), retain)));
    }
}

impl Message<Changed> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, changed: Changed, _: &mut Context<Self, ()>) {
        let Changed {
            stream,
            gone,
            closed,
            holds,
        } = changed;
        let cut = self.take_closed(stream, closed);
        let task = tasks::clean_up(self.tasks.clone(), stream, gone, holds, cut);
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

impl Message<Sweep> for CoordinatorActor {
    type Reply = ();

    async fn handle(&mut self, sweep: Sweep, _: &mut Context<Self, ()>) {
        self.sweep_for(sweep);
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
