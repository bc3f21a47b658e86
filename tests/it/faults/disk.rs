//! P5: a write or sync that fails is never called a success, and never tried again on the same file.

use std::path::PathBuf;

use futures::future::join_all;
use tierlog::{
    Error, NewRecord, Offset, Stream, Supervisor, Ticket, TryAppend,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault},
        sim::SimDisk,
    },
};

use super::{
    rig::{Rig, on_each_runtime, one_stream, segment},
    workload::payload,
};
use crate::support::{close, read_all, texts, within};

/// Runs a test over a simulated and over a real disk, on both runtimes.
fn on_each_disk<F: Future<Output = ()>>(test: impl Fn(Rig, Option<SimDisk>) -> F) {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        test(Rig::sim(&disk), Some(disk)).await;
        let dir = tempfile::tempdir().expect("a folder");
        test(Rig::real(dir.path()), None).await;
    });
}

/// The file that is written to.
async fn active(stream: &Stream) -> PathBuf {
    let segments = stream.segments().await.expect("segments");
    segments.last().expect("one").path.clone()
}

async fn append(stream: &Stream, ids: std::ops::Range<u64>) {
    let mut tickets = Vec::new();
    for id in ids.clone() {
        tickets.push(accepted(stream, payload(id)).await);
    }
    for (id, ticket) in ids.zip(tickets) {
        let ack = within(ticket).await.expect("the ack follows");
        assert_eq!(ack.offset, Offset(id));
    }
}

/// While a segment that could not be made is waited for, nothing is accepted.
async fn accepted(stream: &Stream, payload: String) -> Ticket {
    let mut record = NewRecord::from(payload);
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return ticket,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                within(stream.ready(kind)).await;
                record = payload;
            }
            Err(TryAppend::Failed { error, .. }) => panic!("{error}"),
        }
    }
}

async fn holds(stream: &Stream, count: u64) {
    let expected: Vec<_> = (0..count).map(payload).collect();
    assert_eq!(texts(&read_all(stream).await), expected);
}

/// Everything is there after a close, and, where that can be tried, after a power cut now.
async fn holds_after_the_end(rig: &Rig, disk: Option<SimDisk>, log: Supervisor, count: u64) {
    if let Some(disk) = disk {
        for seed in 0..8 {
            let cut = disk.preview_cut(tierlog::testing::storage::disk::sim::Cut::Seeded(seed));
            let (log, stream) = one_stream(&rig.on(&cut)).await;
            holds(&stream, count).await;
            drop(log);
        }
    }
    close(log).await;
    let (log, stream) = one_stream(rig).await;
    holds(&stream, count).await;
    close(log).await;
}

#[test]
fn a_write_or_sync_that_fails_once_is_made_good_elsewhere() {
    let kinds = [CallKind::WriteAt, CallKind::SyncData];
    let faults = [
        Fault::Io,
        Fault::Full,
        Fault::DoneButReported,
        Fault::Short(700),
    ];
    for (kind, fault) in kinds
        .iter()
        .flat_map(|kind| faults.map(|fault| (*kind, fault)))
    {
        for policy in ["always", "every 1ms"] {
            on_each_disk(|rig, disk| async move {
                let rig = rig.with("flush", policy);
                let (log, stream) = one_stream(&rig).await;
                append(&stream, 0..5).await;
                let broken = active(&stream).await;
                let at = broken.clone();
                let armed = rig
                    .plan
                    .fail(Calls::of(kind).at(move |path| path == at), fault);
                append(&stream, 5..12).await;
                assert_eq!(armed.disarm(), 1);
                let synced = || rig.plan.count_at(CallKind::SyncData, |path| path == broken);
                let written = || rig.plan.count_at(CallKind::WriteAt, |path| path == broken);
                let before = (synced(), written());
                append(&stream, 12..20).await;
                within(stream.flush()).await.expect("durable");
                within(stream.seal()).await.expect("sealed");
                append(&stream, 20..22).await;
                assert_eq!((synced(), written()), before, "it is never touched again");
                assert_eq!(rig.disk.sins(), Vec::<String>::new());
                assert_eq!(log.counters().repairs, 1);
                let health = log.health().await;
                assert!(health.ok && health.restarts.is_empty(), "{health:?}");
                holds(&stream, 22).await;
                holds_after_the_end(&rig, disk, log, 22).await;
            });
        }
    }
}

