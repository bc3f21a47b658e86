//! Actors that die and power that goes in the midst of moves: what was acked is there, once.

use tierlog::{
    Error,
    testing::{
        Action, MOVE_POINTS,
        storage::disk::sim::{Cut, SimDisk},
    },
};

use super::{append, files, holds, rig, settled};
use crate::{
    faults::rig::{on_each_runtime, one_stream},
    support::{close, within},
};

#[test]
fn an_actor_that_dies_at_any_step_of_a_move_loses_nothing() {
    on_each_runtime(|_| async {
        for &point in MOVE_POINTS {
            for nth in [1, 2, 3, 5, 8] {
                let disk = SimDisk::new();
                let rig = rig(&disk);
                let (log, stream) = one_stream(&rig).await;
                rig.faults.arm(point, Action::Kill, nth);
                let mut id = 0;
                while id < 300 {
                    match within(stream.append(super::long(id))).await {
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
                settled(&disk, &stream, 4).await;
                holds(&stream, 0..300).await;
                // Where the machine is slow, fewer tries are needed.
                while rig.faults.passed(point) < u64::from(nth) {
                    assert!(id < 900, "{point} {nth}");
                    if within(stream.append(super::long(id))).await.is_ok() {
                        id += 1;
                    }
                }
                close(log).await;
                let (log, stream) = one_stream(&rig).await;
                assert_eq!(log.recovery().damage().count(), 0, "{point} {nth}");
                assert_eq!(log.recovery().quarantined, Vec::<std::path::PathBuf>::new());
                holds(&stream, 0..id).await;
                close(log).await;
            }
        }
    });
}

#[test]
fn a_power_cut_at_any_time_of_a_log_with_two_tiers_loses_nothing_that_was_acked() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        for step in 0..30 {
            let acked = (step + 1) * 12;
            append(&stream, step * 12..acked).await;
            for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(step)] {
                let cut = disk.preview_cut(cut);
                let (log, stream) = one_stream(&rig.on(&cut)).await;
                assert_eq!(log.recovery().damage().count(), 0, "{:?}", log.recovery());
                assert_eq!(log.recovery().quarantined, Vec::<std::path::PathBuf>::new());
                holds(&stream, 0..acked).await;
                drop(log);
            }
        }
        assert!(files(&disk, &stream, "tlz").len() > 3, "there were moves");
        close(log).await;
    });
}
