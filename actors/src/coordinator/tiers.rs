//! What the coordinator does with its decisions about tiers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    manifest::{SegmentState, SegmentStatus, StreamState},
    warm::WarmFault,
};
use tokio::time::Instant;

use super::{
    actor::CoordinatorActor,
    ledger::Hot,
    moves::{self, MoveFault, Moved, Subject, show},
    plan::{self, Limits, Move, Wait},
    table::{Id, Known},
    transfers,
};
use crate::{
    context::backoff, error::Error, kind::Kind, protocol::coordinator::Hydrate,
    protocol::uploader::TransferFault, read::Wish, stream::shared::StreamShared,
};

/// How long one is left alone for which the disk has failed again and again.
const FAILING_PAUSE: Duration = Duration::from_secs(10);

/// How long a segment that could not be compressed because it is damaged is left alone.
const DAMAGED_PAUSE: Duration = Duration::from_secs(600);

impl CoordinatorActor {
    fn limits(&self) -> Limits {
        let options = &self.log.options;
        let all = || self.table.iter().map(|(_, known)| known);
        let warming: Vec<_> = all().filter(|known| known.is_warming()).collect();
        let fetching = all().filter(|known| known.is_fetching());
        let fetching: u64 = fetching.map(Known::cold_bytes).sum();
        let waiting = u64::try_from(self.wanting.len().max(1)).unwrap_or(u64::MAX);
        Limits {
            hot: self.ledger.limit(),
            hot_used: self.ledger.used(),
            hot_wanted: options.segment_size.saturating_mul(waiting),
            warm: options.warm_budget,
            warm_under_way: warming
                .iter()
                .map(|known| known.hot_bytes(options.segment_size))
                .sum::<u64>()
                + fetching,
            segment_size: options.segment_size,
            workers: options.compression_workers.saturating_sub(warming.len()),
            archives: self.log.cold.is_some(),
            outlives: self.table.outlives,
            archives_now: self.archives_now(),
            transfers: self.transfers(),
            sealing: self.ledger.is_sealing(Instant::now(), options.stall_after),
            patience: options.stall_after,
        }
    }

    /// What is short where the hot budget is used up: only time, while segments can still go from it.
    pub(super) fn over_budget(&self) -> Kind {
        match plan::will_free(&self.table, &self.limits(), Instant::now()) {
            Wait::Time => Kind::Rollover,
            Wait::Upload => Kind::Upload,
            Wait::Room => Kind::Admission,
        }
    }

    /// Decides what moves, and begins it.
    pub(super) fn move_segments(&mut self) {
        if self.ledger.limit().is_none() && self.log.cold.is_none() {
            return;
        }
        self.publish_what_can_be();
        let moves = plan::plan(&self.table, &self.limits(), Instant::now());
        self.begin(moves);
        self.again_at = plan::again_at(&self.table, Instant::now());
    }

