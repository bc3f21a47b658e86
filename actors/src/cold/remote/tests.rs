use std::sync::Arc;

use tierlog_cold::store::{MemoryStore, Store};
use tierlog_storage::{Epoch, Offset, SegmentNo, StreamId};

use super::*;
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

/// An object, and what reads it, on a thread that may block.
async fn with_object<T: Send + 'static>(
    bytes: Vec<u8>,
    test: impl FnOnce(Arc<Remote>, SegmentKey) -> T + Send + 'static,
) -> T {
    let (store, key) = (MemoryStore::new(), key());
    let name = key.to_string();
    let created = store.create(&name, Arc::new(Bytes::from(bytes)));
    created.await.expect("it is new");
    let remote = Remote::new(client(Arc::new(store)));
    let done = tokio::task::spawn_blocking(move || test(remote, key));
    done.await.expect("no panic")
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
