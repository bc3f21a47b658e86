//! Uploads in parts that somebody did not live to finish.

use tierlog::{
    Error, Level, LogState, Stream, Supervisor,
    testing::{
        Action, PARTS_POINTS,
        storage::disk::sim::{Cut, SimDisk},
    },
};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, until},
    support::{close, within},
    tiers::{append, holds, long},
};

/// Shorter than any compressed segment here.
const PART: u64 = 64;

fn in_parts() -> Bucket {
    let bucket = Bucket::default();
    bucket.uploads.in_parts_of(PART);
    bucket
}

/// A log whose first upload has stopped behind its first part.
async fn stopped(rig: &Rig, bucket: &Bucket) -> (Supervisor, Stream) {
    bucket.uploads.hold();
    let (log, stream) = one_stream(rig).await;
    append(&stream, 0..100).await;
    eventually("an upload has begun", || bucket.uploads.with_parts() > 0).await;
    (log, stream)
}

async fn archived(stream: &Stream, id: u64) {
    let ack = within(stream.append_at(long(id), Level::Archived)).await;
    ack.expect("archived");
}

async fn taken_back(bucket: &Bucket) {
    let none = || bucket.uploads.open().is_empty();
    eventually("nothing is left of any upload", none).await;
}

#[test]
fn an_upload_that_a_process_did_not_live_to_finish_is_taken_back_by_the_next_one() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), in_parts());
        let rig = rig(&disk, &bucket);
        let (log, stream) = stopped(&rig, &bucket).await;
        drop((log, stream));
        let log = rig.reopen().await;
        bucket.uploads.release();
        let stream = within(log.log().stream("s")).await.expect("a stream");
        archived(&stream, 100).await;
        taken_back(&bucket).await;
        assert!(bucket.uploads.aborted() > 0);
        let made = bucket.keys("streams/").await;
        assert!(made.len() >= 2, "they are made anew");
        holds(&stream, 0..101).await;
        close(log).await;
    });
}

/// The machine is gone, and its disk is what a power cut has left of it.
#[test]
fn an_upload_has_no_part_that_a_power_cut_makes_unknown() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), in_parts());
        let (log, stream) = one_stream(&super::crowded(&disk, &bucket)).await;
        for step in 0..8 {
            let acked = (step + 1) * 60;
            bucket.uploads.hold();
            append(&stream, step * 60..acked).await;
            eventually("an upload has begun", || bucket.uploads.with_parts() > 0).await;
            let frozen = bucket.freeze().await;
            let (cut, copy) = (disk.preview_cut(Cut::AllLost), bucket.copy().await);
            drop(frozen);
            bucket.uploads.release();
            assert!(copy.uploads.with_parts() > 0);
            let (log, stream) = one_stream(&super::crowded(&cut, &copy)).await;
            archived(&stream, acked).await;
            let none = || copy.uploads.with_parts() == 0;
            eventually("no part is left", none).await;
            holds(&stream, 0..acked + 1).await;
            drop((log, stream));
        }
        close(log).await;
    });
}

#[test]
fn while_the_store_is_down_a_log_opens_with_an_unfinished_upload_and_takes_it_back_later() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), in_parts());
        let rig = rig(&disk, &bucket);
        let (log, stream) = stopped(&rig, &bucket).await;
        drop((log, stream));
        bucket.set_down(true);
        let log = rig.clone().with("cold_wait", "1ms").reopen().await;
        let stream = within(log.log().stream("s")).await.expect("a stream");
        append(&stream, 100..110).await;
        assert!(bucket.uploads.with_parts() > 0);
        bucket.uploads.release();
        bucket.set_down(false);
        archived(&stream, 110).await;
        taken_back(&bucket).await;
        holds(&stream, 0..111).await;
        close(log).await;
    });
}

/// Not even by the process that began it, nor by that of its next life.
#[test]
fn what_the_store_does_not_let_go_of_stands_in_nobodys_way_and_is_asked_for_again() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), in_parts());
        let rig = rig(&disk, &bucket);
        let (log, stream) = stopped(&rig, &bucket).await;
        drop((log, stream));
        bucket.uploads.keep_all(true);
        bucket.uploads.release();
        for id in [100, 101] {
            let log = rig.reopen().await;
            let stream = within(log.log().stream("s")).await.expect("a stream");
            archived(&stream, id).await;
            assert!(bucket.uploads.with_parts() > 0, "it is denied");
            close(log).await;
        }
        bucket.uploads.keep_all(false);
        let (log, stream) = one_stream(&rig).await;
        taken_back(&bucket).await;
        holds(&stream, 0..102).await;
        close(log).await;
    });
}

#[test]
fn an_uploader_that_dies_in_the_midst_of_an_upload_leaves_no_part_behind() {
    on_each_runtime(|_| async {
        for point in PARTS_POINTS {
            for nth in [1, 2, 3] {
                let (disk, bucket) = (SimDisk::new(), in_parts());
                let rig = rig(&disk, &bucket);
                let (log, stream) = one_stream(&rig).await;
                rig.faults.arm(point, Action::Kill, nth);
                append(&stream, 0..200).await;
                archived(&stream, 200).await;
                let health = until(&log, |health| !health.restarts.is_empty()).await;
                assert_eq!(health.state, LogState::Running, "{point} {nth}");
                let none = || bucket.uploads.open().is_empty();
                eventually("no part is left", none).await;
                holds(&stream, 0..201).await;
                close(log).await;
            }
        }
    });
}

/// Its next life would not be let in, and so could not take back what this one leaves.
#[test]
fn an_owner_that_is_overtaken_sends_no_part_of_an_upload_that_it_has_begun() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), in_parts());
        let rig = rig(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        archived(&stream, 0).await;
        rig.faults.arm("uploader.before_parts", Action::Park, 1);
        let seen = rig.faults.passed("uploader.before_parts");
        append(&stream, 1..60).await;
        within(rig.faults.reached("uploader.before_parts", seen)).await;
        let begun = bucket.uploads.open();
        assert_eq!(begun.len(), 1, "{begun:?}");

        let theirs = disk.preview_cut(Cut::AllKept);
        let (other, copied) = one_stream(&rig.on(&theirs)).await;
        let second = within(log.log().stream("t")).await.expect("a stream");
        let ack = within(second.append_at(long(0), Level::Archived)).await;
        let failed = ack.expect_err("it was overtaken");
        assert!(matches!(failed.error, Error::Fenced { .. }), "{failed}");
        rig.faults.release("uploader.before_parts");
        let gone = || {
            begun
                .keys()
                .all(|id| !bucket.uploads.open().contains_key(id))
        };
        eventually("it is taken back", gone).await;
        assert!(bucket.uploads.aborted() > 0);
        archived(&copied, 60).await;
        holds(&copied, 0..61).await;
        close(other).await;
        drop((log, stream, second));
    });
}
