//! Checking what is archived: every byte of every object, when that is asked for.

use tierlog::{
    Error, ErrorKind, Level, Offset, ReadOnly, Stream, testing::storage::disk::sim::SimDisk,
};

use super::{bucket::Bucket, crowded};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, long},
};

const COUNT: u64 = 600;

/// A log of which some segments are in the bucket alone, closed.
async fn archived(rig: &Rig) -> Vec<tierlog::SegmentInfo> {
    let (log, stream) = one_stream(rig).await;
    append(&stream, 0..COUNT - 1).await;
    let ack = within(stream.append_at(long(COUNT - 1), Level::Archived)).await;
    ack.expect("archived");
    let segments = within(stream.segments()).await.expect("segments");
    close(log).await;
    assert!(segments.iter().any(|segment| segment.tier == 2));
    assert!(segments.iter().any(|segment| segment.tier != 2));
    segments
}

async fn attach(rig: &Rig) -> ReadOnly {
    let view = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
    within(view).await.expect("attached")
}

#[test]
fn what_is_in_tier_2_alone_is_counted_and_read_when_that_is_asked_for() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let segments = archived(&rig).await;
        let far: Vec<_> = segments.iter().filter(|s| s.tier == 2).collect();
        let view = attach(&rig).await;
        let report = within(view.verify(None, |_, _| ())).await.expect("checked");
        assert_eq!(report.damage, []);
        assert_eq!((report.unread, report.objects), (far.len() as u64, 0));
        let unread: u64 = far.iter().map(|s| s.end.get() - s.base.get()).sum();
        assert_eq!(report.records, COUNT - unread);
        let (mut done, mut total) = (0, 0);
        let all = view.verify_archived(None, |at, of| (done, total) = (at, of));
        let report = within(all).await.expect("checked");
        assert_eq!(report.damage, []);
        let objects = segments.iter().filter(|s| s.object_key.is_some()).count();
        assert_eq!((report.unread, report.objects), (0, objects as u64));
        assert_eq!(report.records, COUNT);
        assert_eq!(report.segments, segments.len() as u64);
        assert_eq!(done, total, "the bar ends full");
    });
}

#[test]
fn a_damaged_or_missing_object_is_told_with_its_key_and_its_offsets() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let segments = archived(&rig).await;
        let with_object = |far: bool| {
            let mut all = segments.iter();
            let found = all.find(|s| (s.tier == 2) == far && s.object_key.is_some());
            found.expect("there is one").clone()
        };
        let (far, near) = (with_object(true), with_object(false));
        for (segment, lost) in [(far, false), (near.clone(), false), (near, true)] {
            let key = segment.object_key.expect("it has an object");
            let whole = bucket.copy().await;
            match lost {
                true => bucket.lose(&key).await,
                false => bucket.tamper(&key, |bytes| bytes[130] ^= 1).await,
            }
            let view = attach(&rig).await;
            let report = within(view.verify(None, |_, _| ())).await.expect("checked");
            assert_eq!(report.damage, [], "nobody looked there");
            let report = within(view.verify_archived(None, |_, _| ())).await;
            let report = report.expect("checked");
            let [damage] = &report.damage[..] else {
                panic!("{report:?}");
            };
            assert!(damage.what.contains(&key), "{damage}");
            assert_eq!(damage.what.contains("missing"), lost, "{damage}");
            assert_eq!((damage.from, damage.to), (segment.base, segment.end));
            bucket.restore(&whole).await;
        }
    });
}

#[test]
fn bytes_that_came_wrong_once_are_no_damage_and_a_bucket_out_of_reach_is_none_either() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        archived(&rig).await;
        let view = attach(&rig).await;
        bucket.spoil_reads(1);
        let report = within(view.verify_archived(None, |_, _| ())).await;
        assert_eq!(report.expect("checked").damage, []);
        assert_eq!(bucket.to_spoil(), 0, "it was read");
        bucket.set_down(true);
        let error = within(view.verify_archived(None, |_, _| ())).await;
        let error = error.expect_err("nothing comes");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Retry);
        let here = within(view.verify(None, |_, _| ())).await;
        assert_eq!(here.expect("what is here can be checked").damage, []);
        let mut alone = rig.clone();
        alone.store = None;
        let view = attach(&alone).await;
        let refused = within(view.verify_archived(None, |_, _| ())).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })));
    });
}

async fn shown(stream: &Stream) -> Vec<Offset> {
    let segments = within(stream.segments()).await.expect("segments");
    segments.into_iter().map(|segment| segment.base).collect()
}

#[test]
fn what_was_trimmed_is_not_shown_and_not_missed_while_its_objects_wait_for_their_deletion() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..COUNT).await;
        eventually("some are archived", || {
            stream.watermarks().archived > Offset(300)
        })
        .await;
        bucket.set_down(true);
        within(stream.trim(Offset(300))).await.expect("trimmed");
        let before = shown(&stream).await;
        drop((log, stream));
        assert!(bucket.keys("streams/").await.len() > 5, "they are there");
        let view = attach(&rig).await;
        let seen = view.stream("s").expect("a stream").segments();
        assert!(seen.iter().all(|segment| segment.end > Offset(300)));
        let report = within(view.verify(None, |_, _| ())).await.expect("checked");
        assert_eq!(report.damage, []);
        let log = rig.reopen().await;
        let stream = within(log.log().stream("s")).await.expect("a stream");
        let after = shown(&stream).await;
        assert!(after.starts_with(&before[..1]), "{before:?} {after:?}");
        bucket.set_down(false);
        close(log).await;
    });
}
