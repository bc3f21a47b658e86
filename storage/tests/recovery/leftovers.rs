//! Files that nothing names.

use std::{path::Path, sync::Arc};

use tierlog_storage::{
    Epoch, Incarnation, LogId, Offset, SegmentNo, StorageError, StreamId,
    disk::{
        Access, Disk,
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
    manifest::Entry,
    segment::{HEADER_LEN, SegmentHeader},
};

use crate::{
    creation::everything,
    rig::{Rig, Seal, damage_of, layout, open, read_all},
};

/// A log of one stream whose next segment is number 2; it was killed.
fn log() -> (SimDisk, LogId, StreamId, u64) {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 5).unwrap();
    rig.roll("a", Seal::Commit).unwrap();
    rig.append("a", 2).unwrap();
    rig.sync("a", true).unwrap();
    let (log, id) = (rig.log.log, rig.writers["a"].id);
    let seq = rig.log.manifest.last_seq().get();
    drop(rig);
    (sim.crash_process(), log, id, seq)
}

fn header(log: LogId, stream: StreamId, no: u64, manifest_seq: u64) -> SegmentHeader {
    SegmentHeader {
        log,
        stream,
        segment: SegmentNo(no),
        base: Offset(5),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        created_ns: 1,
        capacity: 4096,
        first_ext_id: None,
        salt: 99,
        manifest_seq,
    }
}

fn put(sim: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = sim.create_new(path).unwrap();
    file.allocate(0, 4096).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn opened(sim: &SimDisk) -> tierlog_storage::recovery::OpenedLog {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let log = open(&disk).unwrap();
    let (&id, _) = log.state.streams.iter().next().unwrap();
    let read = read_all(sim, &layout(), &log.state, id).unwrap();
    assert!(read.is_whole("a", 0, 7));
    log
}

#[test]
fn a_segment_that_nothing_names_is_quarantined_beside_what_lies_there() {
    let (sim, log, id, seq) = log();
    // It was named once (by its number), under a commit that is there, and is not any more.
    let other = StreamId::from_bytes([9; 16]);
    sim.create_dir(&layout().stream_dir(other)).unwrap();
    let path = layout().segment(other, SegmentNo(4));
    let bytes = header(log, other, 4, seq).encode();
    put(&sim, &path, &bytes);
    let first = opened(&sim).report.quarantined;
    assert_eq!(first.len(), 1);
    assert!(sim.open(&path, Access::Read).is_err());
    put(&sim, &path, &bytes);
    let second = opened(&sim).report.quarantined;
    assert_ne!(first, second, "nothing in the quarantine is replaced");
    for path in first.iter().chain(&second) {
        let mut found = [0; HEADER_LEN as usize];
        sim.open(path, Access::Read)
            .unwrap()
            .read_at(&mut found, 0)
            .unwrap();
        assert_eq!(found, bytes);
    }
    assert!(opened(&sim).report.quarantined.is_empty());
    assert!(sim.list(&layout().stream_dir(id)).is_ok());
}

/// A sync of the log's folder failed, and forgot that the quarantine had been made. The next open found it,
/// and moved a file into a folder that a power cut took with all that was in it.
#[test]
fn a_quarantine_whose_name_a_failed_sync_forgot_is_made_anew_before_anything_goes_there() {
    for nth in 1.. {
        let (sim, log, _, seq) = log();
        let other = StreamId::from_bytes([9; 16]);
        let path = layout().segment(other, SegmentNo(4));
        sim.create_dir(path.parent().unwrap()).unwrap();
        let bytes = header(log, other, 4, seq).encode();
        put(&sim, &path, &bytes);
        sim.open(&path, Access::Read).unwrap().sync_data().unwrap();
        for dir in [path.parent().unwrap(), &layout().streams_dir()] {
            sim.sync_dir(dir).unwrap();
        }
        let plan = FaultPlan::new();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let armed = plan.fail(Calls::of(CallKind::SyncDir).nth(nth), Fault::Io);
        drop(open(&disk));
        if armed.struck() == 0 {
            break;
        }
        plan.clear();
        drop(open(&disk).unwrap());
        let left = sim.preview_cut(Cut::AllLost);
        let names = everything(&left);
        let is_it = |path: &&std::path::PathBuf| {
            let mut found = [0; HEADER_LEN as usize];
            let file = left.open(path, Access::Read);
            file.is_ok_and(|file| file.read_at(&mut found, 0).is_ok()) && found[..] == bytes[..]
        };
        assert_eq!(names.iter().filter(is_it).count(), 1, "{nth}: {names:?}");
    }
}

#[test]
fn a_segment_created_ahead_of_its_commit_is_removed() {
    let (sim, _, id, _) = log();
    let path = layout().segment(id, SegmentNo(2));
    put(&sim, &path, &[]);
    let log = opened(&sim);
    assert!(log.report.removed.contains(&path), "{}", log.report);
    assert!(log.report.quarantined.is_empty());
}

#[test]
fn a_segment_written_under_a_commit_that_is_gone_proves_damage_and_nothing_is_touched() {
    let (sim, log, id, seq) = log();
    let newcomer = StreamId::from_bytes([7; 16]);
    sim.create_dir(&layout().stream_dir(newcomer)).unwrap();
    for path in [
        layout().segment(id, SegmentNo(2)),
        layout().segment(newcomer, SegmentNo(0)),
    ] {
        let sim = sim.preview_cut(tierlog_storage::disk::sim::Cut::AllKept);
        let (stream, no) = match path.starts_with(layout().stream_dir(id)) {
            true => (id, 2),
            false => (newcomer, 0),
        };
        put(&sim, &path, &header(log, stream, no, seq + 1).encode());
        let before = everything(&sim);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
        assert!(error.to_string().contains("commits are missing"), "{error}");
        let error = tierlog_storage::recovery::read_only(&sim, &layout()).unwrap_err();
        assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
        assert_eq!(everything(&sim), before);
    }
}

#[test]
fn a_manifest_that_lost_its_last_commit_is_found_out_by_the_segment() {
    // The end of the manifest is destroyed, and nothing in it claims it; but the segment that its
    // last commit created has been written to.
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 5).unwrap();
    rig.sync("a", true).unwrap();
    let manifest = layout().manifest(rig.log.manifest.number());
    drop(rig);
    let sim = sim.crash_process();
    let file = sim.open(&manifest, Access::ReadWrite).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    file.write_at(&[!bytes[last]], last as u64).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
}

