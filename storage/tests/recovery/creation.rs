//! Making a log: every step of it can be the last one.

use std::{path::Path, sync::Arc};

use tierlog_storage::{
    StorageError,
    disk::{
        Access, Disk,
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
    layout::Layout,
    recovery::open_log,
};

use crate::rig::{Rig, layout, open, options, read_all};

const CUTS: [Option<Cut>; 8] = [
    None,
    Some(Cut::AllLost),
    Some(Cut::AllKept),
    Some(Cut::Seeded(1)),
    Some(Cut::Seeded(2)),
    Some(Cut::Seeded(3)),
    Some(Cut::Seeded(4)),
    Some(Cut::Seeded(5)),
];

fn after(sim: &SimDisk, cut: Option<Cut>) -> Arc<dyn Disk> {
    Arc::new(match cut {
        None => sim.crash_process(),
        Some(cut) => sim.power_cut_with(cut),
    })
}

/// A log that can be used, and is there again after a power cut.
fn assert_usable(disk: Arc<dyn Disk>, layout: &Layout) {
    let mut rig = Rig::open_at(&disk, layout.clone()).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 3).unwrap();
    rig.sync("a", true).unwrap();
    rig.close().unwrap();
    let rig = Rig::open_at(&disk, layout.clone()).unwrap();
    let read = read_all(&*disk, layout, &rig.log.state, rig.writers["a"].id).unwrap();
    assert!(read.is_whole("a", 0, 3));
}

#[test]
fn a_creation_that_dies_at_any_step_is_made_up_for_by_the_next_one() {
    let layout = Layout::new("/deep/below/data");
    for step in 1.. {
        let mut died = false;
        for cut in CUTS {
            let sim = SimDisk::new();
            let plan = FaultPlan::new();
            let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
            plan.fail(
                Calls::of_kinds(&CallKind::CHANGING).nth(step).forever(),
                Fault::Halt,
            );
            let opened = open_log(&disk, &layout, &options());
            died |= opened.is_err();
            drop(opened);
            assert_usable(after(&sim, cut), &layout);
        }
        if !died {
            assert!(step > 15, "only {step} steps");
            break;
        }
    }
}

#[test]
fn a_creation_that_meets_an_error_at_any_step_says_so_and_can_be_tried_again() {
    for step in 1.. {
        let sim = SimDisk::new();
        let plan = FaultPlan::new();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let armed = plan.fail(Calls::of_kinds(&CallKind::CHANGING).nth(step), Fault::Io);
        let opened = open(&disk);
        if armed.struck() == 0 {
            break;
        }
        if let Err(error) = &opened {
            assert!(matches!(error, StorageError::Io { .. }), "{error}");
        }
        drop(opened);
        plan.clear();
        drop(open(&disk).unwrap());
        // The kernel has forgotten what the failed call should have made durable.
        let left = sim.preview_cut(Cut::AllLost);
        assert!(
            left.open(&layout().current(), Access::Read).is_ok(),
            "{step}"
        );
        assert_usable(Arc::new(left), &layout());
        assert_usable(disk, &layout());
    }
}

#[test]
fn a_log_that_has_lost_its_pointer_is_damaged_and_not_new() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 1).unwrap();
    rig.close().unwrap();
    let path = layout().current();
    sim.remove(&path).unwrap();
    let listing = everything(&*disk);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
    let error = tierlog_storage::recovery::read_only(&*disk, &layout()).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
    assert_eq!(everything(&*disk), listing);
}

#[test]
fn a_log_of_empty_streams_that_has_lost_its_pointer_is_damaged_and_not_new() {
    // There is no segment and no folder of a stream, only the first manifest, and it names streams.
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    drop(rig);
    for own in ["CURRENT", "claims", "reserve"] {
        sim.remove(&layout().root().join(own)).unwrap();
    }
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
}

/// All paths below the directory.
pub fn everything(disk: &dyn Disk) -> Vec<std::path::PathBuf> {
    fn walk(disk: &dyn Disk, dir: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in disk.list(dir).unwrap() {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                walk(disk, &path, found);
            }
            found.push(path);
        }
    }
    let mut found = Vec::new();
    walk(disk, Path::new("/"), &mut found);
    found
}

#[test]
fn somebody_elses_directory_is_left_alone() {
    let foreign: [&[&str]; 5] = [
        &["notes.txt"],
        &["manifest/", "manifest/package.json"],
        &["streams/", "streams/rhine.txt"],
        &["LOCK", "photos/"],
        &["CURRENT.tmp", "manifest/", "x"],
    ];
    for names in foreign {
        let sim = SimDisk::new();
        sim.create_dir(layout().root()).unwrap();
        for name in names {
            let path = layout().root().join(name);
            match name.strip_suffix('/') {
                Some(_) => sim.create_dir(&path).unwrap(),
                None => drop(sim.create_new(&path).unwrap()),
            }
        }
        let before = everything(&sim);
        let disk: Arc<dyn Disk> = Arc::new(sim);
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(error, StorageError::NotALog { .. }),
            "{names:?}: {error}"
        );
        assert_eq!(everything(&*disk), before);
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_with_its_path() {
    let plan = FaultPlan::new();
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(SimDisk::new()), plan.clone()));
    drop(open(&disk).unwrap());
    const EACCES: i32 = 13;
    plan.fail(Calls::of(CallKind::Lock).forever(), Fault::Errno(EACCES));
    let error = open(&disk).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StorageError::Io { .. }), "{text}");
    assert!(text.contains("/data/LOCK"), "{text}");
}

#[test]
fn a_full_disk_makes_no_log_and_leaves_what_the_next_open_takes_for_new() {
    let sim = SimDisk::with_capacity(8 << 10);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let error = open(&disk).unwrap_err();
    assert!(error.is_storage_full(), "{error}");
    sim.set_capacity(None);
    assert_usable(disk, &layout());
}
