//! One unclean stop each, and what the next open makes of it.

use std::{path::Path, sync::Arc};

use tierlog_storage::{
    Offset, SegmentNo, StorageError,
    disk::{
        Disk,
        sim::{Cut, SimDisk},
    },
    manifest::{Entry, SegmentStatus},
    recovery::open_log,
};

use crate::rig::{Read, Rig, Seal, damage_of, layout, open, options, read_all};

fn sim() -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new();
    (disk.clone(), Arc::new(disk))
}

pub fn again(disk: SimDisk) -> (SimDisk, Rig) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    (disk, Rig::open(&shared).unwrap())
}

pub fn read(rig: &Rig, name: &str) -> Read {
    let id = rig.writers[name].id;
    read_all(&*rig.disk, &rig.layout, &rig.log.state, id).unwrap()
}

/// Ten frames of two records; the first six were synced.
pub fn half_synced(claim: bool) -> (SimDisk, Rig) {
    let (sim, disk) = sim();
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    for _ in 0..6 {
        rig.append("a", 2).unwrap();
    }
    rig.sync("a", claim).unwrap();
    for _ in 0..4 {
        rig.append("a", 2).unwrap();
    }
    (sim, rig)
}

#[test]
fn a_clean_close_needs_no_scan_and_no_copy() {
    let (sim, rig) = half_synced(true);
    rig.close().unwrap();
    let (_, rig) = again(sim.power_cut_with(Cut::AllLost));
    assert!(rig.log.report.clean, "{}", rig.log.report);
    assert_eq!(rig.log.report.streams.len(), 0);
    assert!(
        rig.stream("a")
            .segments
            .values()
            .all(|s| s.status.is_open())
    );
    assert!(read(&rig, "a").is_whole("a", 0, 20));
}

#[test]
fn a_writer_goes_on_where_it_closed_and_is_recovered_later() {
    let (sim, rig) = half_synced(true);
    rig.close().unwrap();
    let (sim, mut rig) = again(sim.crash_process());
    rig.append("a", 5).unwrap();
    rig.sync("a", false).unwrap();
    rig.append("a", 1).unwrap();
    // The segment's header is of an earlier life than the stream is now, and yet it counts.
    let (_, rig) = again(sim.power_cut_with(Cut::AllLost));
    assert_eq!(damage_of(&rig.log), []);
    assert!(read(&rig, "a").is_whole("a", 0, 25));
}

#[test]
fn what_stands_in_the_cache_alone_is_made_durable_before_it_is_served() {
    let (sim, rig) = half_synced(true);
    drop(rig);
    let (sim, rig) = again(sim.crash_process());
    let report = &rig.log.report.streams[0];
    assert_eq!((report.claimed, report.end), (Offset(12), Offset(20)));
    assert_eq!(report.copied_records, 8);
    assert!(read(&rig, "a").is_whole("a", 0, 20));
    drop(rig);
    let (_, rig) = again(sim.power_cut_with(Cut::AllLost));
    assert!(
        read(&rig, "a").is_whole("a", 0, 20),
        "what a reader has seen stays"
    );
}

#[test]
fn a_failed_sync_that_the_kernel_forgot_does_not_fool_the_next_process() {
    // The pages are clean and read well, and a sync of them succeeds; they are not on the disk.
    let (sim, mut rig) = half_synced(true);
    sim.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tls"));
    rig.sync("a", false).unwrap_err();
    drop(rig);
    let (sim, rig) = again(sim.crash_process());
    assert!(read(&rig, "a").is_whole("a", 0, 20));
    drop(rig);
    let (_, rig) = again(sim.power_cut_with(Cut::AllKept));
    assert_eq!(damage_of(&rig.log), []);
    assert!(
        read(&rig, "a").is_whole("a", 0, 20),
        "{:?}",
        read(&rig, "a")
    );
}

#[test]
fn the_claims_file_says_what_frames_can_not() {
    // No frame was written after the sync, so only the claims file knows of it.
    let (sim, disk) = sim();
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 3).unwrap();
    rig.sync("a", true).unwrap();
    drop(rig);
    let (_, rig) = again(sim.crash_process());
    assert!(
        rig.log.report.streams.is_empty(),
        "nothing to copy: {}",
        rig.log.report
    );
    let segment = &rig.stream("a").segments[&SegmentNo(0)];
    assert!(matches!(
        segment.status,
        SegmentStatus::Closed { end: Offset(3), .. }
    ));
}

