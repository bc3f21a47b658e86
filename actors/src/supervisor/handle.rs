//! What an app asks of a log as a whole.

use std::{fmt, sync::Arc, time::Duration};

use kameo::actor::ActorRef;
use tokio::{sync::oneshot, time::timeout};

use super::{
    actor::{self, SupervisorActor},
    findings,
    generation::{self, Injected},
    shared::LogShared,
};
use crate::{
    cold::{self, LinkState},
    context::LogContext,
    error::Error,
    exec::{Running, Work, run},
    options::Options,
    place,
    protocol::supervisor::{KnownStream, ListStreams, OpenStream, Shutdown, ShutdownReport},
    stream::shared::StreamShared,
};

/// How long a shutdown may take beyond its deadline to end what it could not drain.
const SLACK: Duration = Duration::from_secs(2);

/// Cheap to clone; every handle of a log holds one.
#[derive(Clone)]
pub struct SupervisorHandle {
    actor: ActorRef<SupervisorActor>,
    /// What can be seen without asking.
    pub shared: Arc<LogShared>,
}

/// Opens a log, recovering it first, and starts its actors on the current Tokio runtime.
///
/// # Errors
/// Whatever keeps the directory from being opened as a log.
pub async fn start(mut options: Options, injected: Injected) -> Result<SupervisorHandle, Error> {
    options.data = place::resolve(&injected.disk, &injected.executor, options.data).await?;
    let log = generation::context(options, injected);
    let running = Running::default();
    let opened = {
        let (job, span) = (Arc::clone(&log), generation::span());
        run(&log.executor, Work::Write, &running, move || {
            span.in_scope(|| generation::recover(&job, &job.disk, None))
        })
        .await
    };
    let (lock, opened) = opened.map_err(|died| Error::indeterminate(&died))??;
    findings::of_log(&log, &opened.report);
    let shared = LogShared::new(Arc::clone(&log), opened.report.clone());
    let was_claimed = opened.state.published.is_some();
    let actor = actor::spawn(Arc::clone(&shared), lock, opened);
    let handle = SupervisorHandle { actor, shared };
    if let Err(error) = wait_for_tier_2(&log, was_claimed).await {
        // The directory is free when the caller is told.
        let _ = handle.shutdown(SLACK).await;
        return Err(error);
    }
    Ok(handle)
}

/// Waits until Tier 2 is claimed. A log that had it before goes on without for as long as the store is
/// down; a new one is told that it can't be reached, which most likely is a slip in its settings. So is it
/// where one that has archived is opened without: nobody could tell whether it was overtaken since.
async fn wait_for_tier_2(log: &LogContext, was_claimed: bool) -> Result<(), Error> {
    let cold = log.cold.as_ref();
    let Some(cold) = cold.filter(|cold| cold.is_durable || !was_claimed) else {
        let what = match cold {
            Some(_) => "the log is archived elsewhere, and `cold` names a store that keeps nothing",
            None => "the log is archived there, and `cold` is not set",
        };
        return match was_claimed {
            true => Err(Error::Tier2 { what: what.into() }),
            false => Ok(()),
        };
    };
    match timeout(log.options.cold_wait, cold.settled()).await {
        Ok(settled) => settled,
        Err(_) if was_claimed => {
            tracing::warn!(target: "tierlog::supervisor", place = cold.client.place(), "opened without Tier 2, which does not answer");
            Ok(())
        }
        Err(_) => {
            let place = cold.client.place();
            let why = match cold.state() {
                LinkState::Claiming(Some(why)) => cold::unreachable(place, &why),
                _ => format!("Tier 2 at {place} does not answer"),
            };
            Err(Error::Unavailable { why: why.into() })
        }
    }
}

impl SupervisorHandle {
    /// Opens a stream, with its writer at work; creates it if asked to. The name is checked by the
    /// caller. A stream that is created is durable in the manifest when this returns.
    ///
    /// # Errors
    /// `UnknownStream`, `TooManyStreams`, or whatever keeps it from being opened.
    pub async fn open_stream(&self, name: &str, create: bool) -> Result<Arc<StreamShared>, Error> {
        let (done, answer) = oneshot::channel();
        let message = OpenStream {
            name: name.into(),
            create,
            done,
        };
        self.actor
            .tell(message)
            .send()
            .await
            .map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// The streams that the manifest knows.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn streams(&self) -> Result<Vec<KnownStream>, Error> {
        let (done, answer) = oneshot::channel();
        self.actor
            .tell(ListStreams(done))
            .send()
            .await
            .map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Drains, closes and stops. Answered within the deadline and a little more, even by a
    /// supervisor that is busy with something that does not end: it is ended then.
    ///
    /// # Errors
    /// `Closed` when somebody else did.
    pub async fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, Error> {
        let (done, answer) = oneshot::channel();
        let asked = async {
            let message = Shutdown { deadline, done };
            self.actor
                .tell(message)
                .send()
                .await
                .map_err(|_| Error::Closed)?;
            answer.await.map_err(|_| Error::Closed)
        };
        match timeout(deadline + SLACK, asked).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let undrained = self.shared.streams().into_iter().map(|stream| {
                    let marks = stream.watermarks();
                    (stream.name.to_string(), marks.next.since(marks.durable))
                });
                let undrained = undrained.filter(|(_, records)| *records > 0).collect();
                self.kill();
                Ok(ShutdownReport {
                    clean: false,
                    undrained,
                    problems: vec!["the supervisor did not answer by the deadline".into()],
                    took: deadline + SLACK,
                })
            }
        }
    }

    /// Ends everything where it stands, as a crash would; every wait ends.
    pub fn kill(&self) {
        self.shared.let_go();
        // The doors first: what comes now is refused, not accepted by a log that is going away.
        for stream in self.shared.streams() {
            stream.shut(Error::Closed);
        }
        self.actor.kill();
    }
}

impl fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
