//! When the coordinator looks at what streams need not keep, and how that goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tierlog_storage::{
    Offset, StreamId,
    manifest::{Entry, RetentionState},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    actor::CoordinatorActor,
    retention::{Ended, Kept, Limits, Verdict, decide},
    tasks::{self, Effect, Tasks},
};
use crate::{
    context::backoff,
    error::Error,
    kind::Kind,
    options::Options,
    protocol::coordinator::{Retain, Trim},
    stream::{segments::SegmentKind, shared::StreamShared},
};

/// Between two looks at everything is no less time than this, and no more.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the coordinator keeps of it.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Streams that are to be looked at now.
    due: BTreeSet<StreamId>,
    /// When all of them are to be looked at.
    at: Option<Instant>,
    /// Streams that are being trimmed.
    under_way: BTreeSet<StreamId>,
    /// Those where that failed: how often in a row, and when it may be tried again.
    failed: BTreeMap<StreamId, (u32, Instant)>,
}

impl Expiry {
    /// A stream has changed.
    pub(super) fn look_at(&mut self, stream: StreamId) {
        self.due.insert(stream);
    }

    /// When there is something to be done again.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.at
    }

    /// A look at everything no later than then.
    fn again_at(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |known| known.min(at)));
    }
}

/// How long a stream can be left alone.
fn pause(limits: Limits, held_back: bool, lease: Duration) -> Duration {
    let (least, most) = PAUSES;
    let age = limits.age_ns.map(Duration::from_nanos);
    let lease = held_back.then_some(lease);
    let parts = [age.map(|age| age / 16), lease.map(|lease| lease / 4)];
    let pause = parts.into_iter().flatten().min();
    pause.unwrap_or(most).clamp(least, most)
}

impl CoordinatorActor {
    /// Looks at the streams that are due, and gives up what they need not keep.
    pub(super) fn keep_to_limits(&mut self) {
        let now = Instant::now();
        if self.expiry.at.is_some_and(|at| at <= now) {
            self.expiry.at = None;
            self.expiry.due.extend(self.streams.keys());
        }
        for id in std::mem::take(&mut self.expiry.due) {
            if let Some(stream) = self.streams.get(&id).cloned() {
                self.keep_to_limits_of(&stream, now);
            }
        }
    }

    fn keep_to_limits_of(&mut self, stream: &Arc<StreamShared>, now: Instant) {
        let options = &self.log.options;
        let limits = limits_of(stream.keeping.limits(), options);
        if limits.are_none() {
            return;
        }
        if let Some(&(_, at)) = self.expiry.failed.get(&stream.id)
            && at > now
        {
            self.expiry.again_at(at);
            return;
        }
        let verdict = decide_about(
            stream,
            limits,
            self.log.clock.now_ns(),
            options.reader_lease,
        );
        let pause = pause(limits, verdict.held_back, options.reader_lease);
        self.expiry.again_at(now + pause);
        let Some(start) = verdict.start else {
            return;
        };
        if !self.expiry.under_way.insert(stream.id) {
            // It is looked at again when that has ended.
            return;
        }
        let task = expire(self.mover.tasks.clone(), Arc::clone(stream), start);
        self.under_way.push(Box::pin(task));
    }

    /// What a stream did not need to keep is gone, or not.
    pub(super) fn expired(&mut self, stream: StreamId, outcome: Result<u64, Error>) {
        self.expiry.under_way.remove(&stream);
        match outcome {
            Ok(segments) => {
                self.log.meters.expired_segments.increment(segments);
                self.expiry.failed.remove(&stream);
            }
            Err(error) => {
                let failed = self.expiry.failed.get(&stream);
                let failures = failed.map_or(0, |(failures, _)| *failures) + 1;
                let at = Instant::now() + backoff(failures);
                self.expiry.failed.insert(stream, (failures, at));
                if matches!(error, Error::WouldBlock { .. }) {
                    tracing::debug!(target: "tierlog::coordinator", %stream, %error, "what is not to be kept stays for now");
                } else {
                    tracing::warn!(target: "tierlog::coordinator", %stream, %error, failures, "what is not to be kept stays for now");
                }
            }
        }
        // More may have ended meanwhile.
        self.expiry.look_at(stream);
    }
}

