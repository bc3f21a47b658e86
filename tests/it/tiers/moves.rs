//! Where segments go, and what readers see meanwhile.

use tierlog::{
    Error, From, Offset,
    testing::{
        Action,
        storage::disk::{
            Access, Disk,
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{append, files, holds, long, rig, settled};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, settle, until},
    support::{close, texts, within},
};

const MANY: u64 = 400;

#[test]
fn a_log_larger_than_its_hot_budget_goes_on_and_is_read_back_whole() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..MANY).await;
        settled(&disk, &stream, 4).await;
        assert!(
            files(&disk, &stream, "tlz").len() >= 6,
            "most are compressed"
        );
        let health = log.health().await;
        assert!(health.ok && health.hot_bytes <= 320 * 1024, "{health:?}");
        holds(&stream, 0..MANY).await;
        let mut late = within(stream.reader(From::Offset(Offset(37))).into_future())
            .await
            .expect("a reader");
        let record = within(late.try_next()).await.expect("it is read");
        assert_eq!(record.expect("there is more").offset, Offset(37));
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(log.recovery().damage().count(), 0, "{:?}", log.recovery());
        holds(&stream, 0..MANY).await;
        append(&stream, MANY..MANY + 50).await;
        holds(&stream, 0..MANY + 50).await;
        close(log).await;
    });
}

/// The next segment is asked for while the last one is still being sealed, which no table of ended
/// segments knows. It was taken for room that never comes: what was queued came back `StorageFull`.
#[test]
fn a_segment_that_is_still_being_sealed_is_room_to_come() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk)
            .with("hot_budget", "160KiB")
            .with("unsynced_bytes", "8MiB")
            .with("lane_records", "4096");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..10).await;
        let first = files(&disk, &stream, "tls")[0].clone();
        let held = rig.plan.hold(
            Calls::of(CallKind::SyncData)
                .at(move |path| path == first)
                .forever(),
        );
        let sealed = tokio::spawn({
            let stream = stream.clone();
            async move { stream.seal().await }
        });
        eventually("the seal has come to its sync", || held.parked() > 0).await;
        // More than the second segment holds, so that a third one is asked for.
        let asked = rig.faults.passed("coordinator.admit");
        let mut tickets = Vec::new();
        for id in 10..70 {
            tickets.push(stream.try_append(long(id)).expect("room in memory"));
        }
        eventually("both are asked for", || {
            rig.faults.passed("coordinator.admit") >= asked + 2
        })
        .await;
        settle().await;
        held.release();
        within(sealed).await.expect("no panic").expect("sealed");
        for ticket in tickets {
            within(ticket).await.expect("an ack");
        }
        holds(&stream, 0..70).await;
        close(log).await;
    });
}

#[test]
fn without_a_warm_tier_or_without_a_limit_nothing_is_compressed() {
    on_each_runtime(|_| async {
        for (key, value) in [("warm_budget", "0B"), ("hot_budget", "unlimited")] {
            let disk = SimDisk::new();
            let rig = rig(&disk).with("hot_budget", "10MiB").with(key, value);
            let (log, stream) = one_stream(&rig).await;
            append(&stream, 0..100).await;
            within(stream.seal()).await.expect("sealed");
            close(log).await;
            let (log, stream) = one_stream(&rig).await;
            assert_eq!(
                files(&disk, &stream, "tlz"),
                Vec::<std::path::PathBuf>::new()
            );
            close(log).await;
        }
    });
}

#[test]
fn what_is_read_again_and_again_is_made_a_segment_file_again_once() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("hot_budget", "400KiB");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..MANY).await;
        settled(&disk, &stream, 4).await;
        let first = files(&disk, &stream, "tlz")[0].with_extension("tls");
        assert!(disk.open(&first, Access::Read).is_err(), "it was dropped");
        // What is open takes its full size: sealed, there is room for one that is wanted.
        within(stream.seal()).await.expect("sealed");
        let made = rig.plan.count_at(CallKind::CreateNew, |path| path == first);
        let read = || async {
            let mut reader = within(stream.reader(From::Earliest).into_future())
                .await
                .expect("a reader");
            let mut records = Vec::new();
            while records.len() < 30 {
                let batch = within(reader.next_batch(30 - records.len())).await;
                records.extend(batch.expect("it is read"));
            }
            let expected: Vec<_> = (0..30).map(long).collect();
            assert!(texts(&records) == expected);
        };
        within(async {
            while disk.open(&first, Access::Read).is_err() {
                futures::future::join_all((0..4).map(|_| read())).await;
            }
        })
        .await;
        let now = rig.plan.count_at(CallKind::CreateNew, |path| path == first);
        assert_eq!(now - made, 1, "however many want it");
        holds(&stream, 0..MANY).await;
        close(log).await;
    });
}

