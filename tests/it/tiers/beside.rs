//! Who reads beside the owner, and hears late of what moves.

use std::path::{Path, PathBuf};

use tierlog::{
    Error, From, Offset, ReadOnly, Stream,
    testing::{
        Action,
        storage::disk::{
            Access, Disk,
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::{append, files, long, rig};
use crate::{
    faults::{
        rig::{eventually, on_each_runtime, one_stream, segment, settle},
        workload::payload,
    },
    support::{close, texts, within},
};

/// A view had not heard that a segment was cut, compressed anew and dropped, and called it damage that the
/// records behind the cut were not where they had been.
#[test]
fn a_view_that_has_not_heard_of_a_cut_does_not_call_it_damage() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..100).await;
        within(stream.seal()).await.expect("sealed");
        let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
        let view = within(attach).await.expect("attached");
        let cut = stream.truncate_after(Some(Offset(49)));
        within(cut).await.expect("cut");
        append(&stream, 50..300).await;
        eventually("old segments are compressed alone", || {
            files(&disk, &stream, "tls").len() <= 4
        })
        .await;
        let seen = view.stream("s").expect("it is there");
        for from in 0..100 {
            let reader = seen.reader(From::Offset(Offset(from))).into_future();
            let mut reader = match within(reader).await {
                Ok(reader) => reader,
                // It has heard of it since.
                Err(Error::InvalidInput { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            let mut id = from;
            loop {
                match within(reader.next_batch(10)).await {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => {
                        for record in records {
                            assert_eq!(record.payload, long(id));
                            id += 1;
                        }
                    }
                    Err(Error::Truncated { end, .. }) => {
                        assert_eq!(end, Offset(50));
                        break;
                    }
                    Err(error) => panic!("from {from}: {error}"),
                }
            }
        }
        close(log).await;
    });
}

/// Ten records in one frame.
async fn batch(stream: &Stream, from: u64) {
    let records: Vec<_> = (from..from + 10).map(|id| payload(id).into()).collect();
    let acked = within(stream.append_batch(records)).await.expect("an ack");
    assert_eq!(acked.offset, Offset(from));
}

/// All that a view shows, from its start on.
async fn shown(view: &ReadOnly) -> Vec<String> {
    let seen = view.stream("s").expect("it is there");
    let reader = seen.reader(From::Earliest).into_future();
    let mut reader = within(reader).await.expect("a reader");
    let (mut records, start) = (Vec::new(), seen.watermarks().start);
    loop {
        let more = within(reader.next_batch(7)).await.expect("no error");
        if more.is_empty() {
            break;
        }
        records.extend(more);
    }
    let first = records.first().map(|record| record.offset);
    assert!(first.is_none_or(|first| first == start), "{first:?}");
    texts(&records)
}

/// The owner cuts in the midst of a frame, and writes what is kept of it to a fresh segment. A view that
/// learned of that knew where the stream ends and not that segment, and called it damage: "no segment
/// holds these records".
#[test]
fn a_view_finds_what_a_cut_has_kept_of_a_frame() {
    // In the first frame, in the last one, in one between; before and after the segment ended.
    for (end, sealed) in [(5, false), (27, false), (13, false), (13, true), (27, true)] {
        on_each_runtime(|_| async {
            let disk = SimDisk::new();
            let rig = rig(&disk);
            let (log, stream) = one_stream(&rig).await;
            for from in [0, 10, 20] {
                batch(&stream, from).await;
            }
            if sealed {
                within(stream.seal()).await.expect("sealed");
            }
            let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
            let view = within(attach).await.expect("attached");
            let seen = view.stream("s").expect("it is there");
            let at_end = seen.reader(From::Offset(Offset(end))).into_future();
            let mut at_end = within(at_end).await.expect("a reader");
            let cut = stream.truncate_after(Some(Offset(end - 1)));
            assert_eq!(within(cut).await.expect("cut"), Offset(end));
            within(view.refresh()).await.expect("it can be read");
            let mut expected: Vec<_> = (0..end).map(payload).collect();
            assert_eq!(seen.watermarks().durable, Offset(end));
            assert!(shown(&view).await == expected, "cut at {end}");
            // It was not cut off under this one.
            let none = within(at_end.next_batch(7)).await.expect("no error");
            assert_eq!(none.len(), 0);
            // What follows stands behind what was kept, in the same segment.
            batch(&stream, end).await;
            within(view.refresh()).await.expect("it can be read");
            expected.extend((end..end + 10).map(payload));
            assert!(shown(&view).await == expected, "cut at {end}, appended");
            within(stream.seal()).await.expect("sealed");
            within(view.refresh()).await.expect("it can be read");
            assert!(shown(&view).await == expected, "cut at {end}, sealed");
            close(log).await;
        });
    }
}

/// The same, where the view hears of several cuts at once.
#[test]
fn a_view_finds_what_several_cuts_have_kept() {
    // What is cut to, after each of which ten more records come.
    for cuts in [[25, 31], [25, 22], [25, 13], [13, 22], [5, 3], [7, 17]] {
        on_each_runtime(|_| async {
            let disk = SimDisk::new();
            let rig = rig(&disk);
            let (log, stream) = one_stream(&rig).await;
            for from in [0, 10, 20] {
                batch(&stream, from).await;
            }
            let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
            let view = within(attach).await.expect("attached");
            let mut end = 30;
            for to in cuts {
                let cut = stream.truncate_after(Some(Offset(to - 1)));
                end = within(cut).await.expect("cut").get();
                assert_eq!(end, to);
                batch(&stream, end).await;
                end += 10;
            }
            let expected: Vec<_> = (0..end).map(payload).collect();
            for what in ["at once", "again"] {
                within(view.refresh()).await.expect("it can be read");
                assert!(shown(&view).await == expected, "{cuts:?}, {what}");
            }
            close(log).await;
        });
    }
}

/// Cuts, and gives the file of what is kept of a frame.
async fn cut_to_25(disk: &SimDisk, stream: &Stream) -> PathBuf {
    let before = files(disk, stream, "tls");
    let cut = stream.truncate_after(Some(Offset(24)));
    assert_eq!(within(cut).await.expect("cut"), Offset(25));
    let mut after = files(disk, stream, "tls");
    after.retain(|path| !before.contains(path));
    assert_eq!(after.len(), 1, "one more");
    after.remove(0)
}

/// The owner cuts once more while a view looks for what the cut before has kept: the file that the
/// manifest named is gone when the view opens it.
#[test]
fn a_view_that_is_overtaken_by_a_cut_while_it_looks_for_another_one_looks_again() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        for from in [0, 10, 20] {
            batch(&stream, from).await;
        }
        // It has a plan of its own.
        let beside = super::rig(&disk);
        let attach = ReadOnly::attach_injected(beside.settings.clone(), beside.injected());
        let view = within(attach).await.expect("attached");
        let kept = cut_to_25(&disk, &stream).await;
        let (of_hold, is_gone) = (kept.clone(), || disk.open(&kept, Access::Read).is_err());
        let calls = Calls::of(CallKind::Open).at(move |path| path == of_hold);
        let hold = beside.plan.hold(calls);
        let overtake = async {
            eventually("it opens the file", || hold.parked() > 0).await;
            let cut = stream.truncate_after(Some(Offset(12)));
            assert_eq!(within(cut).await.expect("cut"), Offset(13));
            eventually("the file is gone", is_gone).await;
            hold.release();
        };
        let (refreshed, ()) = tokio::join!(within(view.refresh()), overtake);
        refreshed.expect("it can be read");
        let expected: Vec<_> = (0..13).map(payload).collect();
        assert!(shown(&view).await == expected);
        close(log).await;
    });
}

