//! A store in a local folder, over our own disk: what it calls stored survives a power cut.
//!
//! ```text
//!  {root}/{key}            an object
//!  {root}/~tmp/{id}-{n}    one that is being written; `~` stands in no key
//!  {root}/~tmp/{id}.lock   locked for as long as whoever writes the files of that id is there
//! ```
//!
//! An object is written under a temporary name, synced, and only then given its own, by a call that
//! fails where the name is taken.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tierlog_storage::disk::Disk;
use tokio::sync::oneshot;

use self::files::{Files, Temp};
use super::{Answer, Listed, Source, Store, StoreError, StoreErrorKind, key::checked, whole};

mod files;
mod folders;

/// How much of a source is read, and written in one job.
const STEP: u64 = 1024 * 1024;

/// Threads for work that blocks.
pub trait Blocking: Send + Sync + fmt::Debug {
    /// Takes a job to be run on a thread that may block, or hands it back when there is no room. Once
    /// taken, a job that is dropped without being run ends its call as `Unknown`.
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Box<dyn FnOnce() + Send>>;
}

/// A store in a local folder. The folder, and those above it, are made by the first object.
///
/// Several processes may use one folder, on a file system that has hard links and locks. What one of
/// them was writing when it died is removed when the next one writes its first object.
///
/// A removal whose sync fails may come back with the next power cut, even if a later call finds the
/// object gone: there is nothing left that could be removed again.
pub struct DirStore {
    files: Arc<Files>,
    place: String,
}

impl DirStore {
    /// A store in `root`, whose files are touched on these threads. Nothing is looked at yet.
    pub fn new(disk: Arc<dyn Disk>, root: PathBuf, runs: Arc<dyn Blocking>) -> Self {
        Self {
            place: format!("fs://{}", root.display()),
            files: Arc::new(Files::new(disk, root, runs)),
        }
    }

    async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Files>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, outcome) = oneshot::channel();
        let files = Arc::clone(&self.files);
        let job = Box::new(move || {
            // Nobody may wait any more.
            let _ = done.send(work(&files));
        });
        if self.files.runs.run(job).is_err() {
            let what = format!("{}: all threads are busy", self.place);
            return Err(StoreError::new(StoreErrorKind::Busy, what));
        }
        outcome.await.unwrap_or_else(|_| {
            let what = format!("{}: the job was given up", self.place);
            Err(StoreError::new(StoreErrorKind::Unknown, what))
        })
    }

    async fn write(&self, key: &str, source: Arc<dyn Source>) -> Result<(), StoreError> {
        checked(key)?;
        let key: Arc<str> = key.into();
        let (len, mut at) = (source.len(), 0_u64);
        let mut temp: Option<Temp> = None;
        loop {
            let end = at.saturating_add(STEP).min(len);
            let bytes = whole(&*source, at..end).await?;
            let (key, begun) = (Arc::clone(&key), temp.take());
            let written = self.job(move |files| {
                let temp = match begun {
                    Some(temp) => temp,
                    None => {
                        files.refuse_existing(&key)?;
                        files.temporary()?
                    }
                };
                temp.write(&bytes, at)?;
                match end == len {
                    true => files.create(temp, &key).map(|()| None),
                    false => Ok(Some(temp)),
                }
            });
            temp = written.await?;
            if temp.is_none() {
                return Ok(());
            }
            at = end;
        }
    }
}

impl fmt::Debug for DirStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Store for DirStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(self.write(key, source))
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            let key = key.to_owned();
            let work = move |files: &Arc<Files>| {
                let temp = files.temporary()?;
                temp.write(&bytes, 0)?;
                files.replace(temp, &key)
            };
            self.job(work).await
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            checked(key)?;
            let key = key.to_owned();
            self.job(move |files| files.read(&key, &range)).await
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            checked(key)?;
            let key = key.to_owned();
            self.job(move |files| files.len(&key)).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            let key = key.to_owned();
            self.job(move |files| files.delete(&key)).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
            self.job(move |files| files.list(&prefix, after.as_deref(), most))
                .await
        })
    }
}
