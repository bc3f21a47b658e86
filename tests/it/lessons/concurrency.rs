//! What went wrong where several did something at once.

use std::{collections::BTreeMap, path::PathBuf, thread};

use tierlog::{
    From, Level, NewRecord, Offset, Stream, Ticket, TryAppend, TryAppendBatch,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls},
            sim::SimDisk,
        },
    },
};

use super::{after_a_cut, polled, push, read};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle, until},
    support::{close, within},
    track::text,
};

/// A record as it was acked: its offset and its bytes.
type Acked = (Offset, String);

/// Appends on a thread that knows nothing of Tokio: one by one, in batches, or by an appender.
fn append_in_its_way(stream: &Stream, who: usize, count: usize) -> Vec<Acked> {
    let mut refused = 0;
    let payloads = (0..count).map(|n| format!("{who}/{n}"));
    let mut tickets: Vec<(Ticket, Vec<String>)> = Vec::new();
    match who % 3 {
        0 => tickets.extend(payloads.map(|payload| {
            let ticket = push(stream, payload.clone(), &mut refused);
            (ticket, vec![payload])
        })),
        1 => {
            let payloads: Vec<_> = payloads.collect();
            for three in payloads.chunks(3) {
                tickets.push((push_batch(stream, three), three.to_vec()));
            }
        }
        _ => {
            let mut appender = stream.appender();
            let mut buffered = Vec::new();
            for payload in payloads {
                let sent = futures::executor::block_on(appender.push(payload.as_bytes()));
                if let Some(ticket) = sent.expect("room comes") {
                    tickets.push((ticket, std::mem::take(&mut buffered)));
                }
                buffered.push(payload);
                if buffered.len() == 20 {
                    let sent = futures::executor::block_on(appender.send());
                    let ticket = sent.expect("room comes").expect("something to send");
                    tickets.push((ticket, std::mem::take(&mut buffered)));
                }
            }
            let sent = futures::executor::block_on(appender.send()).expect("room comes");
            tickets.extend(sent.map(|ticket| (ticket, buffered)));
        }
    }
    let mut acked = Vec::new();
    for (ticket, payloads) in tickets {
        let first = ticket.wait().expect("an ack").offset;
        let numbered = payloads.into_iter().zip(0..);
        acked.extend(numbered.map(|(payload, n)| (first.plus(n), payload)));
    }
    acked
}

fn push_batch(stream: &Stream, payloads: &[String]) -> Ticket {
    let mut batch = payloads.iter().cloned().map(NewRecord::from).collect();
    loop {
        match stream.try_append_batch(batch) {
            Ok(ticket) => return ticket,
            Err(TryAppendBatch::WouldBlock { kind, records }) => {
                batch = records;
                futures::executor::block_on(stream.ready(kind));
            }
            Err(failed) => panic!("{failed}"),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Appending was said to be safe on many threads. The offset was taken before the lock and before
/// the send: 199,000 records were acked at 163,000 offsets, and frames stood out of order.
#[test]
fn threads_that_append_at_once_share_no_offset_and_keep_their_order() {
    const EACH: usize = 1_500;
    let rig = Rig::sim(&SimDisk::new()).with("flush", "every 1ms");
    let runtime = runtime();
    let (log, stream) = runtime.block_on(one_stream(&rig));
    let mut acked = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|who| {
                let stream = stream.clone();
                scope.spawn(move || append_in_its_way(&stream, who, EACH))
            })
            .collect();
        for thread in threads {
            let own = thread.join().expect("no panic");
            assert_eq!(own.len(), EACH);
            assert!(own.is_sorted_by_key(|(offset, _)| *offset), "in its order");
            acked.extend(own);
        }
    });
    acked.sort();
    runtime.block_on(async {
        let records = crate::support::read_all(&stream).await;
        let found = records.iter().map(|record| (record.offset, text(record)));
        assert!(acked.into_iter().eq(found), "each where it was acked, once");
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        close(log).await;
    });
}

