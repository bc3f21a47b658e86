//! The open segment file, with the latch that keeps a fault a fault, and the making of new ones.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;

use crate::{
    disk::{Disk, SharedFile},
    error::{Result, StorageError},
    ids::{SegmentNo, StreamId},
    layout::Layout,
    planted,
};

/// A file that is never written nor synced again once a write or a sync of it has failed.
///
/// When a sync fails, the kernel marks the lost pages clean, and the next sync of the same file
/// reports success: whoever tries again calls lost bytes durable. So the first failure stays, for
/// all clones of this value, and everything that would change or sync the file fails from then on
/// without reaching it. Reading goes on.
#[derive(Debug, Clone)]
pub struct Latched {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: SharedFile,
    path: PathBuf,
    failed: OnceLock<String>,
    /// Held during a sync. Of two syncs at once only one is told that pages were lost; the other
    /// one may come back with success although it was meant to cover the same pages.
    syncing: Mutex<()>,
}

impl Latched {
    /// Wraps an open file. `path` is what errors will name.
    pub fn new(file: SharedFile, path: PathBuf) -> Self {
        let inner = Inner {
            file,
            path,
            failed: OnceLock::new(),
            syncing: Mutex::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Writes all of `buf` at `pos`. A failure, whatever its cause, latches.
    pub fn write_at(&self, buf: &[u8], pos: u64) -> Result<()> {
        self.refuse_after_failure("write")?;
        self.inner
            .file
            .write_at(buf, pos)
            .map_err(|source| self.latch("write", source))
    }

    /// Makes durable what was written before the call. A failure latches.
    pub fn sync(&self) -> Result<()> {
        let _alone = self
            .inner
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.refuse_after_failure("sync")?;
        let sync = || self.inner.file.sync_data();
        if planted::is("sync_retried") {
            return sync()
                .or_else(|_| sync())
                .map_err(|source| self.error("sync", source));
        }
        sync().map_err(|source| self.latch("sync", source))
    }

    /// Reserves room for `pos..pos + len`. A full disk does not latch: nothing was lost by it, and
    /// the same call may succeed once there is room. Any other failure does.
    pub fn allocate(&self, pos: u64, len: u64) -> Result<()> {
        self.refuse_after_failure("allocate room in")?;
        self.inner.file.allocate(pos, len).map_err(|source| {
            let error = StorageError::io("allocate room in", &self.inner.path, source);
            if !error.is_storage_full() {
                self.note(&error);
            }
            error
        })
    }

    /// Cuts or grows the file. A failure latches.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.refuse_after_failure("resize")?;
        self.inner
            .file
            .set_len(len)
            .map_err(|source| self.latch("resize", source))
    }

    /// Reads at `pos`; fewer bytes than asked for only at the end of the file.
    pub fn read_at(&self, buf: &mut [u8], pos: u64) -> Result<usize> {
        self.inner
            .file
            .read_at(buf, pos)
            .map_err(|source| self.error("read", source))
    }

    /// Reads up to `len` bytes at `pos` behind what `buf` has; fewer only at the end of the file.
    pub fn read_behind(&self, buf: &mut Vec<u8>, len: usize, pos: u64) -> Result<usize> {
        self.inner
            .file
            .read_behind(buf, len, pos)
            .map_err(|source| self.error("read", source))
    }

    /// Fills `buf` from `pos` on and says so, if all of it is in memory: it never waits for the device.
    pub fn read_in_memory(&self, buf: &mut [u8], pos: u64) -> bool {
        self.inner.file.read_in_memory(buf, pos)
    }

    /// The file's length in bytes.
    #[allow(
        clippy::len_without_is_empty,
        reason = "nobody asks; it would be one more system call"
    )]
    pub fn len(&self) -> Result<u64> {
        self.inner
            .file
            .len()
            .map_err(|source| self.error("measure", source))
    }

    /// Maps the first `len` bytes. The file must never be written again.
    pub fn map_read_only(&self, len: u64) -> Result<Bytes> {
        self.inner
            .file
            .map_read_only(len)
            .map_err(|source| self.error("map", source))
    }

    /// The path that errors name.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The file below, for those who only read it.
    pub fn file(&self) -> &SharedFile {
        &self.inner.file
    }

    /// True once a write or a sync has failed.
    pub fn failed(&self) -> bool {
        self.inner.failed.get().is_some()
    }

    fn refuse_after_failure(&self, op: &'static str) -> Result<()> {
        match self.inner.failed.get() {
            None => Ok(()),
            // Of no kind that tells anybody to wait or to try again, whatever the first one was.
            Some(first) => Err(self.error(op, io::Error::other(format!("not tried: {first}")))),
        }
    }

    fn latch(&self, op: &'static str, source: io::Error) -> StorageError {
        let error = self.error(op, source);
        self.note(&error);
        error
    }

    fn note(&self, error: &StorageError) {
        if self.inner.failed.set(error.to_string()).is_ok() {
            tracing::error!(target: "tierlog::storage", %error, "the file is closed for writing");
        }
    }

    fn error(&self, op: &'static str, source: io::Error) -> StorageError {
        StorageError::io(op, &self.inner.path, source)
    }
}

