//! What the coordinator knows of Tier 2: whether it is this log's, what was published, what somebody
//! waits to see archived.

use std::collections::BTreeMap;

use futures::{FutureExt, future::BoxFuture, stream::FuturesUnordered};
use tierlog_cold::client::Phase;
use tierlog_storage::{Offset, StreamId};
use tokio::{sync::oneshot, time::Instant};

use super::{
    actor::CoordinatorActor,
    moves::{MoveFault, Moved},
    plan::{self, Move},
    table::{Id, Known},
    transfers::{self, Published},
};
use crate::{
    cold::LinkState,
    context::backoff,
    protocol::{uploader::TransferFault, writer::Control},
    stream::{segments::SegmentKind, shared::StreamShared},
};

/// What the coordinator keeps of it.
#[derive(Debug, Default)]
pub(super) struct ArchiveState {
    /// It is this log's, as far as is known.
    claimed: bool,
    /// Publications that failed in a row, and when the next one may be tried.
    failures: u32,
    pub(super) not_before: Option<Instant>,
    /// Streams whose records somebody waits to see archived: up to which offset, and by when what is
    /// still open is sealed.
    wanted: BTreeMap<StreamId, Wanted>,
    /// Seals on their way, one of a stream at most. Not among the tasks, whose number is limited: a seal
    /// comes to its end only while the coordinator takes messages.
    pub(super) seals: FuturesUnordered<BoxFuture<'static, Sealed>>,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    end: Offset,
    seal_at: Instant,
    /// Up to here a seal is on its way.
    sealing: Option<Offset>,
}

/// A seal of a stream has come back, and whether everything before it has ended now.
pub(super) type Sealed = (StreamId, bool);

impl ArchiveState {
    /// It is this log's, as far as is known.
    pub(super) const fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// When something has to be done again.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let idle = self.wanted.values().filter(|it| it.sealing.is_none());
        let seals = idle.map(|wanted| wanted.seal_at);
        self.not_before.into_iter().chain(seals).min()
    }
}

impl CoordinatorActor {
    /// How many uploads and deletions may begin.
    pub(super) fn transfers(&self) -> usize {
        if !self.archive.claimed {
            return 0;
        }
        let is_transfer = |known: &Known| {
            let deletes = matches!(known.moving, Some(m) if matches!(m.step, Move::DropCold(_)));
            known.upload.is_under_way || deletes
        };
        let under_way = self.table.iter().filter(|(_, known)| is_transfer(known));
        let workers = self.log.options.upload_workers;
        workers.saturating_sub(under_way.count())
    }

    /// Tier 2 is ours, and its store answers.
    pub(super) fn archives_now(&self) -> bool {
        let cold = self.log.cold.as_ref();
        let answers = cold.is_some_and(|cold| cold.client.state().phase == Phase::Closed);
        self.archive.claimed && answers
    }

    /// Tier 2 was claimed, or is not ours.
    pub(super) fn link_changed(&mut self, state: &LinkState) {
        self.archive.claimed = matches!(state, LinkState::Claimed(_));
        let LinkState::Claimed(claimed) = state else {
            return;
        };
        for (&stream, &(start, end)) in &claimed.streams {
            let Some(archive) = self.table.archive_mut(stream) else {
                continue;
            };
            archive.published = Some(start);
            archive.archived = archive.archived.max(end);
            let end = archive.archived;
            self.show_archived(stream, end);
        }
        self.archive.not_before = None;
        self.stirred = true;
        self.sweep_after_claim();
    }

    pub(super) fn show_archived(&self, stream: StreamId, end: Offset) {
        if let (true, Some(stream)) = (self.table.outlives, self.streams.get(&stream)) {
            stream.advance_archived(end);
        }
    }

    /// Publishes what is uploaded, one publication at a time.
    pub(super) fn publish_what_can_be(&mut self) {
        let now = Instant::now();
        self.archive.not_before = self.archive.not_before.filter(|at| *at > now);
        let waits = self.archive.not_before.is_some();
        if !self.archive.claimed || self.table.publishing || waits {
            return;
        }
        let changes = plan::cold::publication(&self.table);
        if changes.is_empty() {
            return;
        }
        let mut known: Vec<_> = changes.iter().map(|change| change.stream()).collect();
        known.dedup();
        let starts = known.into_iter().filter_map(|stream| {
            let archive = self.table.archive(stream)?;
            Some((stream, archive.start))
        });
        let starts = starts.collect();
        self.table.publishing = true;
        let task = transfers::publish(self.mover.clone(), changes, starts);
        self.under_way.push(Box::pin(task));
    }

