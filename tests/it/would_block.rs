//! Every kind of refusal, each raised by a test that fills exactly that resource: the payload comes
//! back, nothing happened, `ready` wakes when there is room and not before.

use futures::future::join_all;
use tierlog::{
    Error, From, Kind, NewRecord, Offset, Stream, Ticket, TryAppend, TryAppendBatch, TryRead,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};
use tokio::task::JoinHandle;

use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle, until},
    support::{close, read_all, texts, within},
};

/// A refusal in each of its forms leaves no trace.
fn refused(stream: &Stream, kind: Kind) {
    let before = stream.watermarks();
    let record = NewRecord::from("refused").key("k").ext_id(7);
    match stream.try_append(record.clone()) {
        Err(TryAppend::WouldBlock { kind: k, payload }) => {
            assert_eq!((k, payload), (kind, record.clone()));
        }
        other => panic!("{other:?}"),
    }
    let records = vec![record, NewRecord::from("")];
    match stream.try_append_batch(records.clone()) {
        Err(TryAppendBatch::WouldBlock {
            kind: k,
            records: back,
        }) => {
            assert_eq!((k, back), (kind, records));
        }
        other => panic!("{other:?}"),
    }
    let mut appender = stream.appender();
    appender.try_push(b"refused").expect("it is only buffered");
    match appender.try_send() {
        Err(Error::WouldBlock { kind: k }) => assert_eq!(k, kind),
        other => panic!("{other:?}"),
    }
    assert_eq!(appender.pending(), 1, "it is still buffered");
    assert_eq!(stream.watermarks().next, before.next);
}

/// Somebody who waits for room.
fn waiter(stream: &Stream, kind: Kind) -> JoinHandle<()> {
    let stream = stream.clone();
    tokio::spawn(async move { stream.ready(kind).await })
}

async fn asleep(waiter: &JoinHandle<()>) {
    settle().await;
    assert!(!waiter.is_finished(), "it woke before there was room");
}

/// Appends until it is refused with this kind.
async fn fill(
    stream: &Stream,
    mut tickets: Vec<Ticket>,
    mut len: usize,
    kind: Kind,
) -> Vec<Ticket> {
    let fill = async {
        loop {
            match stream.try_append(format!("{:06}{}", tickets.len(), "x".repeat(len))) {
                Ok(ticket) => tickets.push(ticket),
                // What is left holds no large record; it is filled up with small ones.
                Err(TryAppend::WouldBlock { kind: k, .. }) if k == kind && len > 0 => len = 0,
                Err(TryAppend::WouldBlock { kind: k, .. }) if k == kind => return,
                // Not written yet; what is written and not synced has another name.
                Err(TryAppend::WouldBlock { kind: other, .. })
                    if matches!(other, Kind::Admission | Kind::Rollover) =>
                {
                    stream.ready(other).await;
                }
                Err(other) => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    within(fill).await;
    tickets
}

/// Everything accepted is acked and read once.
async fn all_there(stream: &Stream, tickets: Vec<Ticket>) {
    let before = tickets.len();
    for outcome in within(join_all(tickets)).await {
        outcome.expect("an ack");
    }
    let ack = within(stream.append("after")).await.expect("an ack");
    assert_eq!(ack.offset, Offset(before as u64));
    let read = texts(&read_all(stream).await);
    assert_eq!(read.len(), before + 1);
    for (at, text) in read[..before].iter().enumerate() {
        assert_eq!(text[..6], format!("{at:06}"));
    }
}

#[test]
fn a_full_lane_is_admission() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("lane_records", "4");
        let (log, stream) = one_stream(&rig).await;
        rig.faults.arm("writer.drain", Action::Park, 1);
        let mut tickets = vec![stream.try_append("000000").expect("room")];
        within(rig.faults.reached("writer.drain", 0)).await;
        // The writer stands still, perhaps with the first one in its hand.
        while let Ok(ticket) = stream.try_append(format!("{:06}", tickets.len())) {
            tickets.push(ticket);
        }
        assert!((4..=5).contains(&tickets.len()), "{}", tickets.len());
        refused(&stream, Kind::Admission);
        let waiter = waiter(&stream, Kind::Admission);
        asleep(&waiter).await;
        rig.faults.release("writer.drain");
        within(waiter).await.expect("it wakes");
        all_there(&stream, tickets).await;
        close(log).await;
    });
}

