//! One generation of actors, from a log that was just recovered.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize};

use futures::{FutureExt, future::BoxFuture};
use kameo::error::{ActorStopReason, PanicError};
use tierlog_cold::store::Store;
use tierlog_storage::{
    disk::{Disk, DiskLock, FolderDisk, FolderLatch},
    layout::Layout,
    manifest::{ManifestOptions, ManifestState},
    recovery::{OpenOptions, OpenedLog, open_log, open_log_with_lock},
};

use crate::{
    clock::Clock,
    cold::{self, ColdLink},
    compressor,
    context::{Counters, Generation, LogContext},
    coordinator,
    error::Error,
    exec::{Executor, Running},
    fault::Faults,
    flusher,
    manifest::{self, Ended, ManifestArgs, ManifestHandle},
    meters::{Meters, Share},
    options::Options,
    read::{ReadContext, ReadLimits},
    stream::{budget::Budget, tail::TailBudget},
    uploader::{self, Claimant, UploaderArgs, UploaderHandle},
};

/// What an app, or a test, may put in place of the real thing.
#[derive(Debug, Clone)]
pub struct Injected {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where time stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Where blocking work runs.
    pub executor: Arc<dyn Executor>,
    /// Armed points.
    pub faults: Faults,
    /// Tier 2, if there is one.
    pub store: Option<Arc<dyn Store>>,
}

/// The lock on the directory, kept over restarts.
#[derive(Debug)]
pub(super) struct KeptLock(#[allow(dead_code)] Arc<dyn DiskLock>);

impl DiskLock for KeptLock {}

/// Which actor ended, and how.
#[derive(Debug)]
pub(super) struct Ending {
    /// Who.
    pub who: Who,
    /// Counts up with each generation and each start of a writer: an ending of what has been
    /// replaced already is no news.
    pub serial: u64,
    /// How, for people.
    pub reason: String,
}

/// An actor that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// Serves all streams.
    Shared(&'static str),
    /// Serves all streams, and nothing rests on what it was doing.
    Compressor,
    /// The same.
    Uploader,
    /// Serves one.
    Writer(tierlog_storage::StreamId),
}

/// Makes the context of a log.
pub(super) fn context(options: Options, injected: Injected) -> Arc<LogContext> {
    let budget = Budget::new(options.unsynced_bytes, None);
    let layout = Layout::new(options.data.clone());
    let Injected {
        disk,
        clock,
        executor,
        faults,
        store,
    } = injected;
    let folders = FolderLatch::default();
    let disk: Arc<dyn Disk> =
        Arc::new(FolderDisk::new(disk, layout.streams_dir(), folders.clone()));
    let limits = ReadLimits {
        mode: options.read,
        cache: options.read_cache,
        stall_after: Some(options.stall_after),
        ..ReadLimits::default()
    };
    let readers = ReadContext::new(
        Arc::clone(&disk),
        layout.clone(),
        Arc::clone(&executor),
        &limits,
    );
    let cold = store.map(|store| link(store, &readers));
    let in_tails = Share::of(&readers.meters.tail_bytes);
    let tail = TailBudget::new(options.tail_cache, in_tails);
    Arc::new(LogContext {
        options,
        disk,
        layout,
        clock,
        executor,
        faults,
        counters: Counters::default(),
        meters: Meters::new(),
        cold,
        readers,
        budget,
        tail,
        lock: Mutex::default(),
        dirty: AtomicUsize::new(0),
        folders,
        under_way: Arc::default(),
        manifest_files: Mutex::default(),
        swept: Mutex::default(),
    })
}

/// Tier 2, not claimed yet.
pub(super) fn link(store: Arc<dyn Store>, readers: &ReadContext) -> Arc<ColdLink> {
    let is_durable = store.is_durable();
    let link = ColdLink::new(cold::client(store), is_durable);
    readers.reads_through(Arc::clone(&link.remote));
    link
}

/// The span of a recovery. It is made where the recovery is asked for, and entered where it runs.
pub(super) fn span() -> tracing::Span {
    tracing::info_span!(target: "tierlog::recovery", "recovery")
}

/// Opens the log, or recovers it again under the lock that is held already. Blocks.
pub(super) fn recover(
    log: &LogContext,
    disk: &Arc<dyn Disk>,
    lock: Option<Arc<dyn DiskLock>>,
) -> Result<(Arc<dyn DiskLock>, OpenedLog), Error> {
    let options = OpenOptions {
        manifest: ManifestOptions {
            chunk_size: log.options.manifest_chunk,
            rotate_bytes: log.options.manifest_rotate,
        },
        create: lock.is_none(),
        now_ns: log.clock.now_ns(),
        claim_slots: u32::try_from(log.options.max_streams).unwrap_or(u32::MAX),
    };
    let mut opened = match &lock {
        Some(lock) => {
            let lock = Box::new(KeptLock(Arc::clone(lock)));
            open_log_with_lock(disk, &log.layout, &options, lock)?
        }
        None => open_log(disk, &log.layout, &options)?,
    };
    let lock = lock.unwrap_or_else(|| {
        let lock: Box<dyn DiskLock> = std::mem::replace(&mut opened.lock, Box::new(NoLock));
        Arc::from(lock)
    });
    *log.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&lock));
    log.readers.is_of(opened.log);
    if !log.options.reader_lease.is_zero() {
        log.readers.leases_by(Arc::clone(&log.clock));
    }
    Ok((lock, opened))
}

