//! Sweeping: first the data directory (`directory.rs`), then Tier 2, if there is one. Objects that nothing
//! names are found, and removed where it is certain what they are.
//!
//! ```text
//!   Survey ─▶ a page, held against the catalog ─▶ judge, pure, from the table ─▶ Discard, one by one ─▶ …
//! ```
//!
//! A leftover stays one: its name can't be given again, neither by this owner nor by a later one.

use std::{collections::VecDeque, mem, time::Duration};

use tierlog_storage::{Epoch, Offset, catalog::SegmentKey, warm::WarmHead};
use tokio::time::Instant;

use super::{
    actor::CoordinatorActor,
    directory::{self, DirectoryFault},
    moves::Mover,
    table::Table,
    tasks::Effect,
};
use crate::{
    cold::LinkState,
    error::Error,
    protocol::{
        Reply,
        sweep::{Fate, Page, Sweep, SweepReport, SweptDirectory, SweptObject, SweptTier2, Unnamed},
        uploader::TransferFault,
    },
};

/// The first one comes no later than this after the open, and after the claim of Tier 2: a restored log
/// has leftovers at once.
const FIRST: Duration = Duration::from_secs(600);

/// Sweeps that may wait for the one under way.
const WAITING: usize = 16;

/// What the coordinator keeps of sweeps.
#[derive(Debug, Default)]
pub(super) struct SweepState {
    running: Option<Sweeping>,
    waiting: VecDeque<Sweep>,
    /// When the next one begins by itself.
    next_at: Option<Instant>,
}

#[derive(Debug)]
struct Sweeping {
    begun: Instant,
    report: SweepReport,
    /// Tier 2 comes behind the directory.
    goes_on: bool,
    /// Nobody, where it began by itself.
    done: Option<Reply<Result<SweepReport, Error>>>,
    /// The last key of the pages before.
    after: Option<String>,
    is_last: bool,
}

impl SweepState {
    /// Nothing was swept yet; zero means that nothing is, unless somebody asks.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            next_at: first_at(every),
            ..Self::default()
        }
    }

    /// When something has to be done.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }
}

fn first_at(every: Duration) -> Option<Instant> {
    (!every.is_zero()).then(|| Instant::now() + every.min(FIRST))
}

/// What a step came to.
#[derive(Debug)]
pub enum Step {
    /// The directory was gone through.
    Directory(Result<SweptDirectory, DirectoryFault>),
    /// A page was looked through.
    Surveyed(Result<Page, TransferFault>),
    /// These are gone, before whatever went wrong.
    Discarded(Vec<SweptObject>, Result<(), TransferFault>),
}

impl CoordinatorActor {
    /// Tier 2 was claimed.
    pub(super) fn sweep_after_claim(&mut self) {
        self.sweep.next_at = first_at(self.log.options.sweep_every);
    }

    /// Begins the one that is due by itself.
    pub(super) fn sweep_if_due(&mut self) {
        if self.sweep.next_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.sweep.next_at = Some(Instant::now() + self.log.options.sweep_every);
        if self.sweep.running.is_none() {
            self.begin_sweep(false, self.archive.is_claimed(), None);
        }
    }

    /// Somebody wants one now.
    pub(super) fn sweep_for(&mut self, sweep: Sweep) {
        let refused = match &self.log.cold {
            None => None,
            Some(link) => match link.state() {
                // The news of it may still wait behind this message.
                LinkState::Claimed(_) => None,
                LinkState::Ended(error) => Some(error),
                LinkState::Claiming(_) => Some(unavailable("Tier 2 is not claimed yet")),
            },
        };
        if let Some(error) = refused {
            let _ = sweep.done.send(Err(error));
        } else if self.sweep.running.is_none() {
            self.begin_sweep(sweep.dry_run, self.log.cold.is_some(), Some(sweep.done));
        } else if self.sweep.waiting.len() < WAITING {
            self.sweep.waiting.push_back(sweep);
        } else {
            let error = unavailable("too many sweeps wait for the one under way");
            let _ = sweep.done.send(Err(error));
        }
    }

    fn begin_sweep(
        &mut self,
        dry_run: bool,
        goes_on: bool,
        done: Option<Reply<Result<SweepReport, Error>>>,
    ) {
        self.sweep.running = Some(Sweeping {
            begun: Instant::now(),
            report: SweepReport {
                dry_run,
                ..SweepReport::default()
            },
            goes_on,
            done,
            after: None,
            is_last: false,
        });
        let task = directory::sweep(self.mover.clone(), dry_run);
        self.under_way.push(Box::pin(task));
    }