#[test]
fn a_claim_of_another_epoch_or_life_counts_for_nothing() {
    let (sim, mut rig) = half_synced(false);
    let epoch = rig.log.state.epoch;
    let incarnation = rig.stream("a").incarnation;
    for (slot, (epoch, incarnation)) in [(epoch.plus(1), incarnation), (epoch, incarnation.plus(1))]
        .into_iter()
        .enumerate()
    {
        let claim = tierlog_storage::claims::Claim {
            stream: rig.writers["a"].id,
            epoch,
            incarnation,
            durable: Offset(1_000),
        };
        rig.log.claims.put(slot as u32 + 3, &claim).unwrap();
    }
    rig.append("a", 1).unwrap();
    drop(rig);
    let (_, rig) = again(sim.crash_process());
    assert_eq!(damage_of(&rig.log), []);
    assert_eq!(rig.stream("a").next, Offset(21));
}

#[test]
fn a_claim_beyond_what_can_be_read_is_damage_and_the_stream_goes_on_behind_it() {
    let (sim, rig) = half_synced(true);
    let id = rig.writers["a"].id;
    let path = layout().segment(id, SegmentNo(0));
    let pos = rig.writers["a"].active.as_ref().unwrap().pos;
    drop(rig);
    let disk = sim.crash_process();
    // From the fifth frame on everything is overwritten; the claims file says that 12 are durable.
    let file = disk
        .open(&path, tierlog_storage::disk::Access::ReadWrite)
        .unwrap();
    let fifth = second_half(&disk, &path, 4);
    file.write_at(&vec![0xee; (pos - fifth) as usize], fifth)
        .unwrap();
    file.sync_data().unwrap();
    let (disk, mut rig) = again(disk);
    let damage = damage_of(&rig.log);
    assert_eq!((damage[0].from, damage[0].to), (Offset(8), Offset(12)));
    assert_eq!(damage[0].bytes.0, fifth);
    assert_eq!(rig.stream("a").next, Offset(12));
    rig.append("a", 2).unwrap();
    rig.sync("a", true).unwrap();
    drop(rig);
    let (_, rig) = again(disk.power_cut_with(Cut::AllLost));
    let found = read(&rig, "a");
    assert_eq!(found.damage, [(8, 12)]);
    let offsets: Vec<u64> = found.records.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6, 7, 12, 13]);
}

/// Where the `n`th frame of a file begins.
fn second_half(disk: &SimDisk, path: &Path, n: usize) -> u64 {
    let file = disk
        .open(path, tierlog_storage::disk::Access::Read)
        .unwrap();
    let mut pos = 128;
    for _ in 0..n {
        let mut head = [0; 48];
        file.read_at(&mut head, pos).unwrap();
        let head = tierlog_storage::segment::FrameHead::parse(&head).unwrap();
        pos += head.total_len() as u64;
    }
    pos
}

#[test]
fn an_end_that_nobody_claims_is_cut_and_its_offsets_are_used_again() {
    let (sim, rig) = half_synced(true);
    let id = rig.writers["a"].id;
    let path = layout().segment(id, SegmentNo(0));
    drop(rig);
    let disk = sim.crash_process();
    let eighth = second_half(&disk, &path, 7);
    let file = disk
        .open(&path, tierlog_storage::disk::Access::ReadWrite)
        .unwrap();
    file.write_at(&[0xee; 4], eighth + 50).unwrap();
    let (disk, mut rig) = again(disk);
    assert_eq!(damage_of(&rig.log), []);
    let cut = rig.log.report.streams[0].cut.unwrap();
    assert_eq!((cut.from, cut.pos), (Offset(14), eighth));
    assert!(cut.dropped_bytes_known > 0, "the two good frames behind");
    rig.append("a", 6).unwrap();
    rig.sync("a", true).unwrap();
    drop(rig);
    let (_, rig) = again(disk.power_cut_with(Cut::AllLost));
    assert!(read(&rig, "a").is_whole("a", 0, 20));
}

