//! The orderly end: every accepted record durable, every end marked, `CURRENT` clean.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{actor::SupervisorActor, generation::NoLock};
use crate::{
    error::Error,
    protocol::{
        supervisor::{LogState, Shutdown, ShutdownReport},
        writer::{Control, Retired},
    },
    stream::shared::StreamShared,
};

/// How long actors that were told to end are waited for beyond the deadline.
const GRACE: Duration = Duration::from_millis(500);

impl SupervisorActor {
    pub(super) async fn shut_down(&mut self, shutdown: Shutdown) {
        let begun = Instant::now();
        let deadline = begun + shutdown.deadline;
        let mut report = ShutdownReport {
            clean: self.failed.is_none(),
            ..ShutdownReport::default()
        };
        if let Some(error) = &self.failed {
            report.problems.push(error.to_string());
        }
        self.drain(deadline, &mut report).await;
        if report.clean {
            self.close_clean(deadline, &mut report).await;
        }
        self.kill_all();
        let _ = timeout_at(deadline.max(Instant::now()) + GRACE, async {
            while self.endings.next().await.is_some() {}
        })
        .await;
        let lost = Error::indeterminate(&"it was not durable at the deadline of the shutdown");
        self.abandon_all(&Error::Closed, &lost);
        self.wait_for_jobs(deadline).await;
        self.shared.end(Error::Closed);
        self.stopped = true;
        report.took = begun.elapsed();
        self.shared.set_state(LogState::Running);
        // Before the answer: who opens the directory again when `shutdown` has returned would find
        // it locked for as long as this actor takes to be dropped.
        self.lock = Arc::new(NoLock);
        let (clean, took) = (report.clean, report.took);
        tracing::info!(target: "tierlog::supervisor", clean, ?took, "the log is closed");
        let _ = shutdown.done.send(report);
    }

    /// Has every writer end behind what it has accepted.
    async fn drain(&mut self, deadline: Instant, report: &mut ShutdownReport) {
        let mut streams: Vec<Arc<StreamShared>> = Vec::new();
        for entry in self.open.values() {
            match entry.stream.is_shut() {
                // Nobody listens any more, and waiting would take all of the deadline.
                Some(why) if entry.writer.has_ended() => {
                    report.clean = false;
                    report
                        .problems
                        .push(format!("{}: {why}", entry.stream.name));
                }
                _ => streams.push(Arc::clone(&entry.stream)),
            }
        }
        let retired = join_all(streams.iter().map(|stream| retire(stream, deadline))).await;
        let mut commits = Vec::new();
        for (stream, retired) in streams.iter().zip(retired) {
            let name = stream.name.to_string();
            let Some(retired) = retired else {
                let marks = stream.watermarks();
                report.clean = false;
                report
                    .undrained
                    .push((name, marks.next.since(marks.durable)));
                continue;
            };
            if let Some(error) = retired.error {
                report.clean = false;
                report.problems.push(format!("{name}: {error}"));
                continue;
            }
            commits.push(retired.entries);
        }
        let Some(generation) = self.generation.clone() else {
            return;
        };
        let marks = join_all(
            commits
                .into_iter()
                .map(|entries| generation.manifest.commit(entries)),
        );
        match timeout_at(deadline, marks).await {
            Ok(outcomes) => {
                for error in outcomes.into_iter().filter_map(Result::err) {
                    report.clean = false;
                    report.problems.push(format!("manifest: {error}"));
                }
            }
            Err(_) => {
                report.clean = false;
                report
                    .problems
                    .push("manifest: not done by the deadline".into());
            }
        }
    }

    async fn close_clean(&mut self, deadline: Instant, report: &mut ShutdownReport) {
        let Some(generation) = self.generation.clone() else {
            return;
        };
        let closed = timeout_at(deadline, generation.manifest.close_clean()).await;
        let problem = match closed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not closed by the deadline".to_owned(),
        };
        report.clean = false;
        report.problems.push(format!("manifest: {problem}"));
    }

    /// Waits for jobs that are ending: whoever opens the directory as soon as `shutdown` has
    /// returned must not find it locked. One that outlives even this keeps the lock itself.
    async fn wait_for_jobs(&mut self, deadline: Instant) {
        let streams = self.open.values().map(|entry| entry.running.clone());
        let shared = self
            .generation
            .iter()
            .flat_map(|generation| generation.jobs());
        let busy: Vec<_> = streams.chain(shared).collect();
        let _ = timeout_at(deadline.max(Instant::now()) + GRACE, async {
            for running in &busy {
                running.idle().await;
            }
        })
        .await;
    }
}

async fn retire(stream: &StreamShared, deadline: Instant) -> Option<Retired> {
    let (done, answer) = oneshot::channel();
    timeout_at(deadline, async {
        stream.retire(Control::Retire(done)).await;
        answer.await
    })
    .await
    .ok()?
    .ok()
}
