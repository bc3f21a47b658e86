//! Retention beside all that can go wrong, and beside everything else that moves segments.

use tierlog::{
    Error, Kind, NewRecord, Offset, Stream, TryAppend,
    testing::{
        Action,
        storage::disk::sim::{Cut, SimDisk},
    },
};

use super::{Hand, NOTHING, bytes, keep, kept_bytes, rig, tens};
use crate::{
    cold::{bucket::Bucket, crowded},
    faults::rig::{eventually, on_each_runtime, one_stream, settle, until},
    support::{close, within},
    tiers::{append, files, holds, long},
};

#[test]
fn a_power_cut_before_the_files_and_objects_are_gone_is_made_up_for_by_the_next_open() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..400).await;
        within(stream.seal()).await.expect("sealed");
        let archived = within(stream.append_at(long(400), tierlog::Level::Archived)).await;
        archived.expect("archived");
        let point = "coordinator.after_trim_commit";
        let seen = rig.faults.passed(point);
        rig.faults.arm(point, Action::Park, 1);
        within(stream.set_retention(bytes(NOTHING)))
            .await
            .expect("set");
        within(rig.faults.reached(point, seen)).await;
        let before = files(&disk, &stream, "tlz").len();
        assert!(before > 0, "nothing is removed yet");
        for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(7)] {
            let frozen = bucket.freeze().await;
            let (cut, copy) = (disk.preview_cut(cut), bucket.copy().await);
            drop(frozen);
            let (log, stream) = one_stream(&crowded(&cut, &copy)).await;
            let start = stream.watermarks().start;
            assert!(start >= Offset(400), "{start}");
            assert_eq!(log.recovery().damage().count(), 0, "{:?}", log.recovery());
            assert_eq!(stream.retention(), bytes(NOTHING));
            within(async {
                while copy.keys("streams/").await.len() > 1 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert!(files(&cut, &stream, "tlz").len() <= 1);
            append(&stream, 401..405).await;
            close(log).await;
        }
        rig.faults.release(point);
        close(log).await;
    });
}

#[test]
fn an_actor_that_dies_at_any_step_of_it_loses_nothing_else() {
    on_each_runtime(|_| async {
        for point in ["coordinator.trim", "coordinator.after_trim_commit"] {
            for nth in [1, 2, 4] {
                let (disk, bucket) = (SimDisk::new(), Bucket::default());
                let rig = crowded(&disk, &bucket).with("retain_bytes", "240KiB");
                let (log, stream) = one_stream(&rig).await;
                rig.faults.arm(point, Action::Kill, nth);
                let mut id = 0;
                while id < 400 {
                    match within(stream.append(long(id))).await {
                        Ok(ack) => {
                            assert_eq!(ack.offset.get(), id, "{point} {nth}");
                            id += 1;
                        }
                        Err(failed) => assert!(
                            matches!(failed.error, Error::NotAppended { .. } | Error::StorageFull),
                            "{point}: {failed}"
                        ),
                    }
                }
                assert!(rig.faults.passed(point) >= u64::from(nth), "{point} {nth}");
                until(&log, |health| health.ok && !health.restarts.is_empty()).await;
                within(stream.seal()).await.expect("sealed");
                within(async {
                    while kept_bytes(&stream).await > 240 << 10 {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
                let kept = kept_bytes(&stream).await;
                assert!(kept > 80 << 10, "no more than must: {kept}");
                let start = stream.watermarks().start.get();
                holds(&stream, start..400).await;
                close(log).await;
                let (log, stream) = one_stream(&rig).await;
                assert_eq!(log.recovery().damage().count(), 0, "{point} {nth}");
                assert_eq!(log.recovery().quarantined, Vec::<std::path::PathBuf>::new());
                holds(&stream, start..400).await;
                close(log).await;
            }
        }
    });
}

/// Uploads that never end keep nothing from going, and leave nothing behind.
#[test]
fn what_is_given_up_while_it_is_archived_leaves_no_object() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crowded(&disk, &bucket).with("retain_bytes", "160KiB");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..60).await;
        let frozen = bucket.freeze().await;
        // Far more than both local budgets hold.
        append(&stream, 60..800).await;
        drop(frozen);
        within(stream.seal()).await.expect("sealed");
        within(async {
            loop {
                let segments = stream.segments().await.expect("segments");
                let known: Vec<_> = segments
                    .iter()
                    .filter_map(|s| s.object_key.clone())
                    .collect();
                let objects = bucket.keys("streams/").await;
                let fits = kept_bytes(&stream).await <= 160 << 10;
                if fits && known.len() == segments.len() && objects.len() == known.len() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let start = stream.watermarks().start.get();
        holds(&stream, start..800).await;
        close(log).await;
    });
}

/// A truncation holds the edges of the stream: retention does not wait for it, and comes back.
#[test]
fn beside_a_truncation_it_waits_for_its_turn() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock);
        let (log, stream) = one_stream(&rig).await;
        tens(&stream, 0..5).await;
        let point = "writer.before_truncate_commit";
        let seen = rig.faults.passed(point);
        rig.faults.arm(point, Action::Park, 1);
        let cut = tokio::spawn({
            let stream = stream.clone();
            async move { stream.truncate_after(Some(Offset(34))).await }
        });
        within(rig.faults.reached(point, seen)).await;
        let tried = rig.faults.passed("coordinator.trim");
        within(stream.set_retention(bytes(NOTHING)))
            .await
            .expect("set");
        within(rig.faults.reached("coordinator.trim", tried)).await;
        assert_eq!(stream.watermarks().start, Offset(0));
        rig.faults.release(point);
        let next = within(cut).await.expect("no panic").expect("cut");
        assert_eq!(next, Offset(35));
        eventually("it is done at last", || {
            stream.watermarks().start == Offset(35)
        })
        .await;
        append(&stream, 35..37).await;
        holds(&stream, 35..37).await;
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        close(log).await;
    });
}

