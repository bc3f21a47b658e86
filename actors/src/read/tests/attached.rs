//! A log that somebody else writes.

use std::sync::Arc;

use futures::FutureExt;
use tempfile::TempDir;
use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    disk::{Disk, RealDisk},
    layout::Layout,
    manifest::Entry,
};

use super::{
    kit::{assert_usual, drain, following, small},
    owner::Owner,
};
use crate::{
    error::Error,
    exec::ThreadPool,
    read::{Attached, From, Reader, ReaderOptions},
    stream::shared::StreamShared,
};

async fn attach(owner_layout: &Layout) -> Attached {
    let executor = Arc::new(ThreadPool::start(2, 1, 64).unwrap());
    Attached::open(Arc::new(RealDisk), owner_layout.clone(), executor, &small())
        .await
        .unwrap()
}

async fn reader(view: &Attached, stream: &Arc<StreamShared>, options: ReaderOptions) -> Reader {
    view.reader(stream, From::Earliest, options).await.unwrap()
}

async fn all(view: &Attached) -> u64 {
    let stream = view.stream("s").unwrap();
    let mut reader = reader(view, &stream, ReaderOptions::default()).await;
    let records = drain(&mut reader).await;
    let start = stream.start().0;
    assert_usual(&records, start);
    start + records.len() as u64
}

#[tokio::test]
async fn what_is_claimed_is_seen_and_what_is_only_written_is_not() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(70);
    owner.write(140);
    let view = attach(&owner.layout).await;
    assert_eq!(all(&view).await, 70);
    owner.claim(105);
    view.refresh().await.unwrap();
    assert_eq!(all(&view).await, 105);
    for to in [141, 200, 900] {
        owner.append(to);
        view.refresh().await.unwrap();
        assert_eq!(all(&view).await, to);
    }
    let refused = view
        .stream("s")
        .unwrap()
        .submit_one("x".into())
        .unwrap_err();
    assert!(matches!(Error::from(refused.0), Error::Unsupported { .. }));
    assert!(matches!(view.stream("t"), Err(Error::UnknownStream { .. })));
}

#[tokio::test]
async fn rollovers_and_new_streams_appear() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    let view = attach(&owner.layout).await;
    assert_eq!(all(&view).await, 0);
    for to in (50..600).step_by(50) {
        owner.append(to);
        if to % 100 == 0 {
            owner.seal();
        }
        if to % 150 == 0 {
            view.refresh().await.unwrap();
            assert_eq!(all(&view).await, to);
        }
    }
    owner.stream = StreamId::generate();
    owner.add_stream("t");
    view.refresh().await.unwrap();
    assert_eq!(view.streams().len(), 2);
    assert_eq!(view.stream("t").unwrap().watermarks().next, Offset(0));
}

#[tokio::test]
async fn trims_and_truncations_by_the_owner_are_told() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(70);
    owner.seal();
    owner.append(140);
    let view = attach(&owner.layout).await;
    let stream = view.stream("s").unwrap();
    let mut early = reader(&view, &stream, ReaderOptions::default()).await;
    let from = From::Offset(Offset(133));
    let mut late = view
        .reader(&stream, from, ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!(early.next_batch(3).await.unwrap().len(), 3);
    owner.commit(vec![Entry::Trimmed {
        stream: owner.stream,
        start: Offset(70),
    }]);
    RealDisk
        .remove(&owner.layout.segment(owner.stream, SegmentNo(0)))
        .unwrap();
    view.refresh().await.unwrap();
    let error = early.next_batch(3).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Trimmed {
                asked: Offset(3),
                start: Offset(70)
            }
        ),
        "{error}"
    );
    assert_eq!(owner.truncate(3), 91);
    owner.append(120);
    view.refresh().await.unwrap();
    let error = late.next_batch(3).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Truncated {
                end: Offset(91),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(all(&view).await, 120);
}

/// The owner trims and removes the files; the reader has not heard of it and finds none. That is no
/// damage.
#[tokio::test]
async fn files_that_the_owner_has_dropped_are_trimmed_and_not_damaged() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    for to in [70, 140, 210] {
        owner.append(to);
        owner.seal();
    }
    let view = attach(&owner.layout).await;
    let stream = view.stream("s").unwrap();
    let mut reader = reader(&view, &stream, ReaderOptions::default()).await;
    assert!(reader.next_batch(3).await.unwrap().len() == 3);
    owner.commit(vec![Entry::Trimmed {
        stream: owner.stream,
        start: Offset(140),
    }]);
    for no in 0..2 {
        RealDisk
            .remove(&owner.layout.segment(owner.stream, SegmentNo(no)))
            .unwrap();
    }
    view.context()
        .files
        .forget(stream.id, &[SegmentNo(0), SegmentNo(1)]);
    // It keeps what it needs even when the view it came from is gone.
    drop(view);
    reader.seek(Offset(75));
    let error = reader.next_batch(100).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Trimmed {
                asked: Offset(75),
                start: Offset(140)
            }
        ),
        "{error}"
    );
    reader.seek(Offset(140));
    assert_usual(&drain(&mut reader).await, 140);
}

