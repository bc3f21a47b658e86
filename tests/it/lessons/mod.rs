//! Defects that earlier systems for the same job had: none of them may be possible here.
//!
//! `tests/README.md` lists all of them. Most are found by tests that stand with what they test;
//! here are those that had none.

mod acks;
mod concurrency;
mod hangs;
mod refusals;
mod restarts;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tierlog::{
    NewRecord, Stream, Ticket, TryAppend,
    testing::storage::disk::sim::{Cut, SimDisk},
};

use crate::{
    faults::rig::{Rig, one_stream},
    support::{texts, within},
    track,
};

/// What the next process would find if the power went now and took all that was not synced.
async fn after_a_cut(rig: &Rig, disk: &SimDisk) -> Vec<String> {
    let cut = disk.preview_cut(Cut::AllLost);
    let (log, stream) = one_stream(&rig.on(&cut)).await;
    assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
    let found = within(track::read(&stream)).await.expect("it is whole");
    drop(log);
    found.payloads
}

/// All that is called durable is what was appended, also after a power cut now.
async fn durable_is_true(rig: &Rig, disk: &SimDisk, stream: &Stream, appended: &[String]) {
    let durable = stream.watermarks().durable.get() as usize;
    let found = after_a_cut(rig, disk).await;
    assert!(durable <= found.len(), "{durable} durable, {}", found.len());
    assert_eq!(found, appended[..found.len()]);
}

/// Polls a future so many times, letting others run in between, and drops it.
async fn polled<F: Future>(times: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..times {
        let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Appends, waiting for room on this thread; counts refusals.
fn push(stream: &Stream, record: impl Into<NewRecord>, refused: &mut u64) -> Ticket {
    let mut record = record.into();
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return ticket,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                *refused += 1;
                record = payload;
                futures::executor::block_on(stream.ready(kind));
            }
            Err(failed) => panic!("{failed}"),
        }
    }
}

/// Everything that can be read, as text.
async fn read(stream: &Stream) -> Vec<String> {
    texts(&crate::support::read_all(stream).await)
}
