//! Maps of files: the one place in this crate where `unsafe` stands.
//!
//! The invariant that it rests on: **a file that has been mapped is never written to and never
//! shortened again**, for as long as the map lives. The bytes of a map are handed out as shared
//! slices, so a store into the file would change what the compiler takes to be constant, and a cut
//! would turn the next read behind it into a SIGBUS. Only sealed segments and finished warm files
//! are mapped, and those are written once; removing their names leaves the bytes in place until the
//! last map is gone. What remains outside of our hands is another program that writes into our
//! directory, and a medium that fails while a page is read: that is a SIGBUS too, which is why
//! maps are used only where the settings ask for them.
#![allow(unsafe_code)]

use std::{fs::File, io};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// The first `len` bytes of `file`, shared by all clones and slices of what is returned.
pub(super) fn first_bytes(file: &File, len: u64) -> io::Result<Bytes> {
    // A map may reach beyond the end of its file; touching that part kills the process.
    if len > file.metadata()?.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    if len == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is private to the returned `Bytes`, which holds it until the last slice is
    // dropped; it lies within the file, as checked above; and by the invariant of this module
    // nobody writes to the file or cuts it from here on.
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(file)? };
    Ok(Bytes::from_owner(map))
}
