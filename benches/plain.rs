//! Files without a log: what the disk does by itself.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

/// What a file has before it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing: each write makes it longer.
    Growing,
    /// Its size and its blocks, which hold nothing yet.
    Allocated,
    /// Blocks that were written and synced before.
    Written,
}

/// A new file, with its name.
pub fn file(path: &Path, room: Room, bytes: u64) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .expect("a file");
    if room != Room::Growing {
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, bytes).expect("room");
    }
    if room == Room::Written {
        let zeros = vec![0; 1 << 20];
        for at in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("written");
        }
    }
    file.sync_all().expect("synced");
    file
}
