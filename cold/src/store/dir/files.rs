//! What is done to the files of a store; every call blocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tierlog_storage::{
    disk::{Access, Disk, IoCause, SharedFile},
    planted,
};

use super::{
    super::{Listed, StoreError, StoreErrorKind, key, range_of},
    Blocking,
    folders::{Folders, TEMPORARY, Temporaries, is_gone},
};

/// The files below a root.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    given: PathBuf,
    pub(super) runs: Arc<dyn Blocking>,
    folders: Folders,
    state: Mutex<State>,
    /// Held while temporary files are begun with.
    begins: Mutex<()>,
    /// An object may be held again.
    freed: Condvar,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The root with the links that lead to it followed.
    root: Option<PathBuf>,
    temporaries: Option<Arc<Temporaries>>,
    /// Temporary files that no thread had time to remove.
    left: Vec<PathBuf>,
    /// Objects whose names are being looked at or changed.
    held: BTreeSet<String>,
    /// Objects that are seen and may be gone after a power cut; true if we made them.
    suspects: BTreeMap<String, bool>,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf, runs: Arc<dyn Blocking>) -> Self {
        Self {
            disk,
            given: root,
            runs,
            folders: Folders::default(),
            state: Mutex::default(),
            begins: Mutex::default(),
            freed: Condvar::new(),
            next: AtomicU64::new(0),
        }
    }

    /// Begins a temporary file.
    pub(super) fn temporary(self: &Arc<Self>) -> Result<Temp, StoreError> {
        let failed = |error: io::Error| self.failed("begin a file for", "an object", error);
        let temporaries = self.temporaries().map_err(failed)?;
        let left = std::mem::take(&mut self.state().left);
        for path in left.into_iter().filter(|path| !is_gone(&*self.disk, path)) {
            self.state().left.push(path);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = temporaries.dir.join(format!("{}-{number}", temporaries.id));
        let file = self.disk.create_new(&path).map_err(failed)?;
        Ok(Temp {
            files: Arc::clone(self),
            file,
            path,
            _alive: temporaries,
        })
    }

    fn temporaries(&self) -> io::Result<Arc<Temporaries>> {
        let _turn = self.begins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(temporaries) = &self.state().temporaries {
            return Ok(Arc::clone(temporaries));
        }
        let root = self.root()?;
        let dir = root.join(TEMPORARY);
        self.folders.make(&*self.disk, &root, &dir)?;
        let begun = Arc::new(Temporaries::begin(&*self.disk, dir)?);
        self.state().temporaries = Some(Arc::clone(&begun));
        Ok(begun)
    }

    /// Fails if there is such an object: a large one need not be written for that.
    pub(super) fn refuse_existing(&self, key: &str) -> Result<(), StoreError> {
        match self.len(key) {
            Ok(_) => Err(exists(key)),
            Err(error) if error.kind == StoreErrorKind::Missing => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a temporary file the name of an object that must not be there.
    pub(super) fn create(&self, temp: Temp, key: &str) -> Result<(), StoreError> {
        let _held = self.hold(key);
        let created = self.name(&temp, key);
        temp.remove();
        created
    }

    fn name(&self, temp: &Temp, key: &str) -> Result<(), StoreError> {
        let path = self.settle(temp, key)?;
        let folder = folder_of(&path);
        let failures = self.folders.failures();
        let linked = if planted::is("create_that_replaces") {
            self.disk.rename(&temp.path, &path)
        } else {
            self.disk.link(&temp.path, &path)
        };
        let synced = self.folders.sync_since(&*self.disk, folder, failures);
        match (linked, synced) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) => {
                self.take_back(key, &path);
                Err(self.failed("sync the folder of", key, error))
            }
            // Whose it is says who reads it; that it stays has to be certain by then.
            (Err(link), Ok(())) if link.kind() == ErrorKind::AlreadyExists => Err(exists(key)),
            (Err(link), Err(error)) if link.kind() == ErrorKind::AlreadyExists => {
                Err(self.failed("sync the folder of", key, error))
            }
            (Err(link), Ok(())) => Err(self.failed("name", key, link)),
            (Err(link), Err(_)) => {
                // It may have its name all the same, and nobody can say for how long.
                self.state().suspects.insert(key.to_owned(), false);
                Err(self.failed("name", key, link))
            }
        }
    }

    /// Puts a temporary file in the place of whatever is there.
    pub(super) fn replace(&self, temp: Temp, key: &str) -> Result<(), StoreError> {
        let _held = self.hold(key);
        let path = self.settle(&temp, key)?;
        let failures = self.folders.failures();
        let renamed = self.disk.rename(&temp.path, &path);
        let synced = self
            .folders
            .sync_since(&*self.disk, folder_of(&path), failures);
        // Its name is gone, if all went well.
        temp.remove();
        renamed.map_err(|error| self.failed("replace", key, error))?;
        synced.map_err(|error| self.failed("sync the folder of", key, error))?;
        self.state().suspects.remove(key);
        Ok(())
    }

    /// All that comes before a temporary file gets the name of an object.
    fn settle(&self, temp: &Temp, key: &str) -> Result<PathBuf, StoreError> {
        let failed = |error| self.failed("store", key, error);
        temp.file.sync_data().map_err(failed)?;
        let path = self.path(key)?;
        let root = self.root().map_err(failed)?;
        self.folders
            .make(&*self.disk, &root, folder_of(&path))
            .map_err(failed)?;
        Ok(path)
    }

    /// Removes a name that we gave and could not make durable. What is seen is taken for stored by
    /// whoever reads it back, and after a failed sync no later one proves anything.
    fn take_back(&self, key: &str, path: &Path) {
        let failures = self.folders.failures();
        let gone = is_gone(&*self.disk, path)
            && self
                .folders
                .sync_since(&*self.disk, folder_of(path), failures)
                .is_ok();
        let mut state = self.state();
        match gone {
            true => state.suspects.remove(key),
            false => state.suspects.insert(key.to_owned(), true),
        };
    }

    pub(super) fn read(&self, key: &str, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let file = self.open(key)?;
        let failed = |error| self.failed("read", key, error);
        let len = file.len().map_err(failed)?;
        let wanted = range_of(key, range, len)?;
        let mut bytes = vec![0; wanted.len()];
        let read = file.read_at(&mut bytes, range.start).map_err(failed)?;
        // Somebody may cut it now.
        range_of(key, range, range.start + read as u64)?;
        Ok(bytes.into())
    }

    pub(super) fn len(&self, key: &str) -> Result<u64, StoreError> {
        let len = self.open(key)?.len();
        len.map_err(|error| self.failed("look at", key, error))
    }

    fn open(&self, key: &str) -> Result<SharedFile, StoreError> {
        let _held = self.hold(key);
        let path = self.path(key)?;
        let opened = self
            .folders
            .trust(&*self.disk, folder_of(&path))
            .and_then(|()| self.disk.open(&path, Access::Read));
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                StoreError::new(StoreErrorKind::Missing, format!("there is no {key}"))
            }
            _ => self.failed("open", key, error),
        })
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        let _held = self.hold(key);
        let path = self.whereabouts(key)?;
        match self.disk.remove(&path) {
            Err(error) if !is_nothing(&error) => return Err(self.failed("remove", key, error)),
            // It may have been removed by a call that did not come to its sync.
            _ => {}
        }
        let failures = self.folders.failures();
        let synced = self
            .folders
            .sync_since(&*self.disk, folder_of(&path), failures);
        match synced {
            Err(error) if !is_nothing(&error) => {
                return Err(self.failed("sync the folder of", key, error));
            }
            _ => {}
        }
        self.state().suspects.remove(key);
        Ok(())
    }

    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let root = self
            .root()
            .map_err(|error| self.failed("list", prefix, error))?;
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        // Depth first, each folder in the place that its keys have.
        while let Some(next) = folders.pop() {
            if found.len() >= most {
                break;
            }
            if !next.is_empty() && !next.ends_with('/') {
                found.extend(self.listed(next));
                continue;
            }
            let names = match self.disk.list(&root.join(&next)) {
                Ok(names) => names,
                Err(error) if is_nothing(&error) => continue,
                Err(error) => return Err(self.failed("list", &next, error)),
            };
            let parts = names.iter().filter_map(|entry| {
                let name = entry.name.to_str().filter(|name| key::is_part(name))?;
                let key = format!("{next}{name}{}", if entry.is_dir { "/" } else { "" });
                let meant = match entry.is_dir {
                    true => key::leads_on(&key, prefix, after),
                    false => key.starts_with(prefix) && after.is_none_or(|after| *key > *after),
                };
                meant.then_some(key)
            });
            let mut parts: Vec<String> = parts.collect();
            parts.sort_unstable_by(|a, b| b.cmp(a));
            folders.append(&mut parts);
        }
        Ok(found)
    }

    /// What stands under a name; nothing if it is no object, or is gone by now.
    fn listed(&self, key: String) -> Option<Listed> {
        let len = self.len(&key).ok()?;
        Some(Listed { key, len })
    }

    /// Keeps others from an object's name. A call that was given up because its sync takes long goes on
    /// all the same: who read its object back meanwhile would call stored what may not stay.
    fn hold(&self, key: &str) -> Held<'_> {
        let mut state = self.state();
        while state.held.contains(key) {
            state = self
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.held.insert(key.to_owned());
        Held {
            files: self,
            key: key.to_owned(),
        }
    }

    /// Where an object is, once nothing speaks against looking at it.
    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let path = self.whereabouts(key)?;
        let suspect = self.state().suspects.get(key).copied();
        if suspect == Some(true) {
            self.take_back(key, &path);
        }
        if self.state().suspects.contains_key(key) {
            let what = format!("{key}: its folder could not be synced, so that it may not stay");
            return Err(StoreError::new(StoreErrorKind::Unknown, what));
        }
        Ok(path)
    }

    fn whereabouts(&self, key: &str) -> Result<PathBuf, StoreError> {
        let failed = |error| self.failed("find", key, error);
        let path = self.root().map_err(failed)?.join(key);
        match self.disk.resolve(&path) {
            Ok(real) if real == path => Ok(path),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => {
                let what = format!("{key}: a link stands in the way to it, and is not followed");
                Err(StoreError::new(StoreErrorKind::Denied, what))
            }
        }
    }

    fn root(&self) -> io::Result<PathBuf> {
        if let Some(root) = &self.state().root {
            return Ok(root.clone());
        }
        let root = self.disk.resolve(&self.given)?;
        self.state().root = Some(root.clone());
        Ok(root)
    }

    fn failed(&self, what: &str, key: &str, error: io::Error) -> StoreError {
        let kind = match (error.kind(), IoCause::of(&error)) {
            (ErrorKind::NotFound, _) => {
                // A folder was taken away. What is known of folders is worth nothing, and the next
                // attempt makes them anew.
                self.folders.forget_all();
                self.state().temporaries = None;
                StoreErrorKind::Unknown
            }
            // Not a regular file, where one should be.
            (ErrorKind::InvalidInput, _) | (_, IoCause::Surroundings) => StoreErrorKind::Denied,
            (_, IoCause::Full | IoCause::Short | IoCause::Interrupted) => StoreErrorKind::Busy,
            (_, IoCause::Device) => StoreErrorKind::Unknown,
        };
        let root = self.given.display();
        StoreError::new(kind, format!("cannot {what} {key} in {root}: {error}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn exists(key: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Exists, format!("{key} exists already"))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A hold on an object's name.
struct Held<'a> {
    files: &'a Files,
    key: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.files.state().held.remove(&self.key);
        self.files.freed.notify_all();
    }
}

/// A temporary file. It goes when this is dropped.
pub(super) struct Temp {
    files: Arc<Files>,
    file: SharedFile,
    path: PathBuf,
    /// Keeps others from removing it.
    _alive: Arc<Temporaries>,
}

impl Temp {
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> Result<(), StoreError> {
        let written = self.file.write_at(bytes, at);
        written.map_err(|error| self.files.failed("write", "an object", error))
    }

    /// Removes it, on a thread that may block.
    fn remove(mut self) {
        if is_gone(&*self.files.disk, &self.path) {
            self.path = PathBuf::new();
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        // Perhaps on a thread that may not block: a future that is given up is dropped anywhere.
        let (files, path) = (Arc::clone(&self.files), std::mem::take(&mut self.path));
        let again = path.clone();
        let job = move || {
            is_gone(&*files.disk, &path);
        };
        if self.files.runs.run(Box::new(job)).is_err() {
            self.files.state().left.push(again);
        }
    }
}

impl fmt::Debug for Temp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Temp").field(&self.path).finish()
    }
}
