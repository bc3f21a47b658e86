//! A file system on a disk that records, or fails, as the conductor sees it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cuts::copy,
    device::{FILE, Layout},
    machine::{Need, Place, Running},
    mounts::{Kind, Mounted},
    record::Record,
};

/// Everything below one file system: unmounted from top to bottom when it goes out of scope.
#[derive(Debug)]
pub struct Disk {
    // In this order: the file system, the FUSE mount below it, the process that serves it.
    file_system: Option<Mounted>,
    fuse: Option<Mounted>,
    device: Option<Running>,
    layout: Layout,
    kind: Kind,
    /// As it was made.
    base: PathBuf,
}

/// What a disk needs that records.
pub fn needs(kind: Kind) -> Vec<Need> {
    let mut needs = kind.needs();
    needs.push(Need::File("/dev/fuse", "the kernel has no FUSE"));
    needs
}

impl Disk {
    /// A new file system in this folder, mounted.
    pub fn new(kind: Kind, place: &Place) -> Self {
        let layout = Layout {
            dir: place.dir.clone(),
        };
        let base = place.dir.join("base.img");
        kind.make(&base);
        copy(&base, &layout.image());
        fs::create_dir_all(layout.mount()).expect("room for a folder");
        let device = place.role("device", [&place.dir]);
        assert_eq!(device.line().as_deref(), Some("ready"), "the device");
        let fuse = Mounted { at: layout.mount() };
        let mut disk = Self {
            file_system: None,
            fuse: Some(fuse),
            device: Some(device),
            layout,
            kind,
            base,
        };
        disk.mount();
        disk
    }

    fn mount(&mut self) {
        let file = self.layout.mount().join(FILE);
        let at = self.layout.dir.join("mount");
        self.file_system = Some(self.kind.mount(&file, &at).expect("it mounts"));
    }

    /// Where its file system is mounted.
    pub fn at(&self) -> &Path {
        &self.file_system.as_ref().expect("it is mounted").at
    }

    /// Where it writes down what it is told.
    pub fn record_file(&self) -> PathBuf {
        self.layout.record()
    }

    /// How it was before anything was written.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// So many bytes of the record are written by now.
    pub fn position(&self) -> u64 {
        fs::metadata(self.layout.record()).expect("a record").len()
    }

    /// The record so far.
    pub fn record(&self) -> Record {
        Record::read(&self.layout.record()).expect("a record")
    }

    /// From now on the first `count` writes that hold this text fail.
    pub fn fail(&self, text: &str, count: u64) {
        // In one step, as it is read with each write.
        let new = self.layout.dir.join("faults.new");
        fs::write(&new, format!("{text} {count}")).expect("room for an order");
        fs::rename(&new, self.layout.faults()).expect("room for an order");
    }

    /// How many writes have failed so far.
    pub fn failed(&self) -> u64 {
        fs::metadata(self.layout.failed()).map_or(0, |file| file.len())
    }

    /// Unmounts everything; the files stay.
    pub fn stop(&mut self) {
        self.file_system = None;
        self.fuse = None;
        if let Some(device) = self.device.take() {
            let status = device.end();
            assert!(status.success(), "the device ended with {status}");
        }
    }
}
