//! Waits that never ended once something had failed.

use std::sync::Arc;

use tierlog::{
    Error, From, Kind, NewRecord, Offset, Stream, Supervisor, TryAppend,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
            sim::SimDisk,
        },
    },
};

use super::super::{after_a_cut, read};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle, until},
    sim,
    support::{PATIENCE, close, within},
};

/// Once a flush had failed every append was refused, and only an append would have brought about the
/// next flush. The window is full when the sync fails: nothing but what comes after it makes room.
#[test]
fn appends_and_flushes_go_on_after_a_flush_whose_sync_failed() {
    for fault in [Fault::Io, Fault::DoneButReported] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk)
                .with("flush", "manual")
                .with("segment_size", "1MiB");
            let (log, stream) = one_stream(&rig).await;
            let mut appended = Vec::new();
            for round in 0..3 {
                let mut tickets = Vec::new();
                let fill = async {
                    loop {
                        let payload = format!("{round}/{} {}", tickets.len(), "x".repeat(4_000));
                        match stream.try_append(payload.clone()) {
                            Ok(ticket) => {
                                tickets.push(ticket);
                                appended.push(payload);
                            }
                            Err(TryAppend::WouldBlock {
                                kind: Kind::Flush, ..
                            }) => break,
                            Err(TryAppend::WouldBlock { kind, .. }) => stream.ready(kind).await,
                            Err(failed) => panic!("{failed}"),
                        }
                    }
                };
                within(fill).await;
                assert!(tickets.len() > 10, "round {round}: {}", tickets.len());
                let armed = rig
                    .plan
                    .fail(Calls::of(CallKind::SyncData).at(segment), fault);
                let waiter = stream.clone();
                let room = tokio::spawn(async move { waiter.ready(Kind::Flush).await });
                let end = within(stream.flush()).await.expect("made good elsewhere");
                assert_eq!((end, armed.disarm()), (Offset(appended.len() as u64), 1));
                within(room).await.expect("there is room again");
                for ticket in tickets {
                    within(ticket).await.expect("an ack");
                }
                assert_eq!(after_a_cut(&rig, &disk).await, appended);
            }
            assert_eq!(read(&stream).await, appended);
            assert_eq!(log.counters().repairs, 3);
            until(&log, |health| health.ok && health.held_bytes == 0).await;
            close(log).await;
        });
    }
}

/// Somebody who gave up after so many tries told nobody.
#[test]
fn a_segment_that_can_never_be_made_is_told_to_all_who_wait() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let faulty = FaultDisk::new(Arc::new(disk.clone()), plan.clone());
    let settings = sim::tiny();
    sim::run(async {
        let opened = Supervisor::open_with(settings.clone(), sim::on(faulty)).await;
        let log = opened.expect("it opens");
        let stream = log.log().stream("s").await.expect("a stream");
        within(stream.append("0")).await.expect("an ack");
        within(stream.seal()).await.expect("sealed");
        let made = Calls::of(CallKind::CreateNew).at(segment).forever();
        let armed = plan.fail(made, Fault::Io);
        let follower = stream.reader(From::Offset(Offset(1))).follow().await;
        let mut follower = follower.expect("a reader");
        let ticket = stream.try_append("1").expect("room");
        let (ticket, append, flush, seal, ready, followed) = within(async {
            tokio::join!(
                ticket,
                stream.append("2"),
                stream.flush(),
                stream.seal(),
                stream.ready(Kind::Rollover),
                follower.try_next(),
            )
        })
        .await;
        let failed = ticket.expect_err("there is no place for it");
        assert!(
            matches!(failed.error, Error::NotAppended { .. }),
            "{failed}"
        );
        assert_eq!(failed.records, [NewRecord::from("1")]);
        append.expect_err("there is no place for it");
        flush.expect_err("nothing can be flushed");
        seal.expect_err("nothing can be sealed");
        let () = ready;
        assert!(!matches!(followed, Ok(Some(_))), "{followed:?}");
        assert!(armed.disarm() > 1, "it was tried again before");
        assert_eq!(read(&stream).await, ["0"]);
        let _ = log.shutdown(PATIENCE).await.expect("a report");
        let opened = Supervisor::open_with(settings, sim::on(disk)).await;
        let log = opened.expect("it opens");
        let stream = log.log().stream("s").await.expect("a stream");
        within(stream.append("1")).await.expect("an ack");
        assert_eq!(read(&stream).await, ["0", "1"]);
        close(log).await;
    });
}

