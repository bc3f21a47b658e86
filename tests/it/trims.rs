//! What a trim frees, and when.

use std::path::Path;

use tierlog::{
    FlushPolicy, Level, Offset, ReadOnly, Settings, Size, Stream, Supervisor,
    testing::{
        Action,
        storage::{
            SegmentNo,
            disk::{Access, Disk, sim::SimDisk},
            layout::Layout,
        },
    },
};

use crate::{
    faults::rig::{Rig, settle},
    sim,
    support::{close, open, read_all, small, within},
};

async fn appended(stream: &Stream, count: u64) {
    for _ in 0..count {
        within(stream.append(vec![b'x'; 100]))
            .await
            .expect("an ack");
    }
}

/// Files that hold records.
fn files(data: &Path) -> usize {
    let folders = std::fs::read_dir(data.join("streams")).expect("a folder");
    let folders = folders.map(|entry| entry.expect("an entry").path());
    let files = folders.flat_map(|path| std::fs::read_dir(path).expect("a folder"));
    let filled = |path: &Path| std::fs::read(path).expect("a file").iter().any(|b| *b != 0);
    files
        .filter(|entry| filled(&entry.as_ref().expect("an entry").path()))
        .count()
}

async fn no_damage(data: &Path) {
    let view = within(ReadOnly::attach(data)).await.expect("attached");
    let report = within(view.verify(None, |_, _| ()))
        .await
        .expect("verified");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(view.recovery().damage().count(), 0, "{}", view.recovery());
}

/// Nobody can trim the open segment, and a trim that gave up all of its records was done before it
/// was sealed: its file stayed until a later trim moved the start. In a log whose budget was used up
/// none could, because nothing could be appended.
#[tokio::test]
async fn a_segment_whose_records_were_all_trimmed_goes_when_it_is_sealed() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    appended(&stream, 10).await;
    within(stream.trim(Offset(10))).await.expect("trimmed");
    assert_eq!(files(&settings.data), 1, "it is written to");
    within(stream.seal()).await.expect("sealed");
    // It goes behind the answer of the seal; what is asked for next comes behind that.
    within(stream.trim(Offset(10))).await.expect("trimmed");
    assert_eq!(files(&settings.data), 0);
    assert!(stream.segments().await.expect("segments").is_empty());
    no_damage(&settings.data).await;
    close(log).await;
    no_damage(&settings.data).await;
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("it is there");
    assert_eq!(stream.watermarks().start, Offset(10));
    appended(&stream, 1).await;
    close(log).await;
}

/// A trim gave up all that was durable of the open segment, and the process was killed. The next one made
/// copies of what was only written, and closed the segment behind the trim that should have removed it: it took
/// of the budget for good, each attempt to compress it was refused, and appends that waited for its room
/// waited for ever.
#[test]
fn a_segment_of_which_a_recovery_leaves_only_what_was_trimmed_is_gone() {
    let (disk, mut settings) = (SimDisk::new(), sim::tiny());
    settings.flush = FlushPolicy::Manual;
    let left = sim::run(async {
        let opened = Supervisor::open_with(settings.clone(), sim::on(disk.clone())).await;
        let log = opened.expect("the log opens");
        let stream = log.log().stream("s").await.expect("a stream");
        written(&stream, 2).await;
        within(stream.flush()).await.expect("flushed");
        written(&stream, 2).await;
        within(stream.trim(Offset(2))).await.expect("trimmed");
        disk.copy()
    });
    sim::run(async {
        let opened = Supervisor::open_with(settings, sim::on(left.clone())).await;
        let log = opened.expect("the log opens");
        let stream = log.log().existing("s").await.expect("it is there");
        let marks = stream.watermarks();
        assert_eq!((marks.start, marks.next), (Offset(2), Offset(4)));
        let segment = Layout::new("/data/log").segment(stream.id(), SegmentNo(0));
        let file = left.open(&segment, Access::Read);
        assert!(file.is_err(), "it is there, and of no use");
        assert_eq!(read_all(&stream).await.len(), 2);
        close(log).await;
    });
}

async fn written(stream: &Stream, count: u64) {
    for _ in 0..count {
        let ack = stream.append_at(vec![b'x'; 100], Level::Written);
        within(ack).await.expect("an ack");
    }
}

/// The same with a budget: what one stream keeps of nothing must not stop another one for good.
#[tokio::test]
async fn a_stream_of_which_nothing_is_kept_holds_nothing_of_the_budget() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        hot_budget: Some(Size::new(2 * small(dir.path()).segment_size.bytes())),
        ..small(dir.path())
    };
    let log = open(&settings).await;
    let idle = log.log().stream("idle").await.expect("a stream");
    appended(&idle, 10).await;
    within(idle.trim(Offset(10))).await.expect("trimmed");
    within(idle.seal()).await.expect("sealed");
    let busy = log.log().stream("busy").await.expect("a stream");
    for _ in 0..100 {
        within(busy.append(vec![b'x'; 8_000]))
            .await
            .expect("an ack");
        let durable = busy.watermarks().durable;
        assert_eq!(within(busy.trim(durable)).await.expect("trimmed"), durable);
    }
    close(log).await;
}

/// The manifest is told of a seal and of a trim in one commit. Where the trim came first, it knew
/// nothing of the seal, kept the segment, and lost its file all the same: damage, at the next open.
#[tokio::test]
async fn a_trim_and_a_seal_that_are_committed_together_lose_no_file_that_the_manifest_names() {
    for trim_first in [true, false] {
        let dir = tempfile::tempdir().expect("a folder");
        let rig = Rig::real(dir.path()).with("idle_mark", "1h");
        let log = rig.open().await;
        let stream = log.log().stream("s").await.expect("a stream");
        appended(&stream, 10).await;
        // Hold the manifest with something else.
        let seen = rig.faults.passed("manifest.before_commit");
        rig.faults.arm("manifest.before_commit", Action::Park, 1);
        let other = tokio::spawn({
            let log = log.log();
            async move { log.stream("other").await.map(drop) }
        });
        within(rig.faults.reached("manifest.before_commit", seen)).await;
        let ways = match trim_first {
            true => ["coordinator.trim", "coordinator.rollover"],
            false => ["coordinator.rollover", "coordinator.trim"],
        };
        let mut waits = Vec::new();
        for point in ways {
            let seen = rig.faults.passed(point);
            let stream = stream.clone();
            waits.push(tokio::spawn(async move {
                match point {
                    "coordinator.trim" => stream.trim(Offset(10)).await,
                    _ => stream.seal().await,
                }
            }));
            within(rig.faults.reached(point, seen)).await;
            settle().await;
        }
        rig.faults.release("manifest.before_commit");
        within(other).await.expect("no panic").expect("a stream");
        for wait in waits {
            assert_eq!(
                within(wait).await.expect("no panic").expect("done"),
                Offset(10)
            );
        }
        within(stream.trim(Offset(10))).await.expect("trimmed");
        assert_eq!(files(&rig.settings.data), 0, "trim first: {trim_first}");
        no_damage(&rig.settings.data).await;
        close(log).await;
        no_damage(&rig.settings.data).await;
    }
}
