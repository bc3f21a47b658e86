//! The blocking part: write, sync, rotate, and begin a new file where the present one failed.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use tierlog_storage::{
    error::StorageError,
    manifest::{Current, Entry, ManifestLog, ManifestOptions, ManifestState, Seq},
    planted,
};

use crate::{context::LogContext, error::Error};

/// The open manifest file and what it says. Both travel into each job and back, so that nobody else
/// can touch them meanwhile.
#[derive(Debug)]
pub struct Store {
    /// The file.
    pub file: ManifestLog,
    /// What is durable.
    pub state: ManifestState,
}

/// What a job came to.
#[derive(Debug)]
pub struct Outcome {
    /// The store, unless it is lost: then no file can be written to any more.
    pub store: Option<Store>,
    /// One for each commit, in order.
    pub results: Vec<Result<Seq, Error>>,
}

/// Makes the commits durable: one write and one sync for all of them.
///
/// When that fails, nobody knows what of them is on disk, and the same pages must not be synced
/// again. A new file is begun that starts with a snapshot of what was durable before, `CURRENT` is
/// switched to it, and the commits are written there. Only if that fails as well they end
/// `Indeterminate`, and the store is gone.
pub fn commit(log: &LogContext, mut store: Store, commits: &[Vec<Entry>]) -> Outcome {
    let begun = Instant::now();
    let first = match store.file.commit(commits, &mut store.state) {
        Ok(results) => Ok(results),
        Err(error) if error.is_storage_full() && !store.file.is_spent() => {
            // Nothing was written, and there will be room again: the file is as good as before.
            let results = commits.iter().map(|_| Err(Error::StorageFull)).collect();
            return Outcome {
                store: Some(store),
                results,
            };
        }
        Err(error) => {
            tracing::warn!(target: "tierlog::manifest", %error, "manifest write failed; beginning a new file");
            begin_file(log, &mut store).and_then(|()| store.file.commit(commits, &mut store.state))
        }
    };
    let first = match first {
        Err(_) if planted::is("manifest_error_swallowed") => {
            Ok(commits.iter().map(|_| Ok(store.state.seq)).collect())
        }
        first => first,
    };
    log.meters.manifest_commit_seconds.record(begun.elapsed());
    match first {
        Ok(results) => {
            let mut goes_on = true;
            if store.file.wants_rotation()
                && let Err(error) = begin_file(log, &mut store)
            {
                // The old file is whole and goes on; rotation is tried again with the next commit.
                tracing::warn!(target: "tierlog::manifest", %error, "manifest rotation failed");
                goes_on = counts(log, &store);
            }
            let results = results
                .into_iter()
                .map(|result| result.map_err(refused))
                .collect();
            Outcome {
                store: goes_on.then_some(store),
                results,
            }
        }
        Err(error) => {
            let error = Error::indeterminate(&error);
            Outcome {
                store: None,
                results: commits.iter().map(|_| Err(error.clone())).collect(),
            }
        }
    }
}

/// Whether `CURRENT` still names the file that is written to. An attempt to begin another one may have failed
/// behind the switch: what is committed here from then on would be lost to the next open. What was committed
/// before is in both, so that the next generation may begin with either.
fn counts(log: &LogContext, store: &Store) -> bool {
    let current = Current::read(log.disk.as_ref(), &log.layout);
    current.is_ok_and(|current| current.is_some_and(|it| it.number == store.file.number()))
}

/// Marks the log as closed cleanly.
pub fn close_clean(mut store: Store) -> Result<(), Error> {
    store.file.close_clean().map_err(Error::from)
}

fn begin_file(log: &LogContext, store: &mut Store) -> Result<(), StorageError> {
    let mut in_doubt = log
        .manifest_files
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *in_doubt = true;
    let number = store.file.number() + 1;
    let options = options(log);
    let now = log.clock.now_ns();
    let mut next =
        ManifestLog::create(&log.disk, &log.layout, number, &store.state, &options, now)?;
    next.publish()?;
    *in_doubt = false;
    store.state.seq = next.last_seq();
    store.file = next;
    tracing::debug!(target: "tierlog::manifest", number, "a new manifest file");
    // Everything is reachable from CURRENT by now; an old file that stays is only a leftover.
    if let Err(error) = ManifestLog::delete_older(log.disk.as_ref(), &log.layout, number) {
        tracing::warn!(target: "tierlog::manifest", %error, "an old manifest file stays");
    }
    Ok(())
}

/// The manifest's part of the options.
pub fn options(log: &LogContext) -> ManifestOptions {
    ManifestOptions {
        chunk_size: log.options.manifest_chunk,
        rotate_bytes: log.options.manifest_rotate,
    }
}

fn refused(error: StorageError) -> Error {
    match error {
        StorageError::Invalid { what } => Error::InvalidInput { what },
        other => Error::Storage(Arc::new(other)),
    }
}