/// A log of 100 records, closed, in segments that are compressed and have their files all the same.
async fn compressed(disk: &SimDisk) -> Rig {
    let rig = rig(disk).with("hot_budget", "10MiB");
    let (log, stream) = one_stream(&rig).await;
    append(&stream, 0..100).await;
    within(stream.seal()).await.expect("sealed");
    eventually("all are compressed", || {
        files(disk, &stream, "tlz").len() >= 3
    })
    .await;
    close(log).await;
    rig
}

#[test]
fn a_damaged_segment_file_is_read_and_healed_from_its_compressed_one() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = compressed(&disk).await;
        let (log, stream) = one_stream(&rig).await;
        let first = files(&disk, &stream, "tls")[0].clone();
        let file = disk.open(&first, Access::ReadWrite).expect("it is there");
        file.write_at(&[0xaa; 64], 3_000).expect("damaged");
        holds(&stream, 0..100).await;
        eventually("the damaged file goes", || {
            disk.open(&first, Access::Read).is_err()
        })
        .await;
        holds(&stream, 0..100).await;
        close(log).await;
    });
}

#[test]
fn damage_to_the_only_copy_is_told_and_the_rest_is_read() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..MANY).await;
        settled(&disk, &stream, 4).await;
        let second = files(&disk, &stream, "tlz")[1].clone();
        let file = disk.open(&second, Access::ReadWrite).expect("it is there");
        file.write_at(&[0xaa; 64], 300).expect("damaged");
        let mut reader = within(stream.reader(From::Earliest).into_future())
            .await
            .expect("a reader");
        let mut read = 0;
        let damage = loop {
            match within(reader.next_batch(10)).await {
                Ok(batch) => read += batch.len() as u64,
                Err(Error::Corrupt(damage)) => break damage,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(damage.from, Offset(read), "the exact place");
        let mut skipper = within(stream.reader(From::Earliest).skip_damage().into_future())
            .await
            .expect("a reader");
        let mut kept = Vec::new();
        loop {
            let batch = within(skipper.next_batch(100)).await.expect("it goes on");
            if batch.is_empty() {
                break;
            }
            kept.extend(batch);
        }
        let lost = damage.to.since(damage.from);
        assert_eq!(kept.len() as u64 + lost, MANY);
        assert_eq!(skipper.gaps().len(), 1);
        close(log).await;
    });
}

/// The compressed file that is to stand alone is looked at before the other copy goes.
#[test]
fn a_segment_file_does_not_go_when_its_compressed_one_is_lost() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = compressed(&disk).await;
        for (nth, path) in files(&disk, &one_stream_id(&rig).await, "tlz")
            .iter()
            .enumerate()
        {
            match nth {
                0 => disk.remove(path).expect("it is there"),
                _ => disk
                    .open(path, Access::ReadWrite)
                    .expect("it is there")
                    .set_len(200)
                    .expect("cut"),
            }
        }
        let rig = rig.with("hot_budget", "320KiB");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 100..300).await;
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

async fn one_stream_id(rig: &Rig) -> tierlog::Stream {
    let (log, stream) = one_stream(rig).await;
    close(log).await;
    stream
}

#[test]
fn a_truncation_into_a_compressed_segment_keeps_what_is_before_it() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..MANY).await;
        settled(&disk, &stream, 4).await;
        let end = within(async {
            loop {
                match stream.truncate_after(Some(Offset(49))).await {
                    Ok(end) => return end,
                    // The segment is on its way; nothing has happened.
                    Err(Error::Unavailable { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
        assert_eq!(end, Offset(50));
        holds(&stream, 0..50).await;
        append(&stream, 50..300).await;
        holds(&stream, 0..300).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        assert_eq!(log.recovery().damage().count(), 0, "{:?}", log.recovery());
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

#[test]
fn a_trim_removes_both_kinds_of_files() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..MANY).await;
        settled(&disk, &stream, 4).await;
        within(stream.trim(Offset(MANY))).await.expect("trimmed");
        eventually("all files are gone but the open one's", || {
            files(&disk, &stream, "tlz").is_empty() && files(&disk, &stream, "tls").len() <= 2
        })
        .await;
        append(&stream, MANY..MANY + 100).await;
        holds(&stream, MANY..MANY + 100).await;
        close(log).await;
    });
}

/// With no room in the warm tier either, appends are refused until something is trimmed.
#[test]
fn when_both_budgets_are_used_up_appends_wait_for_a_trim() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("warm_budget", "100KiB");
        let (log, stream) = one_stream(&rig).await;
        let mut sent = 0;
        let refused = within(async {
            loop {
                match stream.append_at_once(long(sent)).await {
                    Ok(()) => sent += 1,
                    Err(kind) => return kind,
                }
            }
        })
        .await;
        assert_eq!(refused, tierlog::Kind::Admission);
        holds(&stream, 0..sent).await;
        within(stream.trim(Offset(sent / 2)))
            .await
            .expect("trimmed");
        within(stream.append(long(sent)))
            .await
            .expect("there is room again");
        close(log).await;
    });
}

