//! A compressor that takes its time to be replaced.

use tierlog::testing::{
    Action,
    storage::disk::{
        fault::{CallKind, Calls},
        sim::SimDisk,
    },
};

use super::{append, files, holds, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream, settle, until},
    support::{close, within},
};

/// It is replaced when the last job of its predecessor has ended, and a sync may take long. Segments that had been
/// tried eight times by then were left alone for ten minutes, and what waited for their room or their archive with them.
#[test]
fn segments_that_nobody_compressed_for_a_while_are_compressed_when_somebody_does() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk)
            .with("hot_budget", "10MiB")
            .with("compression_workers", "2");
        let (log, stream) = one_stream(&rig).await;
        let warm = |path: &std::path::Path| path.extension().is_some_and(|e| e == "tlz");
        let held = rig.plan.hold(Calls::of(CallKind::WriteAt).at(warm));
        rig.faults.arm("compressor.take", Action::Kill, 2);
        append(&stream, 0..20).await;
        within(stream.seal()).await.expect("sealed");
        eventually("the first job is held", || held.parked() == 1).await;
        append(&stream, 20..40).await;
        within(stream.seal()).await.expect("sealed");
        eventually("each of the two is tried again and again", || {
            rig.faults.passed("coordinator.before_move") >= 16
        })
        .await;
        settle().await;
        held.release();
        until(&log, |health| !health.restarts.is_empty()).await;
        eventually("both are compressed", || {
            files(&disk, &stream, "tlz").len() == 2
        })
        .await;
        holds(&stream, 0..40).await;
        close(log).await;
    });
}
