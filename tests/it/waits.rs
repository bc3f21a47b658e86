//! P11: every wait ends, whatever ends with it: an actor that stands still, a write that never
//! returns, a shutdown, a dropped supervisor, a dropped runtime.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tierlog::{
    Error, From, Kind, NewRecord, Offset, Stream, Supervisor, TryAppend,
    testing::{
        Action, POINTS,
        storage::disk::{
            fault::{CallKind, Calls},
            sim::SimDisk,
        },
    },
};
use tokio::task::JoinHandle;

use crate::{
    faults::rig::{
        Rig, eventually, is_in_use, on_each_runtime, one_stream, segment, settle, until,
    },
    support::{PATIENCE, close, read_all, texts, within},
};

/// One of each kind of wait that an app can be in. Each gives its error, if it ended with one.
fn waits(stream: &Stream) -> Vec<(&'static str, JoinHandle<Option<Error>>)> {
    let wait = |which: &'static str| {
        let stream = stream.clone();
        let waiting = async move {
            match which {
                "append" => stream.append("a").await.err().map(|failed| failed.error),
                "batch" => {
                    let records = vec![NewRecord::from("b"), NewRecord::from("c")];
                    stream
                        .append_batch(records)
                        .await
                        .err()
                        .map(|failed| failed.error)
                }
                "append_if" => {
                    let conflict = stream.append_if(Offset(999), "d").await;
                    conflict.err().map(|failed| failed.error)
                }
                "flush" => stream.flush().await.err(),
                "seal" => stream.seal().await.err(),
                "truncate" => stream.truncate_after(Some(Offset(0))).await.err(),
                "read" => {
                    let reader = stream.reader(From::Latest).follow().await;
                    let mut reader = match reader {
                        Ok(reader) => reader,
                        Err(error) => return Some(error),
                    };
                    loop {
                        match reader.try_next().await {
                            Ok(Some(_)) => {}
                            Ok(None) => return None,
                            Err(error) => return Some(error),
                        }
                    }
                }
                _ => {
                    stream.ready(Kind::Admission).await;
                    None
                }
            }
        };
        (which, tokio::spawn(waiting))
    };
    [
        "append",
        "batch",
        "append_if",
        "read",
        "flush",
        "seal",
        "truncate",
        "ready",
    ]
    .map(wait)
    .into()
}

async fn all_end(point: &str, waits: Vec<(&'static str, JoinHandle<Option<Error>>)>) {
    for (which, wait) in waits {
        let ended = tokio::time::timeout(PATIENCE, wait).await;
        let error = ended.unwrap_or_else(|_| panic!("{point}: {which} does not end"));
        let error = error.expect("no panic");
        let typed = matches!(
            error,
            None | Some(
                Error::Closed
                    | Error::Indeterminate { .. }
                    | Error::NotAppended { .. }
                    | Error::Unavailable { .. }
                    | Error::StreamFailed { .. }
                    | Error::RolloverFailed { .. }
                    | Error::Conflict { .. }
                    | Error::WouldBlock { .. }
                    | Error::Truncated { .. }
            )
        );
        assert!(typed, "{which}: {error:?}");
    }
}

/// Points of actors at which one can stand still while a stream is at work.
fn parking() -> impl Iterator<Item = &'static str> {
    let apart = [
        "writer.before_repair_commit",
        "writer.before_truncate_commit",
        "writer.after_truncate_commit",
        "writer.retire",
        "coordinator.trim",
        "coordinator.after_trim_commit",
        "supervisor.open",
    ];
    POINTS
        .iter()
        .copied()
        .filter(move |point| !apart.contains(point))
}

/// A log whose actor stands still at a point that the waits come to.
async fn parked(rig: &Rig, point: &'static str) -> (Supervisor, Stream) {
    let (log, stream) = one_stream(rig).await;
    within(stream.append("first")).await.expect("an ack");
    rig.faults.arm(point, Action::Park, 1);
    (log, stream)
}

fn rig_for(disk: &SimDisk, point: &str) -> Rig {
    let rig = Rig::sim(disk).with("lane_records", "8");
    if point.starts_with("flusher.") || point == "writer.flush_done" {
        rig.with("flush", "every 1ms")
    } else {
        rig
    }
}

