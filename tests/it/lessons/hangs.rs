//! Waits that never ended.

mod failures;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tierlog::{
    Error, Level, NewRecord, Offset, Stream, Supervisor, TryAppend, TryAppendBatch,
    testing::{Executor, Injected, Job, Work, storage::disk::sim::SimDisk},
};
use tokio::time::Instant;

use super::{after_a_cut, read};
use crate::{
    faults::rig::{Rig, on_each_runtime, one_stream},
    sim,
    support::{PATIENCE, close, within},
};

/// Nothing sealed a segment that was full: after two of them appends stopped for good. The tests of
/// that system sealed by hand, and saw nothing of it.
#[test]
fn full_segments_are_sealed_without_being_told_to() {
    for policy in ["always", "every 1ms", "bytes 8KiB"] {
        on_each_runtime(|_| async move {
            let rig = Rig::sim(&SimDisk::new()).with("flush", policy);
            let (log, stream) = one_stream(&rig).await;
            // Five or six of them fill a segment.
            for n in 0..60 {
                let ack = within(stream.append(vec![7; 14_000]))
                    .await
                    .expect("an ack");
                assert_eq!(ack.offset, Offset(n));
            }
            let segments = stream.segments().await.expect("segments");
            assert!(segments.len() >= 10, "{}", segments.len());
            let (_, before) = segments.split_last().expect("some");
            // The manifest may not have been told of the last one yet, and never of two.
            let unsealed = before.iter().filter(|segment| segment.state != "sealed");
            assert!(unsealed.count() <= 1, "{before:#?}");
            assert!(log.counters().sealed >= 9);
            close(log).await;
        });
    }
}

/// Waits for an offset by the watermarks that are published.
async fn durable_beyond(stream: Stream, offset: Offset) {
    let mut marks = stream.watch();
    let reached = marks.wait_for(|marks| marks.durable > offset);
    reached.await.expect("the log is open");
}

/// Whoever waits for durability looked whether it had come, and then began to listen: in 27 of 60
/// races with a flush the news came in between. And of two requests the worker kept the later one,
/// not the greater.
#[test]
fn a_wait_for_durability_that_races_a_flush_always_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    for policy in ["manual", "always"] {
        let rig = Rig::sim(&SimDisk::new()).with("flush", policy);
        runtime.block_on(async {
            let (log, stream) = one_stream(&rig).await;
            for round in 0..400 {
                let mut waits = Vec::new();
                for _ in 0..4 {
                    let offset = stream.watermarks().next;
                    let ticket = stream.try_append("x").expect("room");
                    let flusher = stream.clone();
                    waits.push(tokio::spawn(async move {
                        flusher.flush().await.expect("durable");
                    }));
                    waits.push(tokio::spawn(async move {
                        ticket.await.expect("an ack");
                    }));
                    waits.push(tokio::spawn(durable_beyond(stream.clone(), offset)));
                }
                let ended = tokio::time::timeout(PATIENCE, join_all(waits)).await;
                let ended = ended.unwrap_or_else(|_| panic!("{policy}: a wait of round {round}"));
                ended.into_iter().for_each(|end| end.expect("no panic"));
            }
            close(log).await;
        });
    }
}

/// The interval of the flush had no timer: it was looked at when the next record came, and a record
/// that none followed was never durable.
#[test]
fn an_idle_record_becomes_durable_under_every_policy_but_manual() {
    let policies = [
        ("always", Duration::ZERO),
        ("every 5s", Duration::from_secs(5)),
        ("bytes 64KiB", Duration::from_millis(100)),
    ];
    for (policy, most) in policies {
        let mut settings = sim::tiny();
        settings.set("flush", policy).expect("a setting");
        settings.idle_mark = Duration::from_secs(3600);
        let disk = SimDisk::new();
        sim::run(async {
            let opened = Supervisor::open_with(settings, sim::on(disk.clone())).await;
            let log = opened.expect("it opens");
            let stream = log.log().stream("s").await.expect("a stream");
            // The first, one behind others, and one after a time in which nothing happened.
            for burst in [1, 3, 1] {
                let begun = Instant::now();
                let tickets: Vec<_> = (0..burst)
                    .map(|n| stream.try_append(format!("{n}")).expect("room"))
                    .collect();
                for ticket in tickets {
                    within(ticket).await.expect("an ack");
                }
                let took = begun.elapsed();
                assert!(
                    took <= most + Duration::from_millis(2),
                    "{policy}: {took:?}"
                );
                assert_eq!(stream.watermarks().durable, stream.watermarks().next);
                tokio::time::advance(Duration::from_secs(60)).await;
            }
            close(log).await;
        });
    }
}

