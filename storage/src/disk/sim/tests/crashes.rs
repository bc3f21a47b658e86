//! What becomes of the process.

use super::*;
use crate::disk::fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan};

#[test]
fn a_killed_process_leaves_the_cache_unsynced() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.create_new(path("/b")).unwrap();
    let next = disk.crash_process();
    assert_eq!(read(&next, "/a"), b"new");
    assert!(exists(&next, "/b"));
    let left = next.power_cut_with(Cut::AllLost);
    assert_eq!(read(&left, "/a"), b"old");
    assert!(!exists(&left, "/b"));
}

#[test]
fn a_new_process_can_sync_what_a_failed_sync_forgot_and_it_is_lost_even_so() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.fail_next_sync(|_| true);
    assert!(file.sync_data().is_err());
    let next = disk.crash_process();
    next.open(path("/a"), Access::ReadWrite)
        .unwrap()
        .sync_data()
        .unwrap();
    assert_eq!(read(&next, "/a"), b"new");
    assert_eq!(read(&next.power_cut_with(Cut::AllKept), "/a"), b"old");
}

#[test]
fn handles_of_an_earlier_life_do_nothing() {
    for kill in [SimDisk::crash_process, |disk: &SimDisk| {
        disk.power_cut_with(Cut::AllKept)
    }] {
        let disk = data();
        let file = durable(&disk, "/a", b"x");
        let next = kill(&disk);
        assert!(file.write_at(b"y", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.allocate(0, 1).is_err());
        assert!(file.sync_data().is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert!(file.len().is_err());
        assert!(file.map_read_only(1).is_err());
        assert!(disk.create_new(path("/b")).is_err());
        assert!(disk.remove(path("/a")).is_err());
        assert!(disk.sync_dir(path("/")).is_err());
        assert!(disk.lock(path("/LOCK")).is_err());
        disk.forget_changes(path("/"));
        file.forget_changes();
        assert_eq!(read(&next, "/a"), b"x");
        assert_eq!(next.list(path("/")).unwrap().len(), 1);
    }
}

#[test]
fn locks_die_with_their_process_and_not_later() {
    let disk = data();
    let old = disk.lock(path("/LOCK")).unwrap();
    let next = disk.crash_process();
    let new = next.lock(path("/LOCK")).unwrap();
    // The old value is dropped by whoever still held it: not the new owner's lock.
    drop(old);
    assert_eq!(
        next.lock(path("/LOCK")).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(new);
    next.lock(path("/LOCK")).unwrap();
}

#[test]
fn a_previewed_cut_leaves_the_disk_running() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    let left = disk.preview_cut(Cut::AllLost);
    left.open(path("/a"), Access::ReadWrite)
        .unwrap()
        .write_at(b"???", 0)
        .unwrap();
    file.write_at(b"!", 3).unwrap();
    assert_eq!(read(&disk, "/a"), b"new!");
}

#[test]
fn a_removed_file_is_dropped_when_the_process_that_held_it_is_killed() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 4096]);
    disk.remove(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(disk.used(), 4096);
    let next = disk.crash_process();
    assert_eq!(next.used(), 0);
    drop(file);
    assert_eq!(next.used(), 0);
}

#[test]
fn a_sync_that_a_plan_fails_is_forgotten_as_well() {
    let sim = data();
    let file = durable(&sim, "/a", b"old");
    let plan = FaultPlan::new();
    let disk = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
    let planned = disk.open(path("/a"), Access::ReadWrite).unwrap();
    planned.write_at(b"new", 0).unwrap();
    let _ = plan.fail(Calls::of(CallKind::SyncData), Fault::Io);
    assert!(planned.sync_data().is_err());
    planned.sync_data().unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&sim.preview_cut(Cut::AllKept), "/a"), b"old");

    disk.create_new(path("/b")).unwrap();
    let _ = plan.fail(Calls::of(CallKind::SyncDir), Fault::Io);
    assert!(disk.sync_dir(path("/")).is_err());
    disk.sync_dir(path("/")).unwrap();
    assert!(!exists(&sim.preview_cut(Cut::AllKept), "/b"));
}

#[test]
fn a_halted_machine_forgets_nothing_by_itself() {
    let sim = data();
    let plan = FaultPlan::new();
    let disk = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
    let file = disk.create_new(path("/a")).unwrap();
    file.write_at(b"x", 0).unwrap();
    let _ = plan.fail(Calls::of_kinds(&CallKind::CHANGING).forever(), Fault::Halt);
    assert!(file.sync_data().is_err());
    assert!(disk.sync_dir(path("/")).is_err());
    assert!(file.write_at(b"y", 0).is_err());
    assert_eq!(read(&sim.preview_cut(Cut::AllKept), "/a"), b"x");
}
