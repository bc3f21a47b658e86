//! The next segment, made ahead; and when the active one is full or too old.

use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::Instant,
};

use super::{active::Active, actor::WriterActor, policy::FIRST_STEP, queue::Queued};
use crate::{
    context::backoff,
    error::Error,
    kind::Kind,
    protocol::coordinator::{Admit, AdmitError, Admitted},
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

    pub(super) fn activate_next(&mut self) {
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