/// The same within microseconds. The writer looked, and the flush was not due yet; it set its alarm,
/// and by then the flush was due, for which no alarm was set. On a busy machine an append waited for
/// ever once in a while; with periods as short as the time between the two looks it does so soon.
#[test]
fn a_flush_that_comes_due_while_the_writer_looks_is_not_missed() {
    on_each_runtime(|_| async {
        for micros in (1..40).step_by(3) {
            let period = format!("{micros}us");
            let rig = Rig::sim(&SimDisk::new())
                .with("flush", &format!("every {period}"))
                .with("idle_mark", "1h");
            let (log, stream) = one_stream(&rig).await;
            for n in 0..40 {
                let ack = tokio::time::timeout(PATIENCE, stream.append(format!("{n}"))).await;
                ack.unwrap_or_else(|_| panic!("append {n}, synced every {period}"))
                    .expect("an ack");
            }
            close(log).await;
        }
    });
}

/// Runs blocking work where it is asked for, or so long afterwards.
#[derive(Debug, Clone, Default)]
struct Slow(Arc<AtomicU64>);

impl Executor for Slow {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        match self.0.load(Ordering::SeqCst) {
            0 => job(),
            secs => drop(tokio::spawn(async move {
                let late = Duration::from_secs(secs);
                let _ = tokio::time::timeout(late, std::future::pending::<()>()).await;
                job();
            })),
        }
        Ok(())
    }
}

/// A record that is written while another one is synced waits as long as the policy says, from when
/// it was written. It waited from when that sync had ended.
#[test]
fn a_record_written_during_a_sync_waits_no_longer_than_the_period() {
    let secs = Duration::from_secs;
    let slow = Slow::default();
    let mut settings = sim::tiny();
    settings.set("flush", "every 10s").expect("a setting");
    let injected = Injected {
        executor: Arc::new(slow.clone()),
        ..sim::on(SimDisk::new())
    };
    sim::run(async {
        let opened = Supervisor::open_with(settings, injected).await;
        let log = opened.expect("it opens");
        let stream = log.log().stream("s").await.expect("a stream");
        let first = stream.try_append("first").expect("room");
        within(first.at(Level::Written)).await.expect("written");
        slow.0.store(4, Ordering::SeqCst);
        // The sync begins, and takes four seconds; what comes now is written at once.
        let _ = tokio::time::timeout(secs(11), std::future::pending::<()>()).await;
        slow.0.store(0, Ordering::SeqCst);
        assert_eq!(stream.watermarks().durable, Offset(0));
        let second = stream.append_at("second", Level::Written);
        within(second).await.expect("written");
        let begun = Instant::now();
        let mut marks = stream.watch();
        let durable = marks.wait_for(|marks| marks.durable == Offset(2));
        within(durable).await.expect("the log is open");
        let took = begun.elapsed();
        assert!(took <= secs(10) + Duration::from_millis(2), "{took:?}");
        assert!(took > secs(4), "the first sync did not cover it: {took:?}");
        close(log).await;
    });
}

/// What is too large, at every door.
async fn too_large(stream: &Stream, limit: usize) {
    let large = NewRecord::new(vec![b'l'; limit + 1]);
    match stream.try_append(large.clone()) {
        Err(TryAppend::Failed {
            error: Error::RecordTooLarge { .. },
            payload,
        }) => assert_eq!(payload, large),
        other => panic!("{other:?}"),
    }
    let half = NewRecord::new(vec![b'h'; limit / 2]);
    let batch = vec![half.clone(), half];
    match stream.try_append_batch(batch.clone()) {
        Err(TryAppendBatch::Failed {
            error: Error::RecordTooLarge { .. },
            records,
        }) => assert_eq!(records, batch),
        other => panic!("{other:?}"),
    }
    let next = stream.watermarks().next;
    for (outcome, back) in [
        (
            within(stream.append(large.clone())).await,
            vec![large.clone()],
        ),
        (
            within(stream.append_if(next, large.clone())).await,
            vec![large.clone()],
        ),
        (within(stream.append_batch(batch.clone())).await, batch),
    ] {
        let failed = outcome.expect_err("it is too large");
        assert!(
            matches!(failed.error, Error::RecordTooLarge { .. }),
            "{failed}"
        );
        assert_eq!(failed.records, back);
    }
    let mut appender = stream.appender();
    for payload in [large.payload.clone(), vec![b'l'; 2 * limit].into()] {
        let refused = appender.try_push(&payload).expect_err("it is too large");
        assert!(matches!(refused, Error::RecordTooLarge { .. }), "{refused}");
        let refused = within(appender.push(&payload)).await;
        let refused = refused.expect_err("it is too large");
        assert!(matches!(refused, Error::RecordTooLarge { .. }), "{refused}");
    }
    assert_eq!(appender.pending(), 0);
    assert_eq!(stream.watermarks().next, next, "nothing happened");
}