/// A seal fails, while the next segment is being synced. What that holds is claimed, and then written to a third
/// one, and it goes. A view that had seen it never looked for another place of what it knew to be durable.
#[test]
fn a_view_finds_what_is_written_again_in_another_segment() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..30).await;
        let second = |path: &Path| segment(path) && path.ends_with("00000000000000000001.tls");
        let syncing = rig.plan.hold(Calls::of(CallKind::SyncData).at(second));
        let sealing = rig.plan.hold(Calls::of(CallKind::SetLen).at(segment));
        rig.faults
            .arm("writer.before_repair_commit", Action::Park, 1);
        let other = stream.clone();
        let appended = tokio::spawn(async move { append(&other, 30..50).await });
        eventually("both have begun", || {
            syncing.parked() > 0 && sealing.parked() > 0
        })
        .await;
        sealing.release_failing(Fault::Io);
        // The writer hears of the seal before it hears of the sync.
        settle().await;
        let beside = super::rig(&disk);
        let attach = ReadOnly::attach_injected(beside.settings.clone(), beside.injected());
        let view = within(attach).await.expect("attached");
        let seen = view.stream("s").expect("it is there");
        syncing.release();
        let acked = stream.watermarks().durable;
        within(async {
            while seen.watermarks().durable <= acked {
                view.refresh().await.expect("it can be read");
                tokio::task::yield_now().await;
            }
        })
        .await;
        rig.faults.release("writer.before_repair_commit");
        within(appended).await.expect("acked");
        for end in [50, 60] {
            within(view.refresh()).await.expect("it can be read");
            let expected: Vec<_> = (0..end).map(long).collect();
            assert!(shown(&view).await == expected);
            append(&stream, end..end + 10).await;
        }
        close(log).await;
    });
}

/// Where it is not the owner who has moved on, a file that is gone is damage, and not an earlier end.
#[test]
fn what_a_cut_has_kept_and_is_gone_is_told_as_damage() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        for from in [0, 10, 20] {
            batch(&stream, from).await;
        }
        let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
        let view = within(attach).await.expect("attached");
        let kept = cut_to_25(&disk, &stream).await;
        disk.remove(&kept).expect("removed");
        within(view.refresh()).await.expect("it can be read");
        let seen = view.stream("s").expect("it is there");
        let reader = seen.reader(From::Offset(Offset(18))).into_future();
        let mut reader = within(reader).await.expect("a reader");
        let before = within(reader.next_batch(7)).await.expect("no error");
        assert_eq!(texts(&before), [payload(18), payload(19)]);
        match within(reader.next_batch(7)).await {
            Err(Error::Corrupt(damage)) => {
                assert_eq!((damage.from, damage.to), (Offset(20), Offset(25)));
            }
            other => panic!("no damage: {other:?}"),
        }
        drop(log);
    });
}