/// A stream whose disk had failed asked for a fresh segment, found the mailbox of the coordinator
/// full, and gave up for good; a truncation at such a moment was refused, although it never is. Both
/// wait until there is room.
#[test]
fn a_repair_and_a_truncation_wait_for_a_coordinator_that_takes_no_more() {
    for repairs in [true, false] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk)
                .with("coordinator_queue", "1")
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            let other = within(log.log().stream("other")).await.expect("a stream");
            let three = || ["a", "b", "c"].map(NewRecord::from).to_vec();
            for stream in [&stream, &other] {
                within(stream.append_batch(three())).await.expect("an ack");
            }
            rig.faults.arm("coordinator.trim", Action::Park, 1);
            let trim = |before| {
                let other = other.clone();
                tokio::spawn(async move { other.trim(Offset(before)).await })
            };
            let first = trim(1);
            within(rig.faults.reached("coordinator.trim", 0)).await;
            let second = trim(2);
            let generation = log.context().generation().expect("at work");
            eventually("a full mailbox", || !generation.coordinator.has_room()).await;
            let command = tokio::spawn({
                let stream = stream.clone();
                if repairs {
                    let fails = Calls::of(CallKind::WriteAt).at(segment);
                    rig.plan.fail(fails, Fault::Io);
                }
                async move {
                    match repairs {
                        true => stream
                            .append("d")
                            .await
                            .map(|ack| ack.offset)
                            .map_err(Error::from),
                        false => stream.truncate_after(Some(Offset(1))).await,
                    }
                }
            });
            settle().await;
            assert!(!command.is_finished());
            rig.faults.release("coordinator.trim");
            let done = within(command).await.expect("no panic");
            assert_eq!(done.expect("done"), Offset(if repairs { 3 } else { 2 }));
            for trim in [first, second] {
                within(trim).await.expect("no panic").expect("trimmed");
            }
            let health = log.health().await;
            assert!(health.ok && health.restarts.is_empty(), "{health:?}");
            let expected = &["a", "b", "c", "d"][..if repairs { 4 } else { 2 }];
            assert_eq!(after_a_cut(&rig, &disk).await, expected);
            close(log).await;
        });
    }
}

/// What is asked of a log while one of its calls fails.
#[derive(Debug, Clone, Copy)]
enum Command {
    Append,
    Flush,
    Seal,
    Trim,
    /// In the midst of a batch, so that a part of it is written elsewhere.
    Truncate,
    Open,
}

const COMMANDS: [Command; 6] = [
    Command::Append,
    Command::Flush,
    Command::Seal,
    Command::Trim,
    Command::Truncate,
    Command::Open,
];

impl Command {
    async fn ask(self, log: &Supervisor, stream: &Stream) -> Result<(), Error> {
        match self {
            Self::Append => stream.append("more").await.map(drop).map_err(Error::from),
            Self::Flush => stream.flush().await.map(drop),
            Self::Seal => stream.seal().await.map(drop),
            Self::Trim => stream.trim(Offset(2)).await.map(drop),
            Self::Truncate => stream.truncate_after(Some(Offset(4))).await.map(drop),
            Self::Open => log.log().stream("other").await.map(drop),
        }
    }
}

/// Two who ask the same at once, and one who waits for room, while the nth changing call fails; and
/// then everything once more. Says whether the call was made at all.
async fn ask_while_failing(command: Command, nth: u64, fault: Fault) -> bool {
    let case = format!("{command:?}, call {nth}, {fault:?}");
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let faulty = FaultDisk::new(Arc::new(disk.clone()), plan.clone());
    let mut settings = sim::tiny();
    settings.restart_limit = 8;
    settings.set("flush", "every 1s").expect("a setting");
    let opened = Supervisor::open_with(settings.clone(), sim::on(faulty)).await;
    let log = opened.expect("it opens");
    let stream = within(log.log().stream("s")).await.expect("a stream");
    within(stream.append("0")).await.expect("an ack");
    within(stream.seal()).await.expect("sealed");
    let batch = (1..8).map(|n| NewRecord::from(format!("{n}"))).collect();
    within(stream.append_batch(batch)).await.expect("an ack");
    let queued = stream.try_append("8").expect("room");
    let armed = plan.fail(Calls::of_kinds(&CallKind::CHANGING).nth(nth), fault);
    let both = async {
        tokio::join!(
            command.ask(&log, &stream),
            command.ask(&log, &stream),
            stream.ready(Kind::Admission),
            stream.ready(Kind::Rollover),
            queued,
        )
    };
    let ended = tokio::time::timeout(PATIENCE, both).await;
    assert!(ended.is_ok(), "{case}: somebody waits for ever");
    let struck = armed.disarm() > 0;
    for again in COMMANDS {
        let ended = tokio::time::timeout(PATIENCE, again.ask(&log, &stream)).await;
        let outcome = ended.unwrap_or_else(|_| panic!("{case}: then {again:?} waits for ever"));
        let health = log.health().await;
        if health.ok && health.restarts.is_empty() {
            // All that is known to have been trimmed can't be truncated, and so on.
            let fine = matches!(outcome, Ok(()) | Err(Error::InvalidInput { .. }));
            assert!(fine, "{case}: then {again:?}: {outcome:?}");
        }
    }
    within(log.shutdown(PATIENCE)).await.expect("a report");
    let opened = Supervisor::open_with(settings, sim::on(disk)).await;
    let log = opened.expect("it opens");
    let stream = log.log().existing("s").await.expect("it is there");
    within(stream.append("after")).await.expect("an ack");
    close(log).await;
    struck
}

/// A flag was set, a call failed, `?` returned, and nobody took the flag back: all who came later
/// waited for somebody who was no longer at work.
#[test]
fn whichever_call_fails_within_a_command_nobody_waits_for_ever() {
    for command in COMMANDS {
        for fault in [Fault::Io, Fault::Full, Fault::DoneButReported] {
            let mut nth = 1;
            while sim::run(ask_while_failing(command, nth, fault)) {
                nth += 1;
            }
            assert!(nth > 2, "{command:?} makes no call that can fail");
        }
    }
}