    /// The directory was gone through.
    fn swept_directory(&mut self, swept: Result<SweptDirectory, DirectoryFault>) {
        let directory = match swept {
            Ok(directory) => directory,
            Err(DirectoryFault::Other(error)) => return self.end_sweep(Err(error)),
            Err(DirectoryFault::Folder(error)) => {
                self.broken = Some(error.clone());
                return self.end_sweep(Err(error));
            }
        };
        let Some(running) = &mut self.sweep.running else {
            return;
        };
        let SweptDirectory {
            removed,
            quarantined,
            in_quarantine,
            foreign,
            ..
        } = directory;
        if !running.report.dry_run {
            tracing::info!(target: "tierlog::coordinator", removed, quarantined, foreign, "the data directory is swept");
            self.log.meters.swept_files.increment(removed);
            self.unnamed
                .show_files(in_quarantine + quarantined, foreign);
        }
        running.report.directory = directory;
        match running.goes_on {
            true => {
                running.report.tier_2 = Some(SweptTier2::default());
                self.survey(None);
            }
            false => self.end_sweep(Ok(())),
        }
    }

    fn survey(&mut self, after: Option<String>) {
        self.under_way
            .push(Box::pin(survey(self.mover.clone(), after)));
    }

    /// A step has ended.
    pub(super) fn swept(&mut self, step: Step) {
        match step {
            Step::Directory(swept) => self.swept_directory(swept),
            Step::Surveyed(Ok(page)) => self.judge_page(page),
            Step::Discarded(gone, outcome) => {
                let Some(running) = &mut self.sweep.running else {
                    return;
                };
                self.log.meters.swept_objects.increment(gone.len() as u64);
                let report = running.report.tier_2.get_or_insert_default();
                gone.into_iter().for_each(|it| report.tell(it));
                match outcome {
                    Ok(()) => self.next_page(),
                    Err(fault) => self.end_sweep(Err(as_error(fault))),
                }
            }
            Step::Surveyed(Err(fault)) => self.end_sweep(Err(as_error(fault))),
        }
    }

    fn judge_page(&mut self, page: Page) {
        let Some(running) = &mut self.sweep.running else {
            return;
        };
        let dry_run = running.report.dry_run;
        let report = running.report.tier_2.get_or_insert_default();
        report.objects += page.objects;
        report.bytes = report.bytes.saturating_add(page.bytes);
        report.catalog += page.catalog;
        report.named += page.named;
        report.later += page.not_ours_yet;
        report.foreign += page.foreign;
        running.is_last = page.next.is_none();
        running.after = page.next;
        let known = Knowledge {
            table: &self.table,
            epoch: self.mover.tasks.epoch,
            is_open: &|key| self.ledger.is_open(&(key.stream, key.segment)),
            durable: &|key| {
                let stream = self.streams.get(&key.stream);
                stream.map_or(Offset::ZERO, |stream| stream.watermarks().durable)
            },
        };
        let mut leftovers = Vec::new();
        for unnamed in page.unnamed {
            let (fate, why) = match known.judge(&unnamed) {
                Verdict::Named => {
                    report.named += 1;
                    continue;
                }
                Verdict::Later => {
                    report.later += 1;
                    continue;
                }
                Verdict::Leftover(why) => (Fate::Removed, why),
                Verdict::Quarantined(why) => (Fate::Quarantined, why),
            };
            let Unnamed { key, len, .. } = unnamed;
            let object = SweptObject {
                key,
                len,
                fate,
                why,
            };
            match (fate, unnamed.parsed) {
                (Fate::Removed, Some(key)) if !dry_run => leftovers.push((key, object)),
                _ => {
                    if fate == Fate::Quarantined {
                        tracing::warn!(target: "tierlog::coordinator", key = object.key, why = object.why, "an object is of this log, and nothing names it");
                    }
                    report.tell(object);
                }
            }
        }
        match leftovers.is_empty() {
            true => self.next_page(),
            false => self
                .under_way
                .push(Box::pin(discard(self.mover.clone(), leftovers))),
        }
    }

    fn next_page(&mut self) {
        let Some(running) = &mut self.sweep.running else {
            return;
        };
        match running.is_last {
            true => self.end_sweep(Ok(())),
            false => {
                let after = running.after.take();
                self.survey(after);
            }
        }
    }

    fn end_sweep(&mut self, outcome: Result<(), Error>) {
        let Some(running) = self.sweep.running.take() else {
            return;
        };
        let mut report = running.report;
        report.took = running.begun.elapsed();
        let outcome = outcome.map(|()| report);
        match &outcome {
            Ok(SweepReport {
                tier_2: Some(swept),
                took,
                dry_run,
                ..
            }) => {
                let SweptTier2 {
                    removed,
                    quarantined,
                    foreign,
                    ..
                } = swept;
                tracing::info!(target: "tierlog::coordinator", removed, quarantined, foreign, ?took, dry_run, "Tier 2 is swept");
                self.unnamed.show(*quarantined, *foreign);
            }
            Ok(_) => {}
            Err(error) => {
                self.log.meters.sweep_failures.increment(1);
                tracing::warn!(target: "tierlog::coordinator", %error, "a sweep did not come to its end");
            }
        }
        self.log.note_sweep(&outcome);
        if let Some(done) = running.done {
            // It may have been given up.
            let _ = done.send(outcome);
        }
        for sweep in mem::take(&mut self.sweep.waiting) {
            self.sweep_for(sweep);
        }
    }
}