/// The sync of a seal is a job of its own; its outcome was waited for twice, and the writer
/// panicked.
#[test]
fn a_seal_whose_footer_or_sync_fails_is_made_good_elsewhere() {
    let kinds = [CallKind::WriteAt, CallKind::SetLen, CallKind::SyncData];
    for kind in kinds {
        for (fault, policy) in [
            (Fault::Io, "manual"),
            (Fault::Full, "manual"),
            (Fault::Io, "always"),
        ] {
            on_each_disk(|rig, disk| async move {
                let rig = rig.with("flush", policy);
                let (log, stream) = one_stream(&rig).await;
                let tickets: Vec<_> = (0..5)
                    .map(|id| stream.try_append(payload(id)).expect("room"))
                    .collect();
                super::rig::eventually("written", || stream.watermarks().written == Offset(5))
                    .await;
                if policy == "always" {
                    within(stream.flush()).await.expect("durable");
                }
                let broken = active(&stream).await;
                let at = broken.clone();
                let armed = rig
                    .plan
                    .fail(Calls::of(kind).at(move |path| path == at), fault);
                let sealed = within(stream.seal()).await;
                assert_eq!(sealed.expect("what was written again is sealed"), Offset(5));
                assert_eq!(armed.disarm(), 1);
                for ticket in tickets {
                    within(ticket).await.expect("the ack follows");
                }
                let synced = || rig.plan.count_at(CallKind::SyncData, |path| path == broken);
                let before = synced();
                assert_eq!(within(stream.seal()).await.expect("sealed"), Offset(5));
                let next = stream.try_append(payload(5)).expect("room");
                within(stream.flush()).await.expect("durable");
                within(next).await.expect("an ack");
                assert_eq!(synced(), before, "it is never synced again");
                let health = log.health().await;
                assert!(health.ok && health.restarts.is_empty(), "{health:?}");
                holds(&stream, 6).await;
                holds_after_the_end(&rig, disk, log, 6).await;
            });
        }
    }
}

#[test]
fn an_allocation_that_fails_with_an_io_error_is_made_good_elsewhere() {
    on_each_disk(|rig, disk| async move {
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..1).await;
        // Once in the file that is written to, once while the next one is made.
        let at = active(&stream).await;
        let here = Calls::of(CallKind::Allocate).at(move |path| path == at);
        let armed = rig.plan.fail(here, Fault::Io);
        append(&stream, 1..60).await;
        assert_eq!(armed.disarm(), 1);
        within(stream.seal()).await.expect("sealed");
        let armed = rig
            .plan
            .fail(Calls::of(CallKind::Allocate).at(segment), Fault::Io);
        append(&stream, 60..300).await;
        assert_eq!(armed.disarm(), 1);
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        holds_after_the_end(&rig, disk, log, 300).await;
    });
}