/// Creates a segment file with `allocate` bytes of room; when this returns, the file and its name
/// are durable. When it fails, no file of that number is left where that can be helped.
///
/// `streams/` itself must exist and be durable.
pub fn create_segment(
    disk: &dyn Disk,
    layout: &Layout,
    stream: StreamId,
    no: SegmentNo,
    allocate: u64,
) -> Result<Latched> {
    ensure_stream_dir(disk, layout, stream)?;
    let path = layout.segment(stream, no);
    // A file that is already there is somebody's: it stays.
    let file = disk
        .create_new(&path)
        .map_err(|e| StorageError::io("create", &path, e))?;
    let segment = Latched::new(file, path);
    match make_durable(disk, layout, stream, &segment, allocate) {
        Ok(()) => Ok(segment),
        Err(error) => {
            remove_again(disk, layout, stream, segment.path());
            Err(error)
        }
    }
}

fn make_durable(
    disk: &dyn Disk,
    layout: &Layout,
    stream: StreamId,
    segment: &Latched,
    allocate: u64,
) -> Result<()> {
    segment.allocate(0, allocate)?;
    segment.sync()?;
    if planted::is("no_directory_sync") {
        return Ok(());
    }
    sync_dir(disk, &layout.stream_dir(stream))
}

fn ensure_stream_dir(disk: &dyn Disk, layout: &Layout, stream: StreamId) -> Result<()> {
    make_dir_anew(disk, &layout.stream_dir(stream))?;
    // Also where the folder exists: its maker may have been killed before its own sync, and
    // then a power cut would take the folder with all that was called durable in it.
    sync_dir(disk, &layout.streams_dir())
}

/// Creates a folder, also where there is one that holds nothing: the sync that was to make its name durable
/// may have failed, the kernel has forgotten the name then, and the next sync would succeed without it.
/// One that holds something was durable before that came into it.
pub(crate) fn make_dir_anew(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let mut made = disk.create_dir(dir);
    let is_there = |made: &io::Result<()>| {
        let error = made.as_ref().err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    };
    if is_there(&made) && disk.remove_dir(dir).is_ok() {
        made = disk.create_dir(dir);
    }
    match made {
        Err(_) if is_there(&made) => Ok(()),
        made => made.map_err(|error| StorageError::io("create", dir, error)),
    }
}

fn remove_again(disk: &dyn Disk, layout: &Layout, stream: StreamId, path: &Path) {
    let removed = disk
        .remove(path)
        .and_then(|()| disk.sync_dir(&layout.stream_dir(stream)));
    if let Err(error) = removed {
        // Blank, and named by no manifest: the next recovery removes it.
        tracing::warn!(
            target: "tierlog::storage", path = %path.display(), %error,
            "a segment that could not be finished was left behind"
        );
    }
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir)
        .map_err(|error| StorageError::io("sync", dir, error))
}

#[cfg(test)]
mod tests;
