use std::thread;

use super::*;
use crate::disk::{
    Access,
    fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
    sim::{Cut, SimDisk},
};

const STREAM: StreamId = StreamId::from_bytes([7; 16]);

/// A log's directory on a disk that fails on order.
struct Place {
    sim: SimDisk,
    plan: FaultPlan,
    disk: FaultDisk,
    layout: Layout,
}

impl Place {
    fn new() -> Self {
        let sim = SimDisk::new();
        let layout = Layout::new("/data");
        for dir in [layout.root(), &layout.streams_dir()] {
            sim.create_dir(dir).unwrap();
            sim.sync_dir(dir.parent().unwrap()).unwrap();
        }
        Self::on(sim)
    }

    fn on(sim: SimDisk) -> Self {
        let plan = FaultPlan::new();
        let disk = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
        Self {
            sim,
            plan,
            disk,
            layout: Layout::new("/data"),
        }
    }

    fn create(&self, no: u64, room: u64) -> Result<Latched> {
        create_segment(&self.disk, &self.layout, STREAM, SegmentNo(no), room)
    }

    fn segment(&self) -> Latched {
        self.create(1, 4096).unwrap()
    }

    fn length(disk: &SimDisk, no: u64) -> Option<u64> {
        let path = Layout::new("/data").segment(STREAM, SegmentNo(no));
        disk.open(&path, Access::Read)
            .ok()
            .map(|file| file.len().unwrap())
    }
}

/// The calls that reach the file and would change it.
fn changes(plan: &FaultPlan) -> u64 {
    use CallKind::{Allocate, SetLen, SyncData, WriteAt};
    [WriteAt, Allocate, SetLen, SyncData]
        .iter()
        .map(|&kind| plan.count(kind))
        .sum()
}

fn refuses_without_touching(place: &Place, segment: &Latched) {
    let before = changes(&place.plan);
    for refused in [
        segment.write_at(b"x", 0),
        segment.sync(),
        segment.allocate(0, 8192),
        segment.set_len(1),
    ] {
        let error = refused.unwrap_err();
        assert!(
            !error.is_storage_full(),
            "nobody may wait for room here: {error}"
        );
    }
    assert_eq!(changes(&place.plan), before);
}

/// AOF2 and the flush controllers tried a failed fsync again on the same descriptor. The kernel
/// had marked the lost pages clean, so the second one succeeded, the flag was cleared and the
/// records were acked; a power cut then took them.
#[test]
fn a_failed_sync_is_never_tried_again() {
    let place = Place::new();
    let segment = place.segment();
    segment.write_at(b"hello", 0).unwrap();
    let _ = place.plan.fail(Calls::of(CallKind::SyncData), Fault::Io);
    let clone = segment.clone();
    assert!(segment.sync().is_err());
    refuses_without_touching(&place, &segment);
    refuses_without_touching(&place, &clone);
    assert!(clone.failed());
}

#[test]
fn any_failed_write_latches() {
    for fault in [
        Fault::Io,
        Fault::Full,
        Fault::Short(3),
        Fault::DoneButReported,
    ] {
        let place = Place::new();
        let segment = place.segment();
        let _ = place.plan.fail(Calls::of(CallKind::WriteAt), fault);
        let error = segment.write_at(b"hello", 0).unwrap_err();
        assert_eq!(
            error.is_storage_full(),
            matches!(fault, Fault::Full | Fault::Short(_))
        );
        refuses_without_touching(&place, &segment);
    }
}

#[test]
fn the_first_cause_is_told_to_those_who_come_later() {
    let place = Place::new();
    let segment = place.segment();
    let _ = place.plan.fail(Calls::of(CallKind::WriteAt), Fault::Io);
    let first = segment.write_at(b"x", 0).unwrap_err().to_string();
    let later = segment.sync().unwrap_err().to_string();
    assert!(later.contains(&first), "{later}");
}

#[test]
fn reading_goes_on_after_a_failure() {
    let place = Place::new();
    let segment = place.segment();
    segment.write_at(b"hello", 0).unwrap();
    let _ = place.plan.fail(Calls::of(CallKind::SyncData), Fault::Io);
    assert!(segment.sync().is_err());
    let mut bytes = [0; 5];
    assert_eq!(segment.read_at(&mut bytes, 0).unwrap(), 5);
    assert_eq!(&bytes, b"hello");
    assert_eq!(segment.len().unwrap(), 4096);
    assert_eq!(&segment.map_read_only(5).unwrap()[..], b"hello");
}

#[test]
fn a_full_disk_does_not_latch_an_allocation_and_other_failures_do() {
    let place = Place::new();
    let segment = place.segment();
    let _ = place.plan.fail(Calls::of(CallKind::Allocate), Fault::Full);
    assert!(segment.allocate(4096, 4096).unwrap_err().is_storage_full());
    assert!(!segment.failed());
    segment.allocate(4096, 4096).unwrap();
    segment.write_at(b"x", 0).unwrap();
    segment.sync().unwrap();

    let _ = place.plan.fail(Calls::of(CallKind::Allocate), Fault::Io);
    assert!(segment.allocate(8192, 4096).is_err());
    refuses_without_touching(&place, &segment);
}

