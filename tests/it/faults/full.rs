//! P10: a full disk is weather.

use tierlog::{
    Error, From, Kind, NewRecord, Offset, Stream, TryAppend,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{
    rig::{Rig, eventually, manifest, on_each_runtime, one_stream, segment, settle, until},
    workload::payload,
};
use crate::support::{close, read_all, texts, within};

/// Appends until the door says that there is no room; gives how many are there by then.
async fn fill(stream: &Stream, from: u64) -> u64 {
    let mut id = from;
    loop {
        let record = NewRecord::from(payload(id));
        match stream.try_append(record.clone()) {
            Ok(ticket) => match within(ticket).await {
                Ok(ack) => {
                    assert_eq!(ack.offset, Offset(id));
                    id += 1;
                }
                Err(failed) => {
                    assert!(matches!(failed.error, Error::StorageFull), "{failed}");
                    assert_eq!(failed.records, [record], "it comes back");
                }
            },
            Err(TryAppend::WouldBlock { kind, payload }) => {
                assert_eq!((kind, payload), (Kind::Admission, record));
                return id;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn holds(stream: &Stream, ids: std::ops::Range<u64>) {
    let expected: Vec<_> = ids.map(payload).collect();
    assert_eq!(texts(&read_all(stream).await), expected);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room_again() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk);
        let (log, stream) = one_stream(&rig).await;
        within(stream.append(payload(0))).await.expect("an ack");
        disk.set_capacity(Some(disk.used() + (150 << 10)));
        let full = within(fill(&stream, 1)).await;
        assert!(full > 50, "{full}");
        holds(&stream, 0..full).await;
        let waiter = tokio::spawn({
            let stream = stream.clone();
            async move { stream.ready(Kind::Admission).await }
        });
        let reader = async {
            let mut reader = stream
                .reader(From::Offset(Offset(full - 1)))
                .follow()
                .await?;
            reader.try_next().await
        };
        let last = within(reader)
            .await
            .expect("reads go on")
            .expect("a record");
        assert_eq!(last.offset, Offset(full - 1));
        settle().await;
        assert!(!waiter.is_finished(), "there is no room yet");
        disk.set_capacity(None);
        within(waiter).await.expect("it wakes");
        for id in full..full + 100 {
            let ack = within(stream.append(payload(id))).await.expect("an ack");
            assert_eq!(ack.offset, Offset(id));
        }
        holds(&stream, 0..full + 100).await;
        let health = until(&log, |health| health.held_bytes == 0).await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        assert_eq!(
            log.counters().repairs,
            0,
            "room is allocated before anything is written"
        );
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        holds(&stream, 0..full + 100).await;
        close(log).await;
    });
}

#[test]
fn trimming_on_a_full_disk_makes_room_by_itself() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk);
        let (log, stream) = one_stream(&rig).await;
        within(stream.append(payload(0))).await.expect("an ack");
        disk.set_capacity(Some(disk.used() + (300 << 10)));
        let full = within(fill(&stream, 1)).await;
        // The manifest has its reserve: seals, trims and new streams are said in it all the same.
        let keep = full / 2;
        assert_eq!(
            within(stream.trim(Offset(keep))).await.expect("trimmed"),
            Offset(keep)
        );
        let other = within(log.log().stream("other")).await.expect("a stream");
        within(stream.ready(Kind::Admission)).await;
        let ack = within(stream.append(payload(full))).await.expect("an ack");
        assert_eq!(ack.offset, Offset(full));
        within(other.append(payload(0))).await.expect("an ack");
        holds(&stream, keep..full + 1).await;
        let health = log.health().await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        drop(log);
        let log = rig.reopen().await;
        let stream = within(log.log().existing("s")).await.expect("a stream");
        assert_eq!(stream.watermarks().start, Offset(keep));
        holds(&stream, keep..full + 1).await;
        close(log).await;
    });
}

