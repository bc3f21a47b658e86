//! Segments that ended without a footer, and are finished so that they can be compressed.

use std::path::Path;

use tierlog::{
    Offset,
    testing::storage::disk::{
        fault::{CallKind, Calls},
        sim::SimDisk,
    },
};

use super::{append, files, holds, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
};

/// Whether it is this file of the first segment.
fn of_first(path: &Path, ending: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name == Some(&format!("{:020}.{ending}", 0))
}

/// Finishing puts a file in the place of the segment's. Where the segment was given up meanwhile, and its
/// file removed, that brought a file back which nothing names: a sweep quarantined it, and so did the next open.
#[test]
fn a_segment_that_is_cut_off_while_it_is_finished_leaves_no_file() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let finished = Calls::of(CallKind::Rename).at(|path| of_first(path, "tls.tmp"));
        let held = rig.plan.hold(finished);
        let (log, stream) = one_stream(&rig).await;
        let is_there = || {
            files(&disk, &stream, "tls")
                .iter()
                .any(|path| of_first(path, "tls"))
        };
        append(&stream, 0..20).await;
        let cut = stream.truncate_after(Some(Offset(9)));
        assert_eq!(within(cut).await.expect("cut"), Offset(10));
        eventually("it is about to take its place", || held.parked() > 0).await;
        let cut = stream.truncate_after(None);
        assert_eq!(within(cut).await.expect("cut"), Offset(0));
        eventually("its file goes", || !is_there()).await;
        held.release();
        // As long as somebody is at work on them, a sweep leaves its files alone.
        let swept = within(async {
            loop {
                let swept = log.log().sweep().await.expect("swept").directory;
                if swept.under_way == 0 {
                    break swept;
                }
            }
        });
        let swept = swept.await;
        assert_eq!(swept.quarantined, 0, "{swept:?}");
        assert!(!is_there());
        append(&stream, 0..5).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        let recovery = log.recovery();
        assert!(recovery.quarantined.is_empty(), "{recovery}");
        holds(&stream, 0..5).await;
        close(log).await;
    });
}
