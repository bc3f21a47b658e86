//! Actors that die and power that goes in the midst of transfers: what was acked is there, once.

use tierlog::{
    Error, Level,
    testing::{
        Action, COLD_POINTS, MOVE_POINTS,
        storage::disk::sim::{Cut, SimDisk},
    },
};

use super::{bucket::Bucket, crowded};
use crate::{
    faults::rig::{on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, holds, long},
};

#[test]
fn an_actor_that_dies_at_any_step_of_a_transfer_loses_nothing() {
    on_each_runtime(|_| async {
        for point in MOVE_POINTS.iter().chain(COLD_POINTS) {
            for nth in [1, 2, 3, 5, 8] {
                let (disk, bucket) = (SimDisk::new(), Bucket::default());
                let rig = crowded(&disk, &bucket);
                let (log, stream) = one_stream(&rig).await;
                rig.faults.arm(point, Action::Kill, nth);
                let mut id = 0;
                while id < 300 {
                    match within(stream.append(long(id))).await {
                        Ok(ack) => {
                            assert_eq!(ack.offset.get(), id, "{point} {nth}");
                            id += 1;
                        }
                        // Surely not in the log: the same record is next.
                        Err(failed) => assert!(
                            matches!(failed.error, Error::NotAppended { .. } | Error::StorageFull),
                            "{point}: {failed}"
                        ),
                    }
                }
                archived(&stream, 300).await;
                let mut end = 301;
                holds(&stream, 0..end).await;
                // Where the machine is slow, one publication tells of many segments.
                while rig.faults.passed(point) < u64::from(nth) {
                    archived(&stream, end).await;
                    end += 1;
                    holds(&stream, 0..end).await;
                    assert!(end < 400, "{point} {nth}");
                }
                close(log).await;
                let (log, stream) = one_stream(&rig).await;
                assert_eq!(log.recovery().damage().count(), 0, "{point} {nth}");
                assert_eq!(log.recovery().quarantined, Vec::<std::path::PathBuf>::new());
                holds(&stream, 0..end).await;
                close(log).await;
            }
        }
    });
}

/// Appends a record and waits until it is archived, over restarts.
async fn archived(stream: &tierlog::Stream, id: u64) {
    loop {
        match within(stream.append_at(long(id), Level::Archived)).await {
            Ok(_) => return,
            Err(failed) => assert!(
                matches!(failed.error, Error::NotAppended { .. } | Error::StorageFull),
                "{failed}"
            ),
        }
    }
}

#[test]
fn a_power_cut_at_any_time_of_a_log_with_three_tiers_loses_nothing_that_was_acked() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        for step in 0..30 {
            let acked = (step + 1) * 12;
            append(&stream, step * 12..acked).await;
            for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(step)] {
                // What a bucket has is not lost with the machine, and nothing more comes to it.
                let frozen = bucket.freeze().await;
                let (cut, copy) = (disk.preview_cut(cut), bucket.copy().await);
                drop(frozen);
                let (log, stream) = one_stream(&crowded(&cut, &copy)).await;
                assert_eq!(log.recovery().damage().count(), 0, "{:?}", log.recovery());
                assert_eq!(log.recovery().quarantined, Vec::<std::path::PathBuf>::new());
                holds(&stream, 0..acked).await;
                drop(log);
            }
        }
        assert!(
            bucket.keys("streams/").await.len() > 3,
            "there were uploads"
        );
        close(log).await;
    });
}