#[test]
fn a_shutdown_keeps_its_deadline_whoever_stands_still_and_says_what_was_not_drained() {
    on_each_runtime(|_| async {
        for point in parking() {
            let disk = SimDisk::new();
            let rig = rig_for(&disk, point);
            let (log, stream) = parked(&rig, point).await;
            let seen = rig.faults.passed(point);
            let waits = waits(&stream);
            // Most come to the point by themselves, the others by the shutdown.
            let _ =
                tokio::time::timeout(Duration::from_millis(30), rig.faults.reached(point, seen))
                    .await;
            let begun = Instant::now();
            let report = within(log.shutdown(Duration::from_millis(50)))
                .await
                .expect("a report");
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{point}: {:?}",
                begun.elapsed()
            );
            if rig.faults.passed(point) > seen {
                assert!(!report.clean, "{point}: {report:?}");
                let told = report.undrained.len() + report.problems.len();
                assert!(told > 0, "{point}: {report:?}");
            }
            all_end(point, waits).await;
            within(stream.append("late"))
                .await
                .expect_err("it is closed");
            rig.faults.release(point);
            let log = rig.reopen().await;
            assert_eq!(log.health().await.held_bytes, 0);
            let stream = within(log.log().existing("s")).await.expect("a stream");
            assert_eq!(texts(&read_all(&stream).await)[0], "first");
            within(stream.append("after")).await.expect("an ack");
            close(log).await;
        }
    });
}

#[test]
fn dropping_the_supervisor_ends_every_wait_whoever_stands_still() {
    on_each_runtime(|_| async {
        for point in parking() {
            let disk = SimDisk::new();
            let rig = rig_for(&disk, point);
            let (log, stream) = parked(&rig, point).await;
            let seen = rig.faults.passed(point);
            let ticket = stream.try_append("queued").expect("room");
            let waits = waits(&stream);
            let _ =
                tokio::time::timeout(Duration::from_millis(30), rig.faults.reached(point, seen))
                    .await;
            let shared = log.context();
            drop(log);
            let _ = within(ticket).await;
            all_end(point, waits).await;
            within(stream.append("late"))
                .await
                .expect_err("it is closed");
            eventually("nothing held", || shared.health().held_bytes == 0).await;
            drop(shared);
            let log = rig.on(&disk).reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            assert_eq!(texts(&read_all(&stream).await)[0], "first");
            close(log).await;
        }
    });
}

/// The tickets are waited for on threads outside Tokio, which nobody else would wake.
#[test]
fn dropping_the_runtime_ends_every_ticket() {
    for point in parking() {
        for workers in [0, 2] {
            let mut builder = match workers {
                0 => tokio::runtime::Builder::new_current_thread(),
                _ => tokio::runtime::Builder::new_multi_thread(),
            };
            let runtime = builder.enable_all().build().expect("a runtime");
            let disk = SimDisk::new();
            let rig = rig_for(&disk, point);
            let (log, stream) = runtime.block_on(parked(&rig, point));
            let tickets: Vec<_> = (0..5)
                .map_while(|_| stream.try_append("queued").ok())
                .map(|ticket| std::thread::spawn(move || ticket.wait()))
                .collect();
            runtime.block_on(settle());
            runtime.shutdown_timeout(Duration::from_secs(10));
            for ticket in tickets {
                let _ = ticket.join().expect("no panic");
            }
            match stream.try_append("late") {
                Err(TryAppend::Failed {
                    error: Error::Closed,
                    ..
                }) => {}
                other => panic!("{point}: {other:?}"),
            }
            drop(log);
            on_this_thread(async {
                let log = rig.on(&disk).reopen().await;
                let stream = within(log.log().existing("s")).await.expect("a stream");
                assert_eq!(texts(&read_all(&stream).await)[0], "first");
                close(log).await;
            });
        }
    }
}

fn on_this_thread(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

#[test]
fn a_write_that_never_returns_ends_its_tickets_and_keeps_its_files() {
    for kind in [CallKind::WriteAt, CallKind::SyncData] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk)
                .with("stall_after", "50ms")
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            within(stream.append("first")).await.expect("an ack");
            let other = within(log.log().stream("other")).await.expect("a stream");
            let id = stream.id().to_string();
            let stuck =
                move |path: &std::path::Path| segment(path) && path.to_string_lossy().contains(&id);
            let held = rig.plan.hold(Calls::of(kind).at(stuck.clone()));
            let in_flight = stream.try_append("stuck").expect("room");
            eventually("a call is held", || held.parked() == 1).await;
            let queued = stream.try_append("queued").expect("room");
            let waits = waits(&stream);
            let failed = within(in_flight).await.expect_err("it stalls");
            assert!(
                matches!(failed.error, Error::Indeterminate { .. }),
                "{failed}"
            );
            let failed = within(queued).await.expect_err("it stood behind");
            assert!(
                matches!(failed.error, Error::NotAppended { .. }),
                "{failed}"
            );
            assert_eq!(failed.records, [NewRecord::from("queued")]);
            all_end("the disk", waits).await;
            let refused = within(stream.append("x"))
                .await
                .expect_err("it stays closed");
            assert!(
                matches!(refused.error, Error::StreamFailed { .. }),
                "{refused}"
            );
            let health = until(&log, |health| health.held_bytes == 0).await;
            assert_eq!(health.failed_streams.len(), 1, "{health:?}");
            assert_eq!(texts(&read_all(&stream).await), ["first"]);
            within(other.append("o"))
                .await
                .expect("other streams go on");
            let touched = || {
                CallKind::CHANGING
                    .iter()
                    .map(|kind| rig.plan.count_at(*kind, stuck.clone()))
                    .sum::<u64>()
            };
            let before = touched();
            let report = within(log.shutdown(Duration::from_millis(100)))
                .await
                .expect("a report");
            assert!(!report.clean, "{report:?}");
            assert!(
                is_in_use(&rig).await,
                "the lock is kept while the write is stuck"
            );
            assert_eq!(touched(), before, "nobody touches its files");
            held.release();
            let log = rig.reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            let read = texts(&read_all(&stream).await);
            assert!(read == ["first"] || read == ["first", "stuck"], "{read:?}");
            within(stream.append("after")).await.expect("an ack");
            close(log).await;
        });
    }
}

