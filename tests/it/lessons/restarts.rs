//! Records that were lost, doubled or mixed up by closing and opening again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tierlog::{
    Level, Offset, Settings, Stream, StreamId, Supervisor,
    testing::storage::disk::{Access, Disk, fault::CallKind, sim::SimDisk},
};

use super::read;
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle},
    folder::files,
    support::{close, open, open_when_free, small, within},
};

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Dropped,
}

const ENDS: [End; 2] = [End::Closed, End::Dropped];

async fn end(log: Supervisor, how: End) {
    match how {
        End::Closed => close(log).await,
        End::Dropped => drop(log),
    }
}

/// Appends records so that each gets a frame of its own.
async fn each_alone(stream: &Stream, payloads: &[String]) {
    for payload in payloads {
        let ack = stream.append_at(payload.clone(), Level::Written);
        within(ack).await.expect("written");
    }
}

/// The writer filled each record up to a multiple of some bytes, and recovery did not know of it: of
/// 1,000 records of 13 bytes, all of them synced, a clean close and an open left one.
#[tokio::test]
async fn a_thousand_records_of_13_bytes_come_back() {
    for how in ENDS {
        let dir = tempfile::tempdir().expect("a folder");
        let mut settings = small(dir.path());
        settings.set("flush", "every 5ms").expect("a setting");
        let log = open(&settings).await;
        let stream = log.log().stream("s").await.expect("a stream");
        let mut expected: Vec<_> = (0..1000).map(|n| format!("{n:013}")).collect();
        each_alone(&stream, &expected).await;
        within(stream.flush()).await.expect("durable");
        assert_eq!(log.counters().frames, 1000, "each in a frame of its own");
        end(log, how).await;
        for n in 1000..1003 {
            let log = within(open_when_free(&settings)).await;
            let stream = log.log().existing("s").await.expect("it is there");
            assert_eq!(read(&stream).await, expected);
            let ack = within(stream.append("more")).await.expect("an ack");
            assert_eq!(ack.offset, Offset(n));
            expected.push("more".into());
            end(log, how).await;
        }
    }
}

/// The same with lengths on both sides of every multiple of eight, alone and together in frames.
#[test]
fn records_of_every_length_around_the_padding_come_back() {
    for how in ENDS {
        on_each_runtime(|_| async move {
            let rig = Rig::sim(&SimDisk::new());
            let (log, stream) = one_stream(&rig).await;
            let lengths = (0..=40).chain(120..=136);
            let mut expected: Vec<_> = lengths.clone().map(|len| "x".repeat(len)).collect();
            each_alone(&stream, &expected).await;
            let mut appender = stream.appender();
            for len in lengths {
                let payload = "y".repeat(len);
                within(appender.push(payload.as_bytes()))
                    .await
                    .expect("room");
                if len % 3 == 0 {
                    within(appender.send()).await.expect("sent");
                }
                expected.push(payload);
            }
            within(appender.send()).await.expect("sent");
            within(stream.flush()).await.expect("durable");
            end(log, how).await;
            for _ in 0..2 {
                let log = rig.reopen().await;
                let stream = within(log.log().existing("s")).await.expect("a stream");
                assert_eq!(read(&stream).await, expected);
                end(log, how).await;
            }
        });
    }
}

/// Waits until a stream has so many files.
async fn has_files(dir: &Path, stream: &Stream, count: usize) {
    let folder = dir.join("log/streams").join(stream.id().to_string());
    eventually("a segment is made ahead", || {
        files(&folder, ".tls").len() == count
    })
    .await;
}

/// A close left a segment behind that was made ahead and held nothing yet, and the log could not be
/// opened any more.
#[tokio::test]
async fn a_log_that_was_left_with_empty_segments_opens_again() {
    for how in ENDS {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        let log = open(&settings).await;
        let mut expected = BTreeMap::from([("empty", 0)]);
        log.log().stream("empty").await.expect("a stream");
        // More than half of a segment: the next one is made ahead. In the second stream it is
        // written to from then on, but for the fact that nothing comes.
        for name in ["ahead", "active and blank"] {
            let stream = log.log().stream(name).await.expect("a stream");
            for _ in 0..4 {
                within(stream.append(vec![1; 14_000]))
                    .await
                    .expect("an ack");
            }
            has_files(dir.path(), &stream, 2).await;
            if name != "ahead" {
                within(stream.seal()).await.expect("sealed");
            }
            expected.insert(name, 4);
        }
        // One that has much more room than records.
        let stream = log.log().stream("roomy").await.expect("a stream");
        within(stream.append("one")).await.expect("an ack");
        expected.insert("roomy", 1);
        end(log, how).await;
        for _ in 0..3 {
            let log = within(open_when_free(&settings)).await;
            let report = log.recovery();
            assert_eq!(report.damage().count(), 0, "{report}");
            for (name, count) in &mut expected {
                let stream = log.log().existing(name).await.expect("it is there");
                assert_eq!(read(&stream).await.len(), *count, "{name}");
                let ack = within(stream.append("more")).await.expect("an ack");
                assert_eq!(ack.offset, Offset(*count as u64), "{name}");
                *count += 1;
            }
            end(log, how).await;
        }
    }
}

