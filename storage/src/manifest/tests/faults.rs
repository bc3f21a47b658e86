//! Disks that fail and disks that are full.

use super::{
    arbitrary::LOG,
    support::{Bench, bulky, done, stream},
};
use crate::{
    disk::{
        Disk,
        fault::{CallKind, Calls, Fault},
        sim::{Cut, SimDisk},
    },
    error::{Result, StorageError},
    manifest::{
        Entry, ManifestLog, ManifestState, ensure_reserve,
        reserve::{RESERVE_LEN, allocate},
    },
    segment::file::Latched,
};

/// The story of fsyncgate: a sync fails, the kernel marks the pages clean, the next sync of the same
/// file succeeds, and what was acked by it is gone after a power cut.
#[test]
fn after_a_failed_sync_the_manifest_goes_on_in_another_file() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    let before = state.clone();
    bench
        .sim
        .fail_next_sync(|path| path.extension().is_some_and(|e| e == "tlm"));
    let error = log.commit(&[stream(2)], &mut state).unwrap_err();
    assert!(
        matches!(error, StorageError::Io { op: "sync", .. }),
        "{error}"
    );
    assert_eq!(state, before);
    assert!(log.is_spent());

    bench.plan.reset_counts();
    assert!(log.commit(&[stream(2)], &mut state).is_err());
    assert!(log.commit(&[], &mut state).is_err());
    assert!(log.close_clean().is_err());
    assert_eq!(bench.plan.changes(), 0, "the file is never touched again");

    let mut log = bench.publish(2, &state);
    done(log.commit(&[stream(2)], &mut state));
    let later = Bench::over(bench.sim.power_cut_with(Cut::AllLost));
    assert_eq!(later.replay().unwrap().state, state);
}

#[test]
fn a_failed_write_leaves_the_state_as_it_was() {
    for kind in [CallKind::WriteAt, CallKind::SyncData, CallKind::Allocate] {
        for fault in [Fault::Io, Fault::DoneButReported, Fault::Short(100)] {
            let bench = Bench::new();
            let (mut log, mut state) = bench.begin();
            let before = state.clone();
            bench.plan.fail(Calls::of(kind).ending(".tlm"), fault);
            let commits = [bulky(0, 40, 300), vec![], bulky(50, 40, 300)];
            let outcome = log.commit(&commits, &mut state);
            if kind == CallKind::Allocate && fault == Fault::Short(100) {
                done(outcome);
                assert_eq!(state.streams.len(), 80, "less room was enough");
                continue;
            }
            outcome.unwrap_err();
            assert_eq!(state, before, "{kind:?} {fault:?}");
            assert!(log.is_spent());
            let mut log = bench.publish(2, &state);
            done(log.commit(&commits, &mut state));
            assert_eq!(bench.replay().unwrap().state, state);
        }
    }
}

/// An owner that meets any fault by going on in the next file, as the contract says.
struct Owner<'b> {
    bench: &'b Bench,
    number: u64,
    log: Option<ManifestLog>,
    state: ManifestState,
}

impl Owner<'_> {
    fn begin_file(&mut self) -> Result<()> {
        self.number += 1;
        self.log = None;
        let mut log = self.bench.create(self.number, &self.state)?;
        log.publish()?;
        self.log = Some(log);
        Ok(())
    }

    fn commit(&mut self, commits: &[Vec<Entry>]) {
        for _attempt in 0..4 {
            let Some(log) = self.log.as_mut().filter(|log| !log.is_spent()) else {
                let _again = self.begin_file();
                continue;
            };
            if let Ok(results) = log.commit(commits, &mut self.state) {
                assert!(results.iter().all(Result::is_ok));
                return;
            }
        }
        panic!("one fault must not stop the manifest");
    }

    fn run(&mut self) {
        self.commit(&[stream(1)]);
        self.commit(&[stream(2), stream(3)]);
        while self.begin_file().is_err() {}
        self.commit(&[bulky(100, 40, 300), bulky(200, 40, 300)]);
        while ManifestLog::delete_older(&*self.bench.disk, &self.bench.layout, self.number).is_err()
        {
        }
        self.commit(&[stream(4)]);
    }
}

#[test]
fn one_failing_call_anywhere_loses_nothing_that_was_acked() {
    let run = |fail: Option<(u64, Fault)>| {
        let bench = Bench::new();
        let armed = fail.map(|(nth, fault)| {
            let calls = Calls::of_kinds(&CallKind::CHANGING).nth(nth);
            bench.plan.fail(calls, fault)
        });
        let mut owner = Owner {
            bench: &bench,
            number: 0,
            log: None,
            state: ManifestState::new(LOG),
        };
        owner.run();
        if let Some(armed) = armed {
            assert_eq!(armed.struck(), 1);
        }
        for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(1), Cut::Seeded(2)] {
            let later = Bench::over(bench.sim.preview_cut(cut));
            assert_eq!(
                later.replay().unwrap().state,
                owner.state,
                "{fail:?} {cut:?}"
            );
        }
        bench.plan.changes()
    };
    let calls = run(None);
    assert!(calls > 20);
    for nth in 1..=calls {
        for fault in [Fault::Io, Fault::Full, Fault::DoneButReported] {
            run(Some((nth, fault)));
        }
    }
}

