//! Objects that nothing names: what is certain to be a leftover goes, and nothing else.

use std::collections::BTreeSet;

use tierlog::{
    ClaimHealth, Error, Fate, Level, Log, Offset, Stream, Supervisor, SweepReport, SweptTier2,
    testing::{
        Action,
        cold::store::Listed,
        storage::{
            Epoch,
            catalog::{SegmentKey, catalog_key},
            disk::sim::SimDisk,
        },
    },
};

use super::{bucket::Bucket, crowded, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, until},
    support::{close, within},
    tiers::{append, holds, long},
};

async fn archive(stream: &Stream, ids: std::ops::Range<u64>) {
    append(stream, ids.start..ids.end - 1).await;
    let ack = within(stream.append_at(long(ids.end - 1), Level::Archived)).await;
    ack.expect("archived");
}

async fn restored(bucket: &Bucket) -> Rig {
    let rig = rig(&SimDisk::new(), bucket);
    let restored = Supervisor::restore_with(rig.settings.clone(), rig.injected());
    within(restored).await.expect("restored");
    rig
}

/// What a sweep finds in the bucket; in the directory there is nothing strange.
async fn sweep(log: &Supervisor) -> SweptTier2 {
    in_bucket(within(log.log().sweep()).await.expect("swept"))
}

fn in_bucket(report: SweepReport) -> SweptTier2 {
    let here = &report.directory;
    assert_eq!((here.quarantined, here.foreign), (0, 0), "{here:?}");
    report.tier_2.expect("there is a bucket")
}

async fn segments(bucket: &Bucket) -> BTreeSet<String> {
    bucket.keys("streams/").await.into_iter().collect()
}

fn told(report: &SweptTier2, fate: Fate) -> BTreeSet<String> {
    let told = report.told.iter().filter(|object| object.fate == fate);
    told.map(|object| object.key.clone()).collect()
}

/// What an upload of an owner that died left behind: some object, under an epoch of long ago.
async fn leave(bucket: &Bucket, key: &str) -> String {
    let parsed = SegmentKey::parse(key).expect("a segment");
    let old = SegmentKey {
        epoch: Epoch::ZERO,
        ..parsed
    };
    bucket.put(&old.to_string(), bucket.bytes(key).await).await;
    old.to_string()
}

/// The same of the first object there is.
pub async fn leave_one(bucket: &Bucket) -> String {
    let first = segments(bucket).await.first().cloned();
    leave(bucket, &first.expect("there are some")).await
}

#[test]
fn a_sweep_beside_a_log_at_work_removes_nothing_and_finds_nothing_strange() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archive(&stream, 0..100).await;
        let sweeping = async {
            let mut swept = 0;
            while stream.watermarks().next < Offset(500) {
                let report = sweep(&log).await;
                assert_eq!((report.removed, report.quarantined), (0, 0), "{report:?}");
                assert_eq!(report.foreign, 0, "{report:?}");
                swept += 1;
            }
            swept
        };
        let (swept, ()) = futures::join!(sweeping, archive(&stream, 100..500));
        assert!(swept > 0);
        let report = sweep(&log).await;
        assert_eq!(report.named, segments(&bucket).await.len() as u64);
        holds(&stream, 0..500).await;
        close(log).await;
    });
}

#[test]
fn without_tier_2_the_directory_alone_is_swept() {
    on_each_runtime(|_| async {
        let (log, stream) = one_stream(&crate::tiers::rig(&SimDisk::new())).await;
        append(&stream, 0..3).await;
        let report = within(log.log().sweep()).await.expect("swept");
        assert_eq!(report.tier_2, None);
        assert_eq!(report.directory.removed, 0, "{report:?}");
        assert!(report.directory.named >= 2, "{report:?}");
        close(log).await;
    });
}

