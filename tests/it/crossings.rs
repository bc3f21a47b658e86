//! Trims, cuts and crashes that meet.

use std::time::Duration;

use tierlog::{
    NewRecord, Offset, ReadOnly, Settings, Supervisor, testing::storage::disk::sim::SimDisk,
};

use crate::{
    sim,
    track::{Found, read},
};

async fn open(settings: &Settings, disk: &SimDisk) -> Supervisor {
    let log = Supervisor::open_with(settings.clone(), sim::on(disk.clone())).await;
    let log = log.expect("it opens");
    assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
    log
}

/// A frame with two records was cut in the middle, at the start of the stream: what was kept of it
/// lay below the start as a whole. A crash later the segment behind it was taken for one that
/// begins there, and its one record was lost.
#[test]
fn a_cut_at_the_start_leaves_nothing_that_a_later_crash_stumbles_over() {
    let disk = SimDisk::new();
    let settings = sim::tiny();
    sim::run(async {
        let log = open(&settings, &disk).await;
        let stream = log.log().stream("s").await.expect("a stream");
        stream.append("0").await.expect("an ack");
        let two = ["1", "2"].map(NewRecord::from).to_vec();
        stream.append_batch(two).await.expect("an ack");
        stream.trim(Offset(2)).await.expect("trimmed");
        assert_eq!(
            stream.truncate_after(Some(Offset(1))).await.expect("cut"),
            Offset(2)
        );
    });
    let disk = disk.crash_process();
    sim::run(async {
        let log = open(&settings, &disk).await;
        let stream = log.log().existing("s").await.expect("it is there");
        stream.append("new 2").await.expect("an ack");
    });
    let disk = disk.crash_process();
    sim::run(async {
        let log = open(&settings, &disk).await;
        let stream = log.log().existing("s").await.expect("it is there");
        let found = read(&stream).await.expect("it is whole");
        assert_eq!(
            found,
            Found {
                start: 2,
                payloads: vec!["new 2".into()]
            }
        );
        log.shutdown(Duration::from_secs(10)).await.expect("closed");
        let view = ReadOnly::attach_injected(settings.clone(), sim::on(disk.clone())).await;
        let view = view.expect("attached");
        let report = view.verify(None, |_, _| ()).await.expect("verified");
        assert_eq!(report.damage, []);
    });
}

/// A trim and a cut that cross: one of them is refused, or both go together; never does a stream
/// start behind its end.
#[test]
fn a_trim_and_a_cut_that_cross_leave_no_start_behind_the_end() {
    for trim_first in [true, false] {
        for (before, end) in [(8, 5), (5, 5), (5, 8), (9, 1)] {
            let disk = SimDisk::new();
            let settings = sim::tiny();
            let start = sim::run(async {
                let log = open(&settings, &disk).await;
                let stream = log.log().stream("s").await.expect("a stream");
                for n in 0..10 {
                    stream.append(n.to_string()).await.expect("an ack");
                }
                let trim = stream.trim(Offset(before));
                let cut = stream.truncate_after(Some(Offset(end - 1)));
                let (trimmed, cut) = if trim_first {
                    tokio::join!(trim, cut)
                } else {
                    let (cut, trimmed) = tokio::join!(cut, trim);
                    (trimmed, cut)
                };
                let marks = stream.watermarks();
                assert!(
                    marks.start <= marks.durable,
                    "{trimmed:?}, {cut:?}: {marks:?}"
                );
                if before > end {
                    assert!(trimmed.is_err() || cut.is_err(), "{trimmed:?}, {cut:?}");
                }
                let next = stream.append("more").await.expect("an ack").offset;
                assert_eq!(next, marks.next, "{trimmed:?}, {cut:?}");
                marks.start
            });
            let disk = disk.crash_process();
            sim::run(async {
                let log = open(&settings, &disk).await;
                let stream = log.log().existing("s").await.expect("it is there");
                let found = read(&stream).await.expect("it is whole");
                assert_eq!(found.start, start.get());
                assert_eq!(found.payloads.last().map(String::as_str), Some("more"));
            });
        }
    }
}
