//! A compressed file, as what an object is made of.

use std::{fmt, io, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tierlog_cold::store::{Parts, Source};
use tierlog_storage::{disk::Access, segment::Latched};

use super::parts::Sender;
use crate::{
    context::LogContext,
    exec::{Running, Work},
};

/// Read by threads that wait for disks, piece by piece.
pub(super) struct FileSource {
    pub(super) log: Arc<LogContext>,
    pub(super) running: Running,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Keeps account of parts, where they outlive the process.
    pub(super) sender: Option<Sender>,
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn parts(&self) -> Option<&dyn Parts> {
        self.sender.as_ref().map(|sender| sender as &dyn Parts)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        let (log, path) = (Arc::clone(&self.log), self.path.clone());
        let job = self.log.job(Work::Read, &self.running, move || {
            let file = log.disk.open(&path, Access::Read)?;
            let file = Latched::new(file, path);
            let len = usize::try_from(range.end.saturating_sub(range.start))
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut bytes = vec![0; len];
            let read = file
                .read_at(&mut bytes, range.start)
                .map_err(io::Error::other)?;
            match read == len {
                true => Ok(Bytes::from(bytes)),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        });
        Box::pin(async move { job.await.unwrap_or_else(|died| Err(io::Error::other(died))) })
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
