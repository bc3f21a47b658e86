//! The end of a segment: its footer, its sync, and the manifest that says so.

use std::sync::Arc;

use futures::future::BoxFuture;
use tierlog_storage::{
    Offset, SegmentNo, error::StorageError, manifest::SealedFacts, planted, segment::Latched,
};
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::{Instant, sleep_until},
};

use super::{active::Active, actor::WriterActor, controls::Barrier, roll::NextSegment};
use crate::{
    context::{Counters, backoff},
    error::Error,
    exec::{Completion, JobDied},
    flusher::leave_claim,
    protocol::{Reply, coordinator::Rollover},
};

type SealJob = Completion<Result<(), StorageError>>;

/// A segment on its way to being sealed.
#[derive(Debug)]
pub struct Sealing {
    active: Active,
    facts: SealedFacts,
    stage: Stage,
    /// When the stage began.
    since: Instant,
    replies: Vec<Reply<Result<Offset, Error>>>,
    /// How often the manifest had no room for it.
    refusals: u32,
}

enum Stage {
    /// Its footer is being written, and all of it synced.
    Syncing(SealJob),
    /// That failed: what is not durable in it is about to be written again.
    Failed,
    /// The coordinator's mailbox is full.
    Sending {
        send: BoxFuture<'static, ()>,
        done: oneshot::Receiver<Result<(), Error>>,
    },
    /// The manifest is being told.
    Committing(oneshot::Receiver<Result<(), Error>>),
    /// The disk had no room for that; it is told again by then.
    Waiting(Instant),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Syncing(_) => "Syncing",
            Self::Failed => "Failed",
            Self::Sending { .. } => "Sending",
            Self::Committing(_) => "Committing",
            Self::Waiting(_) => "Waiting",
        })
    }
}

/// A segment whose footer nobody knows to be durable.
pub(super) type Unsynced = (Active, Option<SealJob>, Vec<Reply<Result<Offset, Error>>>);

/// What happened to a segment that is being sealed.
pub enum SealingEvent {
    /// The footer is written and synced, or not.
    Synced(Result<Result<(), StorageError>, JobDied>),
    /// The coordinator has it.
    Sent,
    /// The manifest says so, or not.
    Committed(Result<Result<(), Error>, RecvError>),
    /// It is time to tell the manifest again.
    Again,
}

impl Sealing {
    /// The segment's number.
    pub fn no(&self) -> SegmentNo {
        self.active.no
    }

    /// Its file.
    pub fn file(&self) -> Arc<Latched> {
        Arc::clone(&self.active.file)
    }

    /// Whether its sync is under way.
    pub fn is_syncing(&self) -> bool {
        matches!(self.stage, Stage::Syncing(_))
    }

    /// Since when somebody is waited for: the disk, the coordinator or the manifest.
    pub fn waiting_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Syncing(_) | Stage::Sending { .. } | Stage::Committing(_) => Some(self.since),
            Stage::Failed | Stage::Waiting(_) => None,
        }
    }

    /// Whether the manifest had no room for it.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    /// What waits for it has to know soon.
    pub(super) fn hurry(&mut self) {
        if let Stage::Waiting(at) = &mut self.stage {
            *at = Instant::now();
        }
    }

    /// What it was, unless it is synced; with its sync, while that is under way, and with whom it was for.
    pub(super) fn into_unsynced(self) -> Result<Unsynced, Box<Self>> {
        match self.stage {
            Stage::Syncing(done) => Ok((self.active, Some(done), self.replies)),
            Stage::Failed => Ok((self.active, None, self.replies)),
            Stage::Sending { .. } | Stage::Committing(_) | Stage::Waiting(_) => Err(Box::new(self)),
        }
    }

    /// The next thing that happens to it.
    pub(super) async fn event(sealing: &mut Option<Self>) -> SealingEvent {
        match sealing.as_mut().map(|sealing| &mut sealing.stage) {
            Some(Stage::Syncing(done)) => SealingEvent::Synced(done.await),
            Some(Stage::Sending { send, .. }) => {
                send.await;
                SealingEvent::Sent
            }
            Some(Stage::Committing(done)) => SealingEvent::Committed(done.await),
            Some(Stage::Waiting(at)) => {
                sleep_until(*at).await;
                SealingEvent::Again
            }
            Some(Stage::Failed) | None => std::future::pending().await,
        }
    }
}

impl WriterActor {
    /// Seals the active segment because somebody asked for it.
    pub(super) async fn seal_now(&mut self, replies: Vec<Reply<Result<Offset, Error>>>) {
        if self.active.as_ref().is_none_or(Active::is_blank) {
            let end = Ok(Offset(self.written()));
            for reply in replies {
                let _ = reply.send(end.clone());
            }
            return;
        }
        self.fault("writer.before_seal").await;
        self.begin_seal(replies);
        if planted::is("seal_acks_before_its_sync") {
            self.durable_to(Offset(self.written())).await;
        }
        if matches!(self.next, NextSegment::Ready(_)) {
            self.activate_next();
        }
    }

