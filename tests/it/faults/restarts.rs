//! What readers find after a restart of the actors, where the outcome of a commit was not known
//! before it.

use tierlog::{
    Error, From, LogState, Offset, Stream,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls},
            sim::SimDisk,
        },
    },
};

use super::{
    rig::{Rig, eventually, manifest, on_each_runtime, one_stream, segment, settle, until},
    workload::payload,
};
use crate::support::{close, read_all, texts, within};

async fn fill(stream: &Stream, count: u64) {
    for id in 0..count {
        within(stream.append(payload(id))).await.expect("an ack");
        if id % 2 == 1 {
            within(stream.seal()).await.expect("sealed");
        }
    }
}

/// The coordinator died between the commit of a trim and its answer. The files were gone after the
/// restart, and the stream still said that it started below: a reader there was told of damage.
#[test]
fn a_trim_that_died_behind_its_commit_shows_after_the_restart() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        fill(&stream, 6).await;
        let mut early = within(stream.reader(From::Earliest).follow().into_future())
            .await
            .expect("a reader");
        rig.faults
            .arm("coordinator.after_trim_commit", Action::Kill, 1);
        within(stream.trim(Offset(4)))
            .await
            .expect_err("nobody answered");
        until(&log, |health| health.ok && !health.restarts.is_empty()).await;
        let trimmed = within(early.try_next()).await.expect_err("it is gone");
        assert!(
            matches!(
                trimmed,
                Error::Trimmed {
                    start: Offset(4),
                    ..
                }
            ),
            "{trimmed}"
        );
        assert_eq!(stream.watermarks().start, Offset(4));
        assert_eq!(
            texts(&read_all(&stream).await),
            [payload(4), payload(5)],
            "what is left"
        );
        close(log).await;
    });
}

/// A log on which nobody is kept waiting for long, and that makes no marks by itself.
fn impatient(disk: &SimDisk) -> Rig {
    Rig::sim(disk)
        .with("idle_mark", "1h")
        .with("stall_after", "50ms")
}

/// A truncation waited for the manifest longer than anybody may be kept waiting, so that its stream
/// was shut without knowing what came of it. Then another actor ended, and the recovery found that it
/// had happened and removed the files; the stream still showed them.
#[test]
fn a_stream_that_was_shut_in_doubt_shows_what_a_restart_found() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = impatient(&disk);
        let (log, stream) = one_stream(&rig).await;
        fill(&stream, 6).await;
        let other = within(log.log().stream("other")).await.expect("a stream");
        let mut beyond = within(
            stream
                .reader(From::Offset(Offset(5)))
                .follow()
                .into_future(),
        )
        .await
        .expect("a reader");
        rig.faults.arm("manifest.after_commit", Action::Park, 1);
        let unknown = within(stream.truncate_after(Some(Offset(1))))
            .await
            .expect_err("nobody answers");
        assert!(matches!(unknown, Error::Indeterminate { .. }), "{unknown}");
        until(&log, |health| !health.failed_streams.is_empty()).await;
        rig.faults.release("manifest.after_commit");
        rig.faults.arm("coordinator.trim", Action::Kill, 1);
        within(other.trim(Offset(0)))
            .await
            .expect_err("the coordinator was killed");
        until(&log, |health| {
            health.state == LogState::Running && !health.restarts.is_empty()
        })
        .await;
        assert_eq!(texts(&read_all(&stream).await), [payload(0), payload(1)]);
        let told = within(beyond.try_next()).await.expect_err("it was cut off");
        assert!(
            matches!(told, Error::Truncated { end: Offset(2), .. }),
            "{told}"
        );
        within(stream.append("x"))
            .await
            .expect_err("it stays shut until the log is opened again");
        drop(log);
        let log = rig.reopen().await;
        let stream = within(log.log().existing("s")).await.expect("a stream");
        assert_eq!(texts(&read_all(&stream).await), [payload(0), payload(1)]);
        within(stream.append("after")).await.expect("an ack");
        close(log).await;
    });
}

