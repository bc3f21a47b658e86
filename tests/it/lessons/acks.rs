//! Acks that came before safety.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use tierlog::{
    Error, Offset, Stream, Ticket,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault},
        sim::SimDisk,
    },
};

use super::{after_a_cut, durable_is_true};
use crate::{
    faults::rig::{Rig, eventually, manifest, on_each_runtime, one_stream, segment, settle},
    support::{close, within},
};

/// Appends without waiting for anything but the write.
async fn write(stream: &Stream, payloads: &[String]) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    for payload in payloads {
        tickets.push(stream.try_append(payload.clone()).expect("room"));
        let next = stream.watermarks().next;
        eventually("written", || stream.watermarks().written == next).await;
    }
    tickets
}

fn payloads(count: usize, len: usize) -> Vec<String> {
    let payload = |n| format!("{n:04} {}", "x".repeat(len));
    (0..count).map(payload).collect()
}

fn nobody_was_told(tickets: &mut [Ticket]) {
    for ticket in tickets {
        let told = ticket.now();
        assert!(told.is_none(), "{told:?}");
    }
}

async fn all_are_told(tickets: Vec<Ticket>) {
    for ticket in tickets {
        within(ticket).await.expect("an ack");
    }
}

/// An earlier system sealed a segment in this order: it marked its bytes durable, woke those who
/// waited for that, and then synced the file.
#[test]
fn a_seal_acks_nothing_before_its_sync() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk).with("flush", "manual");
        let (log, stream) = one_stream(&rig).await;
        let appended = payloads(5, 100);
        let mut tickets = write(&stream, &appended).await;
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(segment));
        let sealing = tokio::spawn({
            let stream = stream.clone();
            async move { stream.seal().await }
        });
        eventually("the sync is held", || held.parked() > 0).await;
        settle().await;
        assert!(!sealing.is_finished());
        nobody_was_told(&mut tickets);
        assert_eq!(stream.watermarks().durable, Offset(0));
        held.release();
        let end = within(sealing).await.expect("no panic").expect("sealed");
        assert_eq!(end, Offset(5));
        all_are_told(tickets).await;
        assert_eq!(after_a_cut(&rig, &disk).await, appended);
        close(log).await;
    });
}

/// The bytes stood in another segment, synced, but the commit that named the segment was sent off
/// and not waited for. Here the end of a repair is told only once the manifest says so.
#[test]
fn a_repair_acks_nothing_before_the_manifest_says_so() {
    for kind in [CallKind::WriteAt, CallKind::SyncData] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk).with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            let appended = payloads(4, 100);
            all_are_told(write(&stream, &appended[..3]).await).await;
            rig.plan.fail(Calls::of(kind).at(segment), Fault::Io);
            let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(manifest));
            let mut late = [stream.try_append(appended[3].clone()).expect("room")];
            eventually("the commit is held", || held.parked() > 0).await;
            settle().await;
            nobody_was_told(&mut late);
            assert_eq!(stream.watermarks().durable, Offset(3));
            held.release();
            all_are_told(late.into()).await;
            assert_eq!(after_a_cut(&rig, &disk).await, appended);
            assert_eq!(log.counters().repairs, 1);
            close(log).await;
        });
    }
}

/// The sink of the manifest failed in the midst of a flush, which took the target of the flush with
/// it. Whoever asked again was told that all is well, since nothing was left to be flushed.
#[test]
fn a_flush_that_is_asked_for_again_says_ok_only_when_all_is_durable() {
    for times in 1..=3 {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk)
                .with("flush", "manual")
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            let appended = payloads(6, 100);
            let mut tickets = write(&stream, &appended).await;
            rig.plan
                .fail(Calls::of(CallKind::SyncData).at(segment), Fault::Io);
            let sink = Calls::of(CallKind::SyncData).at(manifest).times(times);
            let armed = rig.plan.fail(sink, Fault::Io);
            let again = async {
                loop {
                    match stream.flush().await {
                        Ok(end) => return end,
                        // It was told that nobody knows: it asks again.
                        Err(Error::Unavailable { .. } | Error::Indeterminate { .. }) => {
                            tokio::task::yield_now().await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            let end = within(again).await;
            assert!(armed.disarm() > 0);
            assert_eq!(stream.watermarks().durable, end);
            durable_is_true(&rig, &disk, &stream, &appended).await;
            for (at, ticket) in tickets.drain(..).enumerate() {
                let told = within(ticket).await;
                assert_eq!(told.is_ok(), (at as u64) < end.get(), "{at}: {told:?}");
            }
            close(log).await;
        });
    }
}

/// A page was noted as changed only by a write to its first byte. A second checkpoint within the
/// same page had nothing to sync, and every record behind the first one was lost.
#[test]
fn each_of_many_flushes_within_one_page_is_kept() {
    for policy in ["always", "every 1ms", "manual"] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk).with("flush", policy);
            let (log, stream) = one_stream(&rig).await;
            let appended = payloads(30, 1);
            for n in 0..appended.len() {
                let tickets = write(&stream, &appended[n..=n]).await;
                let end = within(stream.flush()).await.expect("durable");
                assert_eq!(end, Offset(n as u64 + 1));
                all_are_told(tickets).await;
                assert_eq!(after_a_cut(&rig, &disk).await, appended[..=n]);
            }
            let segments = stream.segments().await.expect("segments");
            let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
            assert!(bytes < 4096, "{bytes} bytes are more than one page");
            close(log).await;
        });
    }
}

/// A flush that is on the lane already, before anybody else comes to run.
async fn asked(stream: Stream) -> impl Future<Output = Result<Offset, Error>> + Send {
    let mut flush = Box::pin(async move { stream.flush().await });
    poll_fn(|cx| {
        assert!(flush.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    flush
}

/// The log rolled over to the next segment and forgot that the one before had bytes which nobody had
/// synced: `sync` looked at the new one alone, and said that everything was durable.
#[test]
fn a_flush_covers_the_segment_that_was_just_rolled_over() {
    for late in [false, true] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk).with("flush", "manual");
            let (log, stream) = one_stream(&rig).await;
            // Six of them fill a segment.
            let mut appended = payloads(7, 14_000);
            let mut tickets = write(&stream, &appended[..1]).await;
            let first = stream.segments().await.expect("segments")[0].path.clone();
            let synced = {
                let first = first.clone();
                Calls::of(CallKind::SyncData).at(move |path| path == first)
            };
            let held = rig.plan.hold(synced);
            tickets.extend(write(&stream, &appended[1..]).await);
            eventually("it is being sealed", || held.parked() > 0).await;
            assert_ne!(
                stream
                    .segments()
                    .await
                    .expect("segments")
                    .last()
                    .expect("one")
                    .path,
                first,
                "the last records stand in another segment"
            );
            if late {
                // It finds the flush waiting, and might be synced alone with its own write.
                appended.push("late".into());
                tickets.push(stream.try_append("late").expect("room"));
            }
            let all = appended.len() as u64;
            let flushing = tokio::spawn(asked(stream.clone()).await);
            eventually("the flusher has it, or it is done", || {
                flushing.is_finished() || rig.faults.passed("flusher.before_sync") > 0
            })
            .await;
            settle().await;
            assert!(!flushing.is_finished(), "the old segment is not synced");
            nobody_was_told(&mut tickets);
            durable_is_true(&rig, &disk, &stream, &appended).await;
            held.release();
            let end = within(flushing).await.expect("no panic").expect("durable");
            assert_eq!(end, Offset(all));
            all_are_told(tickets).await;
            assert_eq!(after_a_cut(&rig, &disk).await, appended);
            close(log).await;
        });
    }
}
