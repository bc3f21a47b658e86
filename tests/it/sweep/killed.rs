//! What actors leave that die, or give up, in the midst of making a file: it goes at the next sweep, and
//! not with the next open.

use tierlog::{
    Fate, Stream, Supervisor,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{exists, folder, name, sweep, sweep_all, told};
use crate::{
    cold::{bucket::Bucket, crowded},
    faults::rig::{eventually, on_each_runtime, one_stream, until},
    support::{close, within},
    tiers::{append, files, holds, rig, settled},
};

/// Below the directory.
fn below(stream: &Stream, path: &std::path::Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy();
    format!("streams/{}/{name}", stream.id())
}

#[test]
fn what_a_compressor_leaves_that_was_killed_in_the_midst_goes_at_the_next_sweep() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("compression_workers", "1");
        let (log, stream) = one_stream(&rig).await;
        // Its job is in the midst of a file when it dies, and can't take that back.
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).ending(".tlz"));
        let undone = Calls::of(CallKind::Remove).ending(".tlz").nth(1);
        append(&stream, 0..60).await;
        eventually("a compression is under way", || held.parked() == 1).await;
        let begun = files(&disk, &stream, "tlz").remove(0);
        rig.faults.arm("compressor.take", Action::Kill, 1);
        let stuck = rig.plan.fail(undone.forever(), Fault::Io);
        let generation = log.context().generation().expect("at work");
        generation.compressor.kill();
        // Nobody waits for it any more, and it is at work all the same.
        let swept = sweep(&log).await;
        assert!(exists(&disk, &begun), "{swept:?}");
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert!(swept.under_way >= 1, "{swept:?}");
        held.release_failing(Fault::Io);
        until(&log, |health| !health.restarts.is_empty()).await;
        eventually("it could not take it back", || stuck.struck() > 0).await;
        stuck.disarm();
        let gone = gone_or_warm(&log, &stream, &begun).await;
        assert!(gone.iter().all(|path| *path == below(&stream, &begun)));
        append(&stream, 60..300).await;
        settled(&disk, &stream, 4).await;
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

/// Sweeps until something is removed, and gives that; or until the manifest names this compressed file: it is begun
/// anew a moment after it failed, which may come before a sweep.
async fn gone_or_warm(log: &Supervisor, stream: &Stream, path: &std::path::Path) -> Vec<String> {
    let mut gone = Vec::new();
    within(async {
        while gone.is_empty() && !stream_is_warm(stream, path).await {
            let swept = sweep(log).await;
            assert_eq!(swept.quarantined, 0, "{swept:?}");
            gone.extend(told(&swept, Fate::Removed));
            tokio::task::yield_now().await;
        }
    })
    .await;
    gone
}

/// The manifest names this compressed file.
async fn stream_is_warm(stream: &Stream, path: &std::path::Path) -> bool {
    let stem = path.file_stem().expect("a name").to_string_lossy();
    let no: u64 = stem.parse().expect("a number");
    let segments = within(stream.segments()).await.expect("segments");
    let mut segments = segments.iter();
    segments.any(|segment| segment.segment.get() == no && segment.compressed_len.is_some())
}

#[test]
fn what_a_compression_leaves_that_failed_goes_at_the_next_sweep() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("compression_workers", "1");
        let (log, stream) = one_stream(&rig).await;
        let failed = Calls::of(CallKind::WriteAt).ending(".tlz").nth(1);
        let failed = rig.plan.fail(failed, Fault::Io);
        let stuck = Calls::of(CallKind::Remove).ending(".tlz").nth(2);
        let stuck = rig.plan.fail(stuck, Fault::Io);
        append(&stream, 0..60).await;
        eventually("a compression failed", || {
            failed.struck() == 1 && stuck.struck() == 1
        })
        .await;
        let left = folder(&stream).join(name(0, "tlz"));
        let gone = gone_or_warm(&log, &stream, &left).await;
        assert!(gone.iter().all(|path| *path == below(&stream, &left)));
        append(&stream, 60..200).await;
        holds(&stream, 0..200).await;
        close(log).await;
    });
}

#[test]
fn what_a_fetch_leaves_that_was_given_up_goes_at_the_next_sweep() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..400).await;
        settled(&disk, &stream, 4).await;
        // In the temporary file, which can't be taken back either.
        let temporary = ".tls.tmp";
        let failed = Calls::of(CallKind::SyncData).ending(temporary);
        let failed = rig.plan.fail(failed, Fault::Io);
        let stuck = Calls::of(CallKind::Remove).ending(temporary).nth(2);
        let stuck = rig.plan.fail(stuck, Fault::Io);
        within(async {
            while failed.struck() == 0 || stuck.struck() == 0 {
                holds(&stream, 0..400).await;
            }
        })
        .await;
        let mut gone = Vec::new();
        within(async {
            while gone.is_empty() {
                gone = told(&sweep(&log).await, Fate::Removed);
                if files(&disk, &stream, "tmp").is_empty() {
                    break;
                }
            }
        })
        .await;
        assert!(files(&disk, &stream, "tmp").is_empty(), "{gone:?}");
        holds(&stream, 0..400).await;
        close(log).await;
    });
}

#[test]
fn a_segment_made_for_a_repair_that_failed_goes_at_the_next_sweep() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..3).await;
        let before = files(&disk, &stream, "tls");
        // The write fails, and so does the one to the fresh segment.
        let failed = Calls::of(CallKind::WriteAt).ending(".tls").times(2);
        rig.plan.fail(failed, Fault::Io);
        within(stream.append("lost")).await.expect_err("no disk");
        rig.plan.clear();
        let left: Vec<_> = files(&disk, &stream, "tls")
            .into_iter()
            .filter(|path| !before.contains(path))
            .map(|path| below(&stream, &path))
            .collect();
        assert!(!left.is_empty(), "there is a fresh one");
        let swept = sweep_all(&log).await;
        assert_eq!(told(&swept, Fate::Removed), left, "{swept:?}");
        assert_eq!(swept.quarantined, 0, "{swept:?}");
        holds(&stream, 0..3).await;
        drop((log, stream));
        let (log, stream) = {
            let log = rig.reopen().await;
            let stream = within(log.log().stream("s")).await.expect("a stream");
            (log, stream)
        };
        append(&stream, 3..50).await;
        holds(&stream, 0..50).await;
        close(log).await;
    });
}
