//! What a power cut, a kill and a failed sync leave.

mod choices;
mod crashes;
mod cuts;
mod full;
mod names;

use super::*;

const SEEDS: u64 = 300;

fn data() -> SimDisk {
    SimDisk::new()
}

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A file that is there for good, with these bytes.
fn durable(disk: &SimDisk, name: &str, bytes: &[u8]) -> SharedFile {
    let file = disk.create_new(path(name)).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path(name).parent().unwrap()).unwrap();
    file
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(path(name), Access::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn exists(disk: &SimDisk, name: &str) -> bool {
    disk.open(path(name), Access::Read).is_ok()
}

/// All that may be left of the disk by a cut at this moment.
fn cuts(disk: &SimDisk) -> impl Iterator<Item = SimDisk> {
    let seeded = (0..SEEDS).map(Cut::Seeded);
    let all = [Cut::AllLost, Cut::AllKept].into_iter().chain(seeded);
    all.map(|cut| disk.preview_cut(cut))
}
