//! A disk in memory that forgets at a power cut what was never synced.
//!
//! ```text
//!  write_at ─▶ a new version of each page, on top of those since the last sync
//!  sync_data ─▶ the newest version of each page, and the length, are on the platter
//!  create, rename, remove ─▶ a change of names, queued behind those since the last sync
//!  sync_dir ─▶ the changes of that folder are on the platter
//!
//!  power cut ─▶ of each page: any version, or 512-byte sectors out of several
//!               of each file: any length that it had
//!               of each folder: the first changes in order, or any choice of them
//! ```
//!
//! So it is crueller than any one file system: the length of a file, its pages and its name are
//! made durable apart from each other, and in any order, unless a sync says otherwise. A rename
//! takes both names at once, as on all journalled file systems.
//!
//! What a cut at one moment decides can be gone through, thing by thing: see [`Choices`].
//!
//! A failed sync does what kernels do: the pages count as clean, the new bytes are still read, the
//! old ones are on the platter, and the next sync succeeds without writing them.
//!
//! Everything is decided by the seed and the order of the calls.

mod choice;
mod cut;
mod page;
mod pages;
mod room;
#[cfg(test)]
mod tests;
mod world;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
pub use choice::{Choices, Picks};
pub use cut::Cut;
use rustix::io::Errno;
use world::{NodeId, World};

use super::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space};

/// A disk in memory, as one life of the machine sees it.
///
/// A clone is the same disk in the same life. A crash ends the life: every call through older
/// values, and through the files and locks that came from them, fails from then on without effect.
/// Paths are seen from the root, whether they begin with a slash or not.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
    life: u64,
}

struct Shared {
    world: Mutex<World>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without end.
    pub fn new() -> Self {
        Self::of(World::new())
    }

    /// An empty disk of so many bytes, which is full when that many are reserved or written.
    pub fn with_capacity(bytes: u64) -> Self {
        let disk = Self::new();
        disk.set_capacity(Some(bytes));
        disk
    }

    /// Makes the disk larger or smaller, or endless. What it holds stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.any_life().set_capacity(bytes);
    }

    /// The bytes that files hold, reserved or written, in whole pages.
    pub fn used(&self) -> u64 {
        self.any_life().used()
    }

    /// Makes the next sync of a file that was opened by such a path fail, once.
    pub fn fail_next_sync(&self, wanted: impl Fn(&Path) -> bool + Send + Sync + 'static) {
        self.any_life().fail_syncs.push(Arc::new(wanted));
    }

    /// Cuts the power: what was never synced is lost, kept or torn, as the seed has it. Ends this
    /// life; the disk as the next life finds it is returned.
    #[must_use = "the disk that is left is reached through the returned value"]
    pub fn power_cut(&self, seed: u64) -> Self {
        self.power_cut_with(Cut::Seeded(seed))
    }

    /// Cuts the power with a choice of what is lost.
    #[must_use = "the disk that is left is reached through the returned value"]
    pub fn power_cut_with(&self, cut: Cut) -> Self {
        self.next_life(|world| world.cut_power(cut))
    }

    /// Kills the process: locks are gone and nothing else is. The cache is still there, and what
    /// was unsynced still is.
    #[must_use = "the disk that is left is reached through the returned value"]
    pub fn crash_process(&self) -> Self {
        self.next_life(World::end_process)
    }

    /// The same disk with all that is in its cache, as one of its own in a life of its own; this one runs
    /// on. Nobody holds anything of it open.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut world = self.any_life().clone();
        world.end_process();
        Self::of(world)
    }

    /// The disk that a power cut at this moment would leave, as a disk of its own; this one runs
    /// on. Many cuts can so be tried from one run.
    #[must_use]
    pub fn preview_cut(&self, cut: Cut) -> Self {
        let mut world = self.any_life().clone();
        world.cut_power(cut);
        Self::of(world)
    }

    fn of(world: World) -> Self {
        let life = world.life;
        Self {
            shared: Arc::new(Shared {
                world: Mutex::new(world),
            }),
            life,
        }
    }

    fn next_life(&self, end: impl FnOnce(&mut World)) -> Self {
        let mut world = self.any_life();
        end(&mut world);
        world.life += 1;
        Self {
            shared: Arc::clone(&self.shared),
            life: world.life,
        }
    }

    fn any_life(&self) -> MutexGuard<'_, World> {
        self.shared.any_life()
    }

    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        self.shared.in_life(self.life)
    }

    fn opened(&self, node: NodeId, path: &Path, access: Access) -> SharedFile {
        Arc::new(SimFile {
            handle: self.handle(node),
            path: path.to_path_buf(),
            access,
        })
    }

    fn handle(&self, node: NodeId) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
            life: self.life,
            node,
        }
    }
}

