//! Refusals that were none.

use std::{collections::BTreeMap, thread};

use tierlog::{
    Error, Kind, NewRecord, Offset, Stream, TryAppend, TryAppendBatch,
    testing::{Action, storage::disk::sim::SimDisk},
};

use super::{after_a_cut, polled, push, read};
use crate::{
    faults::rig::{Rig, on_each_runtime, one_stream, until},
    support::{close, within},
};

/// Appends until all is accepted, in one of three ways; gives how often it was refused.
fn insist(stream: &Stream, who: usize, count: usize) -> u64 {
    let mut refused = 0;
    let payload = |n: usize| format!("{who}/{n}/{}", "x".repeat(700));
    let wait = |kind| futures::executor::block_on(stream.ready(kind));
    match who % 3 {
        0 => {
            for n in 0..count {
                drop(push(stream, payload(n), &mut refused));
            }
        }
        1 => {
            for n in (0..count).step_by(2) {
                let mut batch = vec![payload(n).into(), payload(n + 1).into()];
                loop {
                    match stream.try_append_batch(batch) {
                        Ok(ticket) => break drop(ticket),
                        Err(TryAppendBatch::WouldBlock { kind, records }) => {
                            refused += 1;
                            batch = records;
                            wait(kind);
                        }
                        Err(failed) => panic!("{failed}"),
                    }
                }
            }
        }
        _ => {
            let mut appender = stream.appender();
            for n in 0..count {
                appender
                    .try_push(payload(n).as_bytes())
                    .expect("it is only buffered");
                loop {
                    match appender.try_send() {
                        Ok(ticket) => break drop(ticket),
                        Err(Error::WouldBlock { kind }) => {
                            refused += 1;
                            wait(kind);
                        }
                        Err(failed) => panic!("{failed}"),
                    }
                }
            }
        }
    }
    refused
}

/// "Backpressure" was returned for a record that had been appended, or was reported as "closed" when
/// the chunk was staged already: whoever did as he was told and tried again had it twice.
#[test]
fn a_record_that_was_refused_and_tried_again_is_there_once() {
    const EACH: usize = 300;
    let kinds = [
        ("lane_records", "2", "always"),
        ("unsynced_bytes", "32KiB", "always"),
        ("unsynced_bytes", "32KiB", "every 1ms"),
    ];
    for (short, size, policy) in kinds {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk).with(short, size).with("flush", policy);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (log, stream) = runtime.block_on(one_stream(&rig));
        let refused: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|who| {
                    let stream = stream.clone();
                    scope.spawn(move || insist(&stream, who, EACH))
                })
                .collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.map(|refused| refused.expect("no panic")).sum()
        });
        assert!(refused > 100, "{short}, {policy}: {refused} refusals");
        runtime.block_on(async {
            within(stream.flush()).await.expect("durable");
            let all = read(&stream).await;
            let mut times = BTreeMap::new();
            for payload in &all {
                *times.entry(payload.as_str()).or_insert(0) += 1;
            }
            let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{short}: {twice:?}");
            assert_eq!(all.len(), 6 * EACH);
            assert_eq!(after_a_cut(&rig, &disk).await, all);
            close(log).await;
            let (log, stream) = one_stream(&rig).await;
            assert_eq!(read(&stream).await, all);
            close(log).await;
        });
    }
}

/// The permit for a record's bytes lived in the future of its caller. A caller that went away gave
/// the bytes back while the record was still queued, and the budget bounded nothing.
#[test]
fn the_bytes_of_a_queued_record_stay_taken_when_its_caller_is_gone() {
    const LEN: usize = 10_000;
    const WINDOW: usize = 64 << 10;
    for polls in [1, 3] {
        on_each_runtime(|_| async move {
            let rig = Rig::sim(&SimDisk::new()).with("unsynced_bytes", "64KiB");
            let (log, stream) = one_stream(&rig).await;
            let seen = rig.faults.passed("writer.drain");
            rig.faults.arm("writer.drain", Action::Park, 1);
            drop(stream.try_append("0").expect("room"));
            within(rig.faults.reached("writer.drain", seen)).await;
            let payload = |n: usize| format!("{n:04}{}", "x".repeat(LEN));
            for n in 0..20 {
                polled(polls, stream.append(payload(n))).await;
                drop(stream.try_append(payload(n)));
            }
            let accepted = stream.watermarks().next.get() as usize - 1;
            assert!(accepted >= 4, "{accepted} records");
            assert!(
                accepted * LEN <= WINDOW,
                "{accepted} records in {WINDOW} bytes"
            );
            let held = log.health().await.held_bytes;
            assert!(
                held >= accepted * LEN,
                "{held} bytes for {accepted} records"
            );
            let record = NewRecord::from(payload(99));
            match stream.try_append(record.clone()) {
                Err(TryAppend::WouldBlock { kind, payload }) => {
                    assert_eq!((kind, payload), (Kind::Admission, record));
                }
                other => panic!("{other:?}"),
            }
            rig.faults.release("writer.drain");
            let ack = within(stream.append("last")).await.expect("an ack");
            assert_eq!(ack.offset, Offset(accepted as u64 + 1));
            assert_eq!(read(&stream).await.len(), accepted + 2);
            until(&log, |health| health.held_bytes == 0).await;
            close(log).await;
        });
    }
}
