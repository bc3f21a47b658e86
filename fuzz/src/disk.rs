//! Files in memory.

use std::path::Path;

use crate::storage::{
    LogId, SegmentNo, StreamId,
    disk::{Access, Disk, SharedFile, sim::SimDisk},
    layout::Layout,
    segment::Latched,
};

/// The salt of every segment here.
pub const SALT: u64 = 0x0123_4567_89ab_cdef;
/// The log that every file here is of.
pub const LOG: LogId = LogId::from_bytes([0xa1; 16]);
/// The stream of every segment here.
pub const STREAM: StreamId = StreamId::from_bytes([0xb2; 16]);
/// The number of every segment here.
pub const SEGMENT: SegmentNo = SegmentNo(4);

/// Where the log lies on its disk.
pub fn layout() -> Layout {
    Layout::new("/log")
}

/// A disk with the folders of a log and nothing in them.
pub fn empty() -> SimDisk {
    let (disk, layout) = (SimDisk::new(), layout());
    let folders = [
        layout.root().to_path_buf(),
        layout.manifest_dir(),
        layout.streams_dir(),
        layout.stream_dir(STREAM),
    ];
    for folder in folders {
        disk.create_dir(&folder).expect("the folder is new");
    }
    disk
}

/// Puts a file there.
pub fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) -> SharedFile {
    let file = disk.create_new(path).expect("the file is new");
    file.write_at(bytes, 0).expect("the disk has no end");
    file.sync_data().expect("no fault is armed");
    disk.open(path, Access::ReadWrite)
        .expect("it was just made")
}

/// A disk with one segment.
pub fn with_segment(bytes: &[u8]) -> (SimDisk, Latched) {
    let disk = empty();
    let path = layout().segment(STREAM, SEGMENT);
    let file = put(&disk, &path, bytes);
    (disk, Latched::new(file, path))
}
