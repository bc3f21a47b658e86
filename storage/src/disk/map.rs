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
//!
//! Miri has no maps of files. Under it the bytes are read into a map without a file, so that it sees what
//! becomes of them from there on: who holds the map, which slices and threads look at it, and when it goes.
#![allow(unsafe_code)]

use std::{fs::File, io};

use bytes::Bytes;
#[cfg(not(miri))]
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
    #[cfg(miri)]
    let map = read_into_a_map(file, len)?;
    // SAFETY: the map is private to the returned `Bytes`, which holds it until the last slice is
    // dropped; it lies within the file, as checked above; and by the invariant of this module
    // nobody writes to the file or cuts it from here on.
    #[cfg(not(miri))]
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(file)? };
    Ok(Bytes::from_owner(map))
}

#[cfg(miri)]
fn read_into_a_map(file: &File, len: usize) -> io::Result<memmap2::MmapMut> {
    let mut map = memmap2::MmapMut::map_anon(len)?;
    std::os::unix::fs::FileExt::read_exact_at(file, &mut map, 0)?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use tempfile::TempDir;

    use super::*;

    fn file_of(bytes: &[u8]) -> (TempDir, File) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        (dir, file)
    }

    #[test]
    fn slices_of_a_map_outlive_it_and_its_file() {
        let (dir, file) = file_of(b"one two three");
        let map = first_bytes(&file, 13).unwrap();
        let (two, empty) = (map.slice(4..7), map.slice(5..5));
        drop((map, file, dir));
        assert_eq!(&two[..], b"two");
        let w = two.slice(1..2);
        drop(two);
        assert_eq!(&w[..], b"w");
        drop(w);
        assert!(empty.is_empty());
    }

    /// Whoever lets go last takes the map away, on whichever thread that is.
    #[test]
    fn threads_share_a_map_and_the_last_one_takes_it_away() {
        let (_dir, file) = file_of(&[7; 4_096]);
        let map = first_bytes(&file, 4_096).unwrap();
        let readers: Vec<_> = (0..4)
            .map(|part| {
                let part = map.slice(part * 1_024..(part + 1) * 1_024);
                thread::spawn(move || part.iter().step_by(64).map(|byte| u32::from(*byte)).sum())
            })
            .collect();
        drop((map, file));
        let sums: Vec<u32> = readers.into_iter().map(|r| r.join().unwrap()).collect();
        assert_eq!(sums, [7 * 16; 4]);
    }

    #[test]
    fn no_more_is_mapped_than_there_is() {
        let (_dir, file) = file_of(b"four");
        let beyond = first_bytes(&file, 5).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&first_bytes(&file, 4).unwrap()[..], b"four");
        assert_eq!(&first_bytes(&file, 2).unwrap()[..], b"fo");
        assert!(first_bytes(&file, 0).unwrap().is_empty());
    }
}
