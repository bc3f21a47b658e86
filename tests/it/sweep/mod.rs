//! Sweeps of the data directory, while the log is at work: what somebody put there, what racing work and
//! dying actors leave, and disks that fail meanwhile.

mod faults;
mod killed;
mod planted;
mod racing;
mod real;
mod switch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tierlog::{
    Fate, Stream, Supervisor, SweptDirectory,
    testing::storage::disk::{Access, Disk, sim::SimDisk},
};

use crate::{support::within, tiers::files};

/// What a sweep finds in the directory.
async fn sweep(log: &Supervisor) -> SweptDirectory {
    within(log.log().sweep()).await.expect("swept").directory
}

/// The same, once nobody is at work on anything that is not named.
async fn sweep_all(log: &Supervisor) -> SweptDirectory {
    within(async {
        let mut before = SweptDirectory::default();
        loop {
            let mut swept = sweep(log).await;
            // What an earlier one took counts as well.
            swept.removed += before.removed;
            swept.removed_bytes += before.removed_bytes;
            swept.quarantined += before.quarantined;
            swept.told.splice(0..0, before.told);
            if swept.under_way == 0 {
                return swept;
            }
            before = swept;
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Where those files were of which this became.
fn told(swept: &SweptDirectory, fate: Fate) -> Vec<String> {
    let told = swept.told.iter().filter(|file| file.fate == fate);
    let mut paths: Vec<_> = told.map(|file| file.path.clone()).collect();
    paths.sort();
    paths
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.create_new(path).expect("a name that is free");
    file.write_at(bytes, 0).expect("written");
    file.sync_data().expect("synced");
    disk.sync_dir(path.parent().expect("a folder"))
        .expect("synced");
}

fn bytes(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Access::Read).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(&mut bytes, 0).expect("read");
    bytes
}

fn exists(disk: &SimDisk, path: &Path) -> bool {
    disk.open(path, Access::Read).is_ok()
}

/// The bytes of a segment file with records in it.
fn a_segment(disk: &SimDisk, stream: &Stream) -> Vec<u8> {
    let all = files(disk, stream, "tls").into_iter().rev();
    let written = |bytes: &Vec<u8>| bytes.iter().take(128).any(|byte| *byte != 0);
    let found = all.map(|path| bytes(disk, &path)).find(written);
    found.expect("one is written to")
}

/// Every file of a disk and its bytes.
fn everything(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder).expect("a folder") {
            let path = folder.join(&entry.name);
            match entry.is_dir {
                true => folders.push(path),
                false => drop(found.insert(path.clone(), bytes(disk, &path))),
            }
        }
    }
    found
}

/// The folder of a stream.
fn folder(stream: &Stream) -> PathBuf {
    Path::new("/log/streams").join(stream.id().to_string())
}

/// The name of a segment's file.
fn name(no: u64, ending: &str) -> String {
    format!("{no:020}.{ending}")
}

/// The numbers of the files of a stream with this ending.
fn numbers(disk: &SimDisk, stream: &Stream, ending: &str) -> Vec<u64> {
    let number = |path: PathBuf| {
        let stem = path.file_stem().expect("a name").to_string_lossy();
        stem.parse().expect("a number")
    };
    files(disk, stream, ending)
        .into_iter()
        .map(number)
        .collect()
}
