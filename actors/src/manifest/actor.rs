//! The loop: gather what waits, write it in one go, answer.

use std::sync::{Arc, PoisonError};

use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    error::{ActorStopReason, PanicError},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::manifest::{ManifestLog, ManifestState};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    handle::{ManifestHandle, gone},
    job::{self, Outcome, Store},
};
use crate::{
    context::{Counters, LogContext},
    error::Error,
    exec::{Completion, JobDied, Running},
    meters::Share,
    protocol::{
        Reply,
        manifest::{CloseClean, Commit, StateOf},
    },
    stream::bell::Bell,
};

/// Commits written in one go at most; as many wait beside them, and the mailbox holds the rest.
const GATHER: usize = 256;

/// What the manifest writer is begun with.
#[derive(Debug)]
pub struct ManifestArgs {
    /// The log.
    pub log: Arc<LogContext>,
    /// Counts its jobs.
    pub running: Running,
    /// The open file.
    pub file: ManifestLog,
    /// What it says.
    pub state: ManifestState,
}

/// How an actor's task ends: with its state, which is gone once this is dropped.
pub type Ended<A> = JoinHandle<Result<(A, ActorStopReason), PanicError>>;

/// Starts it.
pub fn spawn(args: ManifestArgs) -> (ManifestHandle, Ended<ManifestActor>) {
    let drained = Arc::new(Bell::default());
    let queue = args.log.options.manifest_queue;
    // Whoever opened the log made the file that is handed in the one that counts, durably.
    let in_doubt = args.log.manifest_files.lock();
    *in_doubt.unwrap_or_else(PoisonError::into_inner) = false;
    let lag = Share::of(&args.log.meters.manifest_lag_bytes);
    lag.set(args.file.behind_snapshot());
    let actor = ManifestActor {
        lag,
        queued: Share::of(&args.log.meters.manifest_queue),
        log: args.log,
        running: args.running,
        store: Some(Store {
            file: args.file,
            state: args.state,
        }),
        job: None,
        waiting: Vec::new(),
        questions: Vec::new(),
        close: None,
        unclaimed: None,
        lost: None,
        drained: Arc::clone(&drained),
    };
    let prepared = PreparedActor::new(mailbox::bounded(queue));
    let handle = ManifestHandle::new(prepared.actor_ref().clone(), drained);
    (handle, prepared.spawn(actor))
}

/// The manifest writer.
#[derive(Debug)]
pub struct ManifestActor {
    log: Arc<LogContext>,
    running: Running,
    /// `None` while a job has it, or when it is lost.
    store: Option<Store>,
    /// Bytes that stand behind the snapshot.
    lag: Share,
    /// Messages in the mailbox.
    queued: Share,
    job: Option<InJob>,
    waiting: Vec<Commit>,
    /// Questions that wait until everything queued before is written.
    questions: Vec<StateOf>,
    close: Option<Reply<Result<(), Error>>>,
    /// When the last commit is to be claimed by an empty one behind it, so that damage to it is
    /// told from a tear.
    unclaimed: Option<Instant>,
    /// Why nothing can be written any more.
    lost: Option<Error>,
    drained: Arc<Bell>,
}

#[derive(Debug)]
struct InJob {
    outcome: Completion<Outcome>,
    replies: Vec<Commit>,
    since: Instant,
}

impl ManifestActor {
    fn takes_more(&self) -> bool {
        self.waiting.len() + self.questions.len() < GATHER && self.close.is_none()
    }