/// The machine is lost while objects are uploaded and no catalog names them. What they hold is nowhere
/// else, until the log that was restored has records of its own at these offsets.
#[test]
fn what_a_lost_machine_uploaded_is_kept_until_the_log_has_these_offsets_and_then_removed() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let lost = rig(&SimDisk::new(), &bucket);
        let (log, stream) = one_stream(&lost).await;
        archive(&stream, 0..60).await;
        let named = segments(&bucket).await;
        lost.faults
            .arm("coordinator.before_publish", Action::Park, 1);
        append(&stream, 60..200).await;
        within(async {
            while segments(&bucket).await.len() < named.len() + 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let frozen = bucket.freeze().await;
        let bucket = bucket.copy().await;
        drop(frozen);
        drop(log);
        let left: BTreeSet<_> = segments(&bucket)
            .await
            .difference(&named)
            .cloned()
            .collect();
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        let report = sweep(&log).await;
        assert_eq!(told(&report, Fate::Quarantined), left, "{report:?}");
        assert_eq!(report.removed, 0);
        let all = named.union(&left).cloned().collect();
        assert_eq!(segments(&bucket).await, all, "nothing is gone");
        archive(&stream, 60..260).await;
        let dry = within(log.log().sweep_dry()).await.expect("looked");
        let dry = in_bucket(dry);
        assert_eq!(told(&dry, Fate::Removed), left, "{dry:?}");
        assert!(segments(&bucket).await.is_superset(&all), "nothing is gone");
        let report = sweep(&log).await;
        assert_eq!(told(&report, Fate::Removed), left, "{report:?}");
        assert!(segments(&bucket).await.is_disjoint(&left));
        holds(&stream, 0..260).await;
        close(log).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..260).await;
        close(log).await;
    });
}

#[test]
fn wherever_a_machine_is_lost_a_sweep_of_the_restored_log_takes_nothing_that_it_has() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archive(&stream, 0..5).await;
        for step in 0..12 {
            append(&stream, 5 + step * 30..35 + step * 30).await;
            if step % 3 == 0 {
                let start = stream.watermarks().archived;
                within(stream.trim(start)).await.expect("trimmed");
            }
            let frozen = bucket.freeze().await;
            let copy = bucket.copy().await;
            drop(frozen);
            let (log, stream) = one_stream(&restored(&copy).await).await;
            let marks = stream.watermarks();
            let ids = marks.start.get()..marks.next.get();
            sweep(&log).await;
            archive(&stream, ids.end..ids.end + 200).await;
            sweep(&log).await;
            let kept: Vec<_> = (ids.start..ids.end + 200).map(long).collect();
            let read = crate::support::read_all(&stream).await;
            assert!(crate::support::texts(&read) == kept, "step {step}");
            close(log).await;
        }
        close(log).await;
    });
}

/// The catalog names them no more, the store refuses to delete them, and then the machine is lost.
#[test]
fn objects_whose_deletion_failed_before_the_machine_was_lost_are_removed() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&stream, 0..300).await;
        let before = segments(&bucket).await;
        bucket.keep_all(true);
        let catalog = bucket.keys("catalog/").await.len();
        within(stream.trim(Offset(200))).await.expect("trimmed");
        within(async {
            while bucket.keys("catalog/").await.len() == catalog {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let frozen = bucket.freeze().await;
        let bucket = bucket.copy().await;
        drop(frozen);
        drop(log);
        assert_eq!(segments(&bucket).await, before);
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        let report = sweep(&log).await;
        assert!(report.removed > 2, "{report:?}");
        assert_eq!(report.quarantined, 0, "{report:?}");
        let read = crate::support::read_all(&stream).await;
        assert_eq!(read.len(), 100);
        let left = segments(&bucket).await;
        assert_eq!(left.len() as u64, before.len() as u64 - report.removed);
        close(log).await;
    });
}

