//! What all actors of a log are given.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tierlog_storage::{
    Epoch, LogId,
    claims::ClaimsFile,
    disk::{Disk, DiskLock, FolderLatch, Progress, WatchedDisk, note_awaited_sync},
    error::StorageError,
    layout::Layout,
    segment::Latched,
};
use tokio::time::timeout;

use crate::{
    clock::Clock,
    cold::ColdLink,
    compressor::CompressorHandle,
    coordinator::CoordinatorHandle,
    error::Error,
    exec::{Completion, Executor, Running, Work, run},
    fault::Faults,
    flusher::FlusherHandle,
    manifest::ManifestHandle,
    meters::Meters,
    options::Options,
    protocol::{supervisor::SweepHealth, sweep::SweepReport},
    read::ReadContext,
    stream::{budget::Budget, tail::TailBudget},
    under_way::UnderWay,
    uploader::{Claimant, UploaderHandle},
};

/// What lives as long as the log is open.
pub struct LogContext {
    /// Checked figures.
    pub options: Options,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where its files are.
    pub layout: Layout,
    /// Where time stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Where blocking work runs.
    pub executor: Arc<dyn Executor>,
    /// Armed points, in tests.
    pub faults: Faults,
    /// What was done so far.
    pub counters: Counters,
    /// What is measured.
    pub meters: Meters,
    /// Its Tier 2, if it has one.
    pub cold: Option<Arc<ColdLink>>,
    /// What readers share.
    pub readers: Arc<ReadContext>,
    /// What accepted records of all streams hold.
    pub budget: Arc<Budget>,
    /// What recent frames of all streams take.
    pub tail: Arc<TailBudget>,
    /// The lock on the directory; it belongs to the supervisor and to jobs under way.
    pub lock: Mutex<Option<Weak<dyn DiskLock>>>,
    /// Streams with bytes that are not durable: a hint whether a write and its sync may be one
    /// hand-over, or are better left to the flusher.
    pub dirty: AtomicUsize,
    /// Folders of streams that could not be synced.
    pub folders: FolderLatch,
    /// Whose files somebody is at work on.
    pub under_way: Arc<UnderWay>,
    /// Held while a manifest file is begun and made the one that counts, or while those that do not count
    /// are looked for. True while nobody can say which one counts: an attempt to switch `CURRENT` has failed,
    /// which may name a file in the cache that it does not name on the disk. Blocks: for jobs alone.
    pub manifest_files: Mutex<bool>,
    /// What sweeps have found.
    pub swept: Mutex<SweepHealth>,
}

/// What lives as long as one generation of actors.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The log.
    pub log: Arc<LogContext>,
    /// Its identity.
    pub id: LogId,
    /// The owner epoch.
    pub epoch: Epoch,
    /// Where durable ends are claimed.
    pub claims: Arc<ClaimsFile>,
    /// Jobs of the actors that serve all streams.
    pub running: Running,
    /// Those of the compressor, which is replaced alone.
    pub compressing: Running,
    /// Those of the uploader, which is replaced alone as well.
    pub transferring: Running,
    /// Syncs.
    pub flusher: FlusherHandle,
    /// Compresses segments.
    pub compressor: CompressorHandle,
    /// Uploads them, if there is a Tier 2, and how it claims that.
    pub uploader: Option<(UploaderHandle, Claimant)>,
    /// Admits and rolls over segments.
    pub coordinator: CoordinatorHandle,
    /// Makes entries durable.
    pub manifest: ManifestHandle,
}

impl Generation {
    /// The jobs of all actors that serve all streams.
    pub fn jobs(&self) -> [Running; 3] {
        let jobs = [&self.running, &self.compressing, &self.transferring];
        jobs.map(Clone::clone)
    }
}

impl LogContext {
    /// Makes a segment durable. Blocks.
    ///
    /// # Errors
    /// As the disk; what is durable is unknown then.
    pub fn sync(&self, file: &Latched) -> Result<(), StorageError> {
        let begun = Instant::now();
        let synced = file.sync();
        note_awaited_sync();
        synced?;
        self.meters.fsync_seconds.record(begun.elapsed());
        Ok(())
    }

    /// What sweeps have found.
    pub fn swept(&self) -> SweepHealth {
        let swept = self.swept.lock();
        swept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A sweep has ended.
    pub fn note_sweep(&self, outcome: &Result<SweepReport, Error>) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(report) => {
                *swept = SweepHealth {
                    last: Some(report.clone()),
                    failed: None,
                };
            }
            Err(error) => swept.failed = Some(error.to_string()),
        }
    }

    /// Runs blocking work for an actor, counted in `running`.
    pub fn write_job<T: Send + 'static>(
        &self,
        running: &Running,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Completion<T> {
        self.job(Work::Write, running, f)
    }

    /// The same, on the threads for this kind of work.
    pub fn job<T: Send + 'static>(
        &self,
        work: Work,
        running: &Running,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Completion<T> {
        // Whatever becomes of the actors: the next owner must not recover files that are still
        // being written to.
        let lock = {
            // Let go before the job is handed over: an executor may run it at once, and a recovery puts
            // another lock here.
            let kept = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            kept.as_ref().and_then(Weak::upgrade)
        };
        run(&self.executor, work, running, move || {
            let outcome = f();
            drop(lock);
            outcome
        })
    }

    /// Runs blocking work that may take as long as it gets on, such as a recovery. `f` gets the disk to
    /// use.
    ///
    /// # Errors
    /// `Unavailable` when no call to the disk has come back for `stall_after`: the job may still be
    /// running, and is counted in `running` for as long as it does. `Indeterminate` when it
    /// panicked.
    pub async fn long_job<T: Send + 'static>(
        &self,
        running: &Running,
        f: impl FnOnce(Arc<dyn Disk>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (progress, patience) = (Progress::default(), self.options.stall_after);
        let disk = WatchedDisk::new(Arc::clone(&self.disk), progress.clone());
        let mut job = self.write_job(running, move || f(Arc::new(disk)));
        let mut seen = 0;
        loop {
            match timeout(patience, &mut job).await {
                Ok(outcome) => return outcome.map_err(|died| Error::indeterminate(&died)),
                Err(_) if seen == progress.count() => {
                    return Err(Error::stalled("the disk", patience));
                }
                Err(_) => seen = progress.count(),
            }
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Running totals since the log was opened.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: AtomicU64,)*
        }

        /// Totals at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct Totals {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counters {
            /// The totals now.
            pub fn totals(&self) -> Totals {
                Totals { $($field: self.$field.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Records written.
    records,
    /// Bytes of frames written.
    bytes,
    /// Frames written.
    frames,
    /// Writes handed over, each of one frame or more.
    writes,
    /// Successful syncs of segments.
    syncs,
    /// Records made durable.
    durable_records,
    /// Segments sealed.
    sealed,
    /// Manifest commits.
    manifest_commits,
    /// Syncs of the manifest.
    manifest_syncs,
    /// Failed writes and syncs that were recovered from.
    repairs,
}

impl Counters {
    /// Adds to a total.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// How long to wait before trying again what failed `failures` times in a row: from 10 ms, doubled
/// each time up to one second, with jitter, so that many streams do not come back at once.
pub fn backoff(failures: u32) -> Duration {
    let base = Duration::from_millis(10).saturating_mul(1 << failures.min(7));
    let base = base.min(Duration::from_secs(1));
    base.mul_f64(0.5 + fastrand::f64() / 2.0)
}
