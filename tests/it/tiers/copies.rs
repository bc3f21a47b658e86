//! One good copy always: which copy is read, and which one may go.

use std::path::Path;

use tierlog::{
    Kind, ReadOnly, SegmentInfo, TryAppend,
    testing::storage::{
        crc::crc64,
        disk::{
            Access, Disk,
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{append, files, holds, long, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, settle, until},
    support::{close, within},
};

/// A closed log whose segments have both copies, and room for all of them.
async fn with_both(disk: &SimDisk) -> Rig {
    let rig = rig(disk).with("hot_budget", "10MiB");
    let (log, stream) = one_stream(&rig).await;
    append(&stream, 0..100).await;
    within(stream.seal()).await.expect("sealed");
    // A compressed file that is there and that nothing names yet is made again behind the close.
    within(async {
        let is_named = |segment: &SegmentInfo| segment.compressed_len.is_some();
        while !stream.segments().await.expect("known").iter().all(is_named) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    close(log).await;
    rig
}

fn overwrite(disk: &SimDisk, path: &Path, bytes: &[u8], at: u64) {
    let file = disk.open(path, Access::ReadWrite).expect("it is there");
    file.write_at(bytes, at).expect("written");
}

/// Head, index and length of the compressed file were right, and what lay between was not looked at
/// before the segment file went: a bit that the medium had flipped since cost the last good copy.
#[test]
fn a_flipped_byte_in_its_compressed_file_keeps_the_segment_file() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = with_both(&disk).await;
        let (log, stream) = one_stream(&rig).await;
        close(log).await;
        for path in files(&disk, &stream, "tlz") {
            let len = disk.open(&path, Access::Read).expect("there").len();
            overwrite(&disk, &path, &[0xa5; 4], len.expect("a length") / 2);
        }
        let rig = rig.with("hot_budget", "320KiB");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 100..300).await;
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

/// Only frames that failed their checksum sent a reader to the other copy.
#[test]
fn a_segment_file_that_can_not_be_used_is_read_from_its_compressed_one() {
    on_each_runtime(|_| async {
        for strange_header in [true, false] {
            let disk = SimDisk::new();
            let rig = with_both(&disk).await;
            let (log, stream) = one_stream(&rig).await;
            let first = files(&disk, &stream, "tls")[0].clone();
            if strange_header {
                let file = disk.open(&first, Access::Read).expect("it is there");
                let mut header = [0; 120];
                file.read_at(&mut header, 0).expect("read");
                header[48] ^= 1;
                overwrite(&disk, &first, &header, 0);
                overwrite(&disk, &first, &crc64(&[&header]).to_le_bytes(), 120);
            } else {
                let at = first.clone();
                let reads = Calls::of(CallKind::ReadAt).at(move |path| path == at);
                rig.plan.fail(reads.forever(), Fault::Io);
            }
            holds(&stream, 0..100).await;
            eventually("the bad file goes", || {
                disk.open(&first, Access::Read).is_err()
            })
            .await;
            holds(&stream, 0..100).await;
            close(log).await;
        }
    });
}

/// One thread compresses, and something that never returns may keep it. What else has to be done
/// about tiers does not wait for it.
#[test]
fn segment_files_go_while_another_segment_is_being_compressed_for_ever() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("stall_after", "200ms");
        let second = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name == "00000000000000000001.tlz")
        };
        let held = rig.plan.hold(Calls::of(CallKind::WriteAt).at(second));
        let (log, stream) = one_stream(&rig).await;
        let mut sent = 0;
        let refused = within(async {
            loop {
                match stream.try_append(long(sent)) {
                    Ok(ticket) => match ticket.await {
                        Ok(_) => sent += 1,
                        Err(failed) => assert!(!failed.records.is_empty(), "{failed}"),
                    },
                    Err(TryAppend::WouldBlock { kind, .. }) if kind == Kind::Admission => {
                        return kind;
                    }
                    Err(TryAppend::WouldBlock { kind, .. }) => stream.ready(kind).await,
                    Err(other) => panic!("{other}"),
                }
            }
        })
        .await;
        assert_eq!(refused, Kind::Admission, "every wait ends");
        assert_eq!(held.parked(), 1);
        let warm = files(&disk, &stream, "tlz");
        let first = warm[0].with_extension("tls");
        assert!(disk.open(&first, Access::Read).is_err(), "it went");
        holds(&stream, 0..sent).await;
        held.release();
        within(stream.append(long(sent))).await.expect("it goes on");
        holds(&stream, 0..sent + 1).await;
        close(log).await;
    });
}

/// As when a segment is made: nobody knows which names are durable.
#[test]
fn a_folder_that_can_not_be_synced_for_a_compressed_file_begins_a_new_generation() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..5).await;
        let folder = Calls::of(CallKind::SyncDir).ending(&stream.id().to_string());
        let armed = rig.plan.fail(folder, Fault::Io);
        within(stream.seal()).await.expect("sealed");
        let health = until(&log, |health| health.ok && !health.restarts.is_empty()).await;
        assert_eq!(armed.disarm(), 1);
        assert_eq!(health.restarts[0].actor, "coordinator", "{health:?}");
        holds(&stream, 0..5).await;
        close(log).await;
    });
}

/// What was known when the log was attached is not what is there by now.
#[test]
fn a_log_is_verified_beside_an_owner_whose_segments_move() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let rig = Rig::real(dir.path())
            .with("hot_budget", "320KiB")
            .with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..60).await;
        let view = within(ReadOnly::attach_with(rig.settings.clone()))
            .await
            .expect("attached");
        append(&stream, 60..400).await;
        let report = within(view.verify(None, |_, _| ()))
            .await
            .expect("verified");
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        close(log).await;
    });
}

/// A truncation cut a segment that was compressed. Its old compressed file was removed late: by then a new one
/// had been made under the same name, the manifest said so, and it was that one which went.
#[test]
fn what_was_cut_is_compressed_again_only_once_its_old_file_is_gone() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = with_both(&disk).await;
        let (log, stream) = one_stream(&rig).await;
        let warm = |path: &Path| path.extension().is_some_and(|end| end == "tlz");
        let held = rig.plan.hold(Calls::of(CallKind::Remove).at(warm));
        let cut = stream.truncate_after(Some(tierlog::Offset(49)));
        within(cut).await.expect("cut");
        eventually("its removal has begun", || held.parked() > 0).await;
        let passed = rig.faults.passed("compressor.take");
        for _ in 0..50 {
            settle().await;
        }
        assert_eq!(rig.faults.passed("compressor.take"), passed, "not yet");
        held.release();
        eventually("it is compressed again", || {
            rig.faults.passed("compressor.take") > passed
        })
        .await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
        holds(&stream, 0..50).await;
        close(log).await;
    });
}