#[test]
fn two_unsealed_segments_and_one_ahead_are_one_tail() {
    for upto in [Seal::Nothing, Seal::Torn, Seal::Footer] {
        let (sim, mut rig) = half_synced(true);
        rig.roll("a", upto).unwrap();
        rig.append("a", 3).unwrap();
        rig.ahead("a").unwrap();
        drop(rig);
        let (sim, rig) = again(sim.crash_process());
        assert_eq!(damage_of(&rig.log), [], "{upto:?}");
        assert!(read(&rig, "a").is_whole("a", 0, 23), "{upto:?}");
        let open = rig
            .stream("a")
            .segments
            .values()
            .filter(|s| s.status.is_open());
        assert_eq!(open.count(), 0);
        drop(rig);
        let (_, rig) = again(sim.power_cut_with(Cut::AllLost));
        assert!(read(&rig, "a").is_whole("a", 0, 23), "{upto:?}");
    }
}

#[test]
fn a_footer_claims_its_watermark() {
    // Frames 0..12 were durable when the footer was written. Frame 4 is then destroyed.
    let (sim, mut rig) = half_synced(false);
    rig.writers.get_mut("a").unwrap().durable = 20;
    rig.writers
        .get_mut("a")
        .unwrap()
        .active
        .as_mut()
        .unwrap()
        .file
        .sync()
        .unwrap();
    rig.roll("a", Seal::Footer).unwrap();
    let path = layout().segment(rig.writers["a"].id, SegmentNo(0));
    drop(rig);
    let disk = sim.crash_process();
    let ninth = second_half(&disk, &path, 8);
    let file = disk
        .open(&path, tierlog_storage::disk::Access::ReadWrite)
        .unwrap();
    file.write_at(&[0xee; 4], ninth + 50).unwrap();
    let (_, rig) = again(disk);
    assert_eq!(read(&rig, "a").damage, [(16, 18)]);
    assert_eq!(rig.stream("a").next, Offset(20));
}

/// Eight unsealed segments of which nothing was synced: 320 records.
pub fn large_tail() -> (SimDisk, Rig) {
    let (sim, disk) = sim();
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    for _ in 0..8 {
        for _ in 0..8 {
            rig.append("a", 5).unwrap();
        }
        rig.roll("a", Seal::Nothing).unwrap();
    }
    (sim, rig)
}

#[test]
fn large_tails_are_copied_to_as_many_segments_as_they_need() {
    let (sim, rig) = large_tail();
    drop(rig);
    let (sim, rig) = again(sim.crash_process());
    assert!(
        rig.stream("a").segments.len() > 3,
        "{:?}",
        rig.stream("a").segments
    );
    assert_eq!(rig.log.report.streams[0].copied_records, 320);
    assert!(read(&rig, "a").is_whole("a", 0, 320));
    drop(rig);
    let (_, rig) = again(sim.power_cut_with(Cut::AllLost));
    assert!(read(&rig, "a").is_whole("a", 0, 320));
}

#[test]
fn bytes_behind_a_closed_end_are_neither_read_nor_believed() {
    // A poisoned segment: closed at 12, its later frames written again to the next one.
    let (sim, mut rig) = half_synced(true);
    let id = rig.writers["a"].id;
    let poisoned = rig.writers.get_mut("a").unwrap().active.take().unwrap();
    // Something in it claims more than there will ever be.
    let liar = crate::rig::frame(20, &["liar".to_owned()], 20, poisoned.salt);
    poisoned.file.write_at(&liar.bytes, poisoned.pos).unwrap();
    rig.ahead("a").unwrap();
    let closed = Entry::Closed {
        stream: id,
        segment: poisoned.no,
        base: Offset(0),
        end: Offset(12),
        end_byte: second_half(&sim, poisoned.file.path(), 6),
    };
    rig.commit(vec![closed]).unwrap();
    rig.writers.get_mut("a").unwrap().next = 12;
    rig.append("a", 3).unwrap();
    drop(rig);
    let (_, rig) = again(sim.crash_process());
    assert_eq!(damage_of(&rig.log), []);
    assert!(read(&rig, "a").is_whole("a", 0, 15));
}

#[test]
fn records_cut_by_a_truncation_stay_cut() {
    let (sim, mut rig) = half_synced(true);
    rig.sync("a", true).unwrap();
    let id = rig.writers["a"].id;
    let old = rig.writers.get_mut("a").unwrap().active.take().unwrap();
    let end_byte = second_half(&sim, old.file.path(), 3);
    let incarnation = rig.stream("a").incarnation.plus(1);
    rig.commit(vec![
        Entry::TruncatedAfter {
            stream: id,
            end: Offset(6),
            incarnation,
        },
        Entry::Closed {
            stream: id,
            segment: old.no,
            base: Offset(0),
            end: Offset(6),
            end_byte,
        },
    ])
    .unwrap();
    let writer = rig.writers.get_mut("a").unwrap();
    (writer.next, writer.durable) = (6, 6);
    rig.append("a", 2).unwrap();
    drop(rig);
    // The claims file still says 20, of the life before.
    let (_, rig) = again(sim.crash_process());
    assert_eq!(damage_of(&rig.log), []);
    assert!(read(&rig, "a").is_whole("a", 0, 8));
}