#[test]
fn a_used_up_hot_budget_is_admission_until_something_is_trimmed() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("hot_budget", "192KiB")
            .with("warm_budget", "0B");
        let (log, stream) = one_stream(&rig).await;
        let mut acked = Vec::new();
        let fill = async {
            loop {
                let record = NewRecord::new(vec![acked.len() as u8; 6_000]);
                match stream.try_append(record.clone()) {
                    Ok(ticket) => match ticket.await {
                        Ok(ack) => acked.push(ack.offset),
                        Err(failed) => {
                            assert!(matches!(failed.error, Error::StorageFull), "{failed:?}");
                            assert_eq!(failed.records, [record], "it comes back");
                        }
                    },
                    Err(TryAppend::WouldBlock { kind, .. }) => {
                        return assert_eq!(kind, Kind::Admission);
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        within(fill).await;
        let full = acked.len();
        assert!(full > 10);
        refused(&stream, Kind::Admission);
        let waiter = waiter(&stream, Kind::Admission);
        asleep(&waiter).await;
        assert_eq!(read_all(&stream).await.len(), full, "reads go on");
        within(stream.trim(Offset(full as u64)))
            .await
            .expect("trimmed");
        within(waiter).await.expect("it wakes");
        let ack = within(stream.append("after")).await.expect("an ack");
        assert_eq!(ack.offset, Offset(full as u64));
        let health = log.health().await;
        assert!(
            health.restarts.is_empty() && health.hot_bytes <= 192 << 10,
            "{health:?}"
        );
        close(log).await;
    });
}

#[test]
fn a_flusher_that_takes_no_more_is_flush() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("flusher_queue", "1")
            .with("flush", "every 1ms");
        let (log, stream) = one_stream(&rig).await;
        rig.faults.arm("flusher.take", Action::Park, 1);
        // One request in its hand, one in its mailbox.
        let generation = log.context().generation().expect("at work");
        let a = within(log.log().stream("a")).await.expect("a stream");
        let b = within(log.log().stream("b")).await.expect("a stream");
        let first = a.try_append("x").expect("room");
        within(rig.faults.reached("flusher.take", 0)).await;
        let second = b.try_append("x").expect("room");
        eventually("a full mailbox", || !generation.flusher.has_room()).await;
        let tickets = fill(&stream, Vec::new(), 10, Kind::Flush).await;
        refused(&stream, Kind::Flush);
        let waiter = waiter(&stream, Kind::Flush);
        asleep(&waiter).await;
        rig.faults.release("flusher.take");
        within(waiter).await.expect("it wakes");
        within(first).await.expect("an ack");
        within(second).await.expect("an ack");
        all_there(&stream, tickets).await;
        close(log).await;
    });
}

/// The waiters for `Admission` inside `fill` must hear of it when what they wait for has become
/// unsynced: with `manual` nobody syncs until they ask.
#[test]
fn a_window_full_of_unsynced_bytes_is_flush() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("flush", "manual")
            .with("segment_size", "1MiB");
        let (log, stream) = one_stream(&rig).await;
        let tickets = fill(&stream, Vec::new(), 1_000, Kind::Flush).await;
        assert!(tickets.len() > 50);
        eventually("all written", || {
            stream.watermarks().written == stream.watermarks().next
        })
        .await;
        refused(&stream, Kind::Flush);
        let waiter = waiter(&stream, Kind::Flush);
        asleep(&waiter).await;
        assert_eq!(stream.watermarks().durable, Offset(0));
        let end = within(stream.flush()).await.expect("durable");
        assert_eq!(end, Offset(tickets.len() as u64));
        within(waiter).await.expect("it wakes");
        let flusher = stream.clone();
        let ((), flushed) = tokio::join!(all_there(&stream, tickets), async {
            eventually("one more", || flusher.watermarks().next > end).await;
            within(flusher.flush()).await
        });
        flushed.expect("durable");
        close(log).await;
    });
}

