//! A log whose actors, blocking work and caller share one thread, so that what one of them does never
//! depends on how far another one has come.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tierlog::{FlushPolicy, Settings, Size, Stream, Supervisor};
use tierlog_actors::{
    clock::Clock,
    cold::StoreThreads,
    exec::{Executor, Job, Work},
    fault::Faults,
    supervisor::Injected,
};
use tierlog_cold::{
    place::{self, Place},
    store::Store,
};
use tierlog_storage::disk::RealDisk;
use tokio::runtime::{Builder, Runtime};

/// Longer than anything here takes: a timer that fires within the region is counted with it.
const NEVER: Duration = Duration::from_secs(3000);

/// Runs blocking work where it is asked for.
#[derive(Debug)]
struct Inline;

impl Executor for Inline {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        job();
        Ok(())
    }
}

/// Time goes on by the same step whenever somebody looks, so that the differences of time stamps, and
/// with them the lengths of records, are the same in each run.
#[derive(Debug)]
struct Steady(AtomicU64);

impl Clock for Steady {
    fn now_ns(&self) -> u64 {
        self.0.fetch_add(40, Ordering::Relaxed)
    }
}

/// A fresh folder below `TIERLOG_BENCH_DIR` or the target folder, removed when it is dropped.
pub fn folder() -> TempDir {
    let chosen = std::env::var_os("TIERLOG_BENCH_DIR").map(PathBuf::from);
    let root = chosen.unwrap_or_else(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        own.ancestors().nth(2).unwrap_or(own).join("target")
    });
    tempfile::Builder::new()
        .prefix("counts-")
        .tempdir_in(root)
        .expect("a folder")
}

/// The defaults without timers, in this folder.
pub fn settings(folder: &Path) -> Settings {
    Settings {
        flush: FlushPolicy::Manual,
        idle_mark: NEVER,
        stall_after: NEVER,
        unsynced_bytes: Size::mib(256),
        ..Settings::new(folder.join("log"))
    }
}

/// The runtime of one thread.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// Opens a log for the thread that calls.
pub async fn open(settings: Settings) -> Supervisor {
    open_over(settings, None).await
}

/// A store that is a folder, whose calls run where they are made too.
pub fn store(folder: &Path) -> Arc<dyn Store> {
    let place = Place::folder(folder).expect("a path");
    let threads = Arc::new(StoreThreads(Arc::new(Inline)));
    place::open(&place, Arc::new(RealDisk), threads).expect("a store")
}

/// [`open`] with a Tier 2, or without one.
pub async fn open_over(settings: Settings, store: Option<Arc<dyn Store>>) -> Supervisor {
    let injected = Injected {
        disk: Arc::new(RealDisk),
        clock: Arc::new(Steady(AtomicU64::new(1_700_000_000_000_000_000))),
        executor: Arc::new(Inline),
        faults: Faults::default(),
        store,
    };
    Supervisor::open_with(settings, injected)
        .await
        .expect("a log")
}

/// Opens a log and a stream of it, and gives actors the time to come to rest.
pub async fn open_stream(settings: Settings) -> (Supervisor, Stream) {
    let log = open(settings).await;
    let stream = log.log().stream("counted").await.expect("a stream");
    rest().await;
    (log, stream)
}

/// Lets every task that can go on do so. Nothing else runs here, so that this is all there is to do.
pub async fn rest() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// Closes it in order.
pub async fn close(log: Supervisor) {
    let report = log
        .shutdown(Duration::from_secs(600))
        .await
        .expect("closed");
    assert!(report.clean, "everything is durable");
}