#[test]
fn an_empty_closed_segment_beyond_the_end_does_not_hold_the_end_up() {
    // Segment 1 was poisoned before anything in it, or all of segment 0, was durable. Then the power
    // went: offsets from 12 on are free again.
    let (sim, mut rig) = half_synced(true);
    rig.roll("a", Seal::Nothing).unwrap();
    let id = rig.writers["a"].id;
    let poisoned = rig.writers.get_mut("a").unwrap().active.take().unwrap();
    rig.commit(vec![Entry::Closed {
        stream: id,
        segment: poisoned.no,
        base: Offset(20),
        end: Offset(20),
        end_byte: 128,
    }])
    .unwrap();
    rig.append("a", 1).unwrap();
    drop(rig);
    let (_, mut rig) = again(sim.power_cut_with(Cut::AllLost));
    assert_eq!(damage_of(&rig.log), []);
    assert!(read(&rig, "a").is_whole("a", 0, 12));
    rig.append("a", 1).unwrap();
    rig.sync("a", true).unwrap();
    assert_eq!(rig.stream("a").next, Offset(12));
}

#[test]
fn a_missing_file_is_reported_and_the_rest_is_read() {
    let (sim, mut rig) = half_synced(true);
    rig.roll("a", Seal::Commit).unwrap();
    rig.append("a", 4).unwrap();
    rig.sync("a", true).unwrap();
    let id = rig.writers["a"].id;
    drop(rig);
    for (no, lost) in [(0, (0, 20)), (1, (20, 24))] {
        let disk = sim.preview_cut(Cut::AllKept);
        disk.remove(&layout().segment(id, SegmentNo(no))).unwrap();
        let (_, rig) = again(disk);
        let damage = damage_of(&rig.log);
        assert_eq!((damage[0].from.get(), damage[0].to.get()), lost);
        assert_eq!(rig.stream("a").next, Offset(24));
        assert_eq!(read(&rig, "a").damage, [lost]);
    }
}

#[test]
fn a_missing_blank_segment_is_reported_and_costs_nothing() {
    let (sim, mut rig) = half_synced(true);
    rig.ahead("a").unwrap();
    let id = rig.writers["a"].id;
    drop(rig);
    let disk = sim.crash_process();
    disk.remove(&layout().segment(id, SegmentNo(1))).unwrap();
    let (_, rig) = again(disk);
    let damage = damage_of(&rig.log);
    assert_eq!(damage.len(), 1);
    assert_eq!(
        (damage[0].segment, damage[0].from),
        (SegmentNo(1), damage[0].to)
    );
    assert!(read(&rig, "a").is_whole("a", 0, 20));
}

#[test]
fn only_one_process_opens_a_log() {
    let (sim, rig) = half_synced(true);
    let shared: Arc<dyn Disk> = Arc::new(sim.clone());
    let error = open(&shared).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    drop(rig);
    open(&shared).unwrap();
}

#[test]
fn each_open_is_an_epoch_and_each_tail_a_life_of_its_own() {
    let (sim, rig) = half_synced(true);
    let (epoch, life) = (rig.log.state.epoch, rig.stream("a").incarnation);
    rig.close().unwrap();
    let (sim, rig) = again(sim.crash_process());
    assert_eq!(
        (rig.log.state.epoch, rig.stream("a").incarnation),
        (epoch.plus(1), life.plus(1))
    );
    drop(rig);
    let (_, rig) = again(sim.crash_process());
    assert_eq!(
        (rig.log.state.epoch, rig.stream("a").incarnation),
        (epoch.plus(2), life.plus(2))
    );
}

#[test]
fn a_missing_log_is_not_made_unless_asked_for() {
    let (sim, disk) = sim();
    let opts = tierlog_storage::recovery::OpenOptions {
        create: false,
        ..options()
    };
    let error = open_log(&disk, &layout(), &opts).unwrap_err();
    assert!(matches!(error, StorageError::NotALog { .. }), "{error}");
    assert!(sim.list(Path::new("/")).unwrap().is_empty());
}