#[test]
fn an_attempt_that_fails_leaves_the_old_manifest_in_charge() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    for kind in [
        CallKind::CreateNew,
        CallKind::Allocate,
        CallKind::WriteAt,
        CallKind::SyncData,
        CallKind::SyncDir,
    ] {
        bench.plan.fail(Calls::of(kind), Fault::Io);
        bench.create(2, &state).unwrap_err();
        assert_eq!(bench.current().number, 1);
        let names = bench.sim.list(&bench.layout.manifest_dir()).unwrap();
        assert_eq!(names.len(), 1, "{kind:?}: the partial file is removed");
    }
    done(log.commit(&[stream(2)], &mut state));
}

/// A disk with a reserve and a file that takes the rest.
fn full_disk() -> (Bench, ManifestLog, ManifestState) {
    let bench = Bench::over(SimDisk::with_capacity(2 << 20));
    let (log, state) = bench.begin();
    assert!(ensure_reserve(&*bench.disk, &bench.layout).unwrap());
    fill(&bench);
    (bench, log, state)
}

fn fill(bench: &Bench) {
    let path = bench.layout.root().join("filler");
    let file = bench
        .sim
        .create_new(&path)
        .or_else(|_| bench.sim.open(&path, crate::disk::Access::ReadWrite))
        .unwrap();
    let free = bench.sim.space(bench.layout.root()).unwrap().free;
    file.allocate(file.len().unwrap(), free).unwrap();
    assert_eq!(bench.sim.space(bench.layout.root()).unwrap().free, 0);
}

fn make_room(bench: &Bench) {
    let path = bench.layout.root().join("filler");
    bench.sim.remove(&path).unwrap();
}

#[test]
fn a_full_disk_does_not_stop_the_manifest_while_there_is_a_reserve() {
    let (bench, mut log, mut state) = full_disk();
    for n in 0..10 {
        done(log.commit(&[bulky(n * 100, 30, 300)], &mut state));
    }
    assert!(
        bench
            .sim
            .open(&bench.layout.reserve(), crate::disk::Access::Read)
            .is_err()
    );
    assert_eq!(bench.replay().unwrap().state, state);
    make_room(&bench);
    assert!(ensure_reserve(&*bench.disk, &bench.layout).unwrap());
}

#[test]
fn a_full_disk_does_not_stop_a_new_manifest_file() {
    let (bench, log, state) = full_disk();
    drop(log);
    let mut state = state;
    let mut log = bench.publish(2, &state);
    done(log.commit(&[stream(1)], &mut state));
    log.close_clean().unwrap();
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn without_any_room_a_commit_is_refused_and_later_goes_through() {
    let (bench, mut log, mut state) = full_disk();
    bench.sim.remove(&bench.layout.reserve()).unwrap();
    fill(&bench);
    let mut n = 0;
    let used = bench.sim.used();
    let (before, error) = loop {
        let before = state.clone();
        match log.commit(&[bulky(n * 100, 10, 300)], &mut state) {
            Ok(_) => n += 1,
            Err(error) => break (before, error),
        }
    };
    assert!(error.is_storage_full(), "{error}");
    assert_eq!(state, before);
    assert!(!log.is_spent());
    assert_eq!(bench.sim.used(), used, "nothing is left of the attempt");
    assert!(!ensure_reserve(&*bench.disk, &bench.layout).unwrap());
    assert_eq!(bench.sim.used(), used);
    assert!(bench.create(2, &state).unwrap_err().is_storage_full());
    assert_eq!(bench.sim.used(), used, "the partial file is removed");
    make_room(&bench);
    done(log.commit(&[bulky(n * 100, 10, 300)], &mut state));
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn where_a_chunk_does_not_fit_the_bytes_at_hand_do() {
    let sim = SimDisk::with_capacity(64 << 10);
    let file = sim.create_new("/x".as_ref()).unwrap();
    let file = Latched::new(file, "/x".into());
    let layout = crate::layout::Layout::new("/");
    let room = |need, want| allocate(&sim, &layout, &file, (0, need, want));
    assert_eq!(room(10_000, 1 << 20).unwrap(), 10_000);
    assert!(room(1 << 20, 1 << 20).unwrap_err().is_storage_full());
    assert_eq!((file.len().unwrap(), sim.used()), (0, 0));
    assert!(!file.failed());
}

#[test]
fn a_reserve_that_a_crash_cut_short_is_made_again() {
    let bench = Bench::new();
    bench.put(&bench.layout.reserve(), &[0; 100]);
    assert!(ensure_reserve(&*bench.disk, &bench.layout).unwrap());
    assert_eq!(
        bench.bytes(&bench.layout.reserve()).len() as u64,
        RESERVE_LEN
    );
    bench.plan.reset_counts();
    assert!(ensure_reserve(&*bench.disk, &bench.layout).unwrap());
    assert_eq!(bench.plan.changes(), 0, "it is there already");
}
