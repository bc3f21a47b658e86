//! What every disk must do, in one suite that each implementation runs: the contract of
//! `tierlog_storage::disk` as far as it can be seen without pulling the plug.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tierlog_storage::disk::{
    Access, Disk, DiskFile, Progress, RealDisk, SharedFile, WatchedDisk,
    fault::{FaultDisk, FaultPlan},
    sim::SimDisk,
};

/// A disk and a folder on it to work in.
struct Place {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Place {
    fn real() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().to_path_buf();
        Self {
            disk: Arc::new(RealDisk),
            dir,
            _temporary: Some(temporary),
        }
    }

    fn simulated() -> Self {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/data")).unwrap();
        Self {
            disk: Arc::new(disk),
            dir: "/data".into(),
            _temporary: None,
        }
    }

    fn planned() -> Self {
        let mut place = Self::simulated();
        place.disk = Arc::new(FaultDisk::new(place.disk, FaultPlan::new()));
        place
    }

    fn watched() -> Self {
        let mut place = Self::simulated();
        place.disk = Arc::new(WatchedDisk::new(place.disk, Progress::default()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> SharedFile {
        let file = self.disk.create_new(&self.path(name)).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.disk.create_dir(&self.path(name)).unwrap();
        self.path(name)
    }

    fn open(&self, name: &str) -> io::Result<SharedFile> {
        self.disk.open(&self.path(name), Access::Read)
    }

    fn names(&self, dir: &Path) -> Vec<OsString> {
        self.disk
            .list(dir)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    }
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it went well, and should not have"),
        Err(error) => error.kind(),
    }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod real {
            $(#[test] fn $name() { super::$name(&crate::Place::real()); })*
        }
        mod simulated {
            $(#[test] fn $name() { super::$name(&crate::Place::simulated()); })*
        }
        mod with_a_plan_without_faults {
            $(#[test] fn $name() { super::$name(&crate::Place::planned()); })*
        }
        mod watched {
            $(#[test] fn $name() { super::$name(&crate::Place::watched()); })*
        }
    };
}

mod bytes;
mod names;
