//! Reading without owning.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tierlog_storage::{
    Offset, StorageError,
    disk::{
        Disk, RealDisk,
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
