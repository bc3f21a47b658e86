//! Stores to test, and what is stored in them.

use std::{
    any::Any,
    future::poll_fn,
    io,
    ops::Range,
    path::Path,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    thread,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tierlog_cold::{
    client::{Client, Policy, Unwatched},
    store::{
        Blocking, DirStore, MemoryStore, Parts, Source, Store, StoreError, StoreErrorKind, UploadId,
    },
    unruly::Unruly,
};
use tierlog_storage::{
    crc::crc64,
    disk::{Disk, RealDisk, sim::SimDisk},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

/// A store of its own for one test.
pub struct Rig {
    pub store: Arc<dyn Store>,
    /// Whether of several creators at once exactly one wins.
    pub races: bool,
    /// A length at which the store is written to in parts.
    pub large: usize,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Rig {
    pub fn of(store: Arc<dyn Store>, keep: impl Any + Send + Sync) -> Self {
        Self {
            store,
            races: true,
            large: 2_500_000,
            _keep: Box::new(keep),
        }
    }

    pub async fn memory() -> Option<Self> {
        Some(Self::of(Arc::new(MemoryStore::new()), ()))
    }

    pub async fn behaved() -> Option<Self> {
        let inner = Arc::new(MemoryStore::new());
        Some(Self::of(Arc::new(Unruly::new(inner, 1)), ()))
    }

    pub async fn real_folder() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = dir_store(Arc::new(RealDisk), &folder.path().join("a/b"), Threads);
        Some(Self::of(store, folder))
    }

    pub async fn simulated_folder() -> Option<Self> {
        let store = dir_store(Arc::new(SimDisk::new()), Path::new("/cold"), Inline);
        Some(Self::of(store, ()))
    }

    pub async fn make(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let source = Kept::new(Bytes::copy_from_slice(bytes));
        self.store.create(key, source).await
    }

    pub async fn content(&self, key: &str) -> Result<Bytes, StoreError> {
        content(&*self.store, key).await
    }
}

/// One for all: the connections that a client keeps are served by the runtime that made them, and die
/// with it.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().unwrap()
    });
    &RUNTIME
}

pub fn dir_store(
    disk: Arc<dyn Disk>,
    root: &Path,
    runs: impl Blocking + 'static,
) -> Arc<dyn Store> {
    Arc::new(DirStore::new(disk, root.to_path_buf(), Arc::new(runs)))
}

pub fn client(store: Arc<dyn Store>) -> Client {
    Client::new(store, Policy::default(), Arc::new(Unwatched))
}

pub async fn content(store: &dyn Store, key: &str) -> Result<Bytes, StoreError> {
    let len = store.stat(key).await?;
    store.read(key, 0..len).await
}

/// Polls a call once, and says whether it has not come to its end.
pub async fn is_pending<T>(call: &mut (impl Future<Output = T> + Unpin)) -> bool {
    let mut call = Pin::new(call);
    poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await
}

/// Bytes that differ from each other, and by their seed.
pub fn noise(seed: u64, len: usize) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes.into()
}

pub fn crc(bytes: &Bytes) -> u64 {
    crc64(&[bytes])
}

#[track_caller]
pub fn kind<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> StoreErrorKind {
    outcome.unwrap_err().kind
}

/// Runs jobs where they are handed over.
#[derive(Debug)]
pub struct Inline;

impl Blocking for Inline {
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Box<dyn FnOnce() + Send>> {
        job();
        Ok(())
    }
}

/// A thread for each job.
#[derive(Debug)]
pub struct Threads;

impl Blocking for Threads {
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Box<dyn FnOnce() + Send>> {
        thread::spawn(job);
        Ok(())
    }
}

/// Uploads in parts that somebody keeps account of.
#[derive(Debug, Default)]
pub struct Account {
    pub begun: Mutex<Vec<UploadId>>,
    pub done: Mutex<Vec<UploadId>>,
}

impl Parts for Account {
    fn begun<'a>(&'a self, id: &'a UploadId) -> BoxFuture<'a, Result<(), StoreError>> {
        self.begun.lock().unwrap().push(id.clone());
        Box::pin(async { Ok(()) })
    }

    fn done(&self, id: &UploadId) {
        self.done.lock().unwrap().push(id.clone());
    }
}

/// Bytes that may be stored in parts.
#[derive(Debug)]
pub struct Kept {
    pub bytes: Bytes,
    pub account: Account,
}

impl Kept {
    pub fn new(bytes: Bytes) -> Arc<Self> {
        let account = Account::default();
        Arc::new(Self { bytes, account })
    }
}

impl Source for Kept {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(&self.account)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        Source::read(&self.bytes, range)
    }
}

/// A source that goes wrong, or stops, at a position.
#[derive(Debug)]
pub struct Breaking {
    pub bytes: Bytes,
    pub at: u64,
    pub how: Break,
    /// Whether what goes wrong has been asked for.
    pub ends: AtomicBool,
    pub account: Account,
}

#[derive(Debug)]
pub enum Break {
    Fails,
    IsShort,
    /// Until there is a permit.
    Waits(Semaphore),
}

impl Breaking {
    pub fn new(bytes: Bytes, at: u64, how: Break) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            at,
            how,
            ends: AtomicBool::new(false),
            account: Account::default(),
        })
    }
}

impl Source for Breaking {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(&self.account)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            if range.end <= self.at {
                return Source::read(&self.bytes, range).await;
            }
            self.ends.store(true, Ordering::Relaxed);
            match &self.how {
                Break::Fails => Err(io::Error::other("the file is damaged")),
                Break::IsShort => Source::read(&self.bytes, range.start..range.end - 1).await,
                Break::Waits(permits) => {
                    permits.acquire().await.unwrap().forget();
                    Source::read(&self.bytes, range).await
                }
            }
        })
    }
}