/// As above, but the supervisor, or the whole runtime, goes away while the write is stuck.
#[test]
fn a_stuck_write_keeps_the_lock_when_its_owner_is_dropped() {
    for whole_runtime in [false, true] {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        let (log, stream) = runtime.block_on(one_stream(&rig));
        runtime.block_on(async { within(stream.append("first")).await.expect("an ack") });
        let held = rig.plan.hold(Calls::of(CallKind::WriteAt).at(segment));
        let ticket = stream.try_append("stuck").expect("room");
        runtime.block_on(eventually("a call is held", || held.parked() == 1));
        if whole_runtime {
            runtime.shutdown_timeout(Duration::from_secs(10));
            drop(log);
        } else {
            drop(log);
            runtime.block_on(settle());
        }
        let failed = ticket.wait().expect_err("nobody knows");
        assert!(
            matches!(failed.error, Error::Indeterminate { .. }),
            "{failed}"
        );
        on_this_thread(async {
            assert!(is_in_use(&rig).await, "the write is still going on");
            held.release();
            let log = rig.reopen().await;
            let stream = within(log.log().existing("s")).await.expect("a stream");
            let read = texts(&read_all(&stream).await);
            assert!(read == ["first"] || read == ["first", "stuck"], "{read:?}");
            close(log).await;
        });
    }
}

/// A stuck sync in one stream, and an actor that serves all ends: its successor must not recover
/// files that are still being written to.
#[test]
fn no_new_generation_begins_over_a_stuck_write() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("stall_after", "50ms")
            .with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        within(stream.append("first")).await.expect("an ack");
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(segment));
        let ticket = stream.try_append("stuck").expect("room");
        eventually("a call is held", || held.parked() == 1).await;
        rig.faults.arm("coordinator.trim", Action::Kill, 1);
        within(stream.trim(Offset(1)))
            .await
            .expect_err("the coordinator was killed");
        let renames = rig.plan.count(CallKind::Rename);
        within(ticket).await.expect_err("nobody knows");
        let health = until(&log, |health| health.state == tierlog::LogState::Failed).await;
        let last = health.restarts.last().expect("it is told");
        assert!(last.reason.contains("did not end"), "{health:?}");
        assert_eq!(
            rig.plan.count(CallKind::Rename),
            renames,
            "nothing was recovered"
        );
        held.release();
        drop(log);
        let log = rig.reopen().await;
        let stream = within(log.log().existing("s")).await.expect("a stream");
        assert_eq!(texts(&read_all(&stream).await)[0], "first");
        close(log).await;
    });
}

/// A trim goes to an actor that serves all streams. After the end of the log it was told that the
/// log was restarting, and to try again, for ever.
#[test]
fn nobody_is_told_to_try_again_when_the_log_has_ended() {
    on_each_runtime(|_| async {
        for whole in [true, false] {
            let (log, stream) = one_stream(&Rig::sim(&SimDisk::new())).await;
            within(stream.append("first")).await.expect("an ack");
            let handle = log.log();
            if whole {
                close(log).await;
            } else {
                drop(log);
            }
            let trim = async {
                loop {
                    match stream.trim(Offset(1)).await {
                        // The supervisor is just going away.
                        Ok(_) | Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                        Err(error) => return error,
                    }
                }
            };
            let refused = within(trim).await;
            assert!(matches!(refused, Error::Closed), "{refused}");
            let refused = within(handle.stream("s")).await.expect_err("it is closed");
            assert!(matches!(refused, Error::Closed), "{refused}");
        }
    });
}
