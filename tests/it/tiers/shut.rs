//! Segments whose stream has been shut, while they move.

use tierlog::{
    Error, From, LogState, Offset,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{append, files, holds, long, rig, settled};
use crate::{
    faults::rig::{eventually, manifest, on_each_runtime, one_stream, segment, until},
    support::{close, within},
};

/// The coordinator of a new generation did not know a stream that had been shut for good, and moved its
/// segments all the same: readers looked for the files where they had been, and called it damage.
#[test]
fn a_stream_that_is_shut_for_good_is_read_on_while_its_segments_move() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, shut) = one_stream(&rig).await;
        append(&shut, 0..60).await;
        let writes = Calls::of(CallKind::WriteAt).at(segment).forever();
        let armed = rig.plan.fail(writes, Fault::Io);
        within(shut.append(long(60)))
            .await
            .expect_err("nothing can be written");
        until(&log, |health| !health.failed_streams.is_empty()).await;
        armed.disarm();
        rig.faults.arm("flusher.take", Action::Kill, 1);
        rig.faults.arm("coordinator.admit", Action::Kill, 1);
        let other = within(log.log().stream("other")).await.expect("a stream");
        // Whoever is killed first: it is accepted again afterwards.
        while within(other.append(long(0))).await.is_err() {}
        until(&log, |health| {
            health.state == LogState::Running && !health.restarts.is_empty()
        })
        .await;
        for id in 1..200 {
            within(other.append(long(id))).await.expect("an ack");
        }
        eventually("the first stream's files have made room", || {
            files(&disk, &shut, "tls").is_empty()
        })
        .await;
        let durable = shut.watermarks().durable.get();
        assert!(durable >= 60, "{durable}");
        holds(&shut, 0..durable).await;
        drop(log);
    });
}

/// Readers outlive their log. One that was left behind by a log that had been dropped looked for the files
/// where they had been then, and called it damage that the next owner had moved them.
#[test]
fn readers_that_outlive_their_log_call_nothing_damaged_that_its_next_owner_moves() {
    on_each_runtime(|_| async {
        for is_dropped in [true, false] {
            let disk = SimDisk::new();
            let roomy = rig(&disk)
                .with("hot_budget", "10MiB")
                .with("warm_budget", "0B");
            let (log, stream) = one_stream(&roomy).await;
            append(&stream, 0..300).await;
            let mut reader = within(stream.reader(From::Earliest).into_future())
                .await
                .expect("a reader");
            match is_dropped {
                true => drop(log),
                false => close(log).await,
            }
            let log = rig(&disk).reopen().await;
            let moved = within(log.log().existing("s")).await.expect("it is there");
            settled(&disk, &moved, 4).await;
            let told = within(async {
                loop {
                    match reader.next_batch(50).await {
                        Ok(batch) => assert!(!batch.is_empty(), "not all of it can be had"),
                        Err(error) => break error,
                    }
                }
            });
            let told = told.await;
            assert!(matches!(told, Error::Closed), "{told}");
            holds(&moved, 0..300).await;
            close(log).await;
        }
    });
}

/// A trim was committed, and its answer lost. The recovery removed the files, and to readers of what had been
/// known before they were missing: while it was at work, and for good where it failed and the log stopped.
#[test]
fn readers_call_nothing_damaged_that_a_recovery_has_removed() {
    on_each_runtime(|_| async {
        for fails in [false, true] {
            let disk = SimDisk::new();
            let rig = rig(&disk)
                .with("hot_budget", "10MiB")
                .with("warm_budget", "0B");
            let (log, stream) = one_stream(&rig).await;
            append(&stream, 0..100).await;
            within(stream.seal()).await.expect("sealed");
            let mut reader = within(stream.reader(From::Earliest).into_future())
                .await
                .expect("a reader");
            rig.faults.arm("manifest.after_commit", Action::Kill, 1);
            // A recovery removes the old one behind everything else.
            let last = Calls::of(CallKind::Remove).at(manifest);
            let held = rig.plan.hold(last);
            let other = stream.clone();
            let trimmed = tokio::spawn(async move { other.trim(Offset(100)).await });
            eventually("it is being recovered", || held.parked() > 0).await;
            assert_eq!(files(&disk, &stream, "tls").len(), 0, "the files are gone");
            let told = within(reader.next_batch(50)).await.expect_err("no file");
            assert!(matches!(told, Error::Unavailable { .. }), "{told}");
            if fails {
                let folder = Calls::of(CallKind::SyncDir).ending("manifest");
                rig.plan.fail(folder.forever(), Fault::Io);
            }
            held.release();
            if fails {
                until(&log, |health| health.state == LogState::Failed).await;
            }
            let _ = within(trimmed).await.expect("no panic");
            let told = within(async {
                loop {
                    match reader.next_batch(50).await {
                        Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                        Err(error) => break error,
                        Ok(_) => panic!("it was trimmed"),
                    }
                }
            });
            match (fails, told.await) {
                (false, Error::Trimmed { start, .. }) => assert_eq!(start, Offset(100)),
                (true, Error::LogFailed { .. }) => {}
                (_, told) => panic!("{told}"),
            }
            drop(log);
        }
    });
}
