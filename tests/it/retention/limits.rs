//! What goes, and what stays.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tierlog::{
    Error, From, Keep, Level, Offset, ReadOnly, Retention, Size, Stream,
    testing::storage::disk::{Disk, sim::SimDisk},
};

use super::{Hand, NOTHING, bytes, keep, kept_bytes, rig, tens};
use crate::{
    cold::{bucket::Bucket, crowded},
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, long},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Waits until neither the disk nor the bucket holds anything of what was given up.
async fn nothing_is_left_below_the_start(disk: &SimDisk, bucket: &Bucket, stream: &Stream) {
    within(async {
        loop {
            let segments = stream.segments().await.expect("segments");
            let known: BTreeSet<_> = segments
                .iter()
                .filter_map(|s| s.object_key.clone())
                .collect();
            let objects: BTreeSet<_> = bucket.keys("streams/").await.into_iter().collect();
            let names: BTreeSet<_> = segments.iter().map(|s| s.path.file_stem()).collect();
            let there = ["tls", "tlz"].map(|ending| files(disk, stream, ending));
            let strange = there.iter().flatten().any(|path| {
                // One that was made ahead holds nothing yet.
                !names.contains(&path.file_stem()) && disk.used_by(path)
            });
            if objects.is_subset(&known) && !strange {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whether a file holds anything.
trait UsedBy {
    fn used_by(&self, path: &std::path::Path) -> bool;
}

impl UsedBy for SimDisk {
    fn used_by(&self, path: &std::path::Path) -> bool {
        let Ok(file) = self.open(path, tierlog::testing::storage::disk::Access::Read) else {
            return false;
        };
        let mut head = [0; 16];
        file.read_at(&mut head, 0).is_ok() && head != [0; 16]
    }
}

#[test]
fn a_stream_that_crosses_all_tiers_keeps_no_more_bytes_than_it_is_to() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket)
            .with("warm_budget", "88KiB")
            .with("retain_bytes", "800KiB");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..800).await;
        let ack = within(stream.append_at(long(800), Level::Archived)).await;
        ack.expect("archived");
        within(stream.seal()).await.expect("sealed");
        let limit = 800 << 10;
        within(async {
            while kept_bytes(&stream).await > limit {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let kept = kept_bytes(&stream).await;
        assert!(kept > limit - 2 * (80 << 10), "no more than must: {kept}");
        let segments = stream.segments().await.expect("segments");
        assert!(
            segments.iter().any(|segment| segment.tier == 2),
            "{segments:?}"
        );
        let start = stream.watermarks().start;
        assert_eq!(start, segments[0].base, "whole segments go");
        nothing_is_left_below_the_start(&disk, &bucket, &stream).await;
        holds(&stream, start.get()..801).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(stream.watermarks().start, start);
        holds(&stream, start.get()..801).await;
        close(log).await;
    });
}

#[test]
fn what_is_too_old_goes_from_all_tiers_and_what_is_younger_stays() {
    on_each_runtime(|_| async {
        let (disk, bucket, clock) = (SimDisk::new(), Bucket::default(), Hand::new());
        let mut rig = crowded(&disk, &bucket).with("retain_age", "1h");
        rig.clock = Arc::new(clock.clone());
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..400).await;
        let ack = within(stream.append_at(long(400), Level::Archived)).await;
        ack.expect("archived");
        within(stream.seal()).await.expect("sealed");
        clock.advance(HOUR);
        append(&stream, 401..440).await;
        within(stream.seal()).await.expect("sealed");
        // An hour is not more than an hour.
        within(stream.trim(Offset(0)))
            .await
            .expect("nothing to trim");
        assert_eq!(stream.watermarks().start, Offset(0));
        clock.advance(Duration::from_nanos(1));
        append(&stream, 440..450).await;
        within(stream.seal()).await.expect("sealed");
        eventually("the old ones are gone", || {
            stream.watermarks().start == Offset(401)
        })
        .await;
        nothing_is_left_below_the_start(&disk, &bucket, &stream).await;
        holds(&stream, 401..450).await;
        close(log).await;
    });
}

/// Nothing is appended, sealed or opened any more: time alone does it.
#[tokio::test]
async fn records_of_a_quiet_stream_grow_too_old() {
    let (disk, clock) = (SimDisk::new(), Hand::new());
    let rig = rig(&disk, &clock).with("retain_age", "2s");
    let (log, stream) = one_stream(&rig).await;
    tens(&stream, 0..3).await;
    append(&stream, 30..33).await;
    clock.advance(HOUR);
    eventually("the sealed ones are gone", || {
        stream.watermarks().start == Offset(30)
    })
    .await;
    // The open one stays, however old it is.
    holds(&stream, 30..33).await;
    close(log).await;
}

#[test]
fn a_stream_says_durably_how_much_it_keeps_whatever_the_settings_say() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock);
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(stream.retention(), Retention::default());
        tens(&stream, 0..4).await;
        let all = Retention {
            age: Keep::All,
            bytes: Keep::All,
        };
        within(stream.set_retention(all)).await.expect("set");
        let other = within(log.log().stream("other")).await.expect("a stream");
        tens(&other, 0..4).await;
        close(log).await;
        // The settings are stricter now: that is for those who say nothing themselves.
        let rig = rig.with("retain_bytes", "0B").with("retain_age", "1ms");
        clock.advance(HOUR);
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(stream.retention(), all);
        let other = within(log.log().stream("other")).await.expect("a stream");
        eventually("it goes when the stream is opened", || {
            other.watermarks().start == Offset(40)
        })
        .await;
        within(stream.trim(Offset(0))).await.expect("trimmed");
        holds(&stream, 0..40).await;
        // And the other way round.
        let half = bytes(Size::new(kept_bytes(&stream).await * 5 / 8));
        let half = Retention {
            age: Keep::All,
            ..half
        };
        assert_eq!(keep(&stream, half).await, Offset(20));
        assert_eq!(keep(&stream, all).await, Offset(20), "what is gone is gone");
        assert_eq!(keep(&stream, Retention::default()).await, Offset(40));
        close(log).await;
    });
}