#[tokio::test]
async fn a_truncation_that_the_manifest_no_longer_tells_of_is_told_all_the_same() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(140);
    let layout = owner.layout.clone();
    let view = attach(&layout).await;
    let stream = view.stream("s").unwrap();
    let from = From::Offset(Offset(133));
    let mut late = view
        .reader(&stream, from, ReaderOptions::default())
        .await
        .unwrap();
    let from = From::Offset(Offset(21));
    let mut early = view
        .reader(&stream, from, ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!(owner.truncate(3), 21);
    owner.append(200);
    drop(owner);
    // The restart begins the manifest anew, with a snapshot.
    let mut owner = Owner::open(&dir);
    owner.begin(200);
    owner.append(210);
    view.refresh().await.unwrap();
    let error = late.next_batch(3).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Truncated {
                end: Offset(21),
                ..
            }
        ),
        "{error}"
    );
    let rest = drain(&mut early).await;
    assert_eq!(rest.len(), 189);
}

#[tokio::test]
async fn a_restart_of_the_writer_is_followed_across() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(70);
    let view = attach(&owner.layout).await;
    let stream = view.stream("s").unwrap();
    let mut reader = reader(&view, &stream, following()).await;
    let mut records = Vec::new();
    for round in 1..5_u64 {
        owner.append(round * 100);
        // Some of it is written and never claimed: the next owner copies and serves it.
        owner.write(round * 100 + 21);
        drop(owner);
        owner = Owner::open(&dir);
        owner.begin(round * 100 + 21);
        owner.append(round * 100 + 40);
        while (records.len() as u64) < round * 100 + 40 {
            let waited = reader.next_batch_into(&mut records, 1000);
            let limit = std::time::Duration::from_secs(20);
            tokio::time::timeout(limit, waited)
                .await
                .expect("in time")
                .unwrap();
        }
    }
    assert_usual(&records, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_a_live_writer_sees_each_record_once_across_rollovers() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    let view = attach(&owner.layout).await;
    let stream = view.stream("s").unwrap();
    let mut reader = reader(&view, &stream, following()).await;
    // The reader keeps following for itself.
    drop(view);
    let writer = tokio::task::spawn_blocking(move || {
        for to in (10..=2000).step_by(10) {
            owner.append(to);
            if to % 200 == 0 {
                owner.seal();
            }
        }
        owner
    });
    let mut records = Vec::new();
    while records.len() < 2000 {
        assert!(reader.next_batch_into(&mut records, 1000).await.unwrap() > 0);
    }
    assert_usual(&records, 0);
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn a_log_that_vanishes_ends_its_followers_with_an_error() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(7);
    let layout = owner.layout.clone();
    let view = attach(&layout).await;
    let stream = view.stream("s").unwrap();
    let mut reader = reader(&view, &stream, following()).await;
    assert_eq!(reader.next_batch(100).await.unwrap().len(), 7);
    drop(owner);
    RealDisk.remove(&layout.current()).unwrap();
    let limit = std::time::Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, reader.next_batch(1))
        .await
        .expect("it ends");
    assert!(ended.is_err());
}

#[tokio::test]
async fn nothing_is_created_where_there_is_no_log() {
    let dir = TempDir::new().unwrap();
    for name in ["missing", "."] {
        let layout = Layout::new(dir.path().join(name));
        let executor = Arc::new(ThreadPool::start(1, 1, 4).unwrap());
        let opened = Attached::open(Arc::new(RealDisk), layout, executor, &small()).await;
        assert!(opened.is_err());
    }
    assert!(RealDisk.list(dir.path()).unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_that_can_never_be_met_is_told_as_damage_and_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let mut owner = Owner::create(&dir);
    owner.begin(0);
    owner.append(14);
    let view = attach(&owner.layout).await;
    let stream = view.stream("s").unwrap();
    let mut reader = reader(&view, &stream, following()).await;
    assert_eq!(reader.next_batch(100).await.unwrap().len(), 14);
    assert!(reader.next_batch(1).now_or_never().is_none());
    owner.write(28);
    owner.active().break_frame(2);
    owner.claim(28);
    let limit = std::time::Duration::from_secs(60);
    let told = tokio::time::timeout(limit, reader.next_batch(1))
        .await
        .expect("in time");
    match told {
        Err(Error::Corrupt(damage)) => {
            assert_eq!((damage.from, damage.to), (Offset(14), Offset(21)));
        }
        other => panic!("not damage: {other:?}"),
    }
}
