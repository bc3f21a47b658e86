//! What the catalog has left behind makes room, and nobody misses it.

use tierlog::{
    Error, Level, Stream, Supervisor,
    testing::storage::{
        catalog::{CatalogHead, CatalogKind, catalog_key},
        disk::sim::SimDisk,
    },
};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, holds, long},
};

async fn archive(stream: &Stream, ids: std::ops::Range<u64>) {
    for id in ids {
        let ack = within(stream.append_at(long(id), Level::Archived)).await;
        assert_eq!(ack.expect("archived").offset.get(), id);
    }
}

/// All objects of the catalog, in the order of their numbers, which have no gap. The last one is read
/// first: tombstones come from below, and those that come meanwhile leave no hole in what is seen.
async fn heads(bucket: &Bucket) -> Vec<CatalogHead> {
    let mut heads = Vec::new();
    let keys = bucket.keys("catalog/").await;
    for (at, key) in keys.into_iter().enumerate().rev() {
        let number = at as u64 + 1;
        assert_eq!(key, catalog_key(number), "numbers are never freed");
        let bytes = bucket.bytes(&key).await;
        heads.push(CatalogHead::decode_at(number, &bytes).expect("a head"));
    }
    heads.reverse();
    heads
}

/// The numbers of tombstones, all of which stand below everything else.
async fn tombstones(bucket: &Bucket) -> u64 {
    let heads = heads(bucket).await;
    let is_stone = |head: &&CatalogHead| head.kind == CatalogKind::Tombstone;
    let stones = heads.iter().take_while(is_stone).count();
    assert_eq!(stones, heads.iter().filter(is_stone).count());
    stones as u64
}

/// Waits until all is collected that is of no use.
async fn collected(bucket: &Bucket) -> u64 {
    within(async {
        loop {
            let heads = heads(bucket).await;
            let wholes = heads
                .iter()
                .rev()
                .filter(|head| head.whole_at == head.number);
            let before_latest = wholes.map(|head| head.number).nth(1);
            let stones = tombstones(bucket).await;
            // The last publication may be noted only by the next one.
            if before_latest.is_some_and(|number| number > 1 && stones + 1 >= number) {
                return stones;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn restored(bucket: &Bucket) -> Rig {
    let rig = rig(&SimDisk::new(), bucket);
    let restored = Supervisor::restore_with(rig.settings.clone(), rig.injected());
    within(restored).await.expect("restored");
    rig
}

#[test]
fn old_catalog_objects_become_tombstones_and_a_log_that_is_opened_or_restored_misses_none() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        archive(&stream, 0..60).await;
        let first = collected(&bucket).await;
        assert!(first > 5, "{first} of sixty publications are collected");
        close(log).await;
        for id in 60..64 {
            // Each open is a whole, so that the one before it becomes of no use.
            let (log, stream) = one_stream(&rig).await;
            archive(&stream, id..id + 1).await;
            collected(&bucket).await;
            holds(&stream, 0..id + 1).await;
            close(log).await;
        }
        assert!(tombstones(&bucket).await > first + 4);
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..64).await;
        archive(&stream, 64..70).await;
        collected(&bucket).await;
        close(log).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..70).await;
        close(log).await;
    });
}

#[test]
fn an_overtaken_log_collects_nothing_that_its_successor_needs() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (old, old_stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        archive(&old_stream, 0..20).await;
        let (new, new_stream) = one_stream(&restored(&bucket).await).await;
        // It does not know yet, and goes on until it publishes for the next time.
        append(&old_stream, 20..25).await;
        archive(&new_stream, 20..40).await;
        let failed = within(old_stream.append_at(long(25), Level::Archived)).await;
        let failed = failed.expect_err("it was overtaken");
        assert!(matches!(failed.error, Error::Fenced { .. }), "{failed}");
        drop(old);
        collected(&bucket).await;
        archive(&new_stream, 40..41).await;
        close(new).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..41).await;
        close(log).await;
    });
}

#[test]
fn collecting_that_gets_no_answer_is_tried_again() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (log, stream) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        // More than one call makes attempts, and less than the breaker takes.
        bucket.lose_replacements(4);
        archive(&stream, 0..40).await;
        collected(&bucket).await;
        assert_eq!(bucket.to_lose(), 0);
        holds(&stream, 0..40).await;
        close(log).await;
        let (log, stream) = one_stream(&restored(&bucket).await).await;
        holds(&stream, 0..40).await;
        close(log).await;
    });
}

#[test]
fn collecting_that_hangs_stands_in_the_way_of_no_publication_and_of_no_shutdown() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        let held = bucket.hold_replacements().await;
        archive(&stream, 0..40).await;
        eventually("an old object is being replaced", || bucket.waiting() > 0).await;
        archive(&stream, 40..50).await;
        assert_eq!(tombstones(&bucket).await, 0);
        close(log).await;
        drop(held);
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        archive(&stream, 50..51).await;
        collected(&bucket).await;
        holds(&stream, 0..51).await;
        close(log).await;
    });
}