/// What is on the disk is a prefix of what was submitted, and all that was acked is in it.
#[test]
fn a_second_failure_closes_the_stream_and_tells_each_ticket_what_is_known() {
    for kind in [CallKind::WriteAt, CallKind::SyncData] {
        for fault in [Fault::Io, Fault::Full] {
            on_each_disk(|rig, disk| async move {
                let (log, stream) = one_stream(&rig).await;
                append(&stream, 0..5).await;
                let held = rig.plan.hold(Calls::of(kind).at(segment));
                let in_flight = stream.try_append(payload(5)).expect("room");
                wait_held(&held).await;
                let queued: Vec<_> = (6..9)
                    .map(|id| stream.try_append(payload(id)).expect("room"))
                    .collect();
                let flush = stream.flush();
                let armed = rig.plan.fail(Calls::of(kind).at(segment).forever(), fault);
                held.release_failing(fault);
                let failed = within(in_flight).await.expect_err("nobody knows");
                assert!(
                    matches!(failed.error, Error::Indeterminate { .. }),
                    "{failed}"
                );
                assert!(failed.records.is_empty());
                for (id, outcome) in (6..9).zip(within(join_all(queued)).await) {
                    let failed = outcome.expect_err("it stood behind the failure");
                    assert!(
                        matches!(failed.error, Error::NotAppended { .. }),
                        "{failed}"
                    );
                    assert_eq!(failed.records, [NewRecord::from(payload(id))]);
                }
                within(flush).await.expect_err("nothing can be flushed");
                let refused = within(stream.append("x")).await.expect_err("it is closed");
                assert!(
                    matches!(refused.error, Error::StreamFailed { .. }),
                    "{refused}"
                );
                assert_eq!(refused.records, [NewRecord::from("x")]);
                holds(&stream, 5).await;
                let health = log.health().await;
                assert!(!health.ok && health.held_bytes == 0, "{health:?}");
                assert_eq!(health.failed_streams.len(), 1, "{health:?}");
                let again = within(log.log().stream("s"))
                    .await
                    .expect("the same stream");
                within(again.append("y"))
                    .await
                    .expect_err("until the log is opened again");
                let report = within(log.shutdown(crate::support::PATIENCE))
                    .await
                    .expect("a report");
                assert!(!report.clean && report.problems.len() == 1, "{report:?}");
                armed.disarm();
                rig.plan.clear();
                drop(disk);
                let log = rig.reopen().await;
                let stream = within(log.log().stream("s")).await.expect("a stream");
                let read = texts(&read_all(&stream).await);
                assert!(read.len() == 5 || read.len() == 6, "{read:?}");
                let expected: Vec<_> = (0..read.len() as u64).map(payload).collect();
                assert_eq!(read, expected, "a prefix of what was submitted");
                let ack = within(stream.append("after")).await.expect("an ack");
                assert_eq!(ack.offset.get(), read.len() as u64);
                close(log).await;
            });
        }
    }
}

pub async fn wait_held(held: &tierlog::testing::storage::disk::fault::Held) {
    super::rig::eventually("a call is held", || held.parked() > 0).await;
}

/// Two syncs of the same file at once, one of which fails: the other one must not say that all is
/// well. The seal syncs the file while the flusher does.
#[test]
fn a_sync_that_overlaps_a_failed_one_is_not_believed() {
    on_each_disk(|rig, disk| async move {
        let rig = rig.with("flush", "every 1ms");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..3).await;
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(segment));
        let ticket = stream.try_append(payload(3)).expect("room");
        wait_held(&held).await;
        let sealing = tokio::spawn({
            let stream = stream.clone();
            async move { stream.seal().await }
        });
        super::rig::settle().await;
        held.release_failing(Fault::Io);
        within(ticket).await.expect("the ack follows");
        let _ = within(sealing).await.expect("no panic");
        append(&stream, 4..6).await;
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        holds(&stream, 6).await;
        holds_after_the_end(&rig, disk, log, 6).await;
    });
}

/// The fault strikes anything: a write, a footer, a file that is being made.
#[test]
fn no_file_is_touched_again_whichever_sync_or_write_fails() {
    on_each_runtime(|_| async {
        for kind in [CallKind::WriteAt, CallKind::SyncData] {
            for nth in 1..=12 {
                let disk = SimDisk::new();
                let rig = Rig::sim(&disk).with("flush", "every 1ms");
                let (log, stream) = one_stream(&rig).await;
                let armed = rig
                    .plan
                    .fail(Calls::of(kind).at(segment).nth(nth), Fault::Io);
                let mut id = 0;
                for _ in 0..6 {
                    append(&stream, id..id + 3).await;
                    id += 3;
                    let _ = within(stream.seal()).await;
                }
                assert_eq!(armed.disarm(), 1);
                holds(&stream, id).await;
                let health = log.health().await;
                assert!(health.ok && health.restarts.is_empty(), "{health:?}");
                assert_eq!(rig.disk.failed().len(), 1);
                holds_after_the_end(&rig, Some(disk), log, id).await;
                assert_eq!(rig.disk.sins(), Vec::<String>::new());
            }
        }
    });
}
