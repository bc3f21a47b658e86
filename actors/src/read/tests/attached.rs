//! A log that somebody else writes.

use std::sync::Arc;

use futures::FutureExt;
use tempfile::TempDir;
use tierlog_storage::{
    Epoch, Incarnation, Offset, SegmentNo, StreamId,
    claims::Claim,
    disk::{Disk, RealDisk},
    layout::Layout,
    manifest::{Entry, ManifestOptions, SealedFacts},
    recovery::{OpenOptions, OpenedLog, open_log},
    segment::create_segment,
};

use super::kit::{Writing, assert_usual, drain, following, salt, small};
use crate::{
    error::Error,
    exec::ThreadPool,
    read::{Attached, From, Reader, ReaderOptions},
    stream::shared::StreamShared,
};

/// The process that owns the log.
struct Owner {
    layout: Layout,
    log: OpenedLog,
    stream: StreamId,
    life: u64,
    next_segment: u64,
    active: Option<Writing>,
}

impl Owner {
    fn create(dir: &TempDir) -> Self {
        let mut owner = Self::open(dir);
        owner.add_stream("s");
        owner
    }

    fn open(dir: &TempDir) -> Self {
        let layout = Layout::new(dir.path().join("log"));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let manifest = ManifestOptions {
            chunk_size: 16 << 10,
            ..ManifestOptions::default()
        };
        let options = OpenOptions {
            manifest,
            create: true,
            now_ns: 1,
            claim_slots: 16,
        };
        let log = open_log(&disk, &layout, &options).unwrap();
        let (stream, life, next_segment) = match log.state.streams.first_key_value() {
            Some((id, state)) => (*id, state.incarnation.0, state.next_segment.0),
            None => (StreamId::generate(), 1, 0),
        };
        Self {
            layout,
            log,
            stream,
            life,
            next_segment,
            active: None,
        }
    }

    fn add_stream(&mut self, name: &str) {
        let (stream, name) = (self.stream, name.to_owned());
        self.commit(vec![Entry::StreamCreated {
            stream,
            name,
            created_ns: 1,
        }]);
    }

    fn commit(&mut self, entries: Vec<Entry>) {
        let done = self
            .log
            .manifest
            .commit(&[entries], &mut self.log.state)
            .unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    fn created(&self, no: u64) -> Entry {
        Entry::SegmentCreated {
            stream: self.stream,
            segment: SegmentNo(no),
            salt: salt(no),
            capacity: 1 << 20,
            epoch: self.log.state.epoch,
            incarnation: Incarnation(self.life),
        }
    }

    /// A new active segment.
    fn begin(&mut self, base: u64) {
        let no = self.next_segment;
        self.next_segment += 1;
        let file = create_segment(
            &RealDisk,
            &self.layout,
            self.stream,
            SegmentNo(no),
            64 << 10,
        )
        .unwrap();
        self.commit(vec![self.created(no)]);
        let (log, seq) = (self.log.log, self.log.state.seq.0);
        self.active = Some(Writing::in_file(file, log, self.stream, no, base, seq));
    }

    fn active(&mut self) -> &mut Writing {
        self.active.as_mut().unwrap()
    }

    fn write(&mut self, to: u64) {
        self.active().fill(to, 7);
    }

    fn claim(&self, durable: u64) {
        let claim = Claim {
            stream: self.stream,
            epoch: self.log.state.epoch,
            incarnation: Incarnation(self.life),
            durable: Offset(durable),
        };
        self.log.claims.put(0, &claim).unwrap();
    }

    /// Writes and claims.
    fn append(&mut self, to: u64) {
        self.write(to);
        self.claim(to);
    }

    fn seal(&mut self) {
        let writing = self.active.take().unwrap();
        let facts = writing.seal();
        let SealedFacts {
            base,
            end,
            data_end,
            file_len,
            first_ts,
            last_ts,
            ext,
            digest,
            ..
        } = facts;
        let (stream, segment, flush_failed) = (self.stream, writing.no, false);
        self.commit(vec![Entry::Sealed {
            stream,
            segment,
            base,
            end,
            data_end,
            file_len,
            first_ts,
            last_ts,
            ext,
            digest,
            flush_failed,
        }]);
        self.begin(end.0);
    }

    /// Cuts the active segment at the nth frame.
    fn truncate(&mut self, nth: usize) -> u64 {
        let writing = self.active.take().unwrap();
        let (end_byte, end) = writing.frames[nth];
        self.life += 1;
        let (stream, segment, incarnation) = (self.stream, writing.no, Incarnation(self.life));
        let (base, end_at) = (writing.base, Offset(end));
        self.commit(vec![
            Entry::TruncatedAfter {
                stream,
                end: end_at,
                incarnation,
            },
            Entry::Closed {
                stream,
                segment,
                base,
                end: end_at,
                end_byte,
            },
        ]);
        self.begin(end);
        end
    }
}

async fn attach(owner_layout: &Layout) -> Attached {
    let executor = Arc::new(ThreadPool::start(2, 64).unwrap());
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
        let executor = Arc::new(ThreadPool::start(1, 4).unwrap());
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
    assert_eq!(Epoch(1), owner.log.state.epoch);
}
