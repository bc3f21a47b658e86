//! A disk whose calls are told: those that fail, or all of them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tierlog::testing::storage::disk::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space};

use crate::trace::Trace;

/// Any disk.
#[derive(Debug, Clone)]
pub struct Told {
    /// What does it.
    pub disk: Arc<dyn Disk>,
    /// Where it is told.
    pub trace: Trace,
    /// Whether calls are told that succeed.
    pub all: bool,
}

impl Told {
    fn tell<T>(
        &self,
        what: &str,
        path: &Path,
        more: fmt::Arguments<'_>,
        outcome: io::Result<T>,
    ) -> io::Result<T> {
        match &outcome {
            // That a file is not there, or there already, is an answer.
            Err(error) if self.all || is_a_failure(error) => {
                let path = path.display();
                self.trace
                    .say("disk", format_args!("{what} {path}{more}: {error}"));
            }
            Ok(_) if self.all => {
                self.trace
                    .say("disk", format_args!("{what} {}{more}", path.display()));
            }
            _ => {}
        }
        outcome
    }

    fn file(&self, path: &Path, opened: io::Result<SharedFile>) -> io::Result<SharedFile> {
        let file = opened?;
        Ok(Arc::new(ToldFile {
            file,
            path: path.to_path_buf(),
            told: self.clone(),
        }))
    }
}

fn is_a_failure(error: &io::Error) -> bool {
    let kind = error.kind();
    !matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

impl Disk for Told {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        let created = self.disk.create_new(path);
        self.file(path, self.tell("create", path, format_args!(""), created))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        let opened = self.disk.open(path, access);
        self.file(path, self.tell("open", path, format_args!(""), opened))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.tell(
            "create folder",
            path,
            format_args!(""),
            self.disk.create_dir(path),
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let more = format_args!(" to {}", to.display());
        self.tell("rename", from, more, self.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let more = format_args!(" as {}", to.display());
        self.tell("link", from, more, self.disk.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tell("remove", path, format_args!(""), self.disk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let removed = self.disk.remove_dir(path);
        self.tell("remove_dir", path, format_args!(""), removed)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.tell("list", dir, format_args!(""), self.disk.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tell(
            "sync folder",
            dir,
            format_args!(""),
            self.disk.sync_dir(dir),
        )
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.tell("lock", path, format_args!(""), self.disk.lock(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn forget_changes(&self, dir: &Path) {
        self.disk.forget_changes(dir);
    }
}

#[derive(Debug)]
struct ToldFile {
    file: SharedFile,
    path: PathBuf,
    told: Told,
}

impl DiskFile for ToldFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let (len, read) = (buf.len(), self.file.read_at(buf, pos));
        self.told
            .tell("read", &self.path, format_args!(" {pos}+{len}"), read)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let written = self.file.write_at(buf, pos);
        let len = buf.len();
        self.told
            .tell("write", &self.path, format_args!(" {pos}+{len}"), written)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let allocated = self.file.allocate(pos, len);
        self.told.tell(
            "allocate",
            &self.path,
            format_args!(" {pos}+{len}"),
            allocated,
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = self.file.set_len(len);
        self.told
            .tell("set length", &self.path, format_args!(" {len}"), set)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        self.told.tell("sync", &self.path, format_args!(""), synced)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        self.file.map_read_only(len)
    }

    fn forget_changes(&self) {
        self.file.forget_changes();
    }
}
