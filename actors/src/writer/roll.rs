//! The next segment, made ahead; and the end of a full one.

use std::sync::Arc;

use futures::future::BoxFuture;
use tierlog_storage::{
    Offset, SegmentNo, error::StorageError, manifest::SealedFacts, segment::Latched,
};
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::Instant,
};

use super::{active::Active, actor::WriterActor, policy::FIRST_STEP, queue::Queued};
use crate::{
    context::{Counters, backoff},
    error::Error,
    exec::{Completion, JobDied},
    flusher::leave_claim,
    kind::Kind,
    protocol::{
        Reply,
        coordinator::{Admit, AdmitError, Admitted, Rollover},
    },
};

/// Failures in a row to make a segment before the stream gives up.
const GIVE_UP_AFTER: u32 = 8;

/// The segment behind the active one.
#[derive(Debug)]
pub enum NextSegment {
    /// Not asked for.
    None,
    /// Asked for.
    Asked {
        /// Where it comes.
        answer: oneshot::Receiver<Result<Admitted, AdmitError>>,
        /// When it was.
        since: Instant,
    },
    /// There.
    Ready(Box<Admitted>),
    /// Refused, or failed; to be asked for again.
    Refused {
        /// When.
        at: Instant,
        /// What was short.
        kind: Kind,
    },
}

impl NextSegment {
    pub(super) fn asked(&mut self) -> Option<&mut oneshot::Receiver<Result<Admitted, AdmitError>>> {
        match self {
            Self::Asked { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// When it was asked for, if it is not there yet.
    pub(super) fn asked_since(&self) -> Option<Instant> {
        match self {
            Self::Asked { since, .. } => Some(*since),
            _ => None,
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Refused { at, .. } => Some(*at),
            _ => None,
        }
    }

    pub(super) fn retry_now(&mut self) {
        if let Self::Refused { at, .. } = self {
            *at = Instant::now();
        }
    }
}

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
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Syncing(_) => "Syncing",
            Self::Failed => "Failed",
            Self::Sending { .. } => "Sending",
            Self::Committing(_) => "Committing",
        })
    }
}

/// What happened to a segment that is being sealed.
pub enum SealingEvent {
    /// The footer is written and synced, or not.
    Synced(Result<Result<(), StorageError>, JobDied>),
    /// The coordinator has it.
    Sent,
    /// The manifest says so, or not.
    Committed(Result<Result<(), Error>, RecvError>),
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
            Stage::Failed => None,
        }
    }

    /// What it was, unless it is synced; with its sync, while that is under way.
    pub(super) fn into_unsynced(self) -> Result<(Active, Option<SealJob>), Box<Self>> {
        match self.stage {
            Stage::Syncing(done) => Ok((self.active, Some(done))),
            Stage::Failed => Ok((self.active, None)),
            Stage::Sending { .. } | Stage::Committing(_) => Err(Box::new(self)),
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
            Some(Stage::Failed) | None => std::future::pending().await,
        }
    }
}

impl WriterActor {
    /// Whether the first frame that waits has a place. If it has none, what is short is said, and
    /// whoever is needed for it is asked.
    pub(super) fn find_place(&mut self) -> bool {
        let Some(len) = self.queue.front().map(|frame| frame.builder.len() as u64) else {
            return false;
        };
        if self.active.as_ref().is_some_and(|active| active.fits(len)) {
            return true;
        }
        if matches!(self.next, NextSegment::Ready(_)) {
            if self.active.is_some() && !self.begin_seal(Vec::new()) {
                // One segment is being sealed already: a second one would leave three that are
                // unsealed, and no bound to how many.
                self.block_if_full(Kind::Rollover);
                return false;
            }
            self.activate_next();
            return true;
        }
        match self.next {
            NextSegment::Refused { kind, .. } if kind.is_space() => self.refuse_for_space(kind),
            NextSegment::Refused { kind, .. } => self.set_blocked(Some(kind)),
            _ => self.block_if_full(Kind::Rollover),
        }
        false
    }

    /// Whether something waits that has no place before the next segment comes.
    pub(super) fn waits_for_place(&self) -> bool {
        let fits = |len| self.active.as_ref().is_some_and(|active| active.fits(len));
        let front = self.queue.front();
        front.is_some_and(|frame| !fits(frame.builder.len() as u64))
    }

    fn block_if_full(&mut self, kind: Kind) {
        if self.queue.is_full() || self.lane.is_full() {
            self.set_blocked(Some(kind));
        }
    }

    fn activate_next(&mut self) {
        if let NextSegment::Ready(admitted) = std::mem::replace(&mut self.next, NextSegment::None) {
            self.active = Some(Active::blank(*admitted, self.life.number));
            self.set_blocked(None);
        }
    }

    /// Whether a segment will be needed soon.
    pub(super) fn wants_next(&self) -> bool {
        // A truncation or the end stands at the barrier: whatever segment comes now would have to
        // be removed again.
        let ending = self
            .barrier
            .as_ref()
            .is_some_and(super::controls::Barrier::needs_durable);
        if ending && self.queue.is_empty() {
            return false;
        }
        match &self.active {
            None => !self.queue.is_empty() || self.blocked.is_some(),
            Some(active) => {
                // A large record may find no place long before the segment is half full, and
                // nothing but the next segment would ever give it one.
                let homeless = |frame: &Queued| !active.fits(frame.builder.len() as u64);
                active.is_half_full()
                    || self.queue.front().is_some_and(homeless)
                    || self.blocked.is_some_and(Kind::is_space)
            }
        }
    }

