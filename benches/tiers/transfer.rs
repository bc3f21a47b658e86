//! Uploading and fetching one compressed segment, beside opendal alone with the same bytes and the same
//! server. Everything runs on two cores, the server as well.

use std::{
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use opendal::Operator;
use tierlog_actors::cold::{Remote, client};
use tierlog_benches::{
    place,
    table::{Contestant, compete},
    work,
};
use tierlog_cold::{
    client::{Client, Large},
    place::{Place, open},
    store::{Blocking, Parts, Source, StoreError, UploadId},
};
use tierlog_storage::{Epoch, catalog::SegmentKey, disk::RealDisk, layout::Layout, warm};
use tokio::runtime::Runtime;

use crate::{
    made::{self, Warm},
    store::{self, AT_ONCE, PART, Store},
};

const ROUNDS: usize = 7;
const BYTES: usize = 64 << 20;

/// A thread for each call, as cheap as any pool beside what it does.
#[derive(Debug)]
struct Threads;

impl Blocking for Threads {
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Box<dyn FnOnce() + Send>> {
        thread::spawn(job);
        Ok(())
    }
}

/// What is stored, in parts, of which nobody keeps account: in a log that costs two commits more.
#[derive(Debug)]
struct InParts(Bytes);

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Source for InParts {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }

    fn read(&self, range: Range<u64>) -> Later<'_, io::Result<Bytes>> {
        Source::read(&self.0, range)
    }
}

impl Parts for InParts {
    fn begun<'a>(&'a self, _: &'a UploadId) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn done(&self, _: &UploadId) {}
}

/// One place, as opendal and as tierlog sees it.
struct Side {
    operator: Operator,
    client: Client,
    remote: Arc<Remote>,
}

struct Work {
    runtime: Runtime,
    made: Warm,
    bytes: Bytes,
    next: AtomicU64,
    side: Side,
}

pub fn run() {
    let bytes = work::count(BYTES) as u64;
    for name in store::NAMES {
        let (runtime, folder) = (place::runtime(), place::folder());
        let side = runtime.block_on(async {
            let store = Store::start(name, folder.path()).await;
            side(store.operator("theirs"), &store.uri("ours"))
        });
        let made = made::warm(bytes.max(1 << 20));
        let work = Work {
            bytes: fs::read(&made.path).expect("read").into(),
            runtime,
            made,
            next: AtomicU64::new(0),
            side,
        };
        upload(name, &work);
        fetch(name, &work);
    }
}

fn side(operator: Operator, uri: &str) -> Side {
    let place = Place::parse(uri).expect("a place");
    let store = open(&place, Arc::new(RealDisk), Arc::new(Threads)).expect("a store");
    let client = client(store);
    Side {
        operator,
        remote: Remote::new(client.clone()),
        client,
    }
}

impl Work {
    fn key(&self) -> SegmentKey {
        SegmentKey {
            stream: self.made.identity.stream,
            base: self.made.identity.facts.base,
            epoch: Epoch(self.next.fetch_add(1, Ordering::Relaxed)),
            segment: self.made.identity.segment,
        }
    }

    fn rate(&self, begun: Instant) -> f64 {
        self.bytes.len() as f64 / begun.elapsed().as_secs_f64()
    }

    async fn put_alone(&self, key: &str) {
        let writer = self.side.operator.writer_with(key);
        let writer = writer.chunk(PART).concurrent(AT_ONCE).await;
        let mut writer = writer.expect("a writer");
        for from in (0..self.bytes.len()).step_by(PART) {
            let part = self.bytes.slice(from..(from + PART).min(self.bytes.len()));
            writer.write(part).await.expect("written");
        }
        writer.close().await.expect("written");
    }

    async fn put(&self, key: SegmentKey, verify: bool) -> Result<Large, StoreError> {
        let source = Arc::new(InParts(self.bytes.clone()));
        let crc = self.made.copy.crc;
        let client = &self.side.client;
        client
            .create_large(&key.to_string(), source, crc, verify)
            .await
    }
}

fn upload(name: &str, work: &Work) {
    let alone = || {
        let key = work.key().to_string();
        let begun = Instant::now();
        work.runtime.block_on(work.put_alone(&key));
        let rate = work.rate(begun);
        let operator = &work.side.operator;
        let stat = work
            .runtime
            .block_on(operator.stat(&key))
            .expect("it is there");
        assert_eq!(stat.content_length(), work.bytes.len() as u64);
        work.runtime
            .block_on(operator.delete(&key))
            .expect("deleted");
        rate
    };
    let ours = |verify| {
        let key = work.key();
        let begun = Instant::now();
        let made = work.runtime.block_on(work.put(key, verify)).expect("made");
        let rate = work.rate(begun);
        assert!(matches!(made, Large::Done));
        let key = key.to_string();
        let deleted = work.side.client.delete(&key);
        work.runtime.block_on(deleted).expect("deleted");
        rate
    };
    let contestants: Vec<Contestant<'_>> = vec![
        ("opendal alone".into(), Box::new(alone)),
        (
            "tierlog, without reading back".into(),
            Box::new(|| ours(false)),
        ),
        (
            "tierlog, read back and compared".into(),
            Box::new(|| ours(true)),
        ),
    ];
    let title = format!("upload to a {name}, {} MiB", work.bytes.len() >> 20);
    compete(&title, "bytes/s", ROUNDS, contestants);
}

fn fetch(name: &str, work: &Work) {
    let key = work.key();
    work.runtime.block_on(work.put_alone(&key.to_string()));
    work.runtime.block_on(work.put(key, false)).expect("made");
    let layout = Layout::new(work.made.folder.path().join("log"));
    // To a file of the same folder, synced, and in its place by a rename.
    let alone = || {
        let begun = Instant::now();
        let path = work.made.path.with_extension("new");
        let mut file = File::create(&path).expect("a file");
        work.runtime.block_on(async {
            let (key, len) = (key.to_string(), work.bytes.len() as u64);
            let mut write = |piece: Bytes| file.write_all(&piece).expect("written");
            store::read(&work.side.operator, &key, len, &mut write).await;
        });
        file.sync_data().expect("synced");
        fs::rename(&path, &work.made.path).expect("renamed");
        let folder = work.made.path.parent().expect("a folder");
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .expect("synced");
        let rate = work.rate(begun);
        assert!(fs::read(&work.made.path).expect("read") == work.bytes[..]);
        rate
    };
    let ours = || {
        let Warm { identity, copy, .. } = &work.made;
        let begun = Instant::now();
        let source = work.side.remote.whole(key, copy.file_len, None);
        let (disk, pace) = (RealDisk, &mut |_| true);
        warm::fetch(&disk, &layout, identity, copy, &source, pace).expect("fetched");
        let rate = work.rate(begun);
        assert!(fs::read(&work.made.path).expect("read") == work.bytes[..]);
        rate
    };
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "opendal alone, to a file, nothing checked".into(),
            Box::new(alone),
        ),
        ("tierlog, to a compressed file".into(), Box::new(ours)),
    ];
    let title = format!("fetch from a {name}, {} MiB", work.bytes.len() >> 20);
    compete(&title, "bytes/s", ROUNDS, contestants);
}
