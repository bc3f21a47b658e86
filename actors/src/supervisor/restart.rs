//! Beginning again: one stream when its writer ended, all of them when an actor did that serves
//! all.
//!
//! The order is always the same: the doors are held shut, the old state is waited for until it is
//! gone and the last job has ended, files are recovered as after a crash, and only then a successor
//! starts and the doors open.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tierlog_storage::{StreamId, manifest::StreamState, recovery::OpenedLog};
use tokio::time::{Instant, sleep, timeout};

use super::{
    actor::{OpenEntry, SupervisorActor},
    findings,
    generation::{self, Who, ending},
    open::{self, Prepared, fill_segments},
};
use crate::{
    compressor,
    context::{Generation, LogContext, backoff},
    error::Error,
    exec::Running,
    protocol::supervisor::LogState,
    stream::{
        marks::Level,
        shared::{LifeChange, StreamShared},
        ticket::Life,
    },
    uploader::{self, UploaderArgs},
};

impl SupervisorActor {
    /// The serial of the generation at work.
    pub(super) fn generation_serial(&self) -> u64 {
        self.generation_started
    }

    /// Counts an ending; false when there were too many within the window.
    fn may_restart(&mut self) -> bool {
        let now = Instant::now();
        let window = self.log.options.restart_window;
        while self.restarted.front().is_some_and(|at| *at + window < now) {
            self.restarted.pop_front();
        }
        self.restarted.push_back(now);
        self.restarted.len() <= self.log.options.restart_limit
    }