    pub(super) fn begin(&mut self, moves: Vec<Move>) {
        for step in moves {
            let id = step.id();
            let Some(known) = self.table.get(&id).cloned() else {
                continue;
            };
            let epoch = self.mover.tasks.epoch;
            self.table
                .change(&id, |known| known.begin(step, epoch, Instant::now()));
            let subject = Subject {
                id,
                known,
                stream: self.streams.get(&id.0).cloned(),
                hold: None,
            };
            let mover = self.mover.clone();
            self.under_way.push(match step {
                Move::Warm(_) => Box::pin(moves::warm(mover, subject)),
                Move::DropHot(_) => Box::pin(moves::drop_hot(mover, subject)),
                Move::Hydrate(_) => {
                    let bytes = subject.known.facts().map_or(0, |facts| facts.file_len);
                    let guard = self.ledger.book(None, bytes);
                    Box::pin(moves::hydrate(mover, subject, guard))
                }
                Move::Upload(_) => Box::pin(transfers::upload(mover, subject)),
                Move::DropWarm(_) => Box::pin(transfers::drop_warm(mover, subject)),
                Move::Fetch(_) => Box::pin(transfers::fetch(mover, subject)),
                Move::DropCold(_) => Box::pin(transfers::drop_cold(mover, subject)),
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
            match &moved {
                Moved::Uploaded(_) | Moved::NotUploaded(_) => known.upload.is_under_way = false,
                _ => known.moving = None,
            }
            match &moved {
                // Unless it was cut since: then the file is one of nothing any more.
                Moved::Warmed(made)
                    if known.status.range() == Some((made.facts.base, made.facts.end))
                        && !known.trimmed =>
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
                Moved::Hydrated if !known.trimmed => {
                    known.residency.hot = true;
                    known.failures = 0;
                }
                Moved::Warmed(_) => {}
                Moved::WarmLost | Moved::WarmDropped => {
                    known.residency.warm = None;
                    known.used.begin_anew();
                }
                Moved::Fetched(copy) if !known.trimmed => {
                    known.residency.warm = Some(*copy);
                    known.failures = 0;
                }
                Moved::Uploaded(copy) => known.uploaded(copy),
                Moved::NotUploaded(fault) => postpone_upload(known, fault),
                Moved::Fetched(_) | Moved::Hydrated | Moved::ColdDeleted => {}
                Moved::Failed(fault) => postpone(known, fault),
            }
        });
        self.forget_if_gone(id, &moved);
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
            Moved::Failed(fault) | Moved::NotUploaded(fault) => {
                tracing::warn!(target: "tierlog::coordinator", stream = %id.0, segment = %id.1, ?fault, "a segment was not moved");
                self.nudge_all();
            }
            // There is room in the warm budget, which what waits for it has not heard of.
            Moved::WarmDropped | Moved::Uploaded(_) => self.nudge_all(),
            Moved::Hydrated | Moved::WarmLost | Moved::Fetched(_) | Moved::ColdDeleted => {}
        }
        self.show_again(id);
        self.answer_hydration(id, &moved);
    }