#[test]
fn a_segment_that_does_not_come_is_rollover() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("unsynced_bytes", "32MiB")
            .with("lane_records", "8192");
        let (log, stream) = one_stream(&rig).await;
        rig.faults.arm("coordinator.admit", Action::Park, 1);
        let tickets = fill(&stream, Vec::new(), 8_000, Kind::Rollover).await;
        refused(&stream, Kind::Rollover);
        let waiter = waiter(&stream, Kind::Rollover);
        asleep(&waiter).await;
        rig.faults.release("coordinator.admit");
        within(waiter).await.expect("it wakes");
        all_there(&stream, tickets).await;
        close(log).await;
    });
}

#[test]
fn a_coordinator_that_takes_no_more_is_rollover_to_a_trim() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("coordinator_queue", "1");
        let (log, stream) = one_stream(&rig).await;
        for at in 0..10 {
            within(stream.append(format!("{at}")))
                .await
                .expect("an ack");
        }
        rig.faults.arm("coordinator.trim", Action::Park, 1);
        let trim = |before| {
            let stream = stream.clone();
            tokio::spawn(async move { stream.trim(Offset(before)).await })
        };
        let first = trim(1);
        within(rig.faults.reached("coordinator.trim", 0)).await;
        let second = trim(2);
        let generation = log.context().generation().expect("at work");
        eventually("a full mailbox", || !generation.coordinator.has_room()).await;
        match within(stream.try_trim(Offset(5))).await {
            Err(Error::WouldBlock {
                kind: Kind::Rollover,
            }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(stream.watermarks().start, Offset(0), "nothing happened");
        let waiter = waiter(&stream, Kind::Rollover);
        let third = trim(3);
        asleep(&waiter).await;
        assert!(!third.is_finished());
        rig.faults.release("coordinator.trim");
        within(waiter).await.expect("it wakes");
        for trim in [first, second, third] {
            within(trim).await.expect("no panic").expect("trimmed");
        }
        assert_eq!(stream.watermarks().start, Offset(3));
        close(log).await;
    });
}

#[test]
fn a_manifest_writer_that_takes_no_more_is_manifest() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("manifest_queue", "1")
            .with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        let tickets = vec![stream.try_append("000000").expect("room")];
        within(stream.seal()).await.expect("sealed");
        rig.faults.arm("manifest.take", Action::Park, 1);
        let seen = rig.faults.passed("manifest.take");
        let open = |name: &'static str| {
            let log = log.log();
            tokio::spawn(async move { log.stream(name).await })
        };
        let first = open("a");
        within(rig.faults.reached("manifest.take", seen)).await;
        let second = open("b");
        let generation = log.context().generation().expect("at work");
        eventually("a full mailbox", || !generation.manifest.has_room()).await;
        match within(stream.try_trim(Offset(1))).await {
            Err(Error::WouldBlock {
                kind: Kind::Manifest,
            }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(stream.watermarks().start, Offset(0), "nothing happened");
        // The segment is sealed: the next record needs another one.
        let tickets = fill(&stream, tickets, 10, Kind::Manifest).await;
        refused(&stream, Kind::Manifest);
        let waiter = waiter(&stream, Kind::Manifest);
        asleep(&waiter).await;
        rig.faults.release("manifest.take");
        within(waiter).await.expect("it wakes");
        for stream in [first, second] {
            within(stream).await.expect("no panic").expect("a stream");
        }
        all_there(&stream, tickets).await;
        within(stream.trim(Offset(1))).await.expect("trimmed");
        close(log).await;
    });
}

