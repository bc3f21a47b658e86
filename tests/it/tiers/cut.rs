//! Truncations that meet a segment on its way to another tier.

use std::path::Path;

use tierlog::{
    Error, Offset, Stream, Supervisor,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls},
            sim::SimDisk,
        },
    },
};

use super::{append, files, holds, long, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream},
    support::{close, within},
};

/// The last record that is kept.
const LAST: Offset = Offset(9);

type Cut = tokio::task::JoinHandle<Result<Offset, Error>>;

/// Where a move is about to begin.
const MOVE: &str = "coordinator.before_move";

/// A log whose hot budget is eight segments: a cut needs room for the segment that it cuts and for one that takes what it keeps
/// of a frame.
fn roomy(disk: &SimDisk) -> Rig {
    rig(disk).with("hot_budget", "640KiB")
}

/// A stream with one segment that has ended, and is about to be compressed.
async fn one_segment(rig: &Rig) -> (Supervisor, Stream) {
    let (log, stream) = one_stream(rig).await;
    append(&stream, 0..8).await;
    // In one frame, so that some of it is kept and the rest is cut.
    let batch: Vec<_> = (8..12).map(|id| long(id).into()).collect();
    within(stream.append_batch(batch)).await.expect("an ack");
    append(&stream, 12..20).await;
    let seen = rig.faults.passed(MOVE);
    rig.faults.arm(MOVE, Action::Park, 1);
    within(stream.seal()).await.expect("sealed");
    within(rig.faults.reached(MOVE, seen)).await;
    (log, stream)
}

fn cut(stream: &Stream) -> Cut {
    let stream = stream.clone();
    tokio::spawn(async move { stream.truncate_after(Some(LAST)).await })
}

/// It is compressed, another stream needs its room, and gets it.
async fn drive_out(rig: &Rig, disk: &SimDisk, log: &Supervisor, stream: &Stream, first: &Path) {
    rig.faults.release(MOVE);
    let other = within(log.log().stream("other")).await.expect("a stream");
    append(&other, 0..300).await;
    eventually("the segment file goes", || {
        files(disk, stream, "tls").iter().all(|path| path != first)
    })
    .await;
}

/// Nothing was cut, and it says that another try is worth it; that one cuts.
async fn is_told_and_cut(rig: &Rig, log: Supervisor, stream: Stream, cut: Cut) {
    let outcome = within(cut).await.expect("no panic");
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    holds(&stream, 0..20).await;
    let next = within(async {
        loop {
            match stream.truncate_after(Some(LAST)).await {
                // What is kept of the frame needs a segment as well.
                Err(Error::Unavailable { .. } | Error::WouldBlock { .. }) => {
                    tokio::task::yield_now().await
                }
                outcome => return outcome,
            }
        }
    });
    assert_eq!(next.await.expect("it is cut"), Offset(10));
    append(&stream, 10..15).await;
    holds(&stream, 0..15).await;
    close(log).await;
    // What was kept of the frame that was not cut after all had been written to a segment that nothing names.
    let (log, stream) = one_stream(rig).await;
    let recovery = log.recovery();
    assert!(recovery.quarantined.is_empty(), "{recovery}");
    holds(&stream, 0..15).await;
    close(log).await;
}

/// It had looked where the segment was, and told its caller that a file can't be opened.
#[test]
fn a_segment_that_is_compressed_and_dropped_before_it_is_looked_into_is_on_its_way() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = roomy(&disk).with("io_threads", "4");
        let (log, stream) = one_segment(&rig).await;
        let first = files(&disk, &stream, "tls")[0].clone();
        let held = rig.plan.hold(Calls::of(CallKind::Open).at({
            let first = first.clone();
            move |path| path == first
        }));
        let cut = cut(&stream);
        eventually("it is about to look", || held.parked() > 0).await;
        drive_out(&rig, &disk, &log, &stream, &first).await;
        held.release();
        is_told_and_cut(&rig, log, stream, cut).await;
    });
}

/// The manifest refuses to cut what it knows to be elsewhere, and the caller was told of a wrong input.
#[test]
fn a_segment_that_is_compressed_and_dropped_before_the_cut_is_committed_is_on_its_way() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = roomy(&disk);
        let (log, stream) = one_segment(&rig).await;
        let first = files(&disk, &stream, "tls")[0].clone();
        let point = "writer.before_truncate_commit";
        let seen = rig.faults.passed(point);
        rig.faults.arm(point, Action::Park, 1);
        let cut = cut(&stream);
        within(rig.faults.reached(point, seen)).await;
        drive_out(&rig, &disk, &log, &stream, &first).await;
        rig.faults.release(point);
        is_told_and_cut(&rig, log, stream, cut).await;
    });
}