/// Stands where a lock was that is released.
#[derive(Debug)]
pub(super) struct NoLock;

impl DiskLock for NoLock {}

/// Starts the actors that serve all streams; gives their endings to be watched.
pub(super) fn start(
    log: &Arc<LogContext>,
    opened: OpenedLog,
    serial: u64,
) -> (Generation, Vec<BoxFuture<'static, Ending>>) {
    let OpenedLog {
        log: id,
        state,
        manifest: file,
        claims,
        ..
    } = opened;
    let running = Running::default();
    let claims = Arc::new(claims);
    let epoch = state.epoch;
    let (size, budget) = (log.options.segment_size, log.options.hot_budget);
    let ledger = coordinator::Ledger::of(&state, size, budget, &log.meters);
    let mut table = coordinator::Table::of(&state);
    table.outlives = log.cold.as_ref().is_some_and(|cold| cold.is_durable);
    let known = log.cold.is_some().then(|| state.clone());
    let args = ManifestArgs {
        log: Arc::clone(log),
        running: running.clone(),
        file,
        state,
    };
    let (manifest, manifest_end) = manifest::spawn(args);
    let (flusher, flusher_end) = flusher::spawn(Arc::clone(log), Arc::clone(&claims));
    let compressing = Running::default();
    let (compressor, compressor_end) = compressor::spawn(Arc::clone(log), compressing.clone());
    let transferring = Running::default();
    let started =
        known.and_then(|known| start_uploader(log, &known, &manifest, &transferring, serial));
    let (uploader, uploader_end) = started.unzip();
    let mover = coordinator::Mover {
        tasks: coordinator::Tasks::new(Arc::clone(log), manifest.clone(), epoch, running.clone()),
        log: id,
        compressor: compressor.clone(),
        uploader: uploader.as_ref().map(|(handle, _)| handle.clone()),
    };
    let (coordinator, coordinator_end) = coordinator::spawn(Arc::clone(log), mover, table, ledger);
    let generation = Generation {
        log: Arc::clone(log),
        id,
        epoch,
        claims,
        running,
        compressing,
        transferring,
        flusher,
        compressor,
        uploader,
        coordinator,
        manifest,
    };
    let mut endings = vec![
        ending(manifest_end, Who::Shared("manifest"), serial),
        ending(flusher_end, Who::Shared("flusher"), serial),
        ending(coordinator_end, Who::Shared("coordinator"), serial),
        ending(compressor_end, Who::Compressor, serial),
    ];
    endings.extend(uploader_end);
    (generation, endings)
}

/// The uploader, how it claims Tier 2, and its end.
type Uploading = ((UploaderHandle, Claimant), BoxFuture<'static, Ending>);

fn start_uploader(
    log: &Arc<LogContext>,
    state: &ManifestState,
    manifest: &ManifestHandle,
    running: &Running,
    serial: u64,
) -> Option<Uploading> {
    let link = log.cold.as_ref()?;
    let claimant = Claimant::new(state, manifest.clone(), link, log.options.cold_unfenced);
    let (handle, end) = uploader::spawn(UploaderArgs {
        log: Arc::clone(log),
        link: Arc::clone(link),
        claimant: claimant.clone(),
        running: running.clone(),
    });
    Some(((handle, claimant), ending(end, Who::Uploader, serial)))
}

/// Watches a task: resolves once its actor's state is gone. It goes as soon as the actor has ended, whether or
/// not anybody waits for this: what the actor owed an answer to, the supervisor waits for perhaps.
pub(super) fn ending<A: Send + 'static>(
    ended: Ended<A>,
    who: Who,
    serial: u64,
) -> BoxFuture<'static, Ending> {
    let watch = tokio::spawn(async move {
        match ended.await {
            Ok(Ok((state, reason))) => {
                drop(state);
                describe(&reason)
            }
            Ok(Err(error)) => describe_panic(&error),
            Err(error) => error.to_string(),
        }
    });
    async move {
        let reason = watch.await.unwrap_or_else(|error| error.to_string());
        Ending {
            who,
            serial,
            reason,
        }
    }
    .boxed()
}

fn describe(reason: &ActorStopReason) -> String {
    match reason {
        ActorStopReason::Panicked(error) => describe_panic(error),
        other => other.to_string(),
    }
}

fn describe_panic(error: &PanicError) -> String {
    error
        .with_str(ToOwned::to_owned)
        .or_else(|| error.with_downcast_ref::<Error, _, _>(ToString::to_string))
        .unwrap_or_else(|| "killed".to_owned())
}
