use std::{io::ErrorKind, sync::mpsc, thread};

use super::{
    super::{Access, Disk, SharedFile, sim::SimDisk},
    *,
};

fn disk() -> (FaultDisk, FaultPlan) {
    let plan = FaultPlan::new();
    (FaultDisk::new(Arc::new(SimDisk::new()), plan.clone()), plan)
}

fn file(disk: &FaultDisk, path: &str) -> SharedFile {
    disk.create_new(Path::new(path)).unwrap()
}

fn content(file: &SharedFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn the_call_that_is_meant_fails_and_no_other() {
    let (disk, plan) = disk();
    let (log, other) = (file(&disk, "a.tls"), file(&disk, "b.tlm"));
    let armed = plan.fail(
        Calls::of(CallKind::WriteAt).ending(".tls").nth(2),
        Fault::Io,
    );
    for _ in 0..3 {
        other.write_at(b"x", 0).unwrap();
    }
    log.write_at(b"1", 0).unwrap();
    log.sync_data().unwrap();
    let error = log.write_at(b"2", 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    log.write_at(b"3", 2).unwrap();
    assert_eq!(content(&log), b"1\x003");
    assert_eq!(armed.struck(), 1);
}

#[test]
fn a_fault_lasts_as_long_as_it_was_armed_for() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    let _twice = plan.fail(Calls::of(CallKind::Allocate).times(2), Fault::Full);
    for _ in 0..2 {
        assert_eq!(
            file.allocate(0, 10).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
    }
    file.allocate(0, 10).unwrap();

    let forever = plan.fail(Calls::of(CallKind::SetLen).forever(), Fault::Errno(28));
    for _ in 0..5 {
        assert_eq!(file.set_len(1).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!(forever.disarm(), 5);
    file.set_len(1).unwrap();
}

#[test]
fn a_short_write_leaves_its_first_bytes() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    let _ = plan.fail(Calls::of(CallKind::WriteAt), Fault::Short(3));
    let error = file.write_at(b"hello", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&file), b"hel");
    let _ = plan.fail(Calls::of(CallKind::Allocate), Fault::Short(100));
    assert!(file.allocate(0, 1000).is_err());
    assert_eq!(file.len().unwrap(), 100);
}

#[test]
fn a_call_can_be_done_and_reported_as_failed() {
    let (disk, plan) = disk();
    file(&disk, "a");
    let _ = plan.fail(Calls::of(CallKind::Rename), Fault::DoneButReported);
    assert!(disk.rename(Path::new("a"), Path::new("b")).is_err());
    disk.open(Path::new("b"), Access::Read).unwrap();
}

#[test]
fn every_kind_of_call_can_fail_and_is_counted() {
    let (disk, plan) = disk();
    let root = Path::new("/");
    let file = file(&disk, "a");
    let name = Path::new("b");
    plan.reset_counts();
    let _ = plan.fail(Calls::any().forever(), Fault::Io);
    assert!(disk.create_new(name).is_err());
    assert!(disk.open(name, Access::Read).is_err());
    assert!(disk.create_dir(name).is_err());
    assert!(disk.rename(Path::new("a"), name).is_err());
    assert!(disk.link(Path::new("a"), name).is_err());
    assert!(disk.remove(Path::new("a")).is_err());
    assert!(disk.list(root).is_err());
    assert!(disk.sync_dir(root).is_err());
    assert!(disk.lock(name).is_err());
    assert!(disk.space(root).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.allocate(0, 1).is_err());
    assert!(file.set_len(1).is_err());
    assert!(file.sync_data().is_err());
    assert!(file.len().is_err());
    assert!(file.is_empty().is_err());
    assert!(file.map_read_only(0).is_err());
    assert_eq!(plan.changes(), 10);
    assert_eq!(plan.count(CallKind::Len), 2);
    plan.clear();
    let names: Vec<_> = disk
        .list(root)
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["a"]);
    assert_eq!(file.len().unwrap(), 0);
}

#[test]
fn counts_tell_paths_apart() {
    let (disk, plan) = disk();
    let (a, b) = (file(&disk, "a"), file(&disk, "b"));
    a.sync_data().unwrap();
    a.sync_data().unwrap();
    b.sync_data().unwrap();
    assert_eq!(plan.count(CallKind::SyncData), 3);
    assert_eq!(
        plan.count_at(CallKind::SyncData, |path| path == Path::new("a")),
        2
    );
}

#[test]
fn a_rename_is_met_under_either_name() {
    let (disk, plan) = disk();
    file(&disk, "a");
    for end in ["a", "b"] {
        let _ = plan.fail(Calls::of(CallKind::Rename).ending(end), Fault::Io);
        assert!(
            disk.rename(Path::new("a"), Path::new("b")).is_err(),
            "{end}"
        );
    }
    disk.rename(Path::new("a"), Path::new("b")).unwrap();
    assert_eq!(
        plan.count_at(CallKind::Rename, |path| path == Path::new("b")),
        3
    );
}

#[test]
fn recorded_calls_stand_in_their_order() {
    let (disk, plan) = disk();
    let file = file(&disk, "tmp");
    plan.record(true);
    file.write_at(b"hello", 7).unwrap();
    file.sync_data().unwrap();
    disk.rename(Path::new("tmp"), Path::new("CURRENT")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let calls = plan.take_calls();
    let kinds: Vec<_> = calls.iter().map(|call| call.kind).collect();
    let expected = [
        CallKind::WriteAt,
        CallKind::SyncData,
        CallKind::Rename,
        CallKind::SyncDir,
    ];
    assert_eq!(kinds, expected);
    let write = Call {
        kind: CallKind::WriteAt,
        path: "tmp".into(),
        pos: 7,
        len: 5,
    };
    assert_eq!(calls[0], write);
    assert_eq!(calls[2].path, Path::new("CURRENT"));
    assert_eq!(plan.take_calls(), []);
}

#[test]
fn a_held_call_waits_and_has_no_effect_until_it_is_released() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    let held = plan.hold(Calls::of(CallKind::WriteAt));
    thread::scope(|scope| {
        let writer = scope.spawn(|| file.write_at(b"x", 0));
        held.wait();
        assert_eq!(held.parked(), 1);
        assert_eq!(file.len().unwrap(), 0);
        // Only one call was meant: others pass it by.
        file.write_at(b"yy", 0).unwrap();
        held.release();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(content(&file), b"xy");
}

#[test]
fn held_calls_can_be_made_to_fail_together() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    let held = plan.hold(Calls::of(CallKind::SyncData).forever());
    thread::scope(|scope| {
        let syncs: Vec<_> = (0..3).map(|_| scope.spawn(|| file.sync_data())).collect();
        held.wait_for(3);
        held.release_failing(Fault::Io);
        for sync in syncs {
            assert!(sync.join().unwrap().is_err());
        }
    });
    file.sync_data().unwrap();
}

#[test]
fn dropping_or_clearing_releases_what_is_held() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    for clear in [true, false] {
        let held = plan.hold(Calls::of(CallKind::Len));
        let (done, told) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(|| done.send(file.len()).unwrap());
            held.wait();
            if clear {
                plan.clear();
                told.recv().unwrap().unwrap();
            } else {
                drop(held);
                told.recv().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn a_fault_armed_beside_a_gate_strikes_when_the_gate_opens() {
    let (disk, plan) = disk();
    let file = file(&disk, "a");
    let _ = plan.fail(Calls::of(CallKind::WriteAt), Fault::Io);
    let held = plan.hold(Calls::of(CallKind::WriteAt));
    thread::scope(|scope| {
        let writer = scope.spawn(|| file.write_at(b"x", 0));
        held.wait();
        held.release();
        assert!(writer.join().unwrap().is_err());
    });
}

#[test]
fn a_watcher_sees_each_change_before_it_is_made_and_may_look_at_the_disk() {
    let sim = SimDisk::new();
    let plan = FaultPlan::new();
    let disk = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (told, below) = (Arc::clone(&seen), sim.clone());
    plan.watch(move |call, failed| {
        assert_eq!(failed, 0);
        if !CallKind::CHANGING.contains(&call.kind) {
            return;
        }
        let names = below.list(Path::new("/")).unwrap().len();
        told.lock().unwrap().push((call.kind, names));
    });
    let file = disk.create_new(Path::new("/a")).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    disk.list(Path::new("/")).unwrap();
    disk.remove(Path::new("/a")).unwrap();
    let expected = [
        (CallKind::CreateNew, 0),
        (CallKind::WriteAt, 1),
        (CallKind::Remove, 1),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}