/// The limits in effect.
fn limits_of(of_stream: RetentionState, options: &Options) -> Limits {
    let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    Limits {
        age_ns: of_stream.age_ns.limit(options.retain_age.map(nanos)),
        bytes: of_stream.bytes.limit(options.retain_bytes),
    }
}

fn decide_about(stream: &StreamShared, limits: Limits, now_ns: u64, most: Duration) -> Verdict {
    // The end before the segments: what has ended by then is durable.
    let durable = stream.watermarks().durable;
    let mut ended = Vec::new();
    let mut open_bytes = 0u64;
    for segment in stream.segments.all() {
        let (bytes, last_ts) = match &segment.kind {
            SegmentKind::Sealed(facts) => (facts.file_len, Some(facts.last_ts)),
            SegmentKind::Closed => (segment.end_byte(), None),
            SegmentKind::Active => (segment.end_byte(), None),
        };
        let has_ended = segment.kind != SegmentKind::Active && segment.end() <= durable;
        if has_ended && open_bytes == 0 {
            let end = segment.end();
            ended.push(Ended {
                end,
                bytes,
                last_ts,
            });
        } else {
            // Behind one that is about to be sealed, others count with it.
            open_bytes = open_bytes.saturating_add(bytes.max(1));
        }
    }
    let kept = Kept {
        ended: &ended,
        open_bytes,
        lease: stream.keeping.leases.lowest(stream.start(), now_ns, most),
        now_ns,
    };
    decide(kept, limits)
}

/// Gives up everything below an offset, as a trim does.
async fn expire(tasks: Tasks, stream: Arc<StreamShared>, before: Offset) -> Effect {
    let id = stream.id;
    tasks.log.faults.at("coordinator.trim").await;
    let (done, outcome) = oneshot::channel();
    if !tasks.manifest.has_room() {
        let full = Error::would_block(Kind::Manifest);
        return Effect::Expired(id, Err(full), Box::new(Effect::None));
    }
    let trim = Trim {
        stream,
        before,
        done,
    };
    let effect = tasks::trim(tasks, trim).await;
    let segments = match &effect {
        Effect::Gone(_, gone) => gone.len() as u64,
        _ => 0,
    };
    let outcome = match outcome.await {
        Ok(outcome) => outcome.map(|_| segments),
        Err(_) => Ok(segments),
    };
    Effect::Expired(id, outcome, Box::new(effect))
}

/// Says in the manifest how much a stream keeps, then goes by it.
pub(super) async fn retain(tasks: Tasks, retain: Retain) -> Effect {
    let Retain {
        stream,
        retention,
        done,
    } = retain;
    let _turn = stream.keeping.turn.lock().await;
    let entry = Entry::Retention {
        stream: stream.id,
        retention,
    };
    let committed = tasks.manifest.commit(vec![entry]).await;
    if committed.is_ok() {
        stream.keeping.show(retention);
    }
    let _ = done.send(committed.map(drop));
    Effect::Retained(stream.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_a_sixteenth_of_the_age_apart_and_never_far() {
        let secs = Duration::from_secs;
        let limits = |age: Option<u64>| Limits {
            age_ns: age.map(|age| age * 1_000_000_000),
            bytes: Some(1),
        };
        for (age, held_back, expected) in [
            (None, false, secs(60)),
            (None, true, secs(5)),
            (Some(1), false, secs(1)),
            (Some(160), false, secs(10)),
            (Some(160), true, secs(5)),
            (Some(86_400), false, secs(60)),
        ] {
            assert_eq!(pause(limits(age), held_back, secs(20)), expected);
        }
    }
}
