//! A store that hangs, is out of reach, or sends what it does not hold: what that costs is a retry.

use std::{path::PathBuf, time::Duration};

use tierlog::{
    Error, ErrorKind, From, Level, LogState, Offset, SegmentInfo, Stream, Supervisor,
    testing::{Action, storage::disk::sim::SimDisk},
};

use super::{bucket::Bucket, crowded, damage::flip, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, until},
    support::{close, read_all, within},
    tiers::{append, files, holds, long},
};

async fn archived(stream: &Stream, count: u64) {
    append(stream, 0..count - 1).await;
    let ack = within(stream.append_at(long(count - 1), Level::Archived)).await;
    ack.expect("archived");
}

/// The segments that are in the bucket alone.
async fn far(stream: &Stream) -> Vec<SegmentInfo> {
    let mut segments = within(stream.segments()).await.expect("segments");
    segments.retain(|segment| segment.tier == 2);
    assert!(!segments.is_empty(), "some are in the bucket alone");
    segments
}

#[test]
fn bytes_that_came_wrong_over_the_wire_are_asked_for_again_and_are_no_damage() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archived(&stream, 600).await;
        for segment in far(&stream).await {
            bucket.spoil_reads(1);
            let reader = stream.reader(From::Offset(segment.base)).into_future();
            let mut reader = within(reader).await.expect("a reader");
            let batch = within(reader.next_batch(1)).await.expect("no damage");
            assert_eq!(batch[0].offset, segment.base);
            assert_eq!(bucket.to_spoil(), 0, "it came from the bucket");
        }
        close(log).await;
    });
}

#[test]
fn an_object_that_was_cut_short_is_damage_and_the_rest_is_read() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archived(&stream, 600).await;
        let cut = far(&stream).await.remove(0);
        let key = cut.object_key.expect("it has an object");
        bucket
            .tamper(&key, |bytes| bytes.truncate(bytes.len() / 2))
            .await;
        let reader = stream.reader(From::Offset(cut.base)).into_future();
        let mut reader = within(reader).await.expect("a reader");
        let error = within(reader.next_batch(10)).await.expect_err("damage");
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        let reader = stream.reader(From::Offset(cut.end)).into_future();
        let mut reader = within(reader).await.expect("a reader");
        let batch = within(reader.next_batch(1)).await.expect("readable");
        assert_eq!(batch[0].offset, cut.end);
        close(log).await;
    });
}

#[test]
fn a_reader_of_a_bucket_that_is_out_of_reach_may_try_again_and_goes_on_where_it_was() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&crowded(&disk, &bucket)).await;
        archived(&stream, 600).await;
        let segment = far(&stream).await.remove(0);
        bucket.set_down(true);
        let reader = stream.reader(From::Offset(segment.base)).into_future();
        let mut reader = within(reader).await.expect("a reader");
        let error = within(reader.next_batch(1)).await.expect_err("no bucket");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Retry);
        bucket.set_down(false);
        let batch = within(async {
            loop {
                match reader.next_batch(1).await {
                    Ok(batch) => return batch,
                    Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error}"),
                }
            }
        })
        .await;
        assert_eq!(batch[0].offset, segment.base);
        close(log).await;
    });
}

/// A log whose archived segments are here as compressed files alone, of which these were damaged.
async fn damaged(rig: &Rig, disk: &SimDisk, count: usize) -> (Supervisor, Stream, Vec<PathBuf>) {
    let (log, stream) = one_stream(rig).await;
    archived(&stream, 300).await;
    let mut warm = files(disk, &stream, "tlz");
    warm.truncate(count);
    eventually("they are there as compressed files alone", || {
        let hot = files(disk, &stream, "tls");
        warm.iter()
            .all(|path| !hot.contains(&path.with_extension("tls")))
    })
    .await;
    for path in &warm {
        flip(disk, path);
    }
    (log, stream, warm)
}

