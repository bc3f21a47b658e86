//! The disk that keeps to a plan.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    super::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space},
    Call, CallKind, Fault, FaultPlan,
};

/// Any disk, with the faults of a plan.
#[derive(Debug, Clone)]
pub struct FaultDisk {
    inner: Arc<dyn Disk>,
    plan: FaultPlan,
}

impl FaultDisk {
    /// Wraps a disk. What was opened from it before knows nothing of the plan.
    pub fn new(inner: Arc<dyn Disk>, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }

    /// The plan that it keeps to.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    fn run<T>(
        &self,
        kind: CallKind,
        paths: &[&Path],
        perform: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let path = paths.last().copied().unwrap_or(Path::new(""));
        let call = Call {
            kind,
            path: path.to_path_buf(),
            pos: 0,
            len: 0,
        };
        answer(self.plan.meet(call, paths), perform)
    }

    fn wrap(&self, path: &Path, file: SharedFile) -> SharedFile {
        Arc::new(FaultFile {
            inner: file,
            plan: self.plan.clone(),
            path: path.to_path_buf(),
        })
    }
}

fn answer<T>(fault: Option<Fault>, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match fault {
        None => perform(),
        Some(Fault::DoneButReported) => {
            perform()?;
            Err(Fault::DoneButReported.error())
        }
        Some(fault) => Err(fault.error()),
    }
}

/// Whether a sync that fails in this way forgets what it did not make durable.
fn forgets(fault: Option<Fault>) -> bool {
    !matches!(fault, None | Some(Fault::DoneButReported | Fault::Halt))
}

impl Disk for FaultDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        let file = self.run(CallKind::CreateNew, &[path], || self.inner.create_new(path))?;
        Ok(self.wrap(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        let file = self.run(CallKind::Open, &[path], || self.inner.open(path, access))?;
        Ok(self.wrap(path, file))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(CallKind::CreateDir, &[path], || self.inner.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(CallKind::Rename, &[from, to], || {
            self.inner.rename(from, to)
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(CallKind::Link, &[from, to], || self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(CallKind::Remove, &[path], || self.inner.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run(CallKind::RemoveDir, &[path], || self.inner.remove_dir(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.run(CallKind::List, &[dir], || self.inner.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let call = Call {
            kind: CallKind::SyncDir,
            path: dir.to_path_buf(),
            pos: 0,
            len: 0,
        };
        let fault = self.plan.meet(call, &[dir]);
        if forgets(fault) {
            self.inner.forget_changes(dir);
        }
        answer(fault, || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.run(CallKind::Lock, &[path], || self.inner.lock(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.run(CallKind::Space, &[path], || self.inner.space(path))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.resolve(path)
    }

    fn forget_changes(&self, dir: &Path) {
        self.inner.forget_changes(dir);
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: SharedFile,
    plan: FaultPlan,
    path: PathBuf,
}

impl FaultFile {
    fn meet(&self, kind: CallKind, pos: u64, len: u64) -> Option<Fault> {
        let call = Call {
            kind,
            path: self.path.clone(),
            pos,
            len,
        };
        self.plan.meet(call, &[&self.path])
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let fault = self.meet(CallKind::ReadAt, pos, buf.len() as u64);
        answer(fault, || self.inner.read_at(buf, pos))
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let fault = self.meet(CallKind::WriteAt, pos, buf.len() as u64);
        if let Some(Fault::Short(bytes)) = fault {
            self.inner.write_at(&buf[..bytes.min(buf.len())], pos)?;
        }
        answer(fault, || self.inner.write_at(buf, pos))
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let fault = self.meet(CallKind::Allocate, pos, len);
        if let Some(Fault::Short(bytes)) = fault {
            self.inner.allocate(pos, len.min(bytes as u64))?;
        }
        answer(fault, || self.inner.allocate(pos, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        answer(self.meet(CallKind::SetLen, 0, len), || {
            self.inner.set_len(len)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let fault = self.meet(CallKind::SyncData, 0, 0);
        if forgets(fault) {
            self.inner.forget_changes();
        }
        answer(fault, || self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        answer(self.meet(CallKind::Len, 0, 0), || self.inner.len())
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        answer(self.meet(CallKind::Map, 0, len), || {
            self.inner.map_read_only(len)
        })
    }

    fn forget_changes(&self) {
        self.inner.forget_changes();
    }
}