#[test]
fn files_of_others_are_left_alone_and_told() {
    let (sim, _, id, _) = log();
    let root = layout().root().to_path_buf();
    let stranger = LogId::from_bytes([0xcc; 16]);
    let foreign = [
        (root.join("notes.txt"), vec![1]),
        (layout().manifest_dir().join("x.bak"), vec![1]),
        (layout().streams_dir().join("readme"), vec![1]),
        (layout().stream_dir(id).join("1.tls"), vec![1]),
        (
            layout().segment(id, SegmentNo(2)),
            header(stranger, id, 2, 1).encode().to_vec(),
        ),
        (
            layout().segment(id, SegmentNo(5)),
            b"no segment at all".to_vec(),
        ),
    ];
    for (path, bytes) in &foreign {
        put(&sim, path, bytes);
    }
    let log = opened(&sim);
    let mut told = log.report.foreign.clone();
    told.sort();
    let mut expected: Vec<_> = foreign.iter().map(|(path, _)| path.clone()).collect();
    expected.sort();
    assert_eq!(told, expected);
    for (path, bytes) in &foreign {
        let mut found = vec![0; bytes.len()];
        sim.open(path, Access::Read)
            .unwrap()
            .read_at(&mut found, 0)
            .unwrap();
        assert_eq!(&found, bytes);
    }
    drop(log);
    // A number that such a file has taken is passed over.
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let mut rig = Rig::open(&disk).unwrap();
    rig.append("a", 3).unwrap();
    assert!(rig.writers["a"].active.as_ref().unwrap().no > SegmentNo(5));
}

#[test]
fn a_trim_that_died_before_its_files_were_gone_is_finished() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 5).unwrap();
    rig.roll("a", Seal::Commit).unwrap();
    rig.append("a", 2).unwrap();
    rig.sync("a", true).unwrap();
    let id = rig.writers["a"].id;
    let trimmed = Entry::Trimmed {
        stream: id,
        start: Offset(5),
    };
    rig.commit(vec![trimmed]).unwrap();
    drop(rig);
    let disk: Arc<dyn Disk> = Arc::new(sim.crash_process());
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(rig.log.report.removed, [layout().segment(id, SegmentNo(0))]);
    assert!(rig.log.report.quarantined.is_empty());
    let read = read_all(&*disk, &layout(), &rig.log.state, id).unwrap();
    assert!(read.is_whole("a", 5, 7));
}

#[test]
fn a_pointer_that_names_no_manifest_is_damage() {
    let (sim, ..) = log();
    let names = sim.list(&layout().manifest_dir()).unwrap();
    sim.remove(&layout().manifest_dir().join(&names[0].name))
        .unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
}

/// The sync of a trim's commit failed, and the kernel forgot it: the next process reads the commit, and a
/// power cut takes it back. A recovery that removed files on its word would have removed them for nothing.
#[test]
fn a_trim_that_stands_in_the_cache_alone_removes_no_file_before_a_durable_manifest_says_so() {
    for step in 1.. {
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let mut rig = Rig::open(&disk).unwrap();
        rig.create("a").unwrap();
        rig.append("a", 5).unwrap();
        rig.roll("a", Seal::Commit).unwrap();
        rig.append("a", 2).unwrap();
        rig.sync("a", true).unwrap();
        sim.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tlm"));
        rig.commit(vec![Entry::Trimmed {
            stream: rig.writers["a"].id,
            start: Offset(5),
        }])
        .unwrap_err();
        drop(rig);
        let sim = sim.crash_process();
        let plan = FaultPlan::new();
        let halting = FaultDisk::new(Arc::new(sim.clone()), plan.clone());
        let calls = Calls::of_kinds(&CallKind::CHANGING).nth(step).forever();
        plan.fail(calls, Fault::Halt);
        let disk: Arc<dyn Disk> = Arc::new(halting);
        let opened = open(&disk);
        let died = opened.is_err();
        if let Ok(log) = &opened {
            let start = log.state.streams.values().next().unwrap().start;
            assert_eq!(start, Offset(5), "the commit was read");
        }
        for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(step)] {
            let disk: Arc<dyn Disk> = Arc::new(sim.preview_cut(cut));
            let rig = Rig::open(&disk).unwrap();
            assert_eq!(damage_of(&rig.log), [], "stopped at call {step}");
            let start = rig.stream("a").start.get();
            assert!(start == 0 || start == 5, "{start}");
            let read = read_all(&*disk, &layout(), &rig.log.state, rig.writers["a"].id);
            assert!(read.unwrap().is_whole("a", start, 7), "at call {step}");
        }
        if !died {
            assert!(step > 5, "only {step} calls");
            break;
        }
    }
}