#[test]
fn a_fetch_from_a_bucket_that_hangs_ends_with_the_log_and_lets_go_of_the_directory() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket);
        let (log, stream, _) = damaged(&rig, &disk, 1).await;
        let frozen = bucket.freeze().await;
        let reader = stream.reader(From::Earliest).into_future();
        let mut reader = within(reader).await.expect("a reader");
        let mut reading = Box::pin(reader.next_batch(1));
        within(async {
            // What reads, and what heals the file.
            while bucket.waiting() < 2 {
                assert!(futures::poll!(&mut reading).is_pending());
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(reading);
        // Long before the calls are given up.
        let report = within(log.shutdown(Duration::from_secs(5))).await;
        report.expect("it ends");
        // Its store hangs, but the directory is free: another one gets as far as to find that out.
        let next = rig.clone().with("cold_wait", "1ms");
        let opened = within(Supervisor::open_with(
            next.settings.clone(),
            next.injected(),
        ))
        .await;
        let log = opened.expect("the directory is free");
        drop(frozen);
        let stream = within(log.log().stream("s")).await.expect("a stream");
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

#[test]
fn an_uploader_that_dies_while_the_bucket_hangs_is_replaced() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("stall_after", "2s");
        let (log, stream, _) = damaged(&rig, &disk, 2).await;
        let segments = within(stream.segments()).await.expect("segments");
        let frozen = bucket.freeze().await;
        let mut readers = Vec::new();
        for (at, segment) in segments[..2].iter().enumerate() {
            if at == 1 {
                rig.faults.arm("uploader.take", Action::Kill, 1);
            }
            let reader = stream.reader(From::Offset(segment.base)).into_future();
            let mut reader = within(reader).await.expect("a reader");
            let taken = rig.faults.passed("uploader.take");
            within(async {
                while rig.faults.passed("uploader.take") == taken
                    || (at == 0 && bucket.waiting() < 2)
                {
                    let _ = futures::poll!(Box::pin(reader.next_batch(1)));
                    tokio::task::yield_now().await;
                }
            })
            .await;
            readers.push(reader);
        }
        let health = until(&log, |health| {
            !health.restarts.is_empty() || health.state == LogState::Failed
        })
        .await;
        assert_eq!(health.state, LogState::Running, "{health:?}");
        drop(frozen);
        drop(readers);
        assert_eq!(read_all(&stream).await.len(), 300);
        close(log).await;
    });
}

#[test]
fn an_open_that_is_given_up_while_it_waits_for_the_bucket_leaves_the_directory_free() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket);
        let frozen = bucket.freeze().await;
        let mut opening = Box::pin(Supervisor::open_with(rig.settings.clone(), rig.injected()));
        within(async {
            while bucket.waiting() == 0 {
                assert!(futures::poll!(&mut opening).is_pending());
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(opening);
        drop(frozen);
        let log = rig.reopen().await;
        let stream = within(log.log().stream("s")).await.expect("a stream");
        append(&stream, 0..3).await;
        close(log).await;
    });
}

/// A copy that had failed was marked as complete all the same, and its records called safe.
#[test]
fn a_segment_that_the_store_refuses_is_never_called_archived() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        bucket.refuse_segments(true);
        let ticket = stream.try_append(long(0)).expect("room");
        let mut ticket = ticket.at(Level::Archived);
        assert!(futures::poll!(&mut ticket).is_pending());
        eventually("it was tried again, or called archived", || {
            bucket.refused() > 2 || stream.watermarks().archived > Offset(0)
        })
        .await;
        assert_eq!(stream.watermarks().archived, Offset(0));
        let told = ticket.now();
        assert!(told.is_none(), "{told:?}");
        assert_eq!(bucket.keys("catalog/").await.len(), 1, "the claim alone");
        bucket.refuse_segments(false);
        within(ticket).await.expect("archived");
        assert_eq!(bucket.keys("streams/").await.len(), 1);
        close(log).await;
    });
}
