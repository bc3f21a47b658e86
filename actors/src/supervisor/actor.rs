//! The loop: what the app asks, streams that have been opened, actors that have ended.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    fmt,
    sync::Arc,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, Spawn, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::{StreamId, disk::DiskLock, manifest::StreamState, recovery::OpenedLog};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    generation::{self, Ending, Who},
    open::{OpenOutcome, Waiting},
    shared::LogShared,
};
use crate::{
    cold::ColdLink,
    context::{Generation, LogContext},
    error::Error,
    exec::Running,
    meters::Share,
    protocol::supervisor::{KnownStream, ListStreams, LogState, OpenStream, Shutdown},
    stream::shared::StreamShared,
    writer::WriterHandle,
};

/// Starts the supervisor and the first generation.
pub(super) fn spawn(
    shared: Arc<LogShared>,
    lock: Arc<dyn DiskLock>,
    opened: OpenedLog,
) -> ActorRef<SupervisorActor> {
    let log = Arc::clone(&shared.log);
    let capacity = log.options.supervisor_queue;
    let waiting = Share::of(&log.meters.supervisor_queue);
    let known = opened.state.streams.clone();
    let (generation, endings) = generation::start(&log, opened, 1);
    shared.set_generation(Some(generation.clone()));
    let actor = SupervisorActor {
        names: known
            .iter()
            .map(|(id, state)| (Arc::from(state.name.as_str()), *id))
            .collect(),
        known,
        shared,
        log,
        lock,
        generation: Some(generation),
        serial: 1,
        generation_started: 1,
        open: BTreeMap::new(),
        opening: BTreeMap::new(),
        tasks: FuturesUnordered::new(),
        endings: endings.into_iter().collect(),
        restarted: VecDeque::new(),
        failed: None,
        overtaken: None,
        stopped: false,
        waiting,
    };
    SupervisorActor::spawn_with_mailbox(actor, mailbox::bounded(capacity))
}

/// The supervisor.
pub struct SupervisorActor {
    pub(super) shared: Arc<LogShared>,
    pub(super) log: Arc<LogContext>,
    pub(super) lock: Arc<dyn DiskLock>,
    pub(super) generation: Option<Generation>,
    /// Counts generations and starts of writers.
    pub(super) serial: u64,
    /// The serial of the generation at work.
    pub(super) generation_started: u64,
    /// What the manifest said of each stream when it was last looked at.
    pub(super) known: BTreeMap<StreamId, StreamState>,
    pub(super) names: HashMap<Arc<str>, StreamId>,
    pub(super) open: BTreeMap<StreamId, OpenEntry>,
    /// Those who wait for a stream that is being opened.
    pub(super) opening: BTreeMap<Arc<str>, Vec<Waiting>>,
    pub(super) tasks: FuturesUnordered<BoxFuture<'static, OpenOutcome>>,
    pub(super) endings: FuturesUnordered<BoxFuture<'static, Ending>>,
    /// When actors ended, within the window that counts.
    pub(super) restarted: VecDeque<Instant>,
    pub(super) failed: Option<Error>,
    /// Tier 2 is somebody else's: nothing is appended any more.
    pub(super) overtaken: Option<Error>,
    pub(super) stopped: bool,
    /// Messages in the mailbox.
    waiting: Share,
}

fn restart_span(actor: &str) -> tracing::Span {
    tracing::info_span!(target: "tierlog::supervisor", "restart", actor)
}

/// A stream that is open.
#[derive(Debug)]
pub(super) struct OpenEntry {
    pub(super) stream: Arc<StreamShared>,
    pub(super) writer: WriterHandle,
    pub(super) slot: u32,
    pub(super) running: Running,
    pub(super) serial: u64,
}

impl SupervisorActor {
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    async fn ended(&mut self, ending: Ending) {
        if self.failed.is_some() {
            // They were told to end: a log that has failed is not restarted by its own end.
            return;
        }
        match ending.who {
            Who::Writer(id) => {
                if self
                    .open
                    .get(&id)
                    .is_some_and(|entry| entry.serial == ending.serial)
                {
                    let span = restart_span("writer");
                    let restart = self.restart_writer(id, &ending.reason);
                    restart.instrument(span).await;
                }
            }
            Who::Compressor => {
                let current = self.generation.as_ref().map(|_| self.generation_serial());
                if current == Some(ending.serial) {
                    self.restart_compressor(&ending.reason).await;
                }
            }
            Who::Uploader => {
                let current = self.generation.as_ref().map(|_| self.generation_serial());
                if current == Some(ending.serial) {
                    self.restart_uploader(&ending.reason).await;
                }
            }
            Who::Shared(name) => {
                let current = self.generation.as_ref().map(|_| self.generation_serial());
                if current == Some(ending.serial) {
                    let restart = self.restart_generation(name, &ending.reason);
                    restart.instrument(restart_span(name)).await;
                }
            }
        }
    }

