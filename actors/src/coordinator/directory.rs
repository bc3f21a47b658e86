//! Sweeping the data directory: files that nothing names are found, and removed or quarantined where it is
//! certain that nobody is about to name them.
//!
//! ```text
//!   for each stream   list ─▶ the manifest: unnamed? ─▶ take, unless somebody is at work on them
//!                     ─▶ the manifest again ─▶ judge, remove, quarantine ─▶ let go
//! ```
//!
//! Neither the listing nor the first answer of the manifest is believed: they say which names to take. What
//! the manifest says behind that holds until they are let go (`under_way.rs`), and what the file says is
//! read then.

use std::{path::Path, sync::PoisonError};

use tierlog_storage::{
    StreamId,
    error::StorageError,
    recovery::{Broom, Cleaned, Names, Swept, SweptFate, look_around, look_at_stream},
};

use super::{
    moves::Mover,
    sweep::Step,
    tasks::{Effect, is_dir_sync},
};
use crate::{
    error::Error,
    protocol::sweep::{Fate, SweptDirectory, SweptFile},
};
use tierlog_storage::disk::Disk;

/// Why the directory was not swept to its end.
#[derive(Debug)]
pub enum DirectoryFault {
    /// A folder could not be synced: which names in it are durable is unknown.
    Folder(Error),
    /// Something else.
    Other(Error),
}

/// Sweeps the directory.
pub(super) async fn sweep(mover: Mover, dry_run: bool) -> Effect {
    let mut sweeping = Sweeping {
        mover,
        dry_run,
        report: SweptDirectory::default(),
    };
    let outcome = sweeping.run().await;
    Effect::Swept(Step::Directory(outcome.map(|()| sweeping.report)))
}

struct Sweeping {
    mover: Mover,
    dry_run: bool,
    report: SweptDirectory,
}

impl Sweeping {
    async fn run(&mut self) -> Result<(), DirectoryFault> {
        let layout = self.mover.tasks.log.layout.clone();
        let around = self.job(None, move |disk| look_around(disk, &layout));
        let around = around.await?;
        self.report.foreign += around.foreign;
        self.report.in_quarantine = around.in_quarantine;
        self.sweep_manifests().await?;
        for stream in around.streams {
            self.sweep_stream(stream).await?;
        }
        Ok(())
    }

    async fn sweep_manifests(&mut self) -> Result<(), DirectoryFault> {
        let (log, id, dry_run) = (self.mover.tasks.log.clone(), self.mover.log, self.dry_run);
        let cleaned = self.job(None, move |disk| {
            // The manifest's own job begins files under this lock. What `CURRENT` names while it is held
            // is the file that is written to; unless the last attempt to switch it has failed, and all of
            // them stay.
            let in_doubt = log.manifest_files.lock();
            let in_doubt = in_doubt.unwrap_or_else(PoisonError::into_inner);
            if *in_doubt {
                return Ok(Cleaned::default());
            }
            let broom = Broom {
                disk,
                layout: &log.layout,
                log: id,
                dry_run,
            };
            broom.sweep_manifests()
        });
        let cleaned = cleaned.await?;
        self.tell(cleaned);
        Ok(())
    }

    async fn sweep_stream(&mut self, stream: StreamId) -> Result<(), DirectoryFault> {
        let log = self.mover.tasks.log.clone();
        let layout = log.layout.clone();
        let listed = self.job(Some(stream), move |disk| {
            look_at_stream(disk, &layout, stream)
        });
        let listed = listed.await?;
        let known = self.state_of(stream).await?;
        let mut names = Names::of(listed, known.as_ref());
        self.report.files += names.named;
        self.report.named += names.named;
        self.report.foreign += names.foreign;
        if names.unnamed.is_empty() {
            return Ok(());
        }
        log.faults.at("coordinator.before_take").await;
        let (hold, free) = log.under_way.take(stream, names.unnamed.keys().copied());
        let busy: usize = names
            .unnamed
            .extract_if(.., |no, _| !free.contains(no))
            .map(|(_, files)| files.len())
            .sum();
        self.report.files += busy as u64;
        self.report.under_way += busy as u64;
        // Behind every commit that could name one of them: their makers had queued it before they let go.
        let known = self.state_of(stream).await?;
        log.faults.at("coordinator.before_clean").await;
        let (id, dry_run) = (self.mover.log, self.dry_run);
        let files: Vec<_> = names.unnamed.into_values().flatten().collect();
        let cleaned = self.job(Some(stream), move |disk| {
            // Whatever becomes of this sweep, they are let go when nothing here can touch them any more.
            let _hold = hold;
            let broom = Broom {
                disk,
                layout: &log.layout,
                log: id,
                dry_run,
            };
            broom.sweep(stream, known.as_ref(), &files)
        });
        let cleaned = cleaned.await?;
        self.tell(cleaned);
        Ok(())
    }

    async fn state_of(
        &self,
        stream: StreamId,
    ) -> Result<Option<tierlog_storage::manifest::StreamState>, DirectoryFault> {
        let state = self.mover.tasks.manifest.state_of(stream).await;
        state.map_err(|_| {
            let why = "the manifest is being begun anew".into();
            DirectoryFault::Other(Error::Unavailable { why })
        })
    }

    async fn job<T: Send + 'static>(
        &self,
        stream: Option<StreamId>,
        work: impl FnOnce(&dyn Disk) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, DirectoryFault> {
        let tasks = &self.mover.tasks;
        let job = tasks.log.long_job(&tasks.running, move |disk| work(&*disk));
        match job.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if is_folder(&error, self, stream) => {
                Err(DirectoryFault::Folder(error.into()))
            }
            Ok(Err(error)) => Err(DirectoryFault::Other(error.into())),
            Err(error) => Err(DirectoryFault::Other(error)),
        }
    }

    fn tell(&mut self, cleaned: Cleaned) {
        let Cleaned {
            named,
            foreign,
            swept,
        } = cleaned;
        let report = &mut self.report;
        report.files += named + foreign + swept.len() as u64;
        report.named += named;
        report.foreign += foreign;
        let root = self.mover.tasks.log.layout.root();
        let below = |path: &Path| {
            path.strip_prefix(root)
                .unwrap_or(path)
                .display()
                .to_string()
        };
        for Swept {
            path,
            len,
            why,
            fate,
        } in swept
        {
            let (fate, now) = match fate {
                SweptFate::Removed => (Fate::Removed, None),
                SweptFate::Quarantined(now) => (Fate::Quarantined, now),
            };
            let file = SweptFile {
                path: below(&path),
                len,
                fate,
                why: why.to_owned(),
                now: now.as_deref().map(below),
            };
            if !self.dry_run {
                match fate {
                    Fate::Removed => {
                        tracing::info!(target: "tierlog::coordinator", path = file.path, why, "a leftover is removed");
                    }
                    Fate::Quarantined => {
                        tracing::warn!(target: "tierlog::coordinator", path = file.path, why, now = file.now, "a file is of this log, and nothing names it");
                    }
                }
            }
            report.tell(file);
        }
    }
}

fn is_folder(error: &StorageError, sweeping: &Sweeping, stream: Option<StreamId>) -> bool {
    let layout = &sweeping.mover.tasks.log.layout;
    stream.is_some_and(|stream| is_dir_sync(error, layout, stream))
}