    /// A stream that was opened while the move was under way has not heard of it.
    pub(super) fn show_again(&self, id: Id) {
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
                Wish::Hydrate => self.bring_nearer(id, now),
                Wish::Heal => self.heal(id, now),
            };
            self.begin(moves);
        }
    }

    /// What is read again and again out of an object gets a compressed file, and what is read out of
    /// that a segment file.
    fn bring_nearer(&self, id: Id, now: Instant) -> Vec<Move> {
        let limits = self.limits();
        let is_far = |known: &Known| !known.residency.hot && known.residency.warm.is_none();
        match self.table.get(&id) {
            Some(known) if is_far(known) => plan::cold::fetch(&self.table, &limits, id, now),
            _ => plan::hydrate(&self.table, &limits, id, now),
        }
    }

    /// A copy here is damaged. Another one takes its place, if that is good.
    fn heal(&self, id: Id, now: Instant) -> Vec<Move> {
        let Some(known) = self.table.get(&id).filter(|known| known.is_free(now)) else {
            return Vec::new();
        };
        let (stream, segment) = id;
        match (known.residency.hot, known.residency.warm.is_some()) {
            (true, true) => {
                tracing::error!(target: "tierlog::coordinator", %stream, %segment, "a segment file is damaged; its compressed file takes its place");
                vec![Move::DropHot(id)]
            }
            (true, false) | (false, true) if known.residency.is_cold() => {
                tracing::error!(target: "tierlog::coordinator", %stream, %segment, "a file is damaged; it is fetched again from Tier 2");
                vec![Move::Fetch(id)]
            }
            _ => Vec::new(),
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
            let id = (stream, no);
            if self.table.get(&id).is_none() && !self.ledger.is_open(&id) {
                // It is gone by now.
                continue;
            }
            if self.end_anew(id, Known::hot(salt, status)) {
                self.table.change(&id, |known| known.removals += 1);
                cut.push(no);
            }
        }
        cut
    }

    /// The compressed files of what these segments were are gone.
    pub(super) fn cleaned(&mut self, stream: StreamId, cut: Vec<SegmentNo>) {
        for no in cut {
            let removed = |known: &mut Known| known.removals = known.removals.saturating_sub(1);
            self.table.change(&(stream, no), removed);
        }
    }

    /// A segment ends here now, without a footer; true if there was, or may be, a compressed file of
    /// what it was.
    fn end_anew(&mut self, id: Id, mut known: Known) -> bool {
        let mut is_cut = false;
        if let Some(before) = self.table.get(&id) {
            // What is under way is about what it was, and comes to nothing. Another move must not
            // begin before that has ended: it would work on the same files.
            known.moving = before.moving;
            known.upload = before.upload;
            known.removals = before.removals;
            is_cut = before.residency.warm.is_some() || before.moving.is_some();
        }
        self.settle(id, known);
        is_cut
    }

    /// Whether what the manifest said of a segment when its stream was opened is more than is known
    /// here. The message may have waited, and what is known here be newer.
    fn is_news(&self, id: Id, segment: &SegmentState, stream: &StreamShared) -> bool {
        let range = segment.status.range();
        match self.table.get(&id) {
            // It was cut, and whoever cut it has ended before he could tell.
            Some(known) => {
                let end = |range: Option<(Offset, Offset)>| range.map(|(_, end)| end);
                let is_closed = matches!(segment.status, SegmentStatus::Closed { .. });
                is_closed && end(range) < end(known.status.range())
            }
            None if self.ledger.is_open(&id) => true,
            // A copy that a recovery made, unless it was trimmed or cut off meanwhile.
            None => match range {
                Some((base, end)) if base < end => {
                    let shown = stream.segments.at(base);
                    shown.is_some_and(|shown| shown.no == id.1)
                }
                _ => true,
            },
        }
    }

    /// The stream is open: what is known of its segments and what it shows become one.
    pub(super) fn attach(&mut self, stream: Arc<StreamShared>, state: &StreamState) {
        let id = stream.id;
        let ended = self.table.of_stream(id).map(|((_, no), _)| *no);
        let ended = ended.filter(|no| *no < state.next_segment);
        // Its last writer has left them to its recovery; a new one begins with the next number.
        let left = self.ledger.open_below(id, state.next_segment);
        let gone: Vec<_> = ended
            .chain(left)
            .filter(|no| !state.segments.contains_key(no))
            .collect();
        for no in gone {
            self.forget(&(id, no));
        }
        self.table.take_stream(id, state);
        for (&no, segment) in &state.segments {
            if !segment.status.is_open() && self.is_news((id, no), segment, &stream) {
                self.end_anew((id, no), Known::of(segment, state.start));
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
        // A claim may have found a publication that the last coordinator did not live to tell of, before
        // this stream was known here. Nothing else may ever be published of it.
        let archived = self.table.archive(id).map(|archive| archive.archived);
        self.show_archived(id, archived.unwrap_or_default());
        self.expiry.look_at(id);
        self.stirred = true;
    }
}

/// When it is tried to upload it again. A store that is down is asked by others as well, and those who
/// ask it wait for one another.
fn postpone_upload(known: &mut Known, fault: &MoveFault) {
    let upload = &mut known.upload;
    upload.failures = upload.failures.saturating_add(1);
    let pause = match fault {
        MoveFault::Cold(TransferFault::Damaged(_)) => DAMAGED_PAUSE,
        _ => backoff(upload.failures),
    };
    upload.not_before = Some(Instant::now() + pause);
}

/// When it is tried again.
fn postpone(known: &mut Known, fault: &MoveFault) {
    known.failures = known.failures.saturating_add(1);
    known.was_stopped = matches!(fault, MoveFault::Warm(WarmFault::Stopped));
    let is_often = known.failures >= plan::MANY_FAILURES;
    let pause = match fault {
        MoveFault::Gone | MoveFault::Folder(_) => backoff(0),
        // Nobody compresses any more, or not for long: when somebody does again, it is due at once.
        MoveFault::Warm(WarmFault::Stopped) if is_often => DAMAGED_PAUSE,
        // One failing call may be all that there was, and appends may wait for this very segment to make
        // room: they go on soon after the disk does.
        MoveFault::Warm(WarmFault::Disk(error)) if is_often && !error.is_storage_full() => {
            FAILING_PAUSE
        }
        MoveFault::Warm(WarmFault::Damaged(_) | WarmFault::Foreign(_)) => DAMAGED_PAUSE,
        _ => backoff(known.failures),
    };
    known.not_before = Some(Instant::now() + pause);
}