/// The manifest said so, and nobody was told: what counts is what it said.
#[test]
fn limits_that_were_set_without_an_answer_count_after_the_restart() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock);
        let (log, stream) = one_stream(&rig).await;
        tens(&stream, 0..3).await;
        rig.faults.arm("manifest.after_commit", Action::Kill, 1);
        let set = within(stream.set_retention(bytes(NOTHING))).await;
        set.expect_err("nobody answered");
        until(&log, |health| health.ok && !health.restarts.is_empty()).await;
        assert_eq!(stream.retention(), bytes(NOTHING));
        eventually("they count", || stream.watermarks().start == Offset(30)).await;
        append(&stream, 30..33).await;
        holds(&stream, 30..33).await;
        close(log).await;
    });
}

/// Nobody asks again: it is the log that has to.
#[test]
fn a_trim_that_is_refused_is_tried_again_by_itself() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock)
            .with("manifest_queue", "1")
            .with("max_streams", "1024");
        let (log, stream) = one_stream(&rig).await;
        tens(&stream, 0..3).await;
        let [trim, commit] = ["coordinator.trim", "manifest.before_commit"];
        let seen = rig.faults.passed(trim);
        rig.faults.arm(trim, Action::Park, 1);
        within(stream.set_retention(bytes(NOTHING)))
            .await
            .expect("set");
        within(rig.faults.reached(trim, seen)).await;
        // Before it gets on, the manifest has as much to do as it takes.
        let seen = rig.faults.passed(commit);
        rig.faults.arm(commit, Action::Park, 1);
        let mut others = Vec::new();
        let full = |outcome: Result<Offset, Error>| match outcome {
            Ok(_) => false,
            Err(error) => {
                let kind = Kind::Manifest;
                assert!(matches!(error, Error::WouldBlock { kind: of } if of == kind));
                true
            }
        };
        while !full(within(stream.try_trim(Offset(0))).await) {
            let (log, name) = (log.log(), format!("other {}", others.len()));
            others.push(tokio::spawn(
                async move { log.stream(&name).await.map(drop) },
            ));
            settle().await;
        }
        within(rig.faults.reached(commit, seen)).await;
        let tried = rig.faults.passed(trim);
        rig.faults.release(trim);
        within(rig.faults.reached(trim, tried)).await;
        assert_eq!(stream.watermarks().start, Offset(0));
        rig.faults.release(commit);
        eventually("it is done at last", || {
            stream.watermarks().start == Offset(30)
        })
        .await;
        for other in others {
            within(other).await.expect("no panic").expect("a stream");
        }
        close(log).await;
    });
}

/// Appends until there is no room; gives how many are there by then.
async fn fill(stream: &Stream) -> u64 {
    let mut id = 0;
    loop {
        let record = NewRecord::from(long(id));
        match stream.try_append(record) {
            Ok(ticket) => match within(ticket).await {
                Ok(_) => id += 1,
                Err(failed) => assert!(matches!(failed.error, Error::StorageFull), "{failed}"),
            },
            Err(TryAppend::WouldBlock {
                kind: Kind::Admission,
                ..
            }) => return id,
            Err(TryAppend::WouldBlock { kind, .. }) => stream.ready(kind).await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_disk_gets_room_again_and_appends_go_on() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock);
        let (log, stream) = one_stream(&rig).await;
        disk.set_capacity(Some(disk.used() + (600 << 10)));
        let full = within(fill(&stream)).await;
        assert!(full > 100, "{full}");
        let start = keep(&stream, bytes(tierlog::Size::kib(240))).await.get();
        assert!(start > 0);
        within(stream.ready(Kind::Admission)).await;
        // From now on there is always room, since there is a limit.
        append(&stream, full..full + 500).await;
        within(stream.seal()).await.expect("sealed");
        within(stream.trim(Offset(0))).await.expect("trimmed");
        let start = stream.watermarks().start.get();
        assert!(start > full, "{start}");
        holds(&stream, start..full + 500).await;
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        close(log).await;
    });
}
