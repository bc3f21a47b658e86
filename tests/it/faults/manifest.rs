//! The manifest's own file fails: a new one begins with a snapshot and `CURRENT` is switched; where
//! that fails as well, the generation begins again, or the log says that it has failed.

use tierlog::{
    Error, LogState, Offset,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault},
        sim::{Cut, SimDisk},
    },
};

use super::{
    rig::{Rig, manifest, on_each_runtime, one_stream, until},
    workload::payload,
};
use crate::support::{PATIENCE, close, read_all, texts, within};

const KINDS: [CallKind; 2] = [CallKind::WriteAt, CallKind::SyncData];

#[test]
fn one_failure_of_the_manifest_costs_a_new_file_and_nothing_else() {
    on_each_runtime(|_| async {
        for kind in KINDS {
            for fault in [Fault::Io, Fault::DoneButReported] {
                let disk = SimDisk::new();
                let rig = Rig::sim(&disk).with("idle_mark", "1h");
                let (log, stream) = one_stream(&rig).await;
                let renames = rig.plan.count(CallKind::Rename);
                for id in 0..3 {
                    within(stream.append(payload(id))).await.expect("an ack");
                }
                let armed = rig.plan.fail(Calls::of(kind).at(manifest), fault);
                within(stream.seal()).await.expect("sealed");
                assert_eq!(armed.disarm(), 1);
                assert_eq!(
                    rig.plan.count(CallKind::Rename),
                    renames + 1,
                    "CURRENT is switched"
                );
                within(log.log().stream("other")).await.expect("a stream");
                within(stream.append(payload(3))).await.expect("an ack");
                within(stream.trim(Offset(1))).await.expect("trimmed");
                let health = log.health().await;
                assert!(health.ok && health.restarts.is_empty(), "{health:?}");
                assert_eq!(rig.disk.failed().len(), 1);
                assert_eq!(rig.disk.sins(), Vec::<String>::new());
                for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(3)] {
                    let (log, stream) = one_stream(&rig.on(&disk.preview_cut(cut))).await;
                    assert_eq!(stream.watermarks().start, Offset(1));
                    let expected: Vec<_> = (1..4).map(payload).collect();
                    assert_eq!(texts(&read_all(&stream).await), expected);
                    within(log.log().existing("other"))
                        .await
                        .expect("it is known");
                    drop(log);
                }
                close(log).await;
            }
        }
    });
}

#[test]
fn a_second_failure_of_the_manifest_begins_a_new_generation() {
    on_each_runtime(|_| async {
        for kind in KINDS {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk).with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            for id in 0..3 {
                within(stream.append(payload(id))).await.expect("an ack");
            }
            let armed = rig
                .plan
                .fail(Calls::of(kind).at(manifest).times(2), Fault::Io);
            within(stream.seal()).await.expect_err("it was not sealed");
            let health = until(&log, |health| health.ok && !health.restarts.is_empty()).await;
            assert_eq!(health.restarts[0].actor, "manifest", "{health:?}");
            assert_eq!(armed.disarm(), 2);
            let ack = within(stream.append(payload(3))).await.expect("an ack");
            assert_eq!(ack.offset, Offset(3));
            let expected: Vec<_> = (0..4).map(payload).collect();
            assert_eq!(texts(&read_all(&stream).await), expected);
            assert_eq!(rig.disk.sins(), Vec::<String>::new());
            close(log).await;
            let (log, stream) = one_stream(&rig).await;
            assert_eq!(texts(&read_all(&stream).await), expected);
            close(log).await;
        }
    });
}