#[test]
fn retention_goes_on_where_an_earlier_trim_ended_in_the_midst_of_a_segment() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let (log, stream) = one_stream(&rig(&disk, &clock)).await;
        tens(&stream, 0..3).await;
        append(&stream, 30..35).await;
        within(stream.trim(Offset(14))).await.expect("trimmed");
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(30));
        holds(&stream, 30..35).await;
        // A trim may go into the open one, which no limit does.
        within(stream.trim(Offset(33))).await.expect("trimmed");
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(33));
        within(stream.seal()).await.expect("sealed");
        eventually("it ended", || stream.watermarks().start == Offset(35)).await;
        append(&stream, 35..36).await;
        holds(&stream, 35..36).await;
        close(log).await;
    });
}

#[test]
fn who_reads_beside_the_owner_sees_what_a_stream_keeps() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock);
        let (log, stream) = one_stream(&rig).await;
        tens(&stream, 0..3).await;
        let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
        let view = within(attach).await.expect("attached");
        let seen = view.stream("s").expect("it is there");
        assert_eq!(seen.retention(), Retention::default());
        // It holds no lease: the owner does not know of it.
        let mut reader = within(seen.reader(From::Earliest).into_future())
            .await
            .expect("a reader");
        within(reader.try_next()).await.expect("read").expect("one");
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(30));
        within(view.refresh()).await.expect("refreshed");
        assert_eq!(seen.retention(), bytes(NOTHING));
        let overtaken = within(reader.try_next()).await;
        assert!(
            matches!(overtaken, Err(Error::Trimmed { .. })),
            "{overtaken:?}"
        );
        close(log).await;
    });
}
