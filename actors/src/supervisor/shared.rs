//! What the app's handles see of a log, whatever generation of actors works for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tierlog_storage::{StreamId, recovery::RecoveryReport};

use crate::{
    context::{Generation, LogContext},
    error::Error,
    meters::Share,
    protocol::supervisor::{Health, LogState, Restart},
    stream::shared::StreamShared,
};

/// Restarts that are remembered for `health`.
const REMEMBERED: usize = 32;

/// Shared by the supervisor and every handle.
pub struct LogShared {
    /// What lives as long as the log is open.
    pub log: Arc<LogContext>,
    generation: RwLock<Result<Generation, Error>>,
    streams: RwLock<BTreeMap<StreamId, Arc<StreamShared>>>,
    status: Mutex<Status>,
    not_running: Share,
    open_streams: Share,
}

#[derive(Debug)]
struct Status {
    state: LogState,
    restarts: Vec<Restart>,
    recovery: RecoveryReport,
    /// Its owner has dropped it.
    let_go: bool,
}

impl LogShared {
    pub(super) fn new(log: Arc<LogContext>, recovery: RecoveryReport) -> Arc<Self> {
        Arc::new(Self {
            not_running: Share::of(&log.meters.not_running),
            open_streams: Share::of(&log.meters.open_streams),
            log,
            generation: RwLock::new(Err(restarting())),
            streams: RwLock::default(),
            status: Mutex::new(Status {
                state: LogState::Running,
                restarts: Vec::new(),
                recovery,
                let_go: false,
            }),
        })
    }

    /// The generation at work.
    ///
    /// # Errors
    /// `Unavailable` while the next one is being made; why there will be none when the log has
    /// ended.
    pub fn generation(&self) -> Result<Generation, Error> {
        let generation = self.generation.read();
        generation.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_generation(&self, generation: Option<Generation>) {
        self.put_generation(generation.ok_or_else(restarting));
    }

    /// There will be no other generation: whoever asks for one must not be told to try again.
    pub(super) fn end(&self, why: Error) {
        self.put_generation(Err(why));
        self.open_streams.set(0);
    }

    fn put_generation(&self, generation: Result<Generation, Error>) {
        let mut at_work = self
            .generation
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *at_work = generation;
    }

    pub(super) fn add_stream(&self, stream: Arc<StreamShared>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream.id, stream);
        self.open_streams.set_len(streams.len());
    }

    /// The streams that are open.
    pub fn streams(&self) -> Vec<Arc<StreamShared>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().cloned().collect()
    }

    /// What opening the log, or the last restart, came to.
    pub fn recovery(&self) -> RecoveryReport {
        self.status().recovery.clone()
    }

    pub(super) fn set_recovery(&self, recovery: RecoveryReport) {
        self.status().recovery = recovery;
    }

    pub(super) fn set_state(&self, state: LogState) {
        let mut status = self.status();
        status.state = state;
        let stopped = state != LogState::Running && !status.let_go;
        self.not_running.set(u64::from(stopped));
    }

    /// Its owner has dropped the log: that it ends now is nothing to be told of.
    pub(super) fn let_go(&self) {
        self.status().let_go = true;
        self.not_running.set(0);
    }

    pub(super) fn note_restart(&self, actor: &str, reason: &str, took: Duration) {
        self.log.meters.restarted(actor);
        let mut status = self.status();
        if status.restarts.len() == REMEMBERED {
            status.restarts.remove(0);
        }
        let (actor, reason) = (actor.to_owned(), reason.to_owned());
        status.restarts.push(Restart {
            actor,
            reason,
            took,
        });
    }

    /// How the log is. Answered without asking any actor, so that it works when they don't.
    pub fn health(&self) -> Health {
        let failed_streams: Vec<_> = self
            .streams()
            .iter()
            .filter_map(|stream| {
                let error = stream
                    .is_shut()
                    .filter(|error| !matches!(error, Error::Closed))?;
                Some((stream.name.to_string(), error.to_string()))
            })
            .collect();
        let generation = self.generation().ok();
        let open_streams = self.streams().len();
        let status = self.status();
        Health {
            ok: status.state == LogState::Running && failed_streams.is_empty(),
            state: status.state,
            epoch: generation
                .as_ref()
                .map_or(0, |generation| generation.epoch.get()),
            open_streams,
            hot_bytes: generation
                .as_ref()
                .map_or(0, |generation| generation.coordinator.hot_bytes()),
            held_bytes: self.log.budget.held(),
            restarts: status.restarts.clone(),
            failed_streams,
            cold: self.log.cold.as_ref().map(|cold| cold.health()),
            sweep: self.log.swept(),
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn restarting() -> Error {
    Error::Unavailable {
        why: "the log is restarting".into(),
    }
}
