//! Reading without owning.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tierlog_storage::{
    Offset, StorageError,
    disk::{
        Access, Disk, DiskLock, Entry, RealDisk, SharedFile, Space,
        fault::{FaultDisk, FaultPlan},
        sim::SimDisk,
    },
    layout::Layout,
    recovery::{ReadOnlyLog, read_only},
};

use crate::rig::{Read, Rig, Seal, layout, read_all};

fn look(disk: &dyn Disk, layout: &Layout) -> ReadOnlyLog {
    read_only(disk, layout).unwrap()
}

fn read(disk: &dyn Disk, layout: &Layout, log: &ReadOnlyLog) -> Read {
    let (&id, _) = log.state.streams.iter().next().unwrap();
    read_all(disk, layout, &log.state, id).unwrap()
}

#[test]
fn a_reader_sees_what_is_durable_and_changes_nothing() {
    let sim = SimDisk::new();
    let plan = FaultPlan::new();
    let watched = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    for upto in [Seal::Nothing, Seal::Footer, Seal::Commit] {
        rig.append("a", 3).unwrap();
        rig.sync("a", true).unwrap();
        let durable = rig.writers["a"].durable;
        rig.append("a", 2).unwrap();
        let log = look(&watched, &layout());
        assert_eq!(log.state.epoch, rig.log.state.epoch);
        assert!(
            read(&watched, &layout(), &log).is_whole("a", 0, durable),
            "{upto:?}"
        );
        rig.roll("a", upto).unwrap();
    }
    rig.close().unwrap();
    let log = look(&watched, &layout());
    assert!(log.report.clean);
    assert!(read(&watched, &layout(), &log).is_whole("a", 0, 15));
    assert_eq!(plan.changes(), 0);
    assert_eq!(plan.count(tierlog_storage::disk::fault::CallKind::Lock), 0);
}

#[test]
fn a_reader_of_a_killed_log_says_what_a_recovery_would_cut() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 3).unwrap();
    rig.sync("a", true).unwrap();
    rig.append("a", 2).unwrap();
    let active = rig.writers["a"].active.as_ref().unwrap();
    active.file.write_at(&[0xee; 40], active.pos).unwrap();
    drop(rig);
    let log = look(&sim, &layout());
    assert_eq!(log.report.streams[0].cut.unwrap().from, Offset(5));
    assert_eq!(log.state.streams.values().next().unwrap().next, Offset(3));
    assert!(read(&sim, &layout(), &log).is_whole("a", 0, 3));
}

#[test]
fn a_reader_of_nothing_says_so_and_makes_nothing() {
    let sim = SimDisk::new();
    let error = read_only(&sim, &layout()).unwrap_err();
    assert!(matches!(error, StorageError::NotALog { .. }), "{error}");
    sim.create_dir(layout().root()).unwrap();
    let error = read_only(&sim, &layout()).unwrap_err();
    assert!(matches!(error, StorageError::NotALog { .. }), "{error}");
    assert!(sim.list(layout().root()).unwrap().is_empty());
    assert_eq!(sim.list(Path::new("/")).unwrap().len(), 1);
}

/// A writer that appends, syncs, rolls, and now and then restarts, while a reader looks on: what the
/// reader sees is always whole, and never goes back.
#[test]
fn a_reader_beside_a_writer_never_sees_damage_nor_the_end_go_back() {
    let temporary = tempfile::tempdir().unwrap();
    let layout = Layout::new(temporary.path().join("log"));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut rig = Rig::open_at(&disk, layout.clone()).unwrap();
    rig.create("a").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (disk, layout, done) = (Arc::clone(&disk), layout.clone(), Arc::clone(&done));
        thread::spawn(move || {
            for round in 0u32..400 {
                rig.append("a", 1 + u64::from(round % 3)).unwrap();
                if round % 2 == 0 {
                    rig.sync("a", round % 4 == 0).unwrap();
                }
                match round % 20 {
                    7 => rig.roll("a", Seal::Nothing).unwrap(),
                    13 => rig.roll("a", Seal::Commit).unwrap(),
                    19 => {
                        rig.sync("a", true).unwrap();
                        match round % 40 {
                            19 => rig.close().unwrap(),
                            _ => drop(rig),
                        }
                        rig = Rig::open_at(&disk, layout.clone()).unwrap();
                    }
                    _ => {}
                }
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut last = 0;
    let mut looks = 0;
    while !done.load(Ordering::Acquire) {
        let log = look(&*disk, &layout);
        assert_eq!(log.report.damage().count(), 0, "{}", log.report);
        let stream = log.state.streams.values().next().unwrap();
        let end = stream.next.get();
        // A restarting writer may remove files before they are read; what is there must be right.
        for (offset, text) in &read(&*disk, &layout, &log).records {
            assert_eq!(text, &crate::rig::payload("a", *offset));
        }
        assert!(end >= last, "{end} after {last}");
        last = end;
        looks += 1;
    }
    writer.join().unwrap();
    assert!(looks > 10, "{looks}");
}

/// A disk whose reader is slow: between the manifest and the folder of a stream, a writer rolls a
/// segment over, so many times.
#[derive(Debug)]
struct Slow {
    sim: SimDisk,
    rolls: Mutex<(Rig, u32)>,
}

impl Disk for Slow {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        self.sim.create_new(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        self.sim.open(path, access)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.sim.remove_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let (rig, left) = &mut *self.rolls.lock().unwrap();
        if *left > 0 && dir == layout().stream_dir(rig.writers["a"].id) {
            *left -= 1;
            rig.roll("a", Seal::Commit).unwrap();
            rig.append("a", 1).unwrap();
            rig.sync("a", true).unwrap();
        }
        self.sim.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.sim.lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.sim.space(path)
    }
}

/// The folder then holds a segment of which the manifest, as it was read a moment ago, knows nothing:
/// that looks like a manifest that has lost its end. Beside a writer that was fast enough, ten looks
/// in a row found that, and a healthy log was called damaged.
#[test]
fn a_writer_that_rolls_over_at_every_look_is_no_damage() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 1).unwrap();
    rig.sync("a", true).unwrap();
    let slow = Slow {
        sim,
        rolls: Mutex::new((rig, 40)),
    };
    let log = look(&slow, &layout());
    assert_eq!(log.report.damage().count(), 0, "{}", log.report);
    let (rig, left) = slow.rolls.into_inner().unwrap();
    assert_eq!((left, rig.writers["a"].durable), (0, 41));
    assert!(read(&slow.sim, &layout(), &log).is_whole("a", 0, 41));
}
