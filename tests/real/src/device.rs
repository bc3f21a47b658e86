//! The disk: a process that serves one file through FUSE, for a loop device to stand on, and records what it is told.
//!
//! ```text
//!   the log ──▶ ext4, XFS ──▶ loop device ──▶ FUSE file ══▶ this process ──▶ disk.img, record
//!                                  a flush is an fsync of that file
//! ```
//!
//! It is a process of its own and touches nothing that stands on it: whoever serves a file system and waits for it
//! waits for ever.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};

use crate::record::{Entry, encode};

/// What it is called in its mount.
pub const FILE: &str = "disk";
const INODE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(3600);

/// Where a device has its files.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder of them all.
    pub dir: PathBuf,
}

impl Layout {
    /// The bytes of the disk.
    pub fn image(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    /// What it was told.
    pub fn record(&self) -> PathBuf {
        self.dir.join("record")
    }

    /// Which writes it is to fail: a text, and how many writes that hold it.
    pub fn faults(&self) -> PathBuf {
        self.dir.join("faults")
    }

    /// A byte for each write that it failed.
    pub fn failed(&self) -> PathBuf {
        self.dir.join("failed")
    }

    /// Where its file system is mounted.
    pub fn mount(&self) -> PathBuf {
        self.dir.join("fuse")
    }
}

/// Serves until it is unmounted.
pub fn serve(dir: &Path) -> ExitCode {
    let layout = Layout {
        dir: dir.to_owned(),
    };
    let disk = match Disk::open(layout.clone()) {
        Ok(disk) => disk,
        Err(error) => {
            println!("cannot open {}: {error}", layout.image().display());
            return ExitCode::FAILURE;
        }
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("tierlog-real".to_owned()),
        MountOption::NoAtime,
    ];
    let session = match fuser::spawn_mount(disk, layout.mount(), &config) {
        Ok(session) => session,
        Err(error) => {
            println!("cannot mount: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("ready");
    match session.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The file system of one file.
#[derive(Debug)]
struct Disk {
    layout: Layout,
    len: u64,
    platter: Mutex<Platter>,
}

#[derive(Debug)]
struct Platter {
    image: File,
    record: File,
    failed: File,
    /// The order to fail as it was last read, and how many of it are left.
    order: String,
    left: u64,
}

impl Disk {
    fn open(layout: Layout) -> io::Result<Self> {
        let image = File::options()
            .read(true)
            .write(true)
            .open(layout.image())?;
        let append = |path: PathBuf| File::options().create(true).append(true).open(path);
        let len = image.metadata()?.len();
        let platter = Platter {
            image,
            record: append(layout.record())?,
            failed: append(layout.failed())?,
            order: String::new(),
            left: 0,
        };
        Ok(Self {
            layout,
            len,
            platter: Mutex::new(platter),
        })
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0, 0o700),
            INODE => (FileType::RegularFile, self.len, 0o600),
            _ => return None,
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Platter {
    /// Whether this write is one of those that fail.
    fn fails(&mut self, layout: &Layout, data: &[u8]) -> bool {
        let order = fs::read_to_string(layout.faults()).unwrap_or_default();
        if order != self.order {
            let count = order
                .split(' ')
                .nth(1)
                .and_then(|count| count.trim().parse().ok());
            self.left = count.unwrap_or(0);
            self.order = order;
        }
        let text = self.order.split(' ').next().unwrap_or_default().as_bytes();
        if self.left == 0 || text.is_empty() || !data.windows(text.len()).any(|part| part == text) {
            return false;
        }
        self.left -= 1;
        self.failed.write_all(b"x").expect("room for a byte");
        true
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self
            .attributes(INODE)
            .filter(|_| parent == INodeNo::ROOT && name == FILE)
        {
            Some(found) => reply.entry(&TTL, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(found) => reply.attr(&TTL, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = u64::from(size).min(self.len.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(len).expect("a part of a disk")];
        match self.platter().image.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut platter = self.platter();
        if platter.fails(&self.layout, data) {
            return reply.error(Errno::EIO);
        }
        let entry = encode(Entry::Write(offset, data));
        let done = platter.image.write_all_at(data, offset);
        match done.and_then(|()| platter.record.write_all(&entry)) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request")),
            Err(error) => reply.error(error.into()),
        }
    }

    /// What the loop driver makes of a flush.
    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.platter().record.write_all(&encode(Entry::Flush)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    /// Of a descriptor that is closed, which is no flush of a disk.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