    /// A growing pause before each restart in the window but the first.
    async fn pause(&mut self) {
        let before = u32::try_from(self.restarted.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if before > 0 {
            sleep(backoff(before)).await;
        }
    }

    pub(super) async fn restart_writer(&mut self, id: StreamId, reason: &str) {
        let begun = Instant::now();
        let Some(OpenEntry {
            stream,
            slot,
            running,
            ..
        }) = self.open.get(&id)
        else {
            return;
        };
        let (stream, slot, running) = (Arc::clone(stream), *slot, running.clone());
        tracing::warn!(target: "tierlog::supervisor", stream = %stream.name, reason, "a writer ended");
        stream.hold_shut();
        if stream.is_shut().is_some() {
            // It refuses for good; what its last writer left unanswered ends now.
            abandon(&stream, reason);
            return;
        }
        if !self.may_restart() {
            self.fail_log(&format!("writer {}", stream.name), reason);
            return;
        }
        self.pause().await;
        if timeout(self.log.options.stall_after, running.idle())
            .await
            .is_err()
        {
            abandon(&stream, "a write of its last writer does not end");
            return;
        }
        let life = stream.life();
        let written = life.marks.get(Level::Written);
        let begins = self.log.readers.begin_again();
        let prepared = match self.recover_one(id, &running, &life).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // The manifest, most likely: its own ending is about to be seen, and the new
                // generation takes this stream along.
                tracing::warn!(target: "tierlog::supervisor", stream = %stream.name, %error, "a stream was not recovered");
                self.restart_generation("manifest", &error.to_string())
                    .await;
                return;
            }
        };
        let Some(generation) = self.generation.clone() else {
            return;
        };
        self.known.insert(id, prepared.state.clone());
        resume(&self.log, &stream, &prepared.state, written, reason);
        drop(begins);
        self.start_writer(generation, Arc::clone(&stream), slot, prepared);
        let (actor, took) = (format!("writer {}", stream.name), begun.elapsed());
        tracing::info!(target: "tierlog::supervisor", stream = %stream.name, ?took, "a writer is at work again");
        self.shared.note_restart(&actor, reason, took);
    }

    /// The compressor alone: whatever it was doing is begun again by the coordinator.
    pub(super) async fn restart_compressor(&mut self, reason: &str) {
        let begun = Instant::now();
        tracing::warn!(target: "tierlog::supervisor", reason, "the compressor ended");
        let Some(generation) = self.generation.clone() else {
            return;
        };
        if !self.may_restart() {
            // Segments stay hot, and what needs room is refused in the end; nothing is lost.
            tracing::error!(target: "tierlog::supervisor", "nothing is compressed any more");
            self.shared
                .note_restart("compressor", reason, Duration::ZERO);
            return;
        }
        self.pause().await;
        let patience = self.log.options.stall_after;
        let idle = timeout(patience, generation.compressing.idle()).await;
        if idle.is_err() {
            // It would remove, as unfinished, what a successor has finished under the same name.
            let why = format!("{reason}; and one of its jobs does not end within {patience:?}");
            tracing::error!(target: "tierlog::supervisor", why, "nothing is compressed any more");
            self.shared
                .note_restart("compressor", &why, begun.elapsed());
            return;
        }
        let (fresh, ended) =
            compressor::spawn(Arc::clone(&self.log), generation.compressing.clone());
        generation.compressor.replace(&fresh);
        let serial = self.generation_serial();
        self.endings.push(ending(ended, Who::Compressor, serial));
        self.shared
            .note_restart("compressor", reason, begun.elapsed());
    }

    /// Begins again where the uploader left off: the claim is made anew, and finds what was published.
    pub(super) async fn restart_uploader(&mut self, reason: &str) {
        tracing::warn!(target: "tierlog::supervisor", reason, "the uploader ended");
        let begun = Instant::now();
        if !self.may_restart() {
            self.fail_log("uploader", reason);
            return;
        }
        self.pause().await;
        let Some(generation) = self.generation.clone() else {
            return;
        };
        let patience = self.log.options.stall_after;
        let idle = timeout(patience, generation.transferring.idle()).await;
        if idle.is_err() {
            self.fail_log("uploader", "a job of its last life does not end");
            return;
        }
        let (Some((handle, claimant)), Some(link)) = (&generation.uploader, &self.log.cold) else {
            return;
        };
        let (fresh, ended) = uploader::spawn(UploaderArgs {
            log: Arc::clone(&self.log),
            link: Arc::clone(link),
            claimant: claimant.clone(),
            running: generation.transferring.clone(),
        });
        handle.replace(&fresh);
        let serial = self.generation_serial();
        self.endings.push(ending(ended, Who::Uploader, serial));
        self.shared
            .note_restart("uploader", reason, begun.elapsed());
    }

    async fn recover_one(
        &mut self,
        id: StreamId,
        running: &Running,
        life: &Life,
    ) -> Result<Prepared, Error> {
        let gone = || Error::Unavailable {
            why: "the log is restarting".into(),
        };
        let generation = self.generation.clone().ok_or_else(gone)?;
        let patience = self.log.options.stall_after;
        let state = timeout(patience, generation.manifest.state_of(id)).await;
        let state = state.map_err(|_| Error::Unavailable {
            why: format!("the manifest did not answer within {patience:?}").into(),
        });
        let state = state??.ok_or_else(gone)?;
        // A writer that ended between the commit of a truncation and its answer leaves a manifest
        // that is one life ahead: what was durable in the old one may have been cut off since.
        let claim = (state.incarnation == life.number)
            .then(|| tierlog_storage::Offset(life.marks.get(Level::Durable)));
        open::recover(&generation, running, (id, state), claim, 0).await
    }

    pub(super) async fn restart_generation(&mut self, actor: &'static str, reason: &str) {
        tracing::warn!(target: "tierlog::supervisor", actor, reason, "an actor ended; beginning again");
        let begun = Instant::now();
        self.shared.set_state(LogState::Restarting);
        self.shared.set_generation(None);
        for entry in self.open.values() {
            entry.stream.hold_shut();
        }
        // Before the pause: a writer that does not know what became of its commit waits for this, and
        // closes its stream for good if it waits too long.
        self.kill_all();
        let mut why = reason.to_owned();
        // It lasts until the log is at work again, or has stopped.
        let _begins = self.log.readers.begin_again();
        loop {
            if !self.may_restart() {
                self.fail_log(actor, &why);
                return;
            }
            self.pause().await;
            if let Err(why) = self.wait_until_gone().await {
                self.fail_log(actor, &why);
                return;
            }
            let (log, lock) = (Arc::clone(&self.log), Arc::clone(&self.lock));
            let running = Running::default();
            let span = generation::span();
            let recovered = self.log.long_job(&running, move |disk| {
                span.in_scope(|| generation::recover(&log, &disk, Some(lock)))
            });
            let error = match recovered.await.and_then(|recovered| recovered) {
                Ok((_, opened)) => {
                    self.begin_generation(opened, reason).await;
                    let took = begun.elapsed();
                    tracing::info!(target: "tierlog::supervisor", ?took, "the log is at work again");
                    self.shared.note_restart(actor, reason, took);
                    return;
                }
                Err(error) => error,
            };
            tracing::error!(target: "tierlog::supervisor", %error, "the log was not recovered");
            why = format!("{reason}; and it was not recovered: {error}");
            if running.count() > 0 {
                // It is stuck in a call: a second one beside it would work on the same files.
                self.fail_log(actor, &why);
                return;
            }
        }
    }

    /// Waits until every actor has dropped its state and every job has ended.
    async fn wait_until_gone(&mut self) -> Result<(), String> {
        let patience = self.log.options.stall_after;
        let deadline = Instant::now() + patience;
        while !self.endings.is_empty() {
            if tokio::time::timeout_at(deadline, self.endings.next())
                .await
                .is_err()
            {
                return Err(format!("an actor did not end within {patience:?}"));
            }
        }
        let streams = self.open.values().map(|entry| entry.running.clone());
        let shared = self
            .generation
            .iter()
            .flat_map(|generation| generation.jobs());
        for running in streams.chain(shared).collect::<Vec<_>>() {
            if tokio::time::timeout_at(deadline, running.idle())
                .await
                .is_err()
            {
                // Its files must not be touched by a successor.
                return Err(format!("a job did not end within {patience:?}"));
            }
        }
        self.generation = None;
        // Nobody is left who had changed names in a folder whose sync has failed.
        self.log.folders.open();
        Ok(())
    }

    async fn begin_generation(&mut self, opened: OpenedLog, reason: &str) {
        findings::of_log(&self.log, &opened.report);
        self.shared.set_recovery(opened.report.clone());
        self.known = opened.state.streams.clone();
        self.names = self
            .known
            .iter()
            .map(|(id, state)| (Arc::from(state.name.as_str()), *id))
            .collect();
        let serial = self.next_serial();
        let (generation, endings) = generation::start(&self.log, opened, serial);
        self.generation_started = serial;
        self.endings.extend(endings);
        self.generation = Some(generation.clone());
        let open = std::mem::take(&mut self.open);
        for (id, entry) in open {
            let stream = Arc::clone(&entry.stream);
            let Some(state) = self.known.get(&id).cloned() else {
                // It had been created in the generation that ended, and its entry was lost with
                // it: nothing in it was ever acked.
                stream.abandon(
                    Error::UnknownStream {
                        name: stream.name.to_string(),
                    },
                    &Error::not_appended(&reason),
                );
                continue;
            };
            if stream.is_shut().is_some() {
                abandon(&stream, reason);
                show(&self.log, &stream, &state, reason);
                attach(&generation, &stream, &state);
                self.open.insert(id, entry);
                continue;
            }
            let written = stream.life().marks.get(Level::Written);
            match open::reopen(&generation, id, state.clone()).await {
                Ok(prepared) => {
                    resume(&self.log, &stream, &prepared.state, written, reason);
                    self.start_writer(generation.clone(), stream, entry.slot, prepared);
                }
                Err(error) => {
                    abandon(&stream, &error.to_string());
                    show(&self.log, &stream, &state, reason);
                    attach(&generation, &stream, &state);
                    self.open.insert(id, entry);
                }
            }
        }
        self.shared.set_generation(Some(generation));
        self.shared.set_state(self.at_work());
    }

    /// It ended too often, or in a way that nothing can be built on.
    pub(super) fn fail_log(&mut self, actor: &str, reason: &str) {
        let why = format!("{actor}: {reason}");
        tracing::error!(target: "tierlog::supervisor", why, "the log stops");
        // Before the state: who sees that the log has failed finds why.
        self.shared.note_restart(actor, reason, Duration::ZERO);
        self.shared.set_state(LogState::Failed);
        self.kill_all();
        let failed = Error::LogFailed {
            why: why.as_str().into(),
        };
        self.shared.end(failed.clone());
        self.abandon_all(&failed, &Error::indeterminate(&why));
        for name in self.opening.keys().cloned().collect::<Vec<_>>() {
            self.answer(&name, &Err(failed.clone()));
        }
        self.failed = Some(failed);
    }
}

