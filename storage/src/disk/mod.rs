//! The disk, behind one small synchronous contract.
//!
//! Everything that tierlog does to a file system goes through [`Disk`] and [`DiskFile`], so that
//! the same code runs over the real one, over one whose calls fail on order, and over a simulated
//! one that forgets at a power cut what was never synced.
//!
//! What the contract promises, and what it does not:
//!
//! ```text
//!   write_at ──▶ visible to read_at at once; durable only after sync_data of that file
//!   create_new, rename, link, remove ──▶ visible at once; durable only after sync_dir of the folder
//!   a failed sync_data ──▶ nobody knows what is durable; never call it again for the same bytes
//!   close ──▶ syncs nothing
//! ```

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

mod cause;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod folders;
mod gentle;
mod map;
mod real;
#[cfg(feature = "fault-injection")]
pub mod sim;
mod watched;

pub use cause::IoCause;
pub use folders::{FolderDisk, FolderLatch};
pub use gentle::{GentleDisk, note_awaited_sync};
pub use real::RealDisk;
pub use watched::{Progress, WatchedDisk};

/// A shared open file. Dropping the last one closes it and syncs nothing.
pub type SharedFile = Arc<dyn DiskFile>;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing what exists.
    ReadWrite,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its folder.
    pub name: OsString,
    /// True for a folder; links count as neither folder nor file and are never followed.
    pub is_dir: bool,
    /// True for a regular file.
    pub is_file: bool,
}

/// Room on the file system that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user may still allocate.
    pub free: u64,
    /// The size of the file system.
    pub total: u64,
}

/// A held lock; dropping it releases it.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// The file system calls that tierlog makes.
///
/// Paths are absolute or relative to the working folder of the process; links are not followed in
/// the last part of a path. All calls block.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Creates a file that must not exist yet, for reading and writing, mode 0600.
    fn create_new(&self, path: &Path) -> io::Result<SharedFile>;

    /// Opens a file that must exist and be a regular file.
    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile>;

    /// Creates a folder, mode 0700. Its parent must exist; an existing folder is `AlreadyExists`.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within the file system, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder that holds nothing.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Makes the names in a folder durable: creations, renames and removals so far.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, creating it when it is missing; `WouldBlock` when
    /// somebody holds it, in this process or in another one.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// The folder that a path leads to, with the links in it followed; a path without links stays as
    /// it is, and what is missing need not be there. For the one path that comes from outside: what
    /// a log opens below it is no link.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    /// What a kernel does to a folder whose sync it has just reported as failed: changes so far
    /// are forgotten, and no later sync makes them durable. Only a simulated disk can do it.
    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self, _dir: &Path) {}
}

/// The calls on one open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at a position; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;

    /// Reads up to `len` bytes at a position behind what `buf` has; fewer only at the end of the file, and none where
    /// it fails. Memory that is about to be read into need not be cleared where the system is told of it.
    fn read_behind(&self, buf: &mut Vec<u8>, len: usize, pos: u64) -> io::Result<usize> {
        let from = buf.len();
        buf.resize(from + len, 0);
        let read = self.read_at(&mut buf[from..], pos);
        buf.truncate(from + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Fills `buf` from `pos` on, if that takes no waiting for the device: for threads that must not wait. Says
    /// whether it did; false is no error, and `buf` may hold anything then.
    fn read_in_memory(&self, _buf: &mut [u8], _pos: u64) -> bool {
        false
    }

    /// Writes all of `buf` at a position, or fails; after a failure any part may have been written.
    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()>;

    /// Reserves room for `pos..pos + len`, growing the file with zeros where it was shorter; never
    /// changes existing bytes. `StorageFull` when there is no room; part of it may then be reserved.
    fn allocate(&self, pos: u64, len: u64) -> io::Result<()>;

    /// Cuts or grows (with a hole) the file to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes written so far durable, and the file's length where that changed.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// True when the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Maps the first `len` bytes for reading. The file must never be written again.
    fn map_read_only(&self, len: u64) -> io::Result<Bytes>;

    /// What a kernel does to a file whose sync it has just reported as failed: what was written is
    /// still read, counts as clean, and no later sync makes it durable. Only a simulated disk can
    /// do it.
    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self) {}
}