    /// Hands over what waits, if nothing is being written.
    async fn start(&mut self) {
        if self.job.is_some() || self.waiting.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.waiting);
        self.log.faults.at("manifest.before_commit").await;
        let Some(store) = self.store.take() else {
            return;
        };
        let lists: Vec<_> = batch
            .iter_mut()
            .map(|commit| std::mem::take(&mut commit.entries))
            .collect();
        let log = Arc::clone(&self.log);
        let outcome = self
            .log
            .write_job(&self.running, move || job::commit(&log, store, &lists));
        self.job = Some(InJob {
            outcome,
            replies: batch,
            since: Instant::now(),
        });
        self.unclaimed = None;
    }

    async fn finish(&mut self, outcome: Result<Outcome, JobDied>) {
        let Some(job) = self.job.take() else { return };
        let Ok(outcome) = outcome else {
            // The job panicked with the store: nothing can be written any more.
            self.lost = Some(gone());
            return;
        };
        if outcome.store.is_none() {
            let why = outcome
                .results
                .iter()
                .find_map(|result| result.as_ref().err());
            self.lost = Some(why.cloned().unwrap_or_else(gone));
        }
        self.store = outcome.store;
        if let Some(store) = &self.store {
            self.lag.set(store.file.behind_snapshot());
        }
        self.log.faults.at("manifest.after_commit").await;
        Counters::add(
            &self.log.counters.manifest_commits,
            job.replies.len() as u64,
        );
        Counters::add(&self.log.counters.manifest_syncs, 1);
        let claims = job.replies.iter().all(|commit| commit.entries.is_empty());
        for (commit, result) in job.replies.into_iter().zip(outcome.results) {
            let _ = commit.done.send(result);
        }
        if !claims {
            self.unclaimed = Some(Instant::now() + self.log.options.idle_mark);
        }
    }

    async fn close(&mut self) {
        let Some(done) = self.close.take() else {
            return;
        };
        let Some(store) = self.store.take() else {
            let _ = done.send(Err(gone()));
            return;
        };
        let closed = self
            .log
            .write_job(&self.running, move || job::close_clean(store))
            .await;
        let _ = done.send(closed.unwrap_or_else(|_| Err(gone())));
    }

    /// An empty commit claims what lies before it.
    fn claim(&mut self) {
        self.unclaimed = None;
        let Some(store) = self.store.take() else {
            return;
        };
        let log = Arc::clone(&self.log);
        let outcome = self.log.write_job(&self.running, move || {
            if let Err(error) =
                tierlog_storage::manifest::ensure_reserve(log.disk.as_ref(), &log.layout)
            {
                tracing::debug!(target: "tierlog::manifest", %error, "no reserve for a full disk");
            }
            job::commit(&log, store, &[])
        });
        self.job = Some(InJob {
            outcome,
            replies: Vec::new(),
            since: Instant::now(),
        });
    }

    /// The disk does not answer. Whoever waits for a commit would wait as long; that the job may still
    /// end keeps a successor from beginning, and the log stops.
    fn stalled(&mut self) {
        let patience = self.log.options.stall_after;
        self.lost = Some(Error::indeterminate(&Error::stalled("the disk", patience)));
    }

    async fn run(
        &mut self,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Error> {
        loop {
            if self.takes_more()
                && let Ok(signal) = mailbox.try_recv()
            {
                self.queued.set_len(mailbox.len());
                self.drained.ring();
                return Ok(Some(signal));
            }
            self.start().await;
            if let Some(error) = &self.lost {
                // The supervisor sees the end, recovers from disk and begins a new generation.
                return Err(error.clone());
            }
            if let Some(store) = &self.store
                && self.waiting.is_empty()
            {
                for StateOf(stream, reply) in self.questions.drain(..) {
                    let _ = reply.send(store.state.streams.get(&stream).cloned());
                }
            }
            if self.job.is_none() && self.waiting.is_empty() && self.close.is_some() {
                self.close().await;
                return Ok(None);
            }
            let takes_more = self.takes_more();
            let claim_at = self.unclaimed.filter(|_| self.job.is_none());
            let stall = self.log.options.stall_after;
            let stall_at = self.job.as_ref().map(|job| job.since + stall);
            tokio::select! {
                biased;
                outcome = in_job(&mut self.job) => self.finish(outcome).await,
                signal = mailbox.recv(), if takes_more => {
                    self.queued.set_len(mailbox.len());
                    self.drained.ring();
                    return Ok(signal);
                }
                () = sleep_until(claim_at) => self.claim(),
                () = sleep_until(stall_at) => self.stalled(),
            }
        }
    }
}

async fn in_job(job: &mut Option<InJob>) -> Result<Outcome, JobDied> {
    match job {
        Some(job) => (&mut job.outcome).await,
        None => std::future::pending().await,
    }
}

/// Sleeps until then, or for good.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Actor for ManifestActor {
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

    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Error> {
        self.drained.ring();
        Ok(())
    }
}

impl Message<Commit> for ManifestActor {
    type Reply = ();

    async fn handle(&mut self, commit: Commit, _: &mut Context<Self, ()>) {
        self.log.faults.at("manifest.take").await;
        self.waiting.push(commit);
    }
}

impl Message<CloseClean> for ManifestActor {
    type Reply = ();

    async fn handle(&mut self, CloseClean(done): CloseClean, _: &mut Context<Self, ()>) {
        self.close = Some(done);
    }
}

impl Message<StateOf> for ManifestActor {
    type Reply = ();

    async fn handle(&mut self, question: StateOf, _: &mut Context<Self, ()>) {
        self.questions.push(question);
    }
}
