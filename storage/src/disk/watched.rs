//! A disk that counts the calls that have come back, so that somebody else can tell a long piece of
//! work from one that is stuck in a call.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space};

/// How many calls have come back so far. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The count now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn after<T>(&self, outcome: T) -> T {
        self.0.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

/// Another disk, whose calls are counted as they come back.
#[derive(Debug)]
pub struct WatchedDisk {
    inner: Arc<dyn Disk>,
    progress: Progress,
}

impl WatchedDisk {
    /// Watches a disk.
    pub fn new(inner: Arc<dyn Disk>, progress: Progress) -> Self {
        Self { inner, progress }
    }

    fn file(&self, opened: io::Result<SharedFile>) -> io::Result<SharedFile> {
        let progress = self.progress.clone();
        let file = self.progress.after(opened)?;
        Ok(Arc::new(WatchedFile {
            inner: file,
            progress,
        }))
    }
}

impl Disk for WatchedDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        self.file(self.inner.create_new(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        self.file(self.inner.open(path, access))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.progress.after(self.inner.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.progress.after(self.inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.progress.after(self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.progress.after(self.inner.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.progress.after(self.inner.remove_dir(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.progress.after(self.inner.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.progress.after(self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.progress.after(self.inner.lock(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.progress.after(self.inner.space(path))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.progress.after(self.inner.resolve(path))
    }

    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self, dir: &Path) {
        self.inner.forget_changes(dir);
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: SharedFile,
    progress: Progress,
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.progress.after(self.inner.read_at(buf, pos))
    }

    fn read_behind(&self, buf: &mut Vec<u8>, len: usize, pos: u64) -> io::Result<usize> {
        self.progress.after(self.inner.read_behind(buf, len, pos))
    }

    fn read_in_memory(&self, buf: &mut [u8], pos: u64) -> bool {
        self.inner.read_in_memory(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        self.progress.after(self.inner.write_at(buf, pos))
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.progress.after(self.inner.allocate(pos, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.progress.after(self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.progress.after(self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.progress.after(self.inner.len())
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.progress.after(self.inner.is_empty())
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        self.progress.after(self.inner.map_read_only(len))
    }

    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self) {
        self.inner.forget_changes();
    }
}
