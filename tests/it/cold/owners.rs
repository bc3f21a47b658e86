//! Two owners of one bucket: the older one is told, and nothing of its own reaches the history.

use std::sync::Arc;

use tierlog::{
    ClaimHealth, Error, Level, LogState, Offset, Supervisor,
    testing::{
        Action,
        cold::store::MemoryStore,
        storage::disk::sim::{Cut, SimDisk},
    },
};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{Rig, on_each_runtime, one_stream, until},
    support::{close, within},
    tiers::{append, holds, long},
};

async fn archive(stream: &tierlog::Stream, id: u64) {
    let ack = within(stream.append_at(long(id), Level::Archived)).await;
    assert_eq!(ack.expect("archived").offset, Offset(id));
}

async fn restored(bucket: &Bucket) -> Rig {
    let rig = rig(&SimDisk::new(), bucket);
    let restored = Supervisor::restore_with(rig.settings.clone(), rig.injected());
    within(restored).await.expect("restored");
    rig
}

#[test]
fn a_log_is_restored_from_its_bucket_alone_and_goes_on() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        append(&stream, 0..99).await;
        archive(&stream, 99).await;
        let id = stream.id();
        // The machine is lost with the directory on it.
        drop(log);
        let rig = restored(&bucket).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(stream.id(), id);
        holds(&stream, 0..100).await;
        append(&stream, 100..110).await;
        archive(&stream, 110).await;
        close(log).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..111).await;
        close(log).await;
    });
}

#[test]
fn an_owner_that_was_overtaken_is_fenced_and_takes_no_more_appends() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let old_rig = rig(&SimDisk::new(), &bucket);
        let (old, old_stream) = one_stream(&old_rig).await;
        append(&old_stream, 0..9).await;
        archive(&old_stream, 9).await;
        let new_rig = restored(&bucket).await;
        let (new, new_stream) = one_stream(&new_rig).await;
        archive(&new_stream, 10).await;
        // The old one does not know yet. What it appends is durable there, and never archived.
        let waiting = old_stream.append_at(long(10), Level::Archived);
        let failed = within(waiting).await.expect_err("it was overtaken");
        assert!(matches!(failed.error, Error::Fenced { .. }), "{failed}");
        let health = until(&old, |health| health.state == LogState::Overtaken).await;
        assert!(!health.ok);
        let cold = health.cold.expect("it has Tier 2");
        assert!(matches!(cold.claim, ClaimHealth::Ended(_)), "{cold:?}");
        let refused = within(old_stream.append(long(11))).await;
        let refused = refused.expect_err("it takes no more");
        assert!(matches!(refused.error, Error::Fenced { .. }), "{refused}");
        assert_eq!(refused.records.len(), 1, "it is handed back");
        let refused = within(old.log().stream("another")).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })));
        holds(&old_stream, 0..11).await;
        let report = within(old.shutdown(crate::support::PATIENCE)).await;
        assert!(report.expect("a report").clean, "what is here is whole");
        let reopened = Supervisor::open_with(old_rig.settings.clone(), old_rig.injected());
        let refused = within(reopened).await.expect_err("it was overtaken");
        assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
        archive(&new_stream, 11).await;
        close(new).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..12).await;
        close(log).await;
    });
}

/// Under `manual` nothing but a flush makes anything durable, and an owner that was overtaken refuses
/// it: what it had accepted waited until the log was closed.
#[test]
fn what_an_owner_had_accepted_becomes_durable_when_it_is_overtaken_under_manual_too() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let old_rig = rig(&SimDisk::new(), &bucket).with("flush", "manual");
        let (old, old_stream) = one_stream(&old_rig).await;
        let idle = within(old.log().stream("idle")).await.expect("a stream");
        let ticket = idle.try_append(long(0)).expect("room");
        within(old_stream.append_at(long(0), Level::Written))
            .await
            .expect("an ack");
        within(old_stream.seal()).await.expect("sealed");
        archive(&old_stream, 1).await;
        let (new, new_stream) = one_stream(&restored(&bucket).await).await;
        archive(&new_stream, 2).await;
        let failed = within(old_stream.append_at(long(2), Level::Archived)).await;
        assert!(failed.is_err(), "it was overtaken");
        until(&old, |health| health.state == LogState::Overtaken).await;
        within(idle.flush())
            .await
            .expect_err("it takes nothing any more");
        assert_eq!(within(ticket).await.expect("durable").level, Level::Durable);
        close(old).await;
        close(new).await;
    });
}