    async fn run(&mut self, mailbox: &mut MailboxReceiver<Self>) -> Option<Signal<Self>> {
        loop {
            if self.stopped {
                return None;
            }
            let cold = self.log.cold.clone().filter(|_| self.overtaken.is_none());
            tokio::select! {
                biased;
                Some(ending) = self.endings.next(), if !self.endings.is_empty() => {
                    self.ended(ending).await;
                }
                Some(outcome) = self.tasks.next(), if !self.tasks.is_empty() => {
                    self.opened(outcome).await;
                }
                error = ended(cold.as_deref()) => self.overtake(error),
                signal = mailbox.recv() => {
                    self.waiting.set_len(mailbox.len());
                    return signal;
                }
            }
        }
    }

    /// Tier 2 is not this log's any more. What was accepted becomes durable here; nothing more is taken,
    /// since nobody would ever find it in the history that counts.
    fn overtake(&mut self, error: Error) {
        tracing::error!(target: "tierlog::supervisor", %error, "the log takes no more appends");
        for entry in self.open.values() {
            entry.stream.shut(error.clone());
            entry.stream.end_archive(error.clone());
            // Under `manual` it has to see to it by itself now that what it holds becomes durable.
            entry.writer.nudge();
        }
        self.overtaken = Some(error);
        self.shared.set_state(self.at_work());
    }

    /// What a log is doing whose actors are at work.
    pub(super) fn at_work(&self) -> LogState {
        match self.overtaken {
            Some(_) => LogState::Overtaken,
            None => LogState::Running,
        }
    }

    /// Ends every actor where it stands.
    pub(super) fn kill_all(&self) {
        for entry in self.open.values() {
            entry.writer.kill();
        }
        if let Some(generation) = &self.generation {
            generation.coordinator.kill();
            generation.flusher.kill();
            generation.compressor.kill();
            if let Some((uploader, _)) = &generation.uploader {
                uploader.kill();
            }
            generation.manifest.kill();
        }
    }

    /// Nobody will work for these streams any more: every wait ends.
    pub(super) fn abandon_all(&self, refuse: &Error, tickets: &Error) {
        self.log.readers.disown(refuse.clone());
        for entry in self.open.values() {
            entry.stream.abandon(refuse.clone(), tickets);
        }
    }
}

async fn ended(cold: Option<&ColdLink>) -> Error {
    match cold {
        Some(cold) => cold.ended().await,
        None => std::future::pending().await,
    }
}

impl Drop for SupervisorActor {
    fn drop(&mut self) {
        self.kill_all();
        let ended = Error::indeterminate(&"the log was dropped without shutdown");
        self.abandon_all(&Error::Closed, &ended);
        self.shared
            .end(self.failed.clone().unwrap_or(Error::Closed));
        if !self.stopped {
            self.shared.set_state(LogState::Failed);
        }
    }
}

impl fmt::Debug for SupervisorActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorActor")
            .field("open", &self.open.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Actor for SupervisorActor {
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
        let run: BoxFuture<'_, _> = Box::pin(self.run(mailbox));
        Ok(run.await)
    }
}

impl Message<OpenStream> for SupervisorActor {
    type Reply = ();

    async fn handle(&mut self, open: OpenStream, _: &mut Context<Self, ()>) {
        self.log.faults.at("supervisor.open").await;
        self.open_stream(open);
    }
}

impl Message<ListStreams> for SupervisorActor {
    type Reply = ();

    async fn handle(&mut self, ListStreams(reply): ListStreams, _: &mut Context<Self, ()>) {
        let streams = self
            .known
            .iter()
            .map(|(id, state)| KnownStream {
                id: *id,
                name: state.name.as_str().into(),
                state: state.clone(),
                open: self.open.get(id).map(|entry| Arc::clone(&entry.stream)),
            })
            .collect();
        let _ = reply.send(streams);
    }
}

impl Message<Shutdown> for SupervisorActor {
    type Reply = ();

    async fn handle(&mut self, shutdown: Shutdown, _: &mut Context<Self, ()>) {
        let work: BoxFuture<'_, ()> = Box::pin(self.shut_down(shutdown));
        work.await;
    }
}
