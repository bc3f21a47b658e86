//! Room kept for the manifest, so that a full disk never stops it.
//!
//! Trimming is what makes room, and trimming is said in the manifest first. A file of a fixed size
//! is allocated while there is room, and given up the moment the manifest finds none.

use std::io;

use crate::{
    disk::{Access, Disk},
    error::{Result, StorageError},
    layout::Layout,
    segment::file::Latched,
};

/// The size of the reserve.
pub const RESERVE_LEN: u64 = 512 << 10;

/// Makes the reserve where it is missing; true when it is there afterwards, false when the disk is
/// too full for it. To be called when a log is opened and from time to time.
///
/// Nothing is synced: a reserve that a power cut takes is made again, and it never held anything.
pub fn ensure_reserve(disk: &dyn Disk, layout: &Layout) -> Result<bool> {
    let path = layout.reserve();
    let fail = |op, error| StorageError::io(op, layout.reserve(), error);
    match disk.open(&path, Access::Read) {
        Ok(file) => {
            if file.len().map_err(|error| fail("measure", error))? >= RESERVE_LEN {
                return Ok(true);
            }
            disk.remove(&path).map_err(|error| fail("remove", error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("open", error)),
    }
    let made = disk
        .create_new(&path)
        .map_err(|error| fail("create", error))
        .and_then(|file| {
            file.allocate(0, RESERVE_LEN)
                .map_err(|error| fail("allocate", error))
        });
    match made {
        Ok(()) => Ok(true),
        Err(error) => {
            let removed = disk.remove(&path);
            if error.is_storage_full() {
                removed
                    .or_else(|error| match error.kind() {
                        io::ErrorKind::NotFound => Ok(()),
                        _ => Err(error),
                    })
                    .map_err(|error| fail("remove", error))?;
                return Ok(false);
            }
            Err(error)
        }
    }
}

/// Gives the reserve up; false when there was none.
fn release_reserve(disk: &dyn Disk, layout: &Layout) -> Result<bool> {
    match disk.remove(&layout.reserve()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StorageError::io("remove", layout.reserve(), error)),
    }
    // Some file systems hand out freed blocks only once the removal is on the disk.
    disk.sync_dir(layout.root())
        .map_err(|error| StorageError::io("sync the folder", layout.root(), error))?;
    Ok(true)
}

/// Does something that needs a little room; where there is none, gives the reserve up and does it
/// once more.
pub(super) fn with_reserve<T>(
    disk: &dyn Disk,
    layout: &Layout,
    mut act: impl FnMut() -> Result<T>,
) -> Result<T> {
    match act() {
        Err(full) if full.is_storage_full() => match release_reserve(disk, layout)? {
            true => act(),
            false => Err(full),
        },
        outcome => outcome,
    }
}

/// Allocates `from..want` of a file that ends at `from`, with the reserve's help, or at least
/// `from..need`; returns where the file ends now. Where there is no room the file ends at `from`
/// again.
pub(super) fn allocate(
    disk: &dyn Disk,
    layout: &Layout,
    file: &Latched,
    (from, need, want): (u64, u64, u64),
) -> Result<u64> {
    let attempt = |end: u64| match file.allocate(from, end - from) {
        Ok(()) => Ok(end),
        Err(error) => {
            if error.is_storage_full() {
                // What a failed allocation left would be missing elsewhere. If it can't be given
                // back the disk has more than a lack of room, and the file's latch holds.
                file.set_len(from)?;
            }
            Err(error)
        }
    };
    match with_reserve(disk, layout, || attempt(want)) {
        Err(full) if full.is_storage_full() && need < want => attempt(need),
        outcome => outcome,
    }
}