#[test]
fn an_actor_that_dies_in_the_midst_of_a_sweep_ends_it_with_an_error_and_the_next_one_finishes() {
    on_each_runtime(|_| async {
        for (point, nth) in [
            ("coordinator.before_discard", 2),
            ("uploader.take", 1),
            ("uploader.take", 3),
        ] {
            let bucket = Bucket::default();
            let rig = rig(&SimDisk::new(), &bucket);
            let (log, stream) = one_stream(&rig).await;
            archive(&stream, 0..150).await;
            let named = segments(&bucket).await;
            for key in &named {
                leave(&bucket, key).await;
            }
            rig.faults.arm(point, Action::Kill, nth);
            let failed = within(log.log().sweep()).await;
            let failed = failed.expect_err("it was killed");
            assert!(matches!(failed, Error::Unavailable { .. }), "{failed}");
            let report = within(async {
                loop {
                    match log.log().sweep().await {
                        Ok(report) => return in_bucket(report),
                        Err(error) => assert!(
                            matches!(error, Error::Unavailable { .. }),
                            "{point}: {error}"
                        ),
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert!(report.removed > 0, "{report:?}");
            assert_eq!(segments(&bucket).await, named);
            holds(&stream, 0..150).await;
            close(log).await;
        }
    });
}

#[test]
fn a_listing_that_lies_removes_nothing_that_is_named() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archive(&stream, 0..400).await;
        let named = segments(&bucket).await;
        let first = named.first().expect("there are some").clone();
        for seed in 0..20 {
            let left = leave(&bucket, &first).await;
            let mut rng = fastrand::Rng::with_seed(seed);
            let gone = first.replace("streams/", "streams/gone-");
            bucket.lie(move |mut listed: Vec<Listed>| {
                listed.retain(|_| rng.bool());
                let twice = listed.clone();
                listed.extend(twice);
                listed.push(Listed {
                    key: gone.clone(),
                    len: 7,
                });
                listed.push(Listed {
                    key: catalog_key(1_000),
                    len: 7,
                });
                listed
                    .iter_mut()
                    .for_each(|object| object.len = rng.u64(..));
                rng.shuffle(&mut listed);
                listed
            });
            let report = sweep(&log).await;
            assert_eq!(report.quarantined, 0, "{report:?}");
            let now = segments(&bucket).await;
            assert!(now.is_superset(&named), "{seed}");
            assert!(told(&report, Fate::Removed).iter().all(|key| *key == left));
        }
        bucket.lie(|listed| listed);
        sweep(&log).await;
        assert_eq!(segments(&bucket).await, named);
        holds(&stream, 0..400).await;
        close(log).await;
    });
}

#[test]
fn what_is_of_this_log_and_unexplained_is_listed_and_what_is_foreign_is_left_alone() {
    on_each_runtime(|_| async {
        let (bucket, other) = (Bucket::default(), Bucket::default());
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &other)).await;
        archive(&stream, 0..10).await;
        let key = other.keys("streams/").await.remove(0);
        let theirs = other.bytes(&key).await;
        close(log).await;
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&stream, 0..10).await;
        let ours = bucket.keys("streams/").await.remove(0);
        let own = bucket.bytes(&ours).await;
        bucket.put("copy-of-a-segment.tlz", own.clone()).await;
        bucket.put(&key, theirs).await;
        bucket.put("streams/notes.txt", "not an object").await;
        bucket.put("streams/empty", "").await;
        bucket.put("probe/0", "somebody may be asking now").await;
        let later = SegmentKey {
            epoch: Epoch(1_000),
            ..SegmentKey::parse(&ours).expect("a segment")
        };
        bucket.put(&later.to_string(), own).await;
        let before = bucket.keys("").await;
        let swept = within(log.log().sweep()).await.expect("swept");
        let last = log.health().await.sweep.last;
        assert_eq!(last.as_ref(), Some(&swept));
        let report = in_bucket(swept);
        assert_eq!(bucket.keys("").await, before);
        let unexplained = BTreeSet::from(["copy-of-a-segment.tlz".to_owned()]);
        assert_eq!(told(&report, Fate::Quarantined), unexplained);
        assert_eq!((report.removed, report.foreign, report.later), (0, 3, 2));
        assert_eq!(report.named, 1);
        close(log).await;
    });
}

