//! What reading from Tier 2 costs: calls of the store, one after the other.

use tierlog::{From, Level, Offset, Stream, testing::storage::disk::sim::SimDisk};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{on_each_runtime, one_stream},
    support::{close, within},
};

/// Not to be compressed, so that an object is many times what is read ahead of a first read.
fn noise(id: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(id);
    (0..16_000).map(|_| random.u8(..)).collect()
}

/// Reads one record; gives how often the store was asked for it.
async fn trips(bucket: &Bucket, stream: &Stream, at: Offset) -> usize {
    let before = bucket.asked();
    let reader = stream.reader(From::Offset(at)).into_future();
    let mut reader = within(reader).await.expect("a reader");
    let record = within(reader.next_batch(1)).await.expect("readable");
    assert_eq!(record[0].payload, noise(at.get()));
    bucket.asked() - before
}

#[test]
fn the_first_record_from_tier_2_costs_three_trips_and_one_once_the_index_is_known() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket)
            .with("segment_size", "2MiB")
            .with("hot_budget", "5MiB")
            .with("warm_budget", "3MiB");
        let (log, stream) = one_stream(&rig).await;
        for id in 0..1_400 {
            let ack = within(stream.append_at(noise(id), Level::Written)).await;
            ack.expect("an ack");
        }
        let ack = within(stream.append_at(noise(1_400), Level::Archived)).await;
        ack.expect("archived");
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        let mut far = within(stream.segments()).await.expect("segments");
        far.retain(|segment| segment.tier == 2);
        assert!(far.len() > 9, "{}", far.len());
        for segment in &far {
            let count = trips(&bucket, &stream, segment.base).await;
            assert!((1..=3).contains(&count), "{count} the first time");
        }
        // Stretches of other segments have taken the place of what was read of the first ones.
        for segment in &far[..2] {
            let middle = segment.base.get().midpoint(segment.end.get());
            let count = trips(&bucket, &stream, Offset(middle)).await;
            assert_eq!(count, 1, "with the index");
        }
        close(log).await;
    });
}
