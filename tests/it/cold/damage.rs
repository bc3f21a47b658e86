//! Copies that are damaged or lost, here and in the bucket.

use std::path::Path;

use tierlog::{
    Error, From, Level, Stream,
    testing::storage::disk::{Access, Disk, sim::SimDisk},
};

use super::{bucket::Bucket, crowded, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, long},
};

async fn archive_all(stream: &Stream, ids: std::ops::Range<u64>) {
    append(stream, ids.start..ids.end - 1).await;
    let ack = within(stream.append_at(long(ids.end - 1), Level::Archived)).await;
    ack.expect("archived");
}

pub fn flip(disk: &SimDisk, path: &Path) {
    let file = disk.open(path, Access::ReadWrite).expect("it is there");
    let at = file.len().expect("a length") / 2;
    let mut byte = [0];
    file.read_at(&mut byte, at).expect("read");
    file.write_at(&[byte[0] ^ 1], at).expect("written");
}

fn bytes(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Access::Read).expect("it is there");
    let len = usize::try_from(file.len().expect("a length")).expect("small");
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0).expect("read");
    bytes
}

#[test]
fn a_damaged_or_missing_compressed_file_is_read_and_healed_from_the_bucket() {
    on_each_runtime(|_| async {
        for is_missing in [false, true] {
            let (disk, bucket) = (SimDisk::new(), Bucket::default());
            let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
            archive_all(&stream, 0..300).await;
            let warm = files(&disk, &stream, "tlz")[0].clone();
            eventually("it is there as a compressed file alone", || {
                disk.open(&warm.with_extension("tls"), Access::Read)
                    .is_err()
            })
            .await;
            let good = bytes(&disk, &warm);
            match is_missing {
                true => disk.remove(&warm).expect("removed"),
                false => flip(&disk, &warm),
            }
            holds(&stream, 0..300).await;
            eventually("it is whole again", || {
                disk.open(&warm, Access::Read).is_ok() && bytes(&disk, &warm) == good
            })
            .await;
            holds(&stream, 0..300).await;
            close(log).await;
        }
    });
}

#[test]
fn damage_to_the_only_copy_in_the_bucket_is_told_and_the_rest_is_read() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archive_all(&stream, 0..600).await;
        let gone = |segment: &tierlog::SegmentInfo| segment.tier == 2;
        let segments = stream.segments().await.expect("segments");
        let cold = segments.iter().find(|segment| gone(segment));
        let cold = cold.expect("one is in the bucket alone").clone();
        let key = cold.object_key.expect("it has an object");
        bucket
            .tamper(&key, |bytes| {
                let middle = bytes.len() / 3;
                bytes[middle] ^= 1;
            })
            .await;
        let from = |offset| stream.reader(From::Offset(offset)).into_future();
        let mut reader = within(from(cold.base)).await.expect("a reader");
        let error = within(reader.next_batch(10)).await.expect_err("damage");
        let Error::Corrupt(damage) = error else {
            panic!("{error}");
        };
        assert_eq!((damage.from, damage.to), (cold.base, cold.end));
        assert!(damage.what.contains("Tier 2"), "{damage}");
        let mut reader = within(from(cold.end)).await.expect("a reader");
        let batch = within(reader.next_batch(1)).await.expect("readable");
        assert_eq!(batch[0].offset, cold.end);
        close(log).await;
    });
}

/// The manifest says that an object stands for the file; it was removed behind everybody's back.
#[test]
fn a_compressed_file_does_not_go_when_its_object_is_lost() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        archive_all(&stream, 0..200).await;
        for key in bucket.keys("streams/").await {
            bucket.lose(&key).await;
        }
        close(log).await;
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archive_all(&stream, 200..500).await;
        holds(&stream, 0..500).await;
        close(log).await;
    });
}