/// What a stuck call belongs to.
#[derive(Debug, Clone, Copy)]
enum Stuck {
    /// A segment that is being made.
    Segment,
    /// The manifest.
    Manifest,
}

/// Appends, a command of each kind and the opening of another stream wait for one call to the disk
/// that never returns. Each of them ends, and the log can be closed.
#[test]
fn whichever_call_never_returns_every_wait_for_it_ends() {
    let cases = [
        (CallKind::CreateNew, Stuck::Segment),
        (CallKind::Allocate, Stuck::Segment),
        (CallKind::SyncDir, Stuck::Segment),
        (CallKind::WriteAt, Stuck::Manifest),
        (CallKind::SyncData, Stuck::Manifest),
    ];
    for (kind, stuck) in cases {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = impatient(&disk);
            let (log, stream) = one_stream(&rig).await;
            fill(&stream, 4).await;
            let id = stream.id().to_string();
            let held = rig.plan.hold(match stuck {
                Stuck::Segment => Calls::of(kind)
                    .at(move |path| path.to_string_lossy().contains(&id) && !manifest(path)),
                Stuck::Manifest => Calls::of(kind).at(manifest),
            });
            // More than one segment holds.
            let tickets: Vec<_> = (0..100)
                .map_while(|_| stream.try_append(vec![7; 1_500]).ok())
                .collect();
            let waits = tokio::spawn({
                let (stream, log) = (stream.clone(), log.log());
                async move {
                    let seal = stream.seal().await;
                    let flush = stream.flush().await;
                    let trim = stream.trim(Offset(2)).await;
                    let truncate = stream.truncate_after(Some(Offset(3))).await;
                    let append = stream.append("x").await;
                    let opened = log.stream("new").await;
                    (seal, flush, trim, truncate, append.is_ok(), opened.is_ok())
                }
            });
            eventually("a call is held", || held.parked() > 0).await;
            for ticket in tickets {
                let _ = within(ticket).await;
            }
            let outcome = within(waits).await.expect("no panic");
            let health = log.health().await;
            assert!(!health.ok, "{kind:?}: {outcome:?} {health:?}");
            assert_eq!(health.held_bytes, 0, "{health:?}");
            holds_what_was_acked(&stream).await;
            let report = within(log.shutdown(std::time::Duration::from_millis(200)))
                .await
                .expect("a report");
            assert!(!report.clean, "{kind:?}: {report:?}");
            held.release();
            let log = rig.reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            holds_what_was_acked(&stream).await;
            within(stream.append("after")).await.expect("an ack");
            close(log).await;
        });
    }
}

/// The four records from before the call got stuck, but for two that may have been trimmed.
async fn holds_what_was_acked(stream: &Stream) {
    let records = read_all(stream).await;
    let start = stream.watermarks().start.get();
    assert!(start == 0 || start == 2, "{start}");
    let expected: Vec<_> = (start..4).map(payload).collect();
    assert_eq!(texts(&records[..expected.len()]), expected);
}

/// A recovery within the log that is stuck in a call: no wait may depend on it.
#[test]
fn a_recovery_that_never_returns_ends_the_log_and_every_wait() {
    for kind in [CallKind::Open, CallKind::CreateNew, CallKind::SyncData] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = impatient(&disk);
            let (log, stream) = one_stream(&rig).await;
            fill(&stream, 3).await;
            rig.faults.arm("manifest.take", Action::Kill, 1);
            let held = rig.plan.hold(Calls::of(kind).at(|path| {
                manifest(path) || path.file_name().is_some_and(|name| name == "CURRENT")
            }));
            within(log.log().stream("other"))
                .await
                .expect_err("the manifest writer was killed");
            eventually("a call is held", || held.parked() > 0).await;
            let ticket = stream.try_append("x");
            assert!(ticket.is_err(), "the door is shut");
            let refused = within(stream.append("y")).await.expect_err("it has failed");
            assert!(
                matches!(refused.error, Error::LogFailed { .. }),
                "{refused}"
            );
            let health = until(&log, |health| health.state == LogState::Failed).await;
            let last = health.restarts.last().expect("it is told");
            assert!(last.reason.contains("did not answer"), "{health:?}");
            assert_eq!(read_all(&stream).await.len(), 3);
            held.release();
            drop(log);
            let log = rig.reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            assert_eq!(read_all(&stream).await.len(), 3);
            close(log).await;
        });
    }
}