trait AppendAtOnce {
    async fn append_at_once(&self, payload: String) -> Result<(), tierlog::Kind>;
}

impl AppendAtOnce for tierlog::Stream {
    /// Appends and waits for the ack; gives what is short where it is refused, or has no place.
    async fn append_at_once(&self, payload: String) -> Result<(), tierlog::Kind> {
        match self.try_append(payload) {
            Ok(ticket) => match ticket.await {
                Ok(_) => Ok(()),
                Err(failed) if matches!(failed.error, Error::StorageFull) => {
                    Err(tierlog::Kind::Admission)
                }
                Err(failed) => panic!("{failed}"),
            },
            Err(tierlog::TryAppend::WouldBlock { kind, .. }) => Err(kind),
            Err(tierlog::TryAppend::Failed { error, .. }) => panic!("{error}"),
        }
    }
}

#[test]
fn a_compressor_that_dies_is_replaced_alone_and_nothing_is_lost() {
    on_each_runtime(|_| async {
        for action in [Action::Kill, Action::Panic] {
            let disk = SimDisk::new();
            let rig = rig(&disk);
            let (log, stream) = one_stream(&rig).await;
            rig.faults.arm("compressor.take", action, 2);
            append(&stream, 0..MANY).await;
            settled(&disk, &stream, 4).await;
            let health = until(&log, |health| !health.restarts.is_empty()).await;
            assert!(health.ok, "{health:?}");
            assert_eq!(health.restarts.len(), 1, "{health:?}");
            assert_eq!(health.restarts[0].actor, "compressor");
            holds(&stream, 0..MANY).await;
            close(log).await;
        }
    });
}

/// A job outlives the actor that began it. It would remove, as unfinished, what a successor has made
/// under the same name since, and by then that might be the only copy.
#[test]
fn a_compressor_is_replaced_only_when_the_last_of_its_jobs_has_ended() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("compression_workers", "2");
        let (log, stream) = one_stream(&rig).await;
        let warm = |path: &std::path::Path| path.extension().is_some_and(|e| e == "tlz");
        let held = rig.plan.hold(Calls::of(CallKind::WriteAt).at(warm));
        rig.faults.arm("compressor.take", Action::Kill, 2);
        append(&stream, 0..100).await;
        eventually("a write is held, and the actor is gone", || {
            held.parked() == 1 && rig.faults.passed("compressor.take") == 2
        })
        .await;
        settle().await;
        let made = rig.plan.count_at(CallKind::CreateNew, warm);
        let health = log.health().await;
        assert!(
            made == 1 && health.restarts.is_empty(),
            "{made}: {health:?}"
        );
        held.release();
        append(&stream, 100..MANY).await;
        settled(&disk, &stream, 4).await;
        let health = until(&log, |health| !health.restarts.is_empty()).await;
        assert!(health.ok, "{health:?}");
        holds(&stream, 0..MANY).await;
        close(log).await;
    });
}

#[test]
fn compression_that_fails_is_tried_again_and_costs_nothing_else() {
    on_each_runtime(|_| async {
        for (kind, fault) in [
            (CallKind::CreateNew, Fault::Full),
            (CallKind::WriteAt, Fault::Full),
        ] {
            let disk = SimDisk::new();
            let rig = rig(&disk);
            let warm = |path: &std::path::Path| path.extension().is_some_and(|e| e == "tlz");
            let armed = rig.plan.fail(Calls::of(kind).at(warm), fault);
            let (log, stream) = one_stream(&rig).await;
            append(&stream, 0..MANY).await;
            settled(&disk, &stream, 4).await;
            assert_eq!(armed.disarm(), 1);
            let health = log.health().await;
            assert!(health.ok && health.restarts.is_empty(), "{health:?}");
            holds(&stream, 0..MANY).await;
            close(log).await;
        }
    });
}

/// A call failed while a segment was compressed. It was left alone for ten minutes, like one that is
/// damaged, and appends waited so long for the only room that there was to come.
#[test]
fn one_failing_call_does_not_hold_up_the_only_segment_that_can_make_room() {
    on_each_runtime(|_| async {
        let of_segment: fn(&std::path::Path) -> bool = crate::faults::rig::segment;
        let warm = |path: &std::path::Path| path.extension().is_some_and(|e| e == "tlz");
        for calls in [
            Calls::of(CallKind::CreateNew).at(warm),
            Calls::of(CallKind::SyncData).at(warm),
            Calls::of(CallKind::ReadAt).at(of_segment),
        ] {
            let disk = SimDisk::new();
            let rig = rig(&disk).with("hot_budget", "160KiB");
            let armed = rig.plan.fail(calls, Fault::Io);
            let (log, stream) = one_stream(&rig).await;
            append(&stream, 0..200).await;
            assert_eq!(armed.disarm(), 1);
            holds(&stream, 0..200).await;
            close(log).await;
        }
    });
}
