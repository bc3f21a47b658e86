//! A disk that remembers which files have failed, and holds it against whoever touches them again.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tierlog::testing::storage::disk::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space};

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    failed: BTreeSet<PathBuf>,
    sins: Vec<String>,
}

/// Wraps the disk that the log is given.
#[derive(Debug, Clone)]
pub struct Strict {
    inner: Arc<dyn Disk>,
    seen: Arc<Mutex<Seen>>,
}

impl Strict {
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            seen: Arc::default(),
        }
    }

    /// Files of which a write or a sync has failed.
    pub fn failed(&self) -> BTreeSet<PathBuf> {
        self.seen.lock().expect("whole").failed.clone()
    }

    /// Writes and syncs that should not have been tried.
    pub fn sins(&self) -> Vec<String> {
        self.seen.lock().expect("whole").sins.clone()
    }

    fn wrap(&self, path: &Path, inner: SharedFile) -> SharedFile {
        Arc::new(StrictFile {
            inner,
            path: path.to_owned(),
            seen: Arc::clone(&self.seen),
        })
    }
}

impl Disk for Strict {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        let file = self.inner.create_new(path)?;
        // Another file under the same name.
        self.seen.lock().expect("whole").failed.remove(path);
        Ok(self.wrap(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        Ok(self.wrap(path, self.inner.open(path, access)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.inner.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }
}

#[derive(Debug)]
struct StrictFile {
    inner: SharedFile,
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

impl StrictFile {
    fn careful(&self, what: &str, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        {
            let mut seen = self.seen.lock().expect("whole");
            if seen.failed.contains(&self.path) {
                seen.sins.push(format!("{what} {}", self.path.display()));
            }
        }
        let outcome = act();
        if outcome.is_err() {
            let mut seen = self.seen.lock().expect("whole");
            seen.failed.insert(self.path.clone());
        }
        outcome
    }
}

impl DiskFile for StrictFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.inner.read_at(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        self.careful("write", || self.inner.write_at(buf, pos))
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(pos, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.careful("sync", || self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        self.inner.map_read_only(len)
    }
}
