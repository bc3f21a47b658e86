//! The folders of a store: made, found to be folders, and synced once before they are trusted.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tierlog_storage::disk::{Disk, DiskLock, IoCause};
use uuid::Uuid;

/// The folder of temporary files.
pub(super) const TEMPORARY: &str = "~tmp";

/// How many ids are tried before the temporary files are given up.
const TRIES: usize = 5;

/// What is known of the folders.
#[derive(Debug, Default)]
pub(super) struct Folders {
    /// Those that were found to be folders, with durable names up to the top.
    made: Mutex<BTreeSet<PathBuf>>,
    /// Those of which is known that what stood in them when they were first read is durable; whether
    /// they are themselves is not.
    trusted: Mutex<BTreeSet<PathBuf>>,
    /// Those that we made, whose names we could not sync, and which we could not remove. A kernel forgets
    /// what a failed sync should have made durable, and a folder that is there can't be made anew.
    doomed: Mutex<BTreeSet<PathBuf>>,
    /// How many syncs of a folder have failed. Held during each.
    failed: Mutex<u64>,
}

impl Folders {
    /// Makes a folder and those above it, as far as they are not there. All of their names are durable
    /// then: one that is there may have been made by a process that died before it synced.
    pub(super) fn make(&self, disk: &dyn Disk, root: &Path, dir: &Path) -> io::Result<()> {
        if self.made().contains(dir) {
            return Ok(());
        }
        let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) else {
            return Ok(());
        };
        self.make(disk, root, parent)?;
        if self.doomed().contains(dir) {
            let what = format!("{} may not stay: it could not be synced", dir.display());
            return Err(io::Error::other(what));
        }
        let failures = self.failures();
        let made = match disk.create_dir(dir) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let named = self.sync_since(disk, parent, failures);
        // Left there it would be trusted by the next process, which is told that all is durable when it
        // syncs a name that the kernel has forgotten. Made once more it is a new name.
        if made && named.is_err() && disk.remove_dir(dir).is_err() {
            self.doomed().insert(dir.to_path_buf());
        }
        let ours = made || dir.starts_with(root);
        match named.and_then(|()| self.sync(disk, dir)) {
            // What stands above the root was there before us, and need not even be readable.
            Err(error) if ours || !is_foreign(&error) => return Err(error),
            _ => {}
        }
        self.made().insert(dir.to_path_buf());
        Ok(())
    }

    /// Sees to it that what stands in a folder is durable before anybody acts on it.
    pub(super) fn trust(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        if self.trusted().contains(dir) {
            return Ok(());
        }
        match self.sync(disk, dir) {
            // Where nobody can write nobody has left anything unsynced.
            Err(error) if !is_foreign(&error) => return Err(error),
            _ => {}
        }
        self.trusted().insert(dir.to_path_buf());
        Ok(())
    }

    /// A folder was taken away under us, perhaps with others.
    pub(super) fn forget_all(&self) {
        self.made().clear();
        self.trusted().clear();
    }

    /// How many syncs have failed; to be asked for before a change of names.
    pub(super) fn failures(&self) -> u64 {
        *self.failed()
    }

    /// Makes changes of names in a folder durable that were begun after so many syncs had failed.
    ///
    /// A kernel forgets what a failed sync should have made durable: of two calls that change names at
    /// once, one would be told of the failure and the other, syncing later, of a success.
    pub(super) fn sync_since(&self, disk: &dyn Disk, dir: &Path, failures: u64) -> io::Result<()> {
        let mut failed = self.failed();
        if *failed != failures {
            return Err(io::Error::other("a sync of a folder failed meanwhile"));
        }
        let synced = disk.sync_dir(dir);
        // A folder that is not there, or not ours to open, was not synced; nothing is forgotten.
        let forgets = |error: &io::Error| IoCause::of(error) != IoCause::Surroundings;
        *failed += u64::from(synced.as_ref().is_err_and(forgets));
        synced
    }

    fn sync(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let failures = self.failures();
        self.sync_since(disk, dir, failures)
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trusted(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doomed(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, u64> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::InvalidInput
    )
}

/// The temporary files of one life of a store.
#[derive(Debug)]
pub(super) struct Temporaries {
    pub(super) dir: PathBuf,
    pub(super) id: String,
    _lock: Box<dyn DiskLock>,
}

impl Temporaries {
    /// Takes an id, in a folder that is there, and removes what dead processes have left.
    pub(super) fn begin(disk: &dyn Disk, dir: PathBuf) -> io::Result<Self> {
        let mut refused = None;
        for _ in 0..TRIES {
            let id = Uuid::new_v4().simple().to_string();
            match disk.lock(&dir.join(format!("{id}.lock"))) {
                Ok(lock) => {
                    sweep(disk, &dir, &id);
                    return Ok(Self {
                        dir,
                        id,
                        _lock: lock,
                    });
                }
                // Somebody else begins, and took the file, not locked yet, for that of a dead one.
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
    }
}

/// Removes the files of ids that nobody holds. What can't be removed now is there for the next one.
fn sweep(disk: &dyn Disk, dir: &Path, own: &str) {
    let Ok(entries) = disk.list(dir) else { return };
    let names = entries.iter().filter(|entry| !entry.is_dir);
    let names: Vec<&str> = names.filter_map(|entry| entry.name.to_str()).collect();
    let ids: BTreeSet<&str> = names.iter().filter_map(|name| id_of(name)).collect();
    for id in ids.into_iter().filter(|id| *id != own) {
        let lock_file = format!("{id}.lock");
        let Ok(_lock) = disk.lock(&dir.join(&lock_file)) else {
            continue;
        };
        let files = names.iter().filter(|name| id_of(name) == Some(id));
        let files = files.filter(|name| **name != lock_file);
        if files.fold(true, |all, name| all & is_gone(disk, &dir.join(name))) {
            is_gone(disk, &dir.join(lock_file));
        }
    }
}

fn id_of(name: &str) -> Option<&str> {
    let (id, rest) = name.split_at_checked(32)?;
    let ours = rest == ".lock" || rest.starts_with('-');
    (ours && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

pub(super) fn is_gone(disk: &dyn Disk, path: &Path) -> bool {
    match disk.remove(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