/// A record over the limit was taken for one that does not fit the segment any more: the log rolled
/// over, found that it did not fit the next one either, and stood still for good.
#[test]
fn a_record_over_the_limit_is_refused_at_every_door_and_the_log_goes_on() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new());
        let limit = rig.settings.max_record.bytes() as usize;
        let (log, stream) = one_stream(&rig).await;
        // Wherever in a segment it comes, the first record of all and the last bytes among them.
        let mut expected = Vec::new();
        for n in 0..14 {
            too_large(&stream, limit).await;
            let len = if n % 3 == 0 { limit } else { 5_000 };
            let payload = "x".repeat(len);
            let ack = within(stream.append(payload.clone()))
                .await
                .expect("an ack");
            assert_eq!(ack.offset, Offset(n));
            expected.push(payload);
        }
        assert_eq!(read(&stream).await, expected);
        let sealed = log.counters().sealed;
        assert!(
            (1..=2).contains(&sealed),
            "only full segments are: {sealed}"
        );
        close(log).await;
    });
}

/// A worker sent into its own bounded queue and waited for room in it. Here all queues hold one
/// message, one thread does all the blocking work, and everything is asked for at once.
#[test]
fn a_log_whose_queues_hold_one_message_each_does_everything_all_the_same() {
    on_each_runtime(|_| async {
        let mut rig = Rig::sim(&SimDisk::new()).with("lane_records", "1");
        for queue in ["flusher", "coordinator", "manifest", "supervisor"] {
            rig = rig.with(&format!("{queue}_queue"), "1");
        }
        let rig = rig.with("io_threads", "1").with("flush", "every 1ms");
        let log = rig.open().await;
        let work = (0..6).map(|who| {
            let handle = log.log();
            tokio::spawn(async move {
                let name = format!("s{who}");
                let stream = within(handle.stream(&name)).await.expect("a stream");
                for round in 0..6 {
                    let appends = (0..12).map(|_| stream.append(vec![7; 3_000]));
                    for outcome in within(join_all(appends)).await {
                        outcome.expect("an ack");
                    }
                    let next = stream.watermarks().next;
                    let (flushed, sealed, trimmed) = within(async {
                        tokio::join!(stream.flush(), stream.seal(), stream.trim(Offset(round)))
                    })
                    .await;
                    flushed.expect("durable");
                    sealed.expect("sealed");
                    trimmed.expect("trimmed");
                    let last = Some(Offset(next.get() - 2));
                    within(stream.truncate_after(last)).await.expect("cut");
                }
                within(handle.streams()).await.expect("a list");
                read(&stream).await.len()
            })
        });
        for count in join_all(work).await {
            assert_eq!(count.expect("no panic"), 6 * 11 - 5);
        }
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        close(log).await;
    });
}

/// A shutdown threw away what had been accepted.
#[test]
fn a_shutdown_makes_all_that_was_accepted_durable_and_tells_each_ticket() {
    for policy in ["manual", "every 1h", "always"] {
        on_each_runtime(|_| async move {
            let disk = SimDisk::new();
            let rig = Rig::sim(&disk).with("flush", policy);
            let (log, stream) = one_stream(&rig).await;
            let expected: Vec<_> = (0..200).map(|n| format!("{n:04}")).collect();
            let mut tickets = Vec::new();
            for payload in &expected {
                tickets.push(stream.try_append(payload.clone()).expect("room"));
            }
            close(log).await;
            for (at, ticket) in tickets.into_iter().enumerate() {
                let ack = within(ticket).await.expect("an ack");
                assert_eq!(ack.offset, Offset(at as u64));
            }
            assert_eq!(after_a_cut(&rig, &disk).await, expected);
        });
    }
}
