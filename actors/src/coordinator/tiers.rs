//! What the coordinator does with its decisions about tiers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tierlog_storage::{
    SegmentNo, StreamId,
    manifest::{SegmentStatus, StreamState},
    warm::WarmFault,
};
use tokio::time::Instant;

use super::{
    actor::CoordinatorActor,
    ledger::Hot,
    moves::{self, MoveFault, Moved, Subject, show},
    plan::{self, Limits, Move},
    table::{Id, Known},
};
use crate::{
    context::backoff, error::Error, kind::Kind, protocol::coordinator::Hydrate, read::Wish,
    stream::shared::StreamShared,
};

/// How long a segment that could not be compressed because it is damaged is left alone.
const DAMAGED_PAUSE: Duration = Duration::from_secs(600);

impl CoordinatorActor {
    fn limits(&self) -> Limits {
        let options = &self.log.options;
        let is_warming = |known: &&Known| known.moving.is_some() && known.residency.warm.is_none();
        let warming: Vec<_> = self
            .table
            .iter()
            .map(|(_, known)| known)
            .filter(is_warming)
            .collect();
        let waiting = u64::try_from(self.wanting.len().max(1)).unwrap_or(u64::MAX);
        Limits {
            hot: self.ledger.limit(),
            hot_used: self.ledger.used(),
            hot_wanted: options.segment_size.saturating_mul(waiting),
            warm: options.warm_budget,
            warm_under_way: warming
                .iter()
                .map(|known| known.hot_bytes(options.segment_size))
                .sum(),
            segment_size: options.segment_size,
            workers: options.compression_workers.saturating_sub(warming.len()),
            patience: options.stall_after,
        }
    }

    /// What is short where the hot budget is used up: only time, while segments can still go from it.
    pub(super) fn over_budget(&self) -> Kind {
        match plan::will_free(&self.table, &self.limits(), Instant::now()) {
            true => Kind::Rollover,
            false => Kind::Admission,
        }
    }

    /// Decides what moves, and begins it.
    pub(super) fn move_segments(&mut self) {
        if self.ledger.limit().is_none() {
            return;
        }
        let moves = plan::plan(&self.table, &self.limits(), Instant::now());
        self.begin(moves);
        self.again_at = plan::again_at(&self.table, Instant::now());
    }

    fn begin(&mut self, moves: Vec<Move>) {
        for step in moves {
            let (Move::Warm(id) | Move::DropHot(id) | Move::Hydrate(id)) = step;
            let Some(known) = self.table.get(&id).cloned() else {
                continue;
            };
            self.table.change(&id, |known| {
                known.moving = Some(Instant::now());
                known.not_before = None;
            });
            let subject = Subject {
                id,
                known,
                stream: self.streams.get(&id.0).cloned(),
            };
            let mover = self.mover.clone();
            self.under_way.push(match step {
                Move::Warm(_) => Box::pin(moves::warm(mover, subject)),
                Move::DropHot(_) => Box::pin(moves::drop_hot(mover, subject)),
                Move::Hydrate(_) => {
                    let bytes = subject.known.facts().map_or(0, |facts| facts.file_len);
                    let guard = self.ledger.book(bytes);
                    Box::pin(moves::hydrate(mover, subject, guard))
                }
            });
        }
    }

    /// A move has ended.
    pub(super) fn moved(&mut self, id: Id, moved: Moved) {
        let segment_size = self.log.options.segment_size;
        let before = self.table.get(&id).cloned();
        let hot_before = before
            .as_ref()
            .map_or(0, |known| known.hot_bytes(segment_size));
        self.table.change(&id, |known| {
            known.moving = None;
            match &moved {
                // Unless it was cut since: then the file is one of nothing any more.
                Moved::Warmed(made)
                    if known.status.range() == Some((made.facts.base, made.facts.end)) =>
                {
                    known.status = SegmentStatus::Sealed(made.facts);
                    known.residency.warm = Some(made.copy);
                    known.failures = 0;
                }
                Moved::HotDropped => {
                    known.residency.hot = false;
                    known.used.begin_anew();
                    known.failures = 0;
                }
                Moved::Hydrated => {
                    known.residency.hot = true;
                    known.failures = 0;
                }
                Moved::Warmed(_) => {}
                Moved::WarmLost => known.residency.warm = None,
                Moved::Failed(fault) => postpone(known, fault),
            }
        });
        match &moved {
            Moved::Warmed(made) => self.freed(Hot {
                bytes: hot_before.saturating_sub(made.facts.file_len),
                segments: 0,
            }),
            Moved::HotDropped => self.freed(Hot {
                bytes: hot_before,
                segments: u64::from(hot_before > 0),
            }),
            // The generation ends, and what became of the segment is read from disk again.
            Moved::Failed(MoveFault::Folder(error)) => self.broken = Some(error.clone()),
            Moved::Failed(fault) => {
                tracing::warn!(target: "tierlog::coordinator", stream = %id.0, segment = %id.1, ?fault, "a segment was not moved");
                self.nudge_all();
            }
            Moved::Hydrated | Moved::WarmLost => {}
        }
        self.show_again(id);
        self.answer_hydration(id, &moved);
    }

