//! From append to archive, and back.

use tierlog::{
    Error, Level, Offset, Settings,
    testing::storage::disk::{Disk, sim::SimDisk},
};

use super::{bucket::Bucket, crowded, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, long},
};

#[test]
fn a_log_that_outgrows_both_local_budgets_goes_on_and_is_read_back_whole() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..800).await;
        eventually("some are in Tier 2 alone", || {
            let segments = stream.watermarks().archived;
            segments > Offset(400)
        })
        .await;
        let tiers: Vec<_> = stream.segments().await.expect("segments");
        assert!(tiers.iter().any(|segment| segment.tier == 2), "{tiers:?}");
        holds(&stream, 0..800).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        holds(&stream, 0..800).await;
        append(&stream, 800..810).await;
        holds(&stream, 0..810).await;
        close(log).await;
    });
}

#[test]
fn a_record_that_is_archived_is_in_an_object_that_a_published_catalog_names() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        let ack = within(stream.append_at(long(0), Level::Archived)).await;
        assert_eq!(ack.expect("archived").offset, Offset(0));
        assert_eq!(stream.watermarks().archived, Offset(1));
        assert_eq!(bucket.keys("streams/").await.len(), 1);
        // The claim, and the publication.
        assert_eq!(bucket.keys("catalog/").await.len(), 2);
        assert_eq!(bucket.keys("probe/").await, [""; 0]);
        close(log).await;
    });
}

#[test]
fn without_tier_2_nothing_is_archived_and_nobody_waits_for_it() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let (log, stream) = one_stream(&crate::tiers::rig(&disk)).await;
        let refused = within(stream.append_at(long(0), Level::Archived)).await;
        let refused = refused.expect_err("there is no Tier 2");
        assert!(matches!(refused.error, Error::Unsupported { .. }));
        assert_eq!(refused.records.len(), 1, "it is handed back");
        assert_eq!(stream.watermarks().next, Offset(0));
        close(log).await;
    });
}

#[test]
fn what_is_archived_is_not_truncated() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let (log, stream) = one_stream(&rig(&disk, &bucket)).await;
        append(&stream, 0..9).await;
        let ack = within(stream.append_at(long(9), Level::Archived)).await;
        ack.expect("archived");
        append(&stream, 10..20).await;
        let refused = within(stream.truncate_after(Some(Offset(8)))).await;
        let refused = refused.expect_err("it is archived");
        assert!(
            matches!(refused, Error::Archived { archived, .. } if archived == Offset(10)),
            "{refused}"
        );
        within(stream.truncate_after(Some(Offset(11))))
            .await
            .expect("what is not archived is cut");
        holds(&stream, 0..12).await;
        close(log).await;
    });
}

#[test]
fn a_trim_removes_objects_once_the_catalog_does_not_name_them() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..400).await;
        let ack = within(stream.append_at(long(400), Level::Archived)).await;
        ack.expect("archived");
        let before = bucket.keys("streams/").await.len();
        assert!(before > 5, "{before}");
        within(stream.trim(Offset(401))).await.expect("trimmed");
        within(async {
            while !bucket.keys("streams/").await.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(files(&disk, &stream, "tlz").is_empty());
        append(&stream, 401..410).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(stream.watermarks().start, Offset(401));
        append(&stream, 410..420).await;
        close(log).await;
    });
}

#[test]
fn while_the_bucket_is_down_appends_go_on_up_to_the_budgets_and_then_wait_for_it() {
    // The second budget is shorter than any compressed file.
    for warm in ["96KiB", "1KiB"] {
        on_each_runtime(|_| waits_for_the_bucket(warm));
    }
}

async fn waits_for_the_bucket(warm: &str) {
    let (disk, bucket) = (SimDisk::new(), Bucket::default());
    let rig = rig(&disk, &bucket).with("warm_budget", warm);
    let (log, stream) = one_stream(&rig).await;
    bucket.set_down(true);
    let mut sent = 0;
    let refused = within(async {
        loop {
            match stream.try_append(long(sent)) {
                Ok(ticket) => match ticket.await {
                    Ok(_) => sent += 1,
                    Err(failed) => assert!(!failed.records.is_empty(), "{failed}"),
                },
                Err(tierlog::TryAppend::WouldBlock { kind, .. })
                    if kind == tierlog::Kind::Upload =>
                {
                    return kind;
                }
                Err(tierlog::TryAppend::WouldBlock { kind, .. }) => stream.ready(kind).await,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert_eq!(refused, tierlog::Kind::Upload);
    holds(&stream, 0..sent).await;
    let waiting = stream.append(long(sent));
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    bucket.set_down(false);
    within(waiting).await.expect("it goes on by itself");
    append(&stream, sent + 1..sent + 400).await;
    holds(&stream, 0..sent + 400).await;
    close(log).await;
}

#[test]
fn a_log_that_was_archived_opens_without_its_bucket_and_takes_it_up_again() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("cold_wait", "1ms");
        let (log, stream) = one_stream(&rig.clone().with("cold_wait", "10s")).await;
        append(&stream, 0..10).await;
        close(log).await;
        bucket.set_down(true);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 10..20).await;
        bucket.set_down(false);
        let ack = within(stream.append_at(long(20), Level::Archived)).await;
        assert_eq!(ack.expect("archived").offset, Offset(20));
        assert_eq!(stream.watermarks().archived, Offset(21));
        close(log).await;
    });
}

#[test]
fn a_new_log_whose_bucket_can_not_be_reached_is_refused_and_leaves_the_directory_free() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("cold_wait", "1ms");
        bucket.set_down(true);
        let opened = tierlog::Supervisor::open_with(rig.settings.clone(), rig.injected());
        let refused = within(opened).await.expect_err("no bucket");
        assert!(refused.to_string().contains("test://bucket"), "{refused}");
        bucket.set_down(false);
        let (log, stream) = one_stream(&rig.with("cold_wait", "10s")).await;
        append(&stream, 0..3).await;
        close(log).await;
    });
}

#[test]
fn the_bucket_of_another_log_is_refused() {
    on_each_runtime(|_| async {
        let bucket = Bucket::default();
        let (log, _) = one_stream(&rig(&SimDisk::new(), &bucket)).await;
        close(log).await;
        let other = rig(&SimDisk::new(), &bucket);
        let opened = tierlog::Supervisor::open_with(other.settings.clone(), other.injected());
        let refused = within(opened).await.expect_err("it holds another log");
        assert!(refused.to_string().contains("belongs to log"), "{refused}");
        assert_eq!(Settings::for_tests("/log").cold, None);
        assert!(SimDisk::new().list(std::path::Path::new("/")).is_ok());
    });
}
