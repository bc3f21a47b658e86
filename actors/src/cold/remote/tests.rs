use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tierlog_cold::store::{Answer, Listed, MemoryStore, Source, Store};
use tierlog_storage::{Epoch, Offset, SegmentNo, StreamId};

use tokio::sync::oneshot;

use super::{
    windows::{AHEAD_MAX, WINDOWS},
    *,
};
use crate::cold::client;

fn key() -> SegmentKey {
    SegmentKey {
        stream: StreamId::generate(),
        base: Offset(0),
        epoch: Epoch(1),
        segment: SegmentNo(0),
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..len).map(|_| random.u8(..)).collect()
}

/// A store that notes what is read, and refuses it where it is told to.
#[derive(Debug)]
struct Noting {
    store: MemoryStore,
    reads: Mutex<Vec<Range<u64>>>,
    /// The number of the read that fails, from 1.
    fails: AtomicUsize,
    /// It does so when this has come.
    held: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Noting {
    fn reads(&self) -> Vec<Range<u64>> {
        self.reads.lock().expect("not poisoned").clone()
    }
}

impl Store for Noting {
    fn place(&self) -> &str {
        self.store.place()
    }

    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        self.store.create(key, source)
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        self.store.replace(key, bytes)
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        let mut reads = self.reads.lock().expect("not poisoned");
        reads.push(range.clone());
        if reads.len() == self.fails.load(Ordering::SeqCst) {
            let refused = StoreError::new(StoreErrorKind::Denied, "not now");
            let held = self.held.lock().expect("not poisoned").take();
            return Box::pin(async move {
                if let Some(held) = held {
                    held.await.expect("released");
                }
                Err(refused)
            });
        }
        self.store.read(key, range)
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        self.store.stat(key)
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.store.delete(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        self.store.list(prefix, after, most)
    }
}

/// An object, and what reads it, on a thread that may block.
async fn with_object<T: Send + 'static>(
    bytes: Vec<u8>,
    test: impl FnOnce(Arc<Remote>, SegmentKey) -> T + Send + 'static,
) -> T {
    with_notes(bytes, |remote, key, _| test(remote, key)).await
}

/// The same, and what the store notes.
async fn with_notes<T: Send + 'static>(
    bytes: Vec<u8>,
    test: impl FnOnce(Arc<Remote>, SegmentKey, Arc<Noting>) -> T + Send + 'static,
) -> T {
    let (store, key) = (MemoryStore::new(), key());
    let name = key.to_string();
    let created = store.create(&name, Arc::new(Bytes::from(bytes)));
    created.await.expect("it is new");
    let store = Arc::new(Noting {
        store,
        reads: Mutex::default(),
        fails: AtomicUsize::new(0),
        held: Mutex::default(),
    });
    let remote = Remote::new(client(Arc::clone(&store) as Arc<dyn Store>));
    let done = tokio::task::spawn_blocking(move || test(remote, key, store));
    done.await.expect("no panic")
}

/// The pieces of an object in the order in which a scan wants them: each job is for the piece behind the next.
fn as_a_scan_reads(pieces: u64) -> impl Iterator<Item = u64> {
    let pairs = (0..pieces / 2).flat_map(|pair| [2 * pair + 1, 2 * pair]);
    pairs.filter(move |piece| *piece < pieces)
}

const PIECE: u64 = 64 << 10;

