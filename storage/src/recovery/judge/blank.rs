//! Whether a segment that was made ahead is blank.

use std::path::Path;

use crate::{
    disk::SharedFile,
    error::{Result, StorageError},
    recovery::tail::BLOCK,
};

/// How much is looked at before it is asked whether there was anything.
const PAGE: usize = 4096;

/// Whether there is nothing in a file but zeros. Reads all of it, or up to what is not.
pub(super) fn is_all_zeros(file: &SharedFile, path: &Path) -> Result<bool> {
    let mut buf = vec![0; BLOCK];
    let mut pos = 0;
    loop {
        let read = file
            .read_at(&mut buf, pos)
            .map_err(|e| StorageError::io("read", path, e))?;
        if read == 0 {
            return Ok(true);
        }
        // Page by page, which the compiler does many bytes at a time: a segment that was given up with its room,
        // as by a process that was killed before it could remove it, is read here whole.
        let mut pages = buf[..read].chunks(PAGE);
        if pages.any(|page| page.iter().fold(0, |all, byte| all | byte) != 0) {
            return Ok(false);
        }
        pos += read as u64;
    }
}