/// Fenced, its own is gone; the other's and the leftover stay.
async fn is_overtaken(old: &Supervisor, swept: Result<SweepReport, Error>) {
    let fenced = swept.expect_err("it was overtaken");
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    let health = until(old, |health| !health.ok).await;
    let cold = health.cold.expect("it has Tier 2");
    assert!(matches!(cold.claim, ClaimHealth::Ended(_)), "{cold:?}");
}

#[test]
fn the_sweep_of_an_owner_that_was_overtaken_removes_nothing() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (old, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&stream, 0..100).await;
        leave_one(&bucket).await;
        let (new, stream) = one_stream(&restored(&bucket).await).await;
        archive(&stream, 100..200).await;
        let before = segments(&bucket).await;
        is_overtaken(&old, within(old.log().sweep()).await).await;
        assert_eq!(segments(&bucket).await, before);
        holds(&stream, 0..200).await;
        close(new).await;
    });
}

#[test]
fn an_owner_that_is_overtaken_between_its_look_and_the_deletion_removes_nothing() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let old_rig = rig(&SimDisk::new(), &bucket);
        let (old, stream) = one_stream(&old_rig).await;
        archive(&stream, 0..100).await;
        for key in segments(&bucket).await {
            leave(&bucket, &key).await;
        }
        let point = "coordinator.before_discard";
        old_rig.faults.arm(point, Action::Park, 1);
        let log: Log = old.log();
        let sweeping = tokio::spawn(async move { log.sweep().await });
        within(old_rig.faults.reached(point, 0)).await;
        let (new, stream) = one_stream(&restored(&bucket).await).await;
        archive(&stream, 100..200).await;
        let before = segments(&bucket).await;
        old_rig.faults.release(point);
        is_overtaken(&old, within(sweeping).await.expect("no panic")).await;
        assert_eq!(segments(&bucket).await, before);
        holds(&stream, 0..200).await;
        close(new).await;
    });
}

#[test]
fn a_catalog_that_can_not_be_read_or_a_store_that_is_down_ends_a_sweep_before_it_removes_anything()
{
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&stream, 0..100).await;
        let left = leave_one(&bucket).await;
        let before = segments(&bucket).await;
        let last = bucket.keys("catalog/").await.pop().expect("a catalog");
        let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("a byte") ^= 1;
        bucket.tamper(&last, flip).await;
        let failed = within(log.log().sweep()).await.expect_err("damage");
        assert!(matches!(failed, Error::Tier2 { .. }), "{failed}");
        bucket.tamper(&last, flip).await;
        bucket.set_down(true);
        let failed = within(log.log().sweep()).await.expect_err("no bucket");
        assert!(matches!(failed, Error::Unavailable { .. }), "{failed}");
        assert_eq!(segments(&bucket).await, before);
        assert!(log.health().await.sweep.failed.is_some());
        bucket.set_down(false);
        let report = within(async {
            loop {
                if let Ok(report) = log.log().sweep().await {
                    return in_bucket(report);
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(told(&report, Fate::Removed), BTreeSet::from([left]));
        holds(&stream, 0..100).await;
        close(log).await;
    });
}

#[test]
fn sweeps_come_by_themselves_as_often_as_the_setting_says() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let rig = rig(&SimDisk::new(), &bucket).with("sweep_every", "1s");
        let (log, stream) = one_stream(&rig).await;
        archive(&stream, 0..50).await;
        for _ in 0..2 {
            leave_one(&bucket).await;
            within(async {
                while segments(&bucket)
                    .await
                    .iter()
                    .any(|key| key.contains("-0-"))
                {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        eventually("its report is there", || {
            rig.faults.passed("coordinator.before_discard") >= 2
        })
        .await;
        holds(&stream, 0..50).await;
        close(log).await;
    });
}