    /// Asks for a segment, where one will be needed soon.
    pub(super) async fn start_next(&mut self) {
        let due = match &self.next {
            NextSegment::None => true,
            NextSegment::Refused { at, .. } => *at <= Instant::now(),
            NextSegment::Asked { .. } | NextSegment::Ready(_) => false,
        };
        if !due || !self.wants_next() {
            return;
        }
        // A stream that fills its segments gets the next one whole; a new one starts small, and so
        // does one whose disk is short.
        let whole = self.active.is_some() && self.next_failures == 0;
        let allocate = if whole {
            self.generation.log.options.segment_size
        } else {
            FIRST_STEP
        };
        let (done, answer) = oneshot::channel();
        let admit = Admit {
            stream: self.stream_id(),
            no: self.next_no,
            incarnation: self.life.number,
            allocate,
            commit: true,
            nudge: self.handle.clone(),
            done,
        };
        match self.generation.coordinator.try_admit(admit) {
            Ok(None) => {
                // A number that was asked for is never asked for again, whatever comes of it.
                self.next_no = self.next_no.plus(1);
                let since = Instant::now();
                self.next = NextSegment::Asked { answer, since };
            }
            Ok(Some(_)) | Err(_) => self.refused(Kind::Rollover),
        }
    }

    fn refused(&mut self, kind: Kind) {
        self.next_failures += 1;
        let at = Instant::now() + backoff(self.next_failures);
        self.next = NextSegment::Refused { at, kind };
    }

    pub(super) fn next_answered(
        &mut self,
        answer: Result<Result<Admitted, AdmitError>, RecvError>,
    ) {
        match answer {
            Ok(Ok(admitted)) => {
                self.next_errors = 0;
                self.next_failures = 0;
                self.space_retry = None;
                self.next = NextSegment::Ready(Box::new(admitted));
                if self.blocked.is_some_and(|kind| kind != Kind::Flush) {
                    self.set_blocked(None);
                }
            }
            Ok(Err(AdmitError::Short(kind))) => {
                self.next_errors = 0;
                self.refused(kind);
                // Nothing waits, and nothing that may come has a place: say so at the door.
                if self.active.is_none() && self.queue.is_empty() {
                    self.set_blocked(Some(kind));
                }
            }
            Ok(Err(AdmitError::Failed(error))) => {
                tracing::warn!(target: "tierlog::writer", stream = %self.stream.name, %error, "no next segment");
                self.refused(Kind::Rollover);
                self.next_errors += 1;
                if self.next_errors >= GIVE_UP_AFTER {
                    self.fail(Error::RolloverFailed {
                        why: error.to_string().into(),
                    });
                }
            }
            // The coordinator died; the generation is about to end.
            Err(_) => {
                self.next = NextSegment::Refused {
                    at: Instant::now() + std::time::Duration::from_secs(1),
                    kind: Kind::Rollover,
                }
            }
        }
    }

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
        if matches!(self.next, NextSegment::Ready(_)) {
            self.activate_next();
        }
    }

    /// Hands the active segment over to be sealed; false when one is being sealed already.
    fn begin_seal(&mut self, replies: Vec<Reply<Result<Offset, Error>>>) -> bool {
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
        });
        true
    }

    pub(super) async fn sealing_event(&mut self, event: SealingEvent) {
        match event {
            SealingEvent::Synced(Ok(Ok(()))) => {
                self.fault("writer.after_seal").await;
                let Some(sealing) = &mut self.sealing else {
                    return;
                };
                let (done, outcome) = oneshot::channel();
                let rollover = Rollover {
                    stream: Arc::clone(&self.stream),
                    no: sealing.active.no,
                    salt: sealing.active.salt,
                    facts: sealing.facts,
                    done,
                };
                let end = sealing.facts.end;
                let send = self.generation.coordinator.roll_over(rollover);
                sealing.since = Instant::now();
                sealing.stage = Stage::Sending {
                    send,
                    done: outcome,
                };
                Counters::add(&self.generation.log.counters.syncs, 1);
                self.durable_to(end).await;
            }
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
                let Some(sealing) = self.sealing.take() else {
                    return;
                };
                if let Err(error) = &outcome {
                    // The records are durable and readable; only the manifest does not say that
                    // the segment is sealed. The next recovery closes it where it ends.
                    tracing::warn!(target: "tierlog::writer", stream = %self.stream.name, %error, "a segment stays unsealed");
                }
                let end = sealing.facts.end;
                for reply in sealing.replies {
                    let _ = reply.send(outcome.clone().map(|()| end));
                }
                self.note_idle();
            }
        }
    }

    /// The sync of a seal failed. Its job has answered, so that nobody may wait for it again.
    async fn seal_failed(&mut self, error: Error) {
        if let Some(sealing) = &mut self.sealing {
            sealing.stage = Stage::Failed;
        }
        self.repair(Vec::new(), error).await;
    }

    /// When the active segment gets too old.
    pub(super) fn age_at(&self) -> Option<Instant> {
        let age = self.generation.log.options.segment_age?;
        let begun = self.active.as_ref()?.begun?;
        (self.sealing.is_none() && self.write.is_none()).then(|| begun + age)
    }

    pub(super) fn roll_by_age(&mut self) {
        self.begin_seal(Vec::new());
    }
}