/// A read that never returns must not keep its reader for ever.
#[test]
fn a_read_that_never_returns_is_told_as_unavailable_and_can_be_tried_again() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = impatient(&disk).with("tail_cache", "0B");
        let (log, stream) = one_stream(&rig).await;
        fill(&stream, 4).await;
        let held = rig.plan.hold(Calls::of(CallKind::ReadAt).at(segment));
        let mut reader = within(stream.reader(From::Earliest).into_future())
            .await
            .expect("a reader");
        let told = within(reader.try_next()).await.expect_err("it is stuck");
        assert!(matches!(told, Error::Unavailable { .. }), "{told}");
        within(stream.append(payload(4)))
            .await
            .expect("appends go on");
        held.release();
        let mut read = Vec::new();
        while read.len() < 5 {
            match within(reader.try_next()).await {
                Ok(Some(record)) => read.push(record),
                Ok(None) => break,
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let expected: Vec<_> = (0..5).map(payload).collect();
        assert_eq!(texts(&read), expected);
        close(log).await;
    });
}

/// Of an actor that has ended, what it knew was dropped when the supervisor came to look at it. There lay the
/// place for the answer that the supervisor itself waited for, as it began a writer again: nothing was ever
/// begun again in the log, and no append and no close came to an end.
#[test]
fn a_writer_that_is_begun_again_does_not_wait_for_a_manifest_writer_that_has_ended() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        let other = within(log.log().stream("other")).await.expect("a stream");
        fill(&stream, 3).await;
        fill(&other, 4).await;
        rig.faults.arm("writer.drain", Action::Kill, 1);
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(manifest));
        let ticket = stream.try_append(payload(3)).expect("room");
        eventually("the new writer waits for a commit", || held.parked() > 0).await;
        let seen = rig.faults.passed("manifest.take");
        rig.faults.arm("manifest.take", Action::Kill, 1);
        let trim = tokio::spawn({
            let other = other.clone();
            async move { other.trim(Offset(2)).await }
        });
        within(rig.faults.reached("manifest.take", seen)).await;
        held.release();
        let trimmed = within(trim).await.expect("no panic");
        trimmed.expect_err("the manifest writer was killed");
        within(ticket).await.expect_err("the writer was killed");
        until(&log, |health| health.ok).await;
        for stream in [&stream, &other] {
            within(stream.append("after")).await.expect("an ack");
        }
        close(log).await;
    });
}

/// The new life behind a truncation threw away what waited on the lane: the close of the log, which then said
/// that the stream had not come to its end, and left the next open to recover it.
#[test]
fn a_log_that_is_closed_in_the_midst_of_a_truncation_is_closed_cleanly() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        fill(&stream, 6).await;
        let point = "writer.before_truncate_commit";
        let seen = rig.faults.passed(point);
        rig.faults.arm(point, Action::Park, 1);
        let truncate = tokio::spawn({
            let stream = stream.clone();
            async move { stream.truncate_after(Some(Offset(2))).await }
        });
        within(rig.faults.reached(point, seen)).await;
        let closed = tokio::spawn(close(log));
        // The close waits behind it.
        settle().await;
        rig.faults.release(point);
        within(truncate).await.expect("no panic").expect("cut");
        within(closed).await.expect("it is clean");
        let log = rig.reopen().await;
        let report = log.recovery();
        assert!(report.clean, "{report:?}");
        close(log).await;
    });
}