/// The stream goes on from what was recovered.
fn resume(
    log: &LogContext,
    stream: &StreamShared,
    state: &StreamState,
    written: u64,
    reason: &str,
) {
    let end = state.next;
    let change = LifeChange::Recovered {
        lost: end.get() < written,
        why: reason,
    };
    // A trim whose outcome nobody was told of may have happened. Before the segments: who finds none
    // below the start knows why.
    stream.advance_start(state.start);
    stream.keeping.show(state.retention);
    stream.begin_life_with(state.incarnation, end, change, || {
        fill_segments(stream, state);
        stream.tail.clear();
    });
    if let Some(took) = stream.timed_append() {
        // It was accepted before the restart, and the recovery made it durable.
        log.meters.append_seconds.record(took);
    }
}

/// A stream that nobody writes to any more shows its readers what was recovered. Of a truncation whose
/// outcome was unknown when it was shut, the files may be gone: with its old segments a reader
/// would call that damage.
fn show(log: &LogContext, stream: &StreamShared, state: &StreamState, reason: &str) {
    if state.segments.values().any(|it| it.status.is_open()) {
        // It was closed in order and not written to since: recovery has left it alone.
        return;
    }
    let written = stream.life().marks.get(Level::Written);
    resume(log, stream, state, written, reason);
}

/// A stream that nobody writes to any more is read on, while its segments move: without this its readers
/// would look for files where they were when it was shut, and call it damage that they are gone.
fn attach(generation: &Generation, stream: &Arc<StreamShared>, state: &StreamState) {
    let attach = generation
        .coordinator
        .attach(Arc::clone(stream), state.clone());
    // Beside: the supervisor must not wait for room in a mailbox.
    tokio::spawn(attach);
}

fn abandon(stream: &StreamShared, why: &str) {
    stream.abandon(Error::failed(&why), &Error::indeterminate(&why));
}
