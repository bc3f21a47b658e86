//! A disk on which nobody believes the sync of a folder behind one that has failed.
//!
//! A kernel forgets what a failed sync should have made durable: all the names that were changed in the
//! folder until then, whoever changed them. Of two jobs that make files in one folder, one would be told
//! of the failure and the other, syncing later, of a success.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Access, Disk, DiskLock, Entry, IoCause, SharedFile, Space};

/// Whether a sync of a folder has failed, for each that was synced. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FolderLatch(Arc<Mutex<Folders>>);

/// Its own lock is held while a folder is synced, so that of two syncs at once the second is behind the
/// failure of the first.
type Folders = BTreeMap<PathBuf, Arc<Mutex<bool>>>;

impl FolderLatch {
    /// Whoever had changed names was told, or is gone: folders may be synced again.
    pub fn open(&self) {
        lock(&self.0).clear();
    }

    fn of(&self, dir: &Path) -> Arc<Mutex<bool>> {
        let mut folders = lock(&self.0);
        Arc::clone(folders.entry(dir.to_path_buf()).or_default())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another disk. A folder at or below a given one that could not be synced is not synced again until the latch is
/// opened.
#[derive(Debug)]
pub struct FolderDisk {
    inner: Arc<dyn Disk>,
    below: PathBuf,
    latch: FolderLatch,
}

impl FolderDisk {
    /// Latches folders at or below `below`.
    pub fn new(inner: Arc<dyn Disk>, below: PathBuf, latch: FolderLatch) -> Self {
        Self {
            inner,
            below,
            latch,
        }
    }
}

impl Disk for FolderDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        self.inner.create_new(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        self.inner.open(path, access)
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
        if !dir.starts_with(&self.below) {
            return self.inner.sync_dir(dir);
        }
        let folder = self.latch.of(dir);
        let mut failed = lock(&folder);
        if *failed {
            return Err(io::Error::other("not tried: a sync of it has failed"));
        }
        let synced = self.inner.sync_dir(dir);
        // A folder that is not there, or not ours to open, was not synced; nothing is forgotten.
        *failed = matches!(&synced, Err(error) if IoCause::of(error) != IoCause::Surroundings);
        synced
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.inner.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.resolve(path)
    }

    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self, dir: &Path) {
        self.inner.forget_changes(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    };

    /// The removal of a file failed at its sync, and a file that was made beside it was called durable by the
    /// next one: a power cut took it.
    #[test]
    fn a_name_that_somebody_elses_failed_sync_forgot_is_not_called_durable() {
        let (sim, plan) = (SimDisk::new(), FaultPlan::new());
        let dir = Path::new("/streams/s");
        for path in [Path::new("/streams"), dir] {
            sim.create_dir(path).unwrap();
            sim.sync_dir(path.parent().unwrap()).unwrap();
        }
        let faulty = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let latch = FolderLatch::default();
        let disk = FolderDisk::new(faulty, "/streams".into(), latch.clone());
        disk.create_new(&dir.join("mine")).unwrap();
        disk.create_new(&dir.join("theirs")).unwrap();
        plan.fail(
            Calls::of(CallKind::SyncDir).at(move |at| at == dir),
            Fault::Io,
        );
        assert!(disk.sync_dir(dir).is_err(), "theirs");
        let mine = disk.sync_dir(dir);
        let left = sim.preview_cut(Cut::AllLost);
        let is_there = left.list(dir).unwrap().iter().any(|it| it.name == "mine");
        assert_eq!(mine.is_ok(), is_there);
        assert!(
            disk.sync_dir(Path::new("/streams")).is_ok(),
            "another folder"
        );
        latch.open();
        disk.remove(&dir.join("mine")).unwrap();
        disk.create_new(&dir.join("mine")).unwrap();
        disk.sync_dir(dir).unwrap();
        let left = sim.preview_cut(Cut::AllLost);
        assert!(left.open(&dir.join("mine"), Access::Read).is_ok());
    }
}
