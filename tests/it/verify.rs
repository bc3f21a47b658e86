//! Checking a log while its owner works, or where it was killed: what is listed is damaged, and
//! what is not damaged is not listed.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tierlog::{
    From, Offset, ReadOnly, Settings, Stream, Supervisor, VerifyReport,
    testing::{Action, storage::segment::HEADER_LEN},
};

use crate::{
    faults::rig::{Rig, eventually},
    support::{close, open, small, within},
};

async fn attach(data: &Path) -> ReadOnly {
    within(ReadOnly::attach(data)).await.expect("attached")
}

async fn verify(data: &Path) -> VerifyReport {
    let view = attach(data).await;
    within(view.verify(None, |_, _| ()))
        .await
        .expect("verified")
}

/// A log that stands between two steps of a rollover: the footer of a segment is written and synced,
/// the next segment is in use, and the manifest does not say yet that the first one is sealed.
/// Gives the offset with which the second one begins.
async fn in_the_midst_of_a_rollover(rig: &Rig) -> (Supervisor, Stream, u64) {
    let log = rig.open().await;
    let stream = log.log().stream("s").await.expect("a stream");
    let mut offset = 0;
    // More than half of it, so that the next one is made ahead.
    let created = rig.faults.passed("coordinator.after_commit");
    while offset < 100 || rig.faults.passed("coordinator.after_commit") < created + 2 {
        within(stream.append(vec![b'x'; 500]))
            .await
            .expect("an ack");
        offset += 1;
    }
    let seen = rig.faults.passed("coordinator.rollover");
    rig.faults.arm("coordinator.rollover", Action::Park, 1);
    let sealing = stream.clone();
    tokio::spawn(async move { sealing.seal().await });
    within(rig.faults.reached("coordinator.rollover", seen)).await;
    for _ in 0..5 {
        within(stream.append("behind the rollover"))
            .await
            .expect("an ack");
    }
    (log, stream, offset)
}

/// The files of a log's segments, in order.
fn segments(data: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(data.join("streams")).expect("a folder");
    let folder = folder.flatten().next().expect("one stream").path();
    let files = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = files.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// `tierlog verify` beside a writer, or behind a `kill -9`, once took the footer of a segment that
/// was being sealed for records that were lost, up to the end of the stream.
#[tokio::test]
async fn a_segment_whose_footer_the_manifest_does_not_know_yet_is_not_damaged() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = Rig::real(dir.path());
    let (log, stream, first) = in_the_midst_of_a_rollover(&rig).await;
    let report = verify(&rig.settings.data).await;
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(report.records, first + 5);
    rig.faults.release("coordinator.rollover");
    within(stream.flush()).await.expect("durable");
    close(log).await;
}

/// A damaged first frame was listed three times: as the end of the segment before, as itself, and as
/// offsets that no segment holds.
#[tokio::test]
async fn damage_to_the_first_frame_behind_a_rollover_is_listed_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = Rig::real(dir.path());
    let (log, _stream, first) = in_the_midst_of_a_rollover(&rig).await;
    drop(log);
    rig.faults.release("coordinator.rollover");
    eventually("the file is no longer written to", || {
        tierlog::testing::storage::disk::Disk::lock(
            &tierlog::testing::storage::disk::RealDisk,
            &rig.settings.data.join("LOCK"),
        )
        .is_ok()
    })
    .await;
    let damaged = &segments(&rig.settings.data)[1];
    let file = OpenOptions::new().write(true).open(damaged).expect("open");
    file.write_all_at(b"?", HEADER_LEN + 40).expect("written");
    let report = verify(&rig.settings.data).await;
    let listed: Vec<_> = report.damage.iter().map(|d| (d.from, d.to)).collect();
    assert_eq!(
        listed,
        [(Offset(first), Offset(first + 1))],
        "{:?}",
        report.damage
    );
}

/// A log with so many sealed segments of five records each.
async fn in_parts(settings: &Settings, parts: u64) -> (Supervisor, Stream) {
    let log = open(settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for part in 0..parts {
        for n in 0..5 {
            within(stream.append(format!("{part}/{n}")))
                .await
                .expect("an ack");
        }
        within(stream.seal()).await.expect("sealed");
    }
    (log, stream)
}

/// The files of trimmed segments go; who had read the manifest before missed them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_are_trimmed_while_others_are_checked_are_not_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let (log, stream) = in_parts(&settings, 6).await;
    let view = attach(&settings.data).await;
    let mut trimmed = false;
    let report = view.verify(None, |_, _| {
        if !std::mem::replace(&mut trimmed, true) {
            tokio::task::block_in_place(|| {
                let trim = within(stream.trim(Offset(25)));
                tokio::runtime::Handle::current().block_on(trim)
            })
            .expect("trimmed");
        }
    });
    let report = within(report).await.expect("verified");
    assert!(trimmed);
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    let first = within(reader.try_next()).await.expect("read");
    assert_eq!(first.expect("a record").offset, Offset(25));
    close(log).await;
}

/// What a truncation takes away is not missing either, and neither is what is appended in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_truncated_while_it_is_checked_is_not_damaged() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let (log, stream) = in_parts(&settings, 4).await;
    let view = attach(&settings.data).await;
    let mut cut = false;
    let report = view.verify(None, |_, _| {
        if !std::mem::replace(&mut cut, true) {
            let change = async {
                let end = within(stream.truncate_after(Some(Offset(7)))).await;
                assert_eq!(end.expect("cut"), Offset(8));
                within(stream.append("in its place")).await.expect("an ack");
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(change));
        }
    });
    let report = within(report).await.expect("verified");
    assert!(cut);
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    close(log).await;
}
