//! The stated limit of telling damage from a torn tail (P6): the very last durable frame of a log
//! that was not closed, before anything claims it.

use tierlog::{Error, From, Offset, Settings, testing::storage::segment::FrameHead};

use crate::{
    folder::{files, patch},
    support::{close, open, open_when_free, small, within},
};

/// Ten records in a frame each, all durable, and no close. Gives the place of the last frame.
async fn killed(settings: &Settings) -> (std::path::PathBuf, usize) {
    let log = open(settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for n in 0..10 {
        within(stream.append(format!("record {n}")))
            .await
            .expect("an ack");
    }
    drop(log);
    // Whoever has the lock next is alone with the files.
    let segment = files(&settings.data, ".tls").remove(0);
    let bytes = std::fs::read(&segment).expect("a file");
    let (mut pos, mut last) = (128, 0);
    while let Some(head) = FrameHead::parse(&bytes[pos..]) {
        last = pos;
        pos += head.total_len();
    }
    (segment, last)
}

/// An idle mark would be a claim, too: there is none within the time of these tests.
fn unmarked(dir: &std::path::Path) -> Settings {
    Settings {
        idle_mark: std::time::Duration::from_secs(3_600),
        ..small(dir)
    }
}

#[tokio::test]
async fn the_last_durable_frame_looks_like_a_tear_when_nothing_claims_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = unmarked(dir.path());
    let (segment, last) = killed(&settings).await;
    patch(&segment, |bytes| bytes[last + 50] ^= 1);
    std::fs::remove_file(settings.data.join("claims")).expect("removed");
    let log = open_when_free(&settings).await;
    let report = log.recovery();
    assert_eq!(report.damage().count(), 0, "{report}");
    let cut = report.streams[0].cut.expect("it was cut");
    assert_eq!((cut.from, cut.pos), (Offset(9), last as u64));
    let stream = log.log().existing("s").await.expect("there");
    assert_eq!(crate::support::read_all(&stream).await.len(), 9);
    close(log).await;
}

#[tokio::test]
async fn any_frame_before_the_last_is_damage_even_when_only_frames_claim_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = unmarked(dir.path());
    let (segment, _) = killed(&settings).await;
    let bytes = std::fs::read(&segment).expect("a file");
    let first = FrameHead::parse(&bytes[128..])
        .expect("a frame")
        .total_len();
    patch(&segment, |bytes| bytes[128 + first + 50] ^= 1);
    std::fs::remove_file(settings.data.join("claims")).expect("removed");
    let log = open_when_free(&settings).await;
    let told: Vec<_> = log.recovery().damage().map(|d| (d.from, d.to)).collect();
    assert_eq!(told, [(Offset(1), Offset(2))]);
    let stream = log.log().existing("s").await.expect("there");
    let mut reader = stream
        .reader(From::Earliest)
        .skip_damage()
        .await
        .expect("a reader");
    let mut found = Vec::new();
    while let Some(record) = within(reader.try_next()).await.expect("no error") {
        found.push(record.offset.get());
    }
    assert_eq!(found, [0, 2, 3, 4, 5, 6, 7, 8, 9]);
    close(log).await;
}

#[tokio::test]
async fn the_last_durable_frame_is_damage_when_the_claims_file_tells_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = unmarked(dir.path());
    let (segment, last) = killed(&settings).await;
    patch(&segment, |bytes| bytes[last + 50] ^= 1);
    is_damage(&settings).await;
}

#[tokio::test]
async fn the_last_durable_frame_is_damage_when_an_idle_mark_tells_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for n in 0..10 {
        within(stream.append(format!("record {n}")))
            .await
            .expect("an ack");
    }
    within(crate::beside::log_is_marked(&settings, &stream)).await;
    drop(log);
    let segment = files(&settings.data, ".tls").remove(0);
    let end = std::fs::read(&segment).expect("a file");
    let used = end.iter().rposition(|byte| *byte != 0).expect("frames");
    patch(&segment, |bytes| bytes[used] ^= 1);
    std::fs::remove_file(settings.data.join("claims")).expect("removed");
    is_damage(&settings).await;
}

/// Offset 9 is lost and told of, and never given out again.
async fn is_damage(settings: &Settings) {
    let log = open_when_free(settings).await;
    let told: Vec<_> = log.recovery().damage().map(|d| (d.from, d.to)).collect();
    assert_eq!(told, [(Offset(9), Offset(10))], "{}", log.recovery());
    let stream = log.log().existing("s").await.expect("there");
    let mut reader = stream
        .reader(From::Offset(Offset(8)))
        .await
        .expect("a reader");
    within(reader.try_next())
        .await
        .expect("it is good")
        .expect("one");
    let error = within(reader.try_next()).await.expect_err("it is damaged");
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
    let ack = within(stream.append("more")).await.expect("an ack");
    assert_eq!(ack.offset, Offset(10));
    drop(log);
    let log = open_when_free(settings).await;
    let stream = log.log().existing("s").await.expect("there");
    let mut reader = stream
        .reader(From::Offset(Offset(9)))
        .await
        .expect("a reader");
    let error = within(reader.try_next())
        .await
        .expect_err("it stays damaged");
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
    close(log).await;
}