/// The writer stands still with a record that will find no room; behind it wait a flush, a seal and
/// a truncation, which had shut the door. They were dropped with what was queued, and the door was
/// never opened again.
#[test]
fn commands_behind_a_record_without_room_are_carried_out() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new()).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        for id in 0..5 {
            within(stream.append(payload(id))).await.expect("an ack");
        }
        within(stream.seal()).await.expect("sealed");
        let armed = rig.plan.fail(
            Calls::of(CallKind::Allocate).at(segment).forever(),
            Fault::Full,
        );
        rig.faults.arm("writer.drain", Action::Park, 1);
        let seen = rig.faults.passed("writer.drain");
        let queued = stream.try_append(payload(5)).expect("room");
        within(rig.faults.reached("writer.drain", seen)).await;
        let command = |which: u8| {
            let stream = stream.clone();
            tokio::spawn(async move {
                match which {
                    0 => stream.flush().await,
                    1 => stream.seal().await,
                    _ => stream.truncate_after(Some(Offset(4))).await,
                }
            })
        };
        let mut commands = Vec::new();
        for which in 0..3 {
            commands.push(command(which));
            settle().await;
        }
        rig.faults.release("writer.drain");
        let failed = within(queued).await.expect_err("no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed}");
        let flushed = within(commands.remove(0)).await.expect("no panic");
        assert!(
            matches!(flushed, Err(Error::StorageFull) | Ok(Offset(5))),
            "{flushed:?}"
        );
        for command in commands {
            let outcome = within(command).await.expect("no panic");
            assert_eq!(outcome.expect("carried out"), Offset(5));
        }
        armed.disarm();
        let ack = within(stream.append(payload(5)))
            .await
            .expect("the door is open");
        assert_eq!(ack.offset, Offset(5));
        holds(&stream, 0..6).await;
        assert_eq!(log.health().await.held_bytes, 0);
        close(log).await;
    });
}

/// One record is written and its sync is under way when the next finds no room; then the sync fails,
/// and there is no room to write it again. Its ticket belongs to what ended with the refusal.
#[test]
fn a_ticket_from_before_the_disk_was_full_ends_when_its_sync_fails() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("flush", "every 1ms")
            .with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        within(stream.append(payload(0))).await.expect("an ack");
        let held = rig.plan.hold(Calls::of(CallKind::SyncData).at(segment));
        let unsynced = stream.try_append(payload(1)).expect("room");
        super::disk::wait_held(&held).await;
        let armed = rig.plan.fail(
            Calls::of(CallKind::Allocate).at(segment).forever(),
            Fault::Full,
        );
        // More than what is allocated.
        let large = NewRecord::new(vec![7; 15_900]);
        let mut refused = Vec::new();
        for _ in 0..3 {
            if let Ok(ticket) = stream.try_append(large.clone()) {
                refused.push(ticket);
            }
        }
        // While the sync is held: a refusal for the bytes that wait would prove nothing.
        assert!(!refused.is_empty());
        for ticket in refused {
            let failed = within(ticket).await.expect_err("no room");
            assert!(matches!(failed.error, Error::StorageFull), "{failed}");
        }
        eventually("refused", || {
            matches!(
                stream.try_append("x"),
                Err(TryAppend::WouldBlock {
                    kind: Kind::Admission,
                    ..
                })
            )
        })
        .await;
        held.release_failing(Fault::Io);
        let failed = within(unsynced).await.expect_err("nobody knows");
        assert!(
            matches!(failed.error, Error::Indeterminate { .. }),
            "{failed}"
        );
        let health = until(&log, |health| health.held_bytes == 0).await;
        assert_eq!(health.failed_streams.len(), 1, "{health:?}");
        armed.disarm();
        let _ = within(log.shutdown(crate::support::PATIENCE))
            .await
            .expect("a report");
    });
}

#[test]
fn a_segment_whose_seal_found_no_room_in_the_manifest_is_sealed_when_there_is_some() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk)
            .with("idle_mark", "1h")
            .with("max_streams", "1024");
        let (log, stream) = one_stream(&rig).await;
        within(stream.append(payload(0))).await.expect("an ack");
        let full = Calls::of(CallKind::Allocate).at(manifest).forever();
        let full = rig.plan.fail(full, Fault::Full);
        // Names get shorter until not even one of a byte fits: the entry of a seal is longer.
        for len in [200, 50, 1] {
            for n in 0_u32.. {
                let name = char::from_u32(0x100 + n).expect("a letter");
                let name = name.to_string() + &"x".repeat(len);
                match within(log.log().stream(&name)).await {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(matches!(error, Error::StorageFull), "{error}");
                        break;
                    }
                }
            }
        }
        for _ in 0..2 {
            let refused = within(stream.seal()).await.expect_err("no room");
            assert!(matches!(refused, Error::StorageFull), "{refused}");
        }
        holds(&stream, 0..1).await;
        full.disarm();
        let sealed = async || {
            let segments = within(stream.segments()).await.expect("segments");
            segments.iter().any(|segment| segment.state == "sealed")
        };
        within(async {
            while !sealed().await {
                tokio::task::yield_now().await;
            }
        })
        .await;
        within(stream.append(payload(1))).await.expect("an ack");
        assert_eq!(within(stream.seal()).await.expect("sealed"), Offset(2));
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        holds(&stream, 0..2).await;
        close(log).await;
    });
}