/// The commit covered bytes that a racing append had reserved and not yet copied: it said that all
/// was well, and of 180 records up to four could be read. Whatever was accepted before a flush must
/// be readable, and durable, when it returns.
#[test]
fn what_was_accepted_before_a_flush_is_readable_when_it_returns() {
    const EACH: usize = 400;
    let disk = SimDisk::new();
    let rig = Rig::sim(&disk).with("flush", "manual");
    let runtime = runtime();
    let (log, stream) = runtime.block_on(one_stream(&rig));
    thread::scope(|scope| {
        for who in 0..4 {
            let (stream, handle) = (stream.clone(), runtime.handle().clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    let payload = format!("{who}/{n}/{}", "x".repeat(n % 300));
                    let mut ticket = loop {
                        // Under `manual` only a flush makes room.
                        match stream.try_append(payload.clone()) {
                            Ok(ticket) => break ticket,
                            Err(TryAppend::WouldBlock { .. }) => {
                                handle.block_on(within(stream.flush())).expect("durable");
                            }
                            Err(failed) => panic!("{failed}"),
                        }
                    };
                    if n % 3 > 0 {
                        continue;
                    }
                    let end = handle.block_on(within(stream.flush())).expect("durable");
                    let told = ticket.now().expect("the flush covers it");
                    let offset = told.expect("an ack").offset;
                    assert!(offset < end, "{offset} and {end}");
                    let found = handle.block_on(async {
                        let mut reader = stream.reader(From::Offset(offset)).await?;
                        reader.try_next().await
                    });
                    let found = found.expect("readable").expect("a record");
                    assert_eq!((found.offset, text(&found)), (offset, payload));
                }
            });
        }
    });
    runtime.block_on(async {
        let end = within(stream.flush()).await.expect("durable");
        assert_eq!(end, Offset(4 * EACH as u64));
        let all = read(&stream).await;
        assert_eq!(all.len(), 4 * EACH);
        assert_eq!(after_a_cut(&rig, &disk).await, all);
        close(log).await;
    });
}

/// A guard that a segment is queued for writing once was lost when the code was put in order: two
/// jobs wrote the same bytes at the same place.
#[test]
fn no_byte_of_a_segment_is_written_twice() {
    let rig = Rig::sim(&SimDisk::new()).with("flush", "every 1ms");
    let runtime = runtime();
    let (log, stream) = runtime.block_on(one_stream(&rig));
    rig.plan.record(true);
    thread::scope(|scope| {
        for who in 0..3 {
            let (stream, handle) = (stream.clone(), runtime.handle().clone());
            scope.spawn(move || {
                for round in 0..8 {
                    append_in_its_way(&stream, who, 150);
                    let sealed = handle.block_on(within(stream.seal()));
                    sealed.unwrap_or_else(|error| panic!("{round}: {error}"));
                }
            });
        }
    });
    runtime.block_on(close(log));
    let mut written = BTreeMap::<PathBuf, BTreeMap<u64, u64>>::new();
    for call in rig.plan.take_calls() {
        if call.kind != CallKind::WriteAt || !segment(&call.path) {
            continue;
        }
        let ranges = written.entry(call.path.clone()).or_default();
        let before = ranges.range(..call.pos + call.len).next_back();
        let free = before.is_none_or(|(pos, len)| pos + len <= call.pos);
        assert!(free, "{call:?} over {before:?}");
        ranges.insert(call.pos, call.len);
    }
    assert!(written.len() >= 8, "{} segments", written.len());
}

/// The same, seen while it happens: however much waits, one write of a segment is under way.
#[test]
fn one_write_of_a_segment_is_under_way_at_a_time() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new());
        let (log, stream) = one_stream(&rig).await;
        within(stream.append("first")).await.expect("an ack");
        let held = rig
            .plan
            .hold(Calls::of(CallKind::WriteAt).at(segment).forever());
        let mut tickets = vec![stream.try_append("held").expect("room")];
        eventually("a write is held", || held.parked() > 0).await;
        for n in 0..20 {
            tickets.push(stream.try_append(format!("{n}")).expect("room"));
            tokio::task::yield_now().await;
        }
        let commands = [stream.clone(), stream.clone()].map(|stream| {
            tokio::spawn(async move {
                stream.flush().await?;
                stream.seal().await
            })
        });
        settle().await;
        assert_eq!(held.parked(), 1);
        held.release();
        for ticket in tickets {
            within(ticket).await.expect("an ack");
        }
        for command in commands {
            within(command).await.expect("no panic").expect("sealed");
        }
        assert_eq!(read(&stream).await.len(), 22);
        close(log).await;
    });
}

