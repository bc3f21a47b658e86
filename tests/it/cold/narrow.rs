//! A budget for compressed files that holds less than one.

use tierlog::{Level, Offset, testing::storage::disk::sim::SimDisk};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, long},
};

#[test]
fn a_log_whose_warm_budget_is_shorter_than_any_segment_archives_and_goes_on() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("warm_budget", "1KiB");
        let (log, one) = one_stream(&rig).await;
        let other = within(log.log().stream("other")).await.expect("a stream");
        for from in (0..600).step_by(60) {
            append(&one, from..from + 60).await;
            append(&other, from..from + 60).await;
        }
        for stream in [&one, &other] {
            let ack = within(stream.append_at(long(600), Level::Archived)).await;
            assert_eq!(ack.expect("archived").offset, Offset(600));
            holds(stream, 0..601).await;
        }
        eventually("no compressed file stays", || {
            files(&disk, &one, "tlz").len() + files(&disk, &other, "tlz").len() <= 1
        })
        .await;
        close(log).await;
    });
}

#[test]
fn segments_of_a_run_with_longer_ones_are_archived_within_a_warm_budget_of_today() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let local = crate::tiers::rig(&disk)
            .with("hot_budget", "unlimited")
            .with("segment_size", "1MiB");
        let (log, stream) = one_stream(&local).await;
        append(&stream, 0..1_500).await;
        close(log).await;

        let rig = rig(&disk, &bucket).with("warm_budget", "96KiB");
        let (log, stream) = one_stream(&rig).await;
        let ack = within(stream.append_at(long(1_500), Level::Archived)).await;
        assert_eq!(ack.expect("archived").offset, Offset(1_500));
        holds(&stream, 0..1_501).await;
        close(log).await;
    });
}