/// The segment that a close had made ahead, and not used, was as long as any, and the next open read it to
/// its end before it removed it.
#[test]
fn what_a_close_leaves_of_segments_that_it_did_not_use_has_no_byte_to_be_read() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk);
        let (log, ahead) = one_stream(&rig).await;
        let begun = within(log.log().stream("active and blank")).await;
        let begun = begun.expect("a stream");
        let made = |stream: &Stream| rig.settings.data.join(format!("streams/{}", stream.id()));
        let files = |stream: &Stream| {
            let names = disk.list(&made(stream)).expect("a folder");
            let mut names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
            names.sort();
            let paths = names.into_iter().map(|name| made(stream).join(name));
            paths.filter(|path| segment(path)).collect::<Vec<_>>()
        };
        let half = rig.settings.segment_size.bytes() as usize * 5 / 8;
        for stream in [&ahead, &begun] {
            let seen = rig.faults.passed("coordinator.after_commit");
            for _ in 0..5 {
                let ack = within(stream.append(vec![1; half / 5])).await;
                ack.expect("an ack");
            }
            eventually("a segment is made ahead", || {
                rig.faults.passed("coordinator.after_commit") == seen + 2
            })
            .await;
            settle().await;
        }
        within(begun.seal()).await.expect("sealed");
        close(log).await;

        let len = |path: &PathBuf| {
            let file = disk.open(path, Access::Read).expect("a file");
            file.len().expect("a length")
        };
        let blank = [&ahead, &begun].map(|stream| files(stream).pop().expect("a file"));
        let others = [&ahead, &begun].map(|stream| files(stream).remove(0));
        assert!(others.iter().all(|path| len(path) > half as u64));
        assert_eq!(blank.each_ref().map(len), [0, 0]);

        rig.plan.reset_counts();
        let log = rig.open().await;
        // Where its header should be, and where the rest should be.
        for path in &blank {
            let reads = rig.plan.count_at(CallKind::ReadAt, |read| read == path);
            assert!(reads <= 2, "{reads} of {}", path.display());
        }
        let recovery = log.recovery();
        assert!(recovery.clean, "{recovery}");
        let removed = |path: &&PathBuf| segment(path);
        assert_eq!(recovery.removed.iter().filter(removed).count(), 2);
        assert!(
            blank.iter().all(|path| recovery.removed.contains(path)),
            "{recovery}"
        );
        for name in ["s", "active and blank"] {
            let stream = within(log.log().existing(name)).await.expect("a stream");
            assert_eq!(read(&stream).await.len(), 5);
            let ack = within(stream.append("more")).await.expect("an ack");
            assert_eq!(ack.offset, Offset(5));
        }
        close(log).await;
    });
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Opens streams in this order, appends to each, and says who they are.
async fn live(
    settings: &Settings,
    order: &[&'static str],
    how: End,
    ids: &mut BTreeMap<&'static str, StreamId>,
) {
    let log = within(open_when_free(settings)).await;
    for name in order {
        let stream = log.log().stream(name).await.expect("a stream");
        assert_eq!(*ids.entry(name).or_insert(stream.id()), stream.id());
        let next = stream.watermarks().next;
        for n in 0..3 {
            let payload = format!("{name} {}", next.get() + n);
            let ack = within(stream.append(payload)).await.expect("an ack");
            assert_eq!(ack.offset, next.plus(n));
        }
    }
    end(log, how).await;
}

/// Files were named after a counter of registrations: whoever opened the streams in another order
/// than the last process read one stream's records in another one.
#[tokio::test]
async fn streams_keep_their_records_in_whatever_order_they_are_opened() {
    for how in ENDS {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        let mut ids = BTreeMap::new();
        let [a, b, c, d, e] = NAMES;
        let lives: [&[&'static str]; 6] = [
            &[c, a],
            &[a, c],
            &[b, a, d],
            &[e, d, c, b, a],
            &[d],
            &[a, b, c, d, e],
        ];
        for order in lives {
            live(&settings, order, how, &mut ids).await;
        }
        let log = within(open_when_free(&settings)).await;
        for name in NAMES.iter().rev() {
            let stream = log.log().existing(name).await.expect("it is there");
            assert_eq!(stream.id(), ids[name]);
            let times = lives.iter().filter(|order| order.contains(name)).count();
            let expected: Vec<_> = (0..3 * times).map(|n| format!("{name} {n}")).collect();
            assert_eq!(read(&stream).await, expected);
        }
        close(log).await;
    }
}