#[test]
fn a_manifest_that_can_not_be_written_at_all_fails_the_log_and_says_why() {
    on_each_runtime(|_| async {
        for kind in KINDS {
            let rig = Rig::sim(&SimDisk::new())
                .with("restart_limit", "3")
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            for id in 0..3 {
                within(stream.append(payload(id))).await.expect("an ack");
            }
            let armed = rig
                .plan
                .fail(Calls::of(kind).at(manifest).forever(), Fault::Io);
            let seal = stream.seal();
            within(seal).await.expect_err("it was not sealed");
            let health = until(&log, |health| health.state == LogState::Failed).await;
            let last = health.restarts.last().expect("it is told");
            assert_eq!(last.actor, "manifest", "{health:?}");
            assert!(last.reason.contains("Input/output error"), "{health:?}");
            assert!(!health.ok && health.held_bytes == 0, "{health:?}");
            let refused = within(stream.append("x")).await.expect_err("it has failed");
            assert!(
                matches!(refused.error, Error::LogFailed { .. }),
                "{refused}"
            );
            let refused = within(log.log().stream("other"))
                .await
                .expect_err("it has failed");
            assert!(matches!(refused, Error::LogFailed { .. }), "{refused}");
            let expected: Vec<_> = (0..3).map(payload).collect();
            assert_eq!(
                texts(&read_all(&stream).await),
                expected,
                "what was acked can be read"
            );
            let begun = std::time::Instant::now();
            let report = within(log.shutdown(PATIENCE)).await.expect("a report");
            assert!(
                begun.elapsed() < PATIENCE / 4,
                "nobody is left to be waited for"
            );
            assert!(!report.clean && !report.problems.is_empty(), "{report:?}");
            armed.disarm();
            let log = rig.reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            assert_eq!(texts(&read_all(&stream).await), expected);
            within(stream.append("after")).await.expect("an ack");
            assert_eq!(rig.disk.sins(), Vec::<String>::new());
            close(log).await;
        }
    });
}

/// A folder that can't be synced leaves it open which names are durable: everything begins again.
#[test]
fn a_folder_that_can_not_be_synced_begins_a_new_generation_and_says_why() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        within(stream.append(payload(0))).await.expect("an ack");
        within(stream.seal()).await.expect("sealed");
        let id = stream.id().to_string();
        let dir = Calls::of(CallKind::SyncDir).ending(&id);
        let armed = rig.plan.fail(dir, Fault::Io);
        let mut acked = 1;
        while within(stream.append(payload(acked))).await.is_err() {}
        acked += 1;
        let health = until(&log, |health| health.ok && !health.restarts.is_empty()).await;
        assert_eq!(armed.disarm(), 1);
        let restart = &health.restarts[0];
        assert_eq!(restart.actor, "coordinator", "{health:?}");
        assert!(restart.reason.contains("cannot sync"), "{health:?}");
        let expected: Vec<_> = (0..acked).map(payload).collect();
        assert_eq!(texts(&read_all(&stream).await), expected);
        close(log).await;
    });
}

/// The manifest had grown, a new file was begun, and `CURRENT` named it already when the sync of the folder
/// failed. The old file went on and took commits, while the next open would have read the new one: a trim
/// that had been acked was undone, and so would have been a seal or a whole stream.
#[test]
fn a_rotation_that_fails_behind_the_switch_of_the_pointer_loses_no_commit() {
    on_each_runtime(|_| async {
        for fault in [Fault::Io, Fault::DoneButReported] {
            for kind in [CallKind::SyncDir, CallKind::Rename] {
                let disk = SimDisk::new();
                let rig = Rig::sim(&disk)
                    .with("idle_mark", "1h")
                    .with("manifest_rotate", "32KiB");
                let (log, stream) = one_stream(&rig).await;
                for id in 0..2_000 {
                    within(stream.append(payload(id % 7)))
                        .await
                        .expect("an ack");
                    if id == 0 {
                        within(stream.seal()).await.expect("sealed");
                    }
                }
                let is_pointer = move |path: &std::path::Path| match kind {
                    CallKind::SyncDir => path == std::path::Path::new("/log"),
                    _ => path.ends_with("CURRENT"),
                };
                let armed = rig.plan.fail(Calls::of(kind).at(is_pointer), fault);
                let mut start = 0;
                let mut more = 5;
                while more > 0 {
                    match within(stream.trim(Offset(start + 1))).await {
                        Ok(at) => start = at.get(),
                        // The actors are being begun anew.
                        Err(_) => tokio::task::yield_now().await,
                    }
                    more -= u32::from(armed.struck() > 0);
                    assert!(start < 1_900, "it never rotated");
                }
                let sealed = within(stream.seal()).await;
                for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(start)] {
                    let (log, stream) = one_stream(&rig.on(&disk.preview_cut(cut))).await;
                    let kept = stream.watermarks().start;
                    assert!(kept >= Offset(start), "{kind:?} {fault:?}: {kept} {start}");
                    assert_eq!(log.recovery().damage().count(), 0);
                    drop(log);
                }
                drop(sealed);
                let health = until(&log, |health| health.ok).await;
                assert!(health.failed_streams.is_empty(), "{health:?}");
                close(log).await;
            }
        }
    });
}