/// A chunk slipped into the buffer that was just being retired: nobody looked into it again, and it
/// stayed there until the end. Each step of the writer is held while more records come, and then
/// nothing else does that could push them.
#[test]
fn a_record_that_comes_while_the_writer_hands_over_is_not_stranded() {
    let points = [
        // Where one message is waited for, and where all that wait are taken.
        (None, "writer.drain"),
        (Some("writer.after_write"), "writer.drain"),
        (None, "writer.before_write"),
        (None, "writer.after_write"),
        (None, "writer.flush_done"),
        (None, "writer.before_ack"),
        (None, "writer.before_seal"),
        (None, "writer.after_seal"),
        (None, "flusher.take"),
        (None, "flusher.before_sync"),
        (None, "flusher.after_sync"),
    ];
    for (first, point) in points {
        on_each_runtime(|_| async move {
            let rig = Rig::sim(&SimDisk::new())
                .with("flush", "every 1ms")
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            within(stream.append("0")).await.expect("an ack");
            let append = |payload: &'static str| stream.try_append(payload).expect("room");
            let begins = first.unwrap_or(point);
            let seen = rig.faults.passed(begins);
            rig.faults.arm(begins, Action::Park, 1);
            let mut tickets = vec![append("1")];
            if first.is_some() {
                within(rig.faults.reached(begins, seen)).await;
            }
            tickets.push(append("2"));
            let sealing = point.ends_with("_seal").then(|| {
                let stream = stream.clone();
                tokio::spawn(async move { stream.seal().await })
            });
            let seen = match first {
                Some(first) => {
                    let seen = rig.faults.passed(point);
                    rig.faults.arm(point, Action::Park, 1);
                    rig.faults.release(first);
                    seen
                }
                None => seen,
            };
            within(rig.faults.reached(point, seen)).await;
            tickets.push(append("3"));
            let mut appender = stream.appender();
            appender.try_push(b"4").expect("it is only buffered");
            tickets.extend(appender.try_send().expect("room"));
            settle().await;
            rig.faults.release(point);
            for (offset, ticket) in (1..).zip(tickets) {
                let ack = within(ticket).await.expect("an ack");
                assert_eq!(ack.offset, Offset(offset), "{point}");
            }
            if let Some(sealing) = sealing {
                within(sealing).await.expect("no panic").expect("sealed");
            }
            assert_eq!(read(&stream).await, ["0", "1", "2", "3", "4"]);
            close(log).await;
        });
    }
}

/// The log was a ring: past its size appends went over entries that nobody had flushed, without an
/// error, and of 4,000 records 1,024 were right.
#[test]
fn thousands_of_records_that_nobody_has_flushed_are_all_right() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk)
            .with("flush", "manual")
            .with("unsynced_bytes", "32MiB")
            .with("tail_cache", "1KiB")
            .with("read_cache", "1KiB");
        let (log, stream) = one_stream(&rig).await;
        let expected: Vec<_> = (0..4_000).map(|n| format!("{n:06}")).collect();
        for payload in &expected {
            let ack = stream.append_at(payload.clone(), Level::Written);
            within(ack).await.expect("written");
        }
        let reader = stream.reader(From::Earliest).level(Level::Written);
        let mut reader = within(async { reader.await }).await.expect("a reader");
        let mut written = Vec::new();
        while written.len() < expected.len() {
            let batch = within(reader.next_batch(500)).await.expect("readable");
            assert!(!batch.is_empty(), "{} of them", written.len());
            written.extend(batch.iter().map(text));
        }
        assert_eq!(written, expected);
        within(stream.flush()).await.expect("durable");
        assert_eq!(read(&stream).await, expected);
        assert_eq!(after_a_cut(&rig, &disk).await, expected);
        close(log).await;
    });
}

/// Room that had been reserved in the log was given up, and the hole that was left cut recovery at
/// that place. Here nothing has a place before it is whole; whatever is dropped on the way there
/// leaves the records before and behind it next to each other.
#[test]
fn what_is_dropped_half_way_leaves_no_hole_for_a_recovery_to_stop_at() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk)
            .with("lane_records", "2")
            .with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        for polls in 0..4 {
            for parked in [true, false] {
                let seen = rig.faults.passed("writer.drain");
                if parked {
                    rig.faults.arm("writer.drain", Action::Park, 1);
                    drop(stream.try_append("ticket dropped").expect("room"));
                    within(rig.faults.reached("writer.drain", seen)).await;
                }
                for _ in 0..4 {
                    polled(polls, stream.append("append")).await;
                    let batch = ["batch", "batch"].map(NewRecord::from).to_vec();
                    polled(polls, stream.append_batch(batch)).await;
                    polled(polls, stream.append_if(stream.watermarks().next, "if")).await;
                    let mut appender = stream.appender();
                    appender.try_push(b"buffered").expect("it is only buffered");
                    polled(polls, appender.send()).await;
                    // It tries once more to send, and gives up where there is no room.
                    drop(appender);
                }
                if parked {
                    rig.faults.release("writer.drain");
                }
                within(stream.append("behind")).await.expect("an ack");
            }
        }
        let end = stream.watermarks().next.get() as usize;
        let all = read(&stream).await;
        assert_eq!((all.len(), &all[end - 1][..]), (end, "behind"));
        assert_eq!(after_a_cut(&rig, &disk).await, all);
        until(&log, |health| health.held_bytes == 0).await;
        drop(log);
        let rig = rig.on(&disk.crash_process());
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(read(&stream).await, all);
        close(log).await;
    });
}