async fn survey(mover: Mover, after: Option<String>) -> Effect {
    let surveyed = match &mover.uploader {
        Some(uploader) => uploader.survey(after).await,
        None => Err(TransferFault::Stopped),
    };
    Effect::Swept(Step::Surveyed(surveyed))
}

/// Removes leftovers one by one; the first one that can't be ends it.
async fn discard(mover: Mover, leftovers: Vec<(SegmentKey, SweptObject)>) -> Effect {
    let mut gone = Vec::new();
    let Some(uploader) = &mover.uploader else {
        return Effect::Swept(Step::Discarded(gone, Err(TransferFault::Stopped)));
    };
    for (key, object) in leftovers {
        mover
            .tasks
            .log
            .faults
            .at("coordinator.before_discard")
            .await;
        if let Err(fault) = uploader.discard(key).await {
            return Effect::Swept(Step::Discarded(gone, Err(fault)));
        }
        tracing::info!(target: "tierlog::coordinator", %key, why = object.why, "a leftover is removed from Tier 2");
        gone.push(object);
    }
    Effect::Swept(Step::Discarded(gone, Ok(())))
}

fn unavailable(why: &str) -> Error {
    Error::Unavailable { why: why.into() }
}

fn as_error(fault: TransferFault) -> Error {
    match fault {
        TransferFault::Ended(error) => error,
        TransferFault::Damaged(what) => Error::Tier2 { what: what.into() },
        fault => Error::Unavailable {
            why: format!("Tier 2 could not be swept: {fault}").into(),
        },
    }
}

/// What is known here when an object is judged.
struct Knowledge<'a> {
    table: &'a Table,
    epoch: Epoch,
    /// Whether a segment is still being written.
    is_open: &'a dyn Fn(&SegmentKey) -> bool,
    /// The durable end of its stream, where that is open.
    durable: &'a dyn Fn(&SegmentKey) -> Offset,
}

/// What an object is.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// This owner has named it, or is about to.
    Named,
    /// It may be named yet.
    Later,
    /// Nobody will ever name it, and what it holds is here or given up.
    Leftover(String),
    /// Nobody will ever name it, and nothing explains it.
    Quarantined(String),
}

impl Knowledge<'_> {
    fn judge(&self, unnamed: &Unnamed) -> Verdict {
        let quarantined = |why: &str| Verdict::Quarantined(why.to_owned());
        let Some(head) = &unnamed.head else {
            return quarantined("it was written by a newer version");
        };
        let Some(key) = &unnamed.parsed else {
            return quarantined("its name is none that a log gives");
        };
        if (head.stream, head.segment, head.base) != (key.stream, key.segment, key.base) {
            return quarantined("it holds another segment than its name says");
        }
        if key.epoch > self.epoch {
            return Verdict::Later;
        }
        let known = self.table.get(&(key.stream, key.segment));
        let copies = known.map(|known| &known.residency);
        let cold = copies.and_then(|copies| copies.cold.as_ref());
        let begun = copies.and_then(|copies| copies.upload.as_ref());
        let mut names = cold
            .map(|cold| &cold.key)
            .into_iter()
            .chain(begun.map(|begun| &begun.key));
        if names.any(|name| *name == unnamed.key) {
            return Verdict::Named;
        }
        // A name of this epoch is given when a segment is uploaded, unless it has an object already: that
        // one is named for as long as the segment is. What was trimmed is not uploaded any more.
        let outlives = self.table.outlives;
        let is_settled =
            known.is_some_and(|known| known.trimmed || (outlives && known.residency.is_cold()));
        let may_come = known.is_some() || (self.is_open)(key);
        if key.epoch == self.epoch && may_come && !is_settled {
            return Verdict::Later;
        }
        self.by_offsets(key, head)
    }

    /// No catalog and no upload names it, or ever will. What it holds decides whether anybody could miss it.
    fn by_offsets(&self, key: &SegmentKey, head: &WarmHead) -> Verdict {
        let Some(archive) = self.table.archive(key.stream) else {
            let why = format!("stream {} is not known here", key.stream);
            return Verdict::Quarantined(why);
        };
        let ended = self.table.of_stream(key.stream);
        let ended = ended.filter_map(|(_, known)| Some(known.status.range()?.1));
        let next = ended
            .chain([archive.archived, (self.durable)(key)])
            .max()
            .unwrap_or_default();
        let (base, end) = (head.base, head.end);
        if end <= archive.start {
            let why = format!("offsets {base}..{end} were trimmed");
            return Verdict::Leftover(why);
        }
        if end <= next {
            let why = format!("the log has offsets {base}..{end} elsewhere");
            return Verdict::Leftover(why);
        }
        let why = format!("it holds offsets {base}..{end}, and the log ends at {next}");
        Verdict::Quarantined(why)
    }
}

#[cfg(test)]
mod tests;