impl Shared {
    fn any_life(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_life(&self, life: u64) -> io::Result<MutexGuard<'_, World>> {
        let world = self.any_life();
        if world.life == life {
            Ok(world)
        } else {
            Err(io::Error::other("this process or its machine has stopped"))
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        let mut world = self.world()?;
        let node = world.create_file(path)?;
        world.opened(node);
        Ok(self.opened(node, path, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        let mut world = self.world()?;
        let node = world.find(path)?;
        world.file(node)?;
        world.opened(node);
        Ok(self.opened(node, path, access))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.world()?.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world()?.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world()?.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.world()?.remove(path, false)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.world()?.remove(path, true)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.world()?.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.world()?.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut world = self.world()?;
        let node = match world.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => world.create_file(path)?,
            found => found?,
        };
        world.file(node)?;
        if !world.locks.insert(node) {
            return Err(Errno::AGAIN.into());
        }
        world.opened(node);
        Ok(Box::new(SimLock {
            handle: self.handle(node),
        }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let world = self.world()?;
        world.find(path)?;
        Ok(world.space())
    }

    fn forget_changes(&self, dir: &Path) {
        if let Ok(mut world) = self.world() {
            world.forget_names(dir);
        }
    }
}

/// Something open, for as long as its life lasts.
struct Handle {
    shared: Arc<Shared>,
    life: u64,
    node: NodeId,
}

impl Handle {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        self.shared.in_life(self.life)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world() {
            world.closed(self.node);
        }
    }
}

struct SimLock {
    handle: Handle,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut world) = self.handle.world() {
            world.locks.remove(&self.handle.node);
        }
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").finish_non_exhaustive()
    }
}

struct SimFile {
    handle: Handle,
    path: PathBuf,
    access: Access,
}

impl SimFile {
    /// For a call that changes the file.
    fn writable(&self) -> io::Result<MutexGuard<'_, World>> {
        match self.access {
            Access::ReadWrite => self.handle.world(),
            Access::Read => Err(Errno::BADF.into()),
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        Ok(self
            .handle
            .world()?
            .file(self.handle.node)?
            .read_at(buf, pos))
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let mut world = self.writable()?;
        let free = world.free_pages();
        world.file_mut(self.handle.node)?.write_at(buf, pos, free)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let mut world = self.writable()?;
        let free = world.free_pages();
        world.file_mut(self.handle.node)?.allocate(pos, len, free)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?.file_mut(self.handle.node)?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.handle.world()?;
        let fails = world.take_failing_sync(&self.path);
        let file = world.file_mut(self.handle.node)?;
        if fails {
            file.forget_changes();
            return Err(Errno::IO.into());
        }
        file.sync();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.handle.world()?.file(self.handle.node)?.len())
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        let world = self.handle.world()?;
        let file = world.file(self.handle.node)?;
        if len > file.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A copy: as the file is never written again, nobody can tell.
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0);
        Ok(bytes.into())
    }

    fn forget_changes(&self) {
        if let Ok(mut world) = self.handle.world()
            && let Ok(file) = world.file_mut(self.handle.node)
        {
            file.forget_changes();
        }
    }
}