/// Reads them; gives those that could not be read.
fn read_all(file: &Latched, expected: &[u8], pieces: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut failed = Vec::new();
    for piece in pieces {
        let mut buffer = vec![0; PIECE as usize];
        let from = usize::try_from(piece * PIECE).expect("small");
        match file.read_at(&mut buffer, piece * PIECE) {
            Ok(read) => {
                assert_eq!(read, buffer.len());
                assert!(buffer == expected[from..from + read], "piece {piece}");
            }
            Err(_) => failed.push(piece),
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_scan_that_overtake_each_other_ask_for_each_byte_once_and_in_few_calls() {
    let bytes = noise(256 * PIECE as usize);
    let expected = bytes.clone();
    let reads = with_notes(bytes, move |remote, key, store| {
        let file = remote.file(key, expected.len() as u64);
        let failed = read_all(&file, &expected, as_a_scan_reads(256));
        assert!(failed.is_empty());
        store.reads()
    });
    let mut reads = reads.await;
    assert!(reads.len() <= 16, "{} calls: {reads:?}", reads.len());
    reads.sort_by_key(|range| range.start);
    let twice: u64 = reads
        .windows(2)
        .map(|pair| pair[0].end.saturating_sub(pair[1].start))
        .sum();
    assert!(twice <= PIECE, "{reads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_reads_here_and_there_gets_what_he_asks_for_and_no_more() {
    let bytes = noise(256 * PIECE as usize);
    let expected = bytes.clone();
    let reads = with_notes(bytes, move |remote, key, store| {
        let file = remote.file(key, expected.len() as u64);
        // Far from each other, back and forth.
        let pieces = (0..40).map(|step| step * 101 % 256);
        assert!(read_all(&file, &expected, pieces).is_empty());
        store.reads()
    });
    let reads = reads.await;
    assert_eq!(reads.len(), 40);
    assert!(reads.iter().all(|read| read.end - read.start == PIECE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_fetched_ahead_is_asked_for_again_by_who_wants_it() {
    let bytes = noise(128 * PIECE as usize);
    let expected = bytes.clone();
    with_notes(bytes, move |remote, key, store| {
        let calls = {
            let file = remote.file(key, expected.len() as u64);
            assert!(read_all(&file, &expected, 0..128).is_empty());
            store.reads().len()
        };
        for fails in 1..=calls {
            remote.forget(&key);
            store.reads.lock().expect("not poisoned").clear();
            store.fails.store(fails, Ordering::SeqCst);
            let file = remote.file(key, expected.len() as u64);
            let failed = read_all(&file, &expected, 0..128);
            // The first two are asked for by who wants them, and it is told.
            assert_eq!(failed.len(), usize::from(fails <= 2), "{fails}: {failed:?}");
        }
        assert!(calls > 4, "some were ahead");
    })
    .await;
}

/// It waited for the call that another had begun, and then for one of its own: two deadlines in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_call_that_fails_is_told_and_does_not_wait_for_another_one() {
    let bytes = noise(128 * PIECE as usize);
    let expected = bytes.clone();
    with_notes(bytes, move |remote, key, store| {
        let (release, held) = oneshot::channel();
        *store.held.lock().expect("not poisoned") = Some(held);
        store.fails.store(3, Ordering::SeqCst);
        let file = remote.file(key, expected.len() as u64);
        let mut piece = 0;
        // Until it comes to what the third call, which is ahead of it, is to bring.
        while store.reads().len() < 3 || store.reads()[2].start > piece * PIECE {
            assert!(read_all(&file, &expected, piece..piece + 1).is_empty());
            piece += 1;
        }
        let waits = || remote.waits.load(Ordering::SeqCst);
        let before = waits();
        let failed = thread::scope(|scope| {
            let reader = scope.spawn(|| read_all(&file, &expected, piece..piece + 1));
            while waits() == before && !reader.is_finished() {
                thread::yield_now();
            }
            release.send(()).expect("it is held");
            reader.join().expect("no panic")
        });
        assert_eq!(failed, [piece]);
        assert_eq!(store.reads().len(), 3, "nothing was asked for again");
        assert!(
            read_all(&file, &expected, piece..128).is_empty(),
            "who comes then asks anew"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_objects_is_a_few_windows_however_many_are_read() {
    let len = 64 * PIECE as usize;
    let bytes = noise(len);
    let expected = bytes.clone();
    with_notes(bytes, move |remote, key, _| {
        let file = remote.file(key, len as u64);
        for piece in (0..64).chain((0..64).map(|step| step * 27 % 64)) {
            assert!(read_all(&file, &expected, piece..piece + 1).is_empty());
            let kept = remote.lock().kept();
            assert!(kept.len() <= WINDOWS);
            assert!(kept.iter().all(|bytes| *bytes <= AHEAD_MAX + PIECE));
        }
        remote.forget(&key);
        assert!(remote.lock().kept().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_read_whole_comes_as_it_is_however_it_is_read() {
    let bytes = noise((2 * AT_ONCE + 1) * PART as usize + 4_321);
    let len = bytes.len() as u64;
    for seed in 0..6 {
        let bytes = bytes.clone();
        let expected = bytes.clone();
        let read = with_object(bytes, move |remote, key| {
            let file = remote.whole(key, len, None);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut pos = 0;
            while pos < len {
                if random.u8(..) < 10 {
                    // Somewhere else in between.
                    let at = random.u64(..len);
                    let mut buffer = vec![0; random.usize(1..5_000)];
                    let read = file.read_at(&mut buffer, at).expect("read");
                    let from = usize::try_from(at).expect("small");
                    assert_eq!(buffer[..read], expected[from..from + read]);
                }
                let mut buffer = vec![0; random.usize(1..1_500_000)];
                let read = file.read_at(&mut buffer, pos).expect("read");
                let from = usize::try_from(pos).expect("small");
                assert_eq!(buffer[..read], expected[from..from + read], "at {pos}");
                assert_eq!(read, buffer.len().min(expected.len() - from));
                pos += read as u64;
            }
            pos
        });
        assert_eq!(read.await, len);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_shorter_than_it_should_be_ends_where_it_ends_and_leaves_no_hole() {
    let bytes = noise(PART as usize * 2 + 100);
    let expected = bytes.clone();
    with_object(bytes, move |remote, key| {
        let file = remote.whole(key, 5 * PART, None);
        let (mut at, mut seen) = (0, Vec::new());
        for _ in 0..20 {
            let mut buffer = vec![0; 700_000];
            let read = file.read_at(&mut buffer, at).expect("no error");
            seen.extend_from_slice(&buffer[..read]);
            at += read as u64;
        }
        assert!(expected.starts_with(&seen), "what is there, in order");
        assert!(seen.len() >= PART as usize, "up to the part that is short");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_end_when_nobody_is_left_who_wanted_them() {
    let bytes = noise(PART as usize * 3);
    with_object(bytes, |remote, key| {
        let (wants, alive) = watch::channel(());
        let file = remote.whole(key, 3 * PART, Some(alive));
        let mut buffer = vec![0; 100];
        assert_eq!(file.read_at(&mut buffer, 0).expect("read"), 100);
        drop(wants);
        assert!(file.read_at(&mut buffer, 100).is_err());
    })
    .await;
}