#[test]
fn a_failed_cut_latches() {
    let place = Place::new();
    let segment = place.segment();
    let _ = place.plan.fail(Calls::of(CallKind::SetLen), Fault::Io);
    assert!(segment.set_len(1).is_err());
    refuses_without_touching(&place, &segment);
}

#[test]
fn a_failed_read_does_not_latch() {
    let place = Place::new();
    let segment = place.segment();
    let kinds = [CallKind::ReadAt, CallKind::Len, CallKind::Map];
    let _ = place.plan.fail(Calls::of_kinds(&kinds).times(3), Fault::Io);
    assert!(segment.read_at(&mut [0], 0).is_err());
    assert!(segment.len().is_err());
    assert!(segment.map_read_only(1).is_err());
    assert!(!segment.failed());
    segment.sync().unwrap();
}

/// Of two syncs of one descriptor at the same time the kernel tells only one that pages were lost.
/// Were both under way, the other one would call them durable.
#[test]
fn a_sync_that_arrives_during_a_failing_one_fails_too() {
    let place = Place::new();
    let segment = place.segment();
    place.plan.reset_counts();
    let held = place.plan.hold(Calls::of(CallKind::SyncData));
    thread::scope(|scope| {
        let first = scope.spawn(|| segment.sync());
        held.wait();
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| segment.sync())).collect();
        held.release_failing(Fault::Io);
        assert!(first.join().unwrap().is_err());
        for other in others {
            assert!(other.join().unwrap().is_err());
        }
    });
    assert_eq!(place.plan.count(CallKind::SyncData), 1);
}

#[test]
fn a_created_segment_survives_every_power_cut() {
    let place = Place::new();
    place.create(1, 8192).unwrap();
    for cut in (0..100).map(Cut::Seeded).chain([Cut::AllLost]) {
        assert_eq!(Place::length(&place.sim.preview_cut(cut), 1), Some(8192));
    }
}

/// A process made the folder of a stream and was killed before it synced the parent. The next one
/// found the folder, synced only what it put in there, and called records durable that a power cut
/// took together with the folder.
#[test]
fn a_folder_that_was_never_synced_is_not_trusted() {
    let place = Place::new();
    place
        .sim
        .create_dir(&place.layout.stream_dir(STREAM))
        .unwrap();
    let place = Place::on(place.sim.crash_process());
    place.create(1, 4096).unwrap();
    assert_eq!(
        Place::length(&place.sim.preview_cut(Cut::AllLost), 1),
        Some(4096)
    );
}

#[test]
fn a_segment_that_exists_is_left_alone() {
    let place = Place::new();
    place.segment().write_at(b"mine", 0).unwrap();
    let error = place.create(1, 8192).unwrap_err();
    assert!(matches!(&error, StorageError::Io { source, .. }
        if source.kind() == io::ErrorKind::AlreadyExists));
    assert_eq!(Place::length(&place.sim, 1), Some(4096));
}

#[test]
fn a_full_disk_leaves_no_part_of_a_segment_behind() {
    let place = Place::new();
    place.sim.set_capacity(Some(1 << 20));
    assert!(place.create(1, 2 << 20).unwrap_err().is_storage_full());
    assert_eq!(place.sim.used(), 0);
    for cut in (0..100).map(Cut::Seeded) {
        assert_eq!(place.sim.preview_cut(cut).used(), 0);
    }
    // The same number can be used as soon as there is room.
    place.create(1, 1 << 20).unwrap();
}

#[test]
fn whichever_call_fails_the_segment_is_whole_or_not_there() {
    for fault in [Fault::Io, Fault::Full, Fault::DoneButReported] {
        let mut n = 1;
        loop {
            let place = Place::new();
            let calls = Calls::of_kinds(&CallKind::CHANGING).nth(n);
            let armed = place.plan.fail(calls, fault);
            let created = place.create(1, 4096);
            if armed.struck() == 0 {
                created.unwrap();
                break;
            }
            assert!(created.is_err(), "change {n}");
            // The one file that may stay was made by a call that said it had failed: to take it
            // for ours could take somebody else's.
            let may_stay =
                fault == Fault::DoneButReported && place.plan.count(CallKind::Remove) == 0;
            if !may_stay {
                assert_eq!(Place::length(&place.sim, 1), None, "change {n}");
                place.create(1, 4096).unwrap();
                let left = place.sim.preview_cut(Cut::AllLost);
                assert!(
                    Place::length(&left, 1).is_some(),
                    "change {n}: it is durable"
                );
            }
            n += 1;
        }
        assert!(n > 5, "all the calls were tried");
    }
}