    pub(super) fn published(&mut self, outcome: Result<Published, MoveFault>) {
        self.table.publishing = false;
        match outcome {
            Ok(Published { streams }) => {
                self.archive.failures = 0;
                self.archive.not_before = None;
                for (stream, start, end) in streams {
                    if let Some(archive) = self.table.archive_mut(stream) {
                        archive.published = Some(start);
                        archive.archived = archive.archived.max(end.unwrap_or_default());
                    }
                    if let Some(end) = end {
                        self.show_archived(stream, end);
                    }
                }
                self.nudge_all();
            }
            Err(fault) => {
                let failures = self.archive.failures.saturating_add(1);
                self.archive.failures = failures;
                self.archive.not_before = Some(Instant::now() + backoff(failures));
                tracing::warn!(target: "tierlog::coordinator", ?fault, failures, "nothing was published");
            }
        }
    }

    /// Somebody waits to see records archived.
    pub(super) fn want_archived(&mut self, wishes: BTreeMap<StreamId, u64>) {
        let seal_at = Instant::now() + self.log.options.archive_after;
        for (stream, end) in wishes {
            let wanted = self.archive.wanted.entry(stream);
            let wanted = wanted.or_insert(Wanted {
                end: Offset(end),
                seal_at,
                sealing: None,
            });
            wanted.end = wanted.end.max(Offset(end));
            if wanted.sealing.is_some() {
                // What is being sealed may not reach that far.
                wanted.seal_at = seal_at;
            }
        }
    }

    /// Seals what somebody has waited for long enough. Where the command is not taken, or fails, it is
    /// tried again in a moment: a tail that was written again to another segment is still open there.
    pub(super) fn seal_what_is_wanted(&mut self) {
        let now = Instant::now();
        self.archive.wanted.retain(|id, wanted| {
            if wanted.sealing.is_some() || wanted.seal_at > now {
                return true;
            }
            wanted.seal_at = now + backoff(3);
            let Some(stream) = self.streams.get(id) else {
                return true;
            };
            // One that takes nothing any more has told everybody so who waited.
            if has_ended(stream, wanted.end) || stream.is_shut().is_some() {
                return false;
            }
            // On the lane it stands behind the record, wherever that has got by now.
            let (done, answer) = oneshot::channel();
            if stream.submit_control(Control::Seal(done)).is_ok() {
                wanted.sealing = Some(wanted.end);
                let id = *id;
                let seal = answer.map(move |answer| (id, matches!(answer, Ok(Ok(_)))));
                self.archive.seals.push(seal.boxed());
            }
            true
        });
    }

    /// A seal has come back.
    pub(super) fn sealed(&mut self, (stream, is_done): Sealed) {
        let Some(wanted) = self.archive.wanted.get_mut(&stream) else {
            return;
        };
        let sealed = wanted.sealing.take().filter(|_| is_done);
        if sealed.is_some_and(|end| wanted.end <= end) {
            self.archive.wanted.remove(&stream);
        } else if !is_done {
            wanted.seal_at = wanted.seal_at.max(Instant::now() + backoff(3));
        }
    }

    /// Segments that were trimmed go from the table, but for those with an object: that has to be
    /// deleted some day.
    pub(super) fn trimmed(&mut self, id: Id) {
        self.table.change(&id, |known| {
            known.trimmed = true;
            known.residency.hot = false;
            known.residency.warm = None;
        });
        self.forget_if_nothing_is_left(id);
    }

    /// The start of a stream has moved.
    pub(super) fn start_moved(&mut self, stream: StreamId) {
        let start = self.streams.get(&stream).map(|stream| stream.start());
        if let (Some(archive), Some(start)) = (self.table.archive_mut(stream), start) {
            archive.start = archive.start.max(start);
        }
    }

    /// What was trimmed while something was being done about it goes when that has ended.
    pub(super) fn forget_if_gone(&mut self, id: Id, moved: &Moved) {
        if matches!(moved, Moved::ColdDeleted) {
            self.table.remove(&id);
            return;
        }
        if let Moved::NotUploaded(MoveFault::Cold(TransferFault::Ended(_))) = moved {
            // Nothing will come of it under this owner.
            self.archive.claimed = false;
        }
        self.forget_if_nothing_is_left(id);
    }

    fn forget_if_nothing_is_left(&mut self, id: Id) {
        let is_over = self.table.get(&id).is_some_and(|known| {
            let copies = &known.residency;
            let idle = known.moving.is_none() && !known.upload.is_under_way;
            known.trimmed && idle && copies.cold.is_none() && copies.upload.is_none()
        });
        if is_over {
            self.table.remove(&id);
        }
    }
}

/// Whether no open segment has a record before `end`.
fn has_ended(stream: &StreamShared, end: Offset) -> bool {
    let all = stream.segments.all();
    let ended = all.iter().rev().find(|s| s.kind != SegmentKind::Active);
    ended.is_some_and(|segment| segment.end() >= end)
}