#[test]
fn bytes_that_are_not_in_memory_are_hydration_and_the_end_is_tail() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new());
        let (log, stream) = one_stream(&rig).await;
        within(stream.append("one")).await.expect("an ack");
        within(stream.append("two")).await.expect("an ack");
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        let mut reader = within(async { stream.reader(From::Earliest).follow().await })
            .await
            .expect("a reader");
        let held = rig.plan.hold(Calls::of(CallKind::ReadAt).at(segment));
        for _ in 0..3 {
            match reader.try_next().now() {
                Err(TryRead::WouldBlock(Kind::Hydration)) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(reader.position(), Offset(0));
        }
        held.release();
        let first = within(reader.try_next())
            .await
            .expect("readable")
            .expect("one");
        assert_eq!((first.offset, &first.payload[..]), (Offset(0), &b"one"[..]));
        let second = within(reader.try_next())
            .await
            .expect("readable")
            .expect("two");
        assert_eq!(second.offset, Offset(1));
        for _ in 0..3 {
            match reader.try_next().now() {
                Err(TryRead::WouldBlock(Kind::Tail)) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(reader.position(), Offset(2));
        }
        let (next, ack) = tokio::join!(within(reader.try_next()), within(stream.append("three")));
        ack.expect("an ack");
        assert_eq!(next.expect("readable").expect("three").offset, Offset(2));
        close(log).await;
    });
}

#[test]
fn a_failed_allocation_is_admission_until_there_is_room() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new());
        let (log, stream) = one_stream(&rig).await;
        let armed = rig.plan.fail(
            Calls::of(CallKind::Allocate).at(segment).forever(),
            Fault::Full,
        );
        let record = NewRecord::from("no room").key("k");
        let failed = stream.try_append(record.clone()).expect("it is queued");
        let failed = within(failed).await.expect_err("no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed:?}");
        assert_eq!(failed.records, [record]);
        eventually("refused", || {
            matches!(
                stream.try_append("x"),
                Err(TryAppend::WouldBlock {
                    kind: Kind::Admission,
                    ..
                })
            )
        })
        .await;
        let waiter = waiter(&stream, Kind::Admission);
        asleep(&waiter).await;
        armed.disarm();
        within(waiter).await.expect("it wakes");
        all_there(&stream, Vec::new()).await;
        let health = until(&log, |health| health.held_bytes == 0).await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        close(log).await;
    });
}

/// Many who are refused and wait, again and again, on a lane for one: whoever misses his wake-up
/// hangs, and whoever is appended twice is counted twice.
#[test]
fn no_wake_up_is_lost_in_a_crowd() {
    for (lane, window, policy) in [("1", "64KiB", "always"), ("64", "32KiB", "manual")] {
        on_each_runtime(|_| async move {
            let rig = Rig::sim(&SimDisk::new())
                .with("lane_records", lane)
                .with("unsynced_bytes", window)
                .with("flush", policy);
            let (log, stream) = one_stream(&rig).await;
            let crowd = (0..8).map(|who| {
                let stream = stream.clone();
                tokio::spawn(async move {
                    let mut tickets = Vec::new();
                    for n in 0..150 {
                        tickets
                            .push(push(&stream, format!("{who}/{n:03}/{}", "x".repeat(300))).await);
                    }
                    within(stream.flush()).await.expect("durable");
                    within(join_all(tickets)).await
                })
            });
            for outcomes in within(join_all(crowd)).await {
                for ack in outcomes.expect("no panic") {
                    ack.expect("an ack");
                }
            }
            let mut read = texts(&read_all(&stream).await);
            assert_eq!(read.len(), 8 * 150);
            read.sort();
            read.dedup();
            assert_eq!(read.len(), 8 * 150, "nothing twice");
            until(&log, |health| health.held_bytes == 0).await;
            close(log).await;
        });
    }
}

async fn push(stream: &Stream, payload: String) -> Ticket {
    let mut record = NewRecord::from(payload);
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return ticket,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                record = payload;
                if kind == Kind::Flush {
                    within(stream.flush()).await.expect("durable");
                }
                within(stream.ready(kind)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