#[test]
fn a_stream_whose_opening_was_under_way_when_tier_2_was_lost_is_not_opened() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let old_rig = rig(&SimDisk::new(), &bucket);
        let (old, old_stream) = one_stream(&old_rig).await;
        archive(&old_stream, 0).await;
        let new_rig = restored(&bucket).await;
        let (new, new_stream) = one_stream(&new_rig).await;
        archive(&new_stream, 1).await;
        let point = |name| (name, old_rig.faults.passed(name));
        let (publish, seen) = point("coordinator.before_publish");
        old_rig.faults.arm(publish, Action::Park, 1);
        let failing = tokio::spawn({
            let stream = old_stream.clone();
            async move { stream.append_at(long(1), Level::Archived).await }
        });
        within(old_rig.faults.reached(publish, seen)).await;
        let (commit, seen) = point("manifest.before_commit");
        old_rig.faults.arm(commit, Action::Park, 1);
        let log = old.log();
        let opening = tokio::spawn(async move { log.stream("another").await });
        within(old_rig.faults.reached(commit, seen)).await;
        old_rig.faults.release(publish);
        until(&old, |health| health.state == LogState::Overtaken).await;
        assert!(!opening.is_finished(), "its commit is held");
        old_rig.faults.release(commit);
        let refused = within(opening).await.expect("no panic");
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        let failed = within(failing).await.expect("no panic");
        assert!(failed.is_err(), "it was never archived");
        close(old).await;
        close(new).await;
    });
}

#[test]
fn a_log_that_has_archived_is_not_opened_without_its_bucket() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let with = rig(&disk, &bucket);
        let (log, stream) = one_stream(&with).await;
        archive(&stream, 0).await;
        close(log).await;
        let (mut without, mut forgets) = (with.clone(), with.clone());
        without.store = None;
        forgets.store = Some(Arc::new(MemoryStore::new()));
        for rig in [without, forgets] {
            let opened = Supervisor::open_with(rig.settings.clone(), rig.injected());
            let refused = within(opened).await.expect_err("who owns it now?");
            assert!(matches!(refused, Error::Tier2 { .. }), "{refused}");
            assert!(refused.to_string().contains("`cold`"), "{refused}");
        }
        let (log, stream) = one_stream(&with).await;
        archive(&stream, 1).await;
        holds(&stream, 0..2).await;
        close(log).await;
    });
}

#[test]
fn a_copy_of_the_directory_is_somebody_else() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        append(&stream, 0..9).await;
        archive(&stream, 9).await;
        close(log).await;
        let copy = rig(&disk.preview_cut(Cut::AllKept), &bucket);
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        archive(&stream, 10).await;
        close(log).await;
        let opened = Supervisor::open_with(copy.settings.clone(), copy.injected());
        let refused = within(opened).await.expect_err("the other copy went on");
        assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
    });
}

#[test]
fn a_restore_into_a_directory_that_holds_a_log_is_refused() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        archive(&stream, 0).await;
        close(log).await;
        let refused = Supervisor::restore_with(rig.settings.clone(), rig.injected());
        let refused = within(refused).await.expect_err("it holds a log");
        assert!(refused.to_string().contains("holds a log"), "{refused}");
        let (log, stream) = one_stream(&rig).await;
        holds(&stream, 0..1).await;
        close(log).await;
    });
}

#[test]
fn a_restore_without_a_log_or_with_a_missing_object_makes_nothing() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let target = rig(&SimDisk::new(), &bucket);
        let restore = || Supervisor::restore_with(target.settings.clone(), target.injected());
        let refused = within(restore()).await.expect_err("an empty bucket");
        assert!(refused.to_string().contains("holds no log"), "{refused}");
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&stream, 0).await;
        close(log).await;
        let key = bucket.keys("streams/").await.remove(0);
        bucket.lose(&key).await;
        let refused = within(restore()).await.expect_err("an object is missing");
        assert!(refused.to_string().contains(&key), "{refused}");
        bucket.set_down(true);
        let refused = within(restore()).await.expect_err("no bucket");
        assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    });
}