    /// Hands the active segment over to be sealed; false when one is being sealed already.
    pub(super) fn begin_seal(&mut self, replies: Vec<Reply<Result<Offset, Error>>>) -> bool {
        if self.sealing.is_some() || self.write.is_some() {
            return false;
        }
        let Some(active) = self.active.take() else {
            return true;
        };
        let Some((footer, facts)) = active.seal(&self.generation, Offset(self.durable())) else {
            // Blank: there is nothing to seal, and it can still be used.
            self.active = Some(active);
            return false;
        };
        let file = Arc::clone(&active.file);
        let claims = Arc::clone(&self.generation.claims);
        let (slot, claim) = (self.slot, self.claim(facts.end));
        let log = Arc::clone(&self.generation.log);
        let done = self.generation.log.write_job(&self.running, move || {
            file.write_at(&footer, facts.data_end)?;
            // What was allocated ahead and not used goes back to the disk.
            file.set_len(facts.file_len)?;
            log.sync(&file)?;
            leave_claim(&claims, slot, &claim);
            Ok(())
        });
        self.sealing = Some(Sealing {
            active,
            facts,
            stage: Stage::Syncing(done),
            since: Instant::now(),
            replies,
            refusals: 0,
        });
        true
    }

    pub(super) async fn sealing_event(&mut self, event: SealingEvent) {
        match event {
            SealingEvent::Synced(Ok(Ok(()))) => {
                self.fault("writer.after_seal").await;
                let Some(end) = self.tell_of_seal() else {
                    return;
                };
                Counters::add(&self.generation.log.counters.syncs, 1);
                self.durable_to(end).await;
            }
            SealingEvent::Again => drop(self.tell_of_seal()),
            SealingEvent::Synced(Ok(Err(error))) => self.seal_failed(Error::from(error)).await,
            SealingEvent::Synced(Err(died)) => {
                self.seal_failed(Error::indeterminate(&died)).await;
            }
            SealingEvent::Sent => {
                let Some(mut sealing) = self.sealing.take() else {
                    return;
                };
                if let Stage::Sending { done, .. } = sealing.stage {
                    sealing.stage = Stage::Committing(done);
                    self.sealing = Some(sealing);
                }
            }
            SealingEvent::Committed(outcome) => {
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(Error::RolloverFailed {
                        why: "the coordinator ended".into(),
                    })
                });
                self.seal_answered(&outcome);
            }
        }
    }

    /// Has the coordinator tell the manifest of the segment that is being sealed; gives its end.
    fn tell_of_seal(&mut self) -> Option<Offset> {
        let sealing = self.sealing.as_mut()?;
        let (done, outcome) = oneshot::channel();
        let rollover = Rollover {
            stream: Arc::clone(&self.stream),
            no: sealing.active.no,
            salt: sealing.active.salt,
            facts: sealing.facts,
            done,
        };
        let send = self.generation.coordinator.roll_over(rollover);
        sealing.since = Instant::now();
        sealing.stage = Stage::Sending {
            send,
            done: outcome,
        };
        Some(sealing.facts.end)
    }

    fn seal_answered(&mut self, outcome: &Result<(), Error>) {
        let Some(mut sealing) = self.sealing.take() else {
            return;
        };
        let end = sealing.facts.end;
        for reply in sealing.replies.drain(..) {
            let _ = reply.send(outcome.clone().map(|()| end));
        }
        if let Err(error) = outcome {
            // The records are durable and readable; only the manifest does not say that the segment is
            // sealed. The next recovery closes it where it ends.
            tracing::warn!(target: "tierlog::writer", stream = %self.stream.name, %error, "a segment stays unsealed");
        }
        if let Err(full @ Error::StorageFull) = outcome {
            // There will be room again, and until then no other tier would ever take the segment.
            sealing.refusals = sealing.refusals.saturating_add(1);
            sealing.stage = Stage::Waiting(Instant::now() + backoff(sealing.refusals));
            self.sealing = Some(sealing);
            if let Some(Barrier::Seal(_)) = &self.barrier
                && let Some(barrier) = self.barrier.take()
            {
                barrier.fail(full);
            }
        }
        self.note_idle();
    }

    /// The sync of a seal failed. Its job has answered, so that nobody may wait for it again.
    async fn seal_failed(&mut self, error: Error) {
        if let Some(sealing) = &mut self.sealing {
            sealing.stage = Stage::Failed;
        }
        self.repair(Vec::new(), error).await;
    }
}