    /// A stream that was opened while the move was under way has not heard of it.
    fn show_again(&self, id: Id) {
        if let (Some(stream), Some(known)) = (self.streams.get(&id.0), self.table.get(&id))
            && let Some(facts) = known.facts()
        {
            show(stream, id, facts, known.copies());
        }
    }

    fn answer_hydration(&mut self, id: Id, moved: &Moved) {
        let outcome = match moved {
            Moved::Hydrated => Ok(()),
            Moved::Failed(fault) => Err(Error::Unavailable {
                why: format!("the segment file could not be made again: {fault:?}").into(),
            }),
            _ => return,
        };
        for done in self.hydrating.remove(&id).into_iter().flatten() {
            let _ = done.send(outcome.clone());
        }
    }

    /// What readers wish.
    pub(super) fn grant(&mut self, wishes: BTreeMap<Id, Wish>) {
        for (id, wish) in wishes {
            let now = Instant::now();
            let moves = match wish {
                Wish::Hydrate => plan::hydrate(&self.table, &self.limits(), id, now),
                Wish::Heal => {
                    let known = self.table.get(&id);
                    let can_go = known.is_some_and(|known| {
                        known.is_free(now) && known.residency.hot && known.residency.warm.is_some()
                    });
                    tracing::error!(target: "tierlog::coordinator", stream = %id.0, segment = %id.1, "a segment file is damaged; its compressed file takes its place");
                    can_go.then_some(Move::DropHot(id)).into_iter().collect()
                }
            };
            self.begin(moves);
        }
    }

    /// A segment that is to be cut must be there as a file, whatever room there is.
    pub(super) fn hydrate_for(&mut self, hydrate: Hydrate) {
        let Hydrate { stream, no, done } = hydrate;
        let id = (stream, no);
        match self.table.get(&id) {
            Some(known) if known.residency.hot && known.moving.is_none() => {
                let _ = done.send(Ok(()));
            }
            Some(known) if known.moving.is_some() => {
                let why = "the segment is on its way between tiers; try again".into();
                let _ = done.send(Err(Error::Unavailable { why }));
            }
            Some(_) => {
                self.hydrating.entry(id).or_default().push(done);
                self.begin(vec![Move::Hydrate(id)]);
            }
            None => {
                let why = "the segment is gone".into();
                let _ = done.send(Err(Error::Unavailable { why }));
            }
        }
    }

    /// Segments that end without a footer now; gives those whose compressed file is one of nothing.
    pub(super) fn take_closed(
        &mut self,
        stream: StreamId,
        closed: Vec<(SegmentNo, u64, SegmentStatus)>,
    ) -> Vec<SegmentNo> {
        let mut cut = Vec::new();
        for (no, salt, status) in closed {
            let mut known = Known::hot(salt, status);
            if let Some(before) = self.table.remove(&(stream, no)) {
                // What is under way is about what it was, and comes to nothing. Another move must not
                // begin before that has ended: it would work on the same files.
                known.moving = before.moving;
                if before.residency.warm.is_some() || before.moving.is_some() {
                    cut.push(no);
                }
            }
            self.table.put((stream, no), known);
        }
        cut
    }

    /// The stream is open: what is known of its segments and what it shows become one.
    pub(super) fn attach(&mut self, stream: Arc<StreamShared>, state: &StreamState) {
        let id = stream.id;
        let gone: Vec<_> = self
            .table
            .of_stream(id)
            .map(|(id, _)| *id)
            .filter(|(_, no)| *no < state.next_segment && !state.segments.contains_key(no))
            .collect();
        for id in gone {
            self.table.remove(&id);
        }
        for (&no, segment) in &state.segments {
            if self.table.get(&(id, no)).is_none() && !segment.status.is_open() {
                let known = Known {
                    residency: segment.residency.clone(),
                    ..Known::hot(segment.salt, segment.status)
                };
                self.table.put((id, no), known);
            }
        }
        for segment in stream.segments.all() {
            self.table.change(&(id, segment.no), |known| {
                known.used = Arc::clone(&segment.used);
            });
            if let Some(known) = self.table.get(&(id, segment.no))
                && let (Some(facts), true) = (known.facts(), segment.copies != known.copies())
            {
                show(&stream, (id, segment.no), facts, known.copies());
            }
        }
        self.streams.insert(id, stream);
        self.stirred = true;
    }
}

/// When it is tried again.
fn postpone(known: &mut Known, fault: &MoveFault) {
    known.failures = known.failures.saturating_add(1);
    let pause = match fault {
        MoveFault::Gone | MoveFault::Folder(_) => backoff(0),
        // Nobody compresses any more, or not for long.
        MoveFault::Warm(WarmFault::Stopped) if known.failures >= plan::MANY_FAILURES => {
            DAMAGED_PAUSE
        }
        MoveFault::Warm(WarmFault::Disk(error)) if !error.is_storage_full() => DAMAGED_PAUSE,
        MoveFault::Warm(WarmFault::Damaged(_) | WarmFault::Foreign(_)) => DAMAGED_PAUSE,
        _ => backoff(known.failures),
    };
    known.not_before = Some(Instant::now() + pause);
}
