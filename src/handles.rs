//! What the public handles are made of.

use std::{sync::Arc, time::Duration};

use tierlog_actors::{
    Error,
    clock::SystemClock,
    cold::StoreThreads,
    exec::{Executor, ThreadPool},
    fault::Faults,
    options::{self, Options},
    supervisor::Injected,
};
use tierlog_cold::{place, store::Store};
use tierlog_storage::disk::{GentleDisk, RealDisk};

use crate::{
    parts::Parts,
    settings::{FlushPolicy, ReadMode, Settings},
};

/// How long a record may wait under `flush = "bytes N"` when too few bytes follow it.
const BYTES_IDLE: Duration = Duration::from_millis(100);

/// Settings, checked, as the actors take them.
pub(crate) fn options(settings: &Settings) -> Result<Options, Error> {
    settings.validate().map_err(|error| Error::Settings {
        what: error.to_string(),
    })?;
    let bytes = |size: crate::Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    Ok(Options {
        data: settings.data.clone(),
        hot_budget: settings.hot_budget.map(crate::Size::bytes),
        warm_budget: settings.warm_budget.map(crate::Size::bytes),
        upload_workers: settings.upload_workers,
        archive_after: settings.archive_after,
        sweep_every: settings.sweep_every,
        retain_age: settings.retain_age,
        retain_bytes: settings.retain_bytes.map(crate::Size::bytes),
        reader_lease: settings.reader_lease,
        cold_unfenced: settings.cold_unfenced,
        cold_wait: settings.cold_wait,
        compression_level: i32::try_from(settings.compression_level).unwrap_or(i32::MAX),
        compression_workers: settings.compression_workers,
        segment_size: settings.segment_size.bytes(),
        segment_age: settings.segment_age,
        max_record: bytes(settings.max_record),
        flush: match settings.flush {
            FlushPolicy::Always => options::FlushPolicy::Always,
            FlushPolicy::Every(interval) => options::FlushPolicy::Every(interval),
            FlushPolicy::Bytes(size) => options::FlushPolicy::Bytes {
                bytes: size.bytes(),
                idle: BYTES_IDLE,
            },
            FlushPolicy::Manual => options::FlushPolicy::Manual,
        },
        read: match settings.read {
            ReadMode::Pread => options::ReadMode::Pread,
            ReadMode::Map => options::ReadMode::Map,
        },
        unsynced_bytes: bytes(settings.unsynced_bytes),
        lane_records: settings.lane_records,
        tail_cache: bytes(settings.tail_cache),
        read_cache: bytes(settings.read_cache),
        idle_mark: settings.idle_mark,
        stall_after: settings.stall_after,
        manifest_chunk: settings.manifest_chunk.bytes(),
        manifest_rotate: settings.manifest_rotate.bytes(),
        io_threads: settings.io_threads,
        max_streams: settings.max_streams,
        flusher_queue: settings.flusher_queue,
        coordinator_queue: settings.coordinator_queue,
        manifest_queue: settings.manifest_queue,
        supervisor_queue: settings.supervisor_queue,
        restart_limit: settings.restart_limit as usize,
        restart_window: settings.restart_window,
    })
}

/// The real disk, clock and threads, and what the app brings.
pub(crate) fn real(
    settings: &Settings,
    options: &Options,
    parts: Parts,
) -> Result<Injected, Error> {
    let executor = threads(options)?;
    Ok(Injected {
        disk: Arc::new(RealDisk),
        clock: Arc::new(SystemClock),
        store: store(settings, &executor, parts)?,
        executor,
        faults: Faults::default(),
    })
}

/// Tier 2, if the app brings one or the settings name one. Nothing is asked of it yet.
pub(crate) fn store(
    settings: &Settings,
    executor: &Arc<ThreadPool>,
    parts: Parts,
) -> Result<Option<Arc<dyn Store>>, Error> {
    if let Some(store) = parts.store(settings)? {
        return Ok(Some(store));
    }
    let Some(cold) = &settings.cold else {
        return Ok(None);
    };
    let threads = Arc::new(StoreThreads(Arc::clone(executor) as Arc<dyn Executor>));
    let disk = Arc::new(GentleDisk::new(Arc::new(RealDisk)));
    let store = place::open(cold.place(), disk, threads);
    store.map(Some).map_err(|error| Error::Settings {
        what: format!("`cold`: {error}"),
    })
}

/// Threads for blocking work, and for Tier 2.
fn threads(options: &Options) -> Result<Arc<ThreadPool>, Error> {
    let pool = ThreadPool::start(
        options.io_threads,
        options.compression_workers,
        queue(options),
    );
    started(
        options,
        pool.and_then(|pool| pool.and_fetch(queue(options))),
    )
}

/// Threads for those who only read.
pub(crate) fn threads_for_reading(options: &Options) -> Result<Arc<ThreadPool>, Error> {
    let pool = ThreadPool::start_for_reading(options.io_threads, queue(options));
    started(
        options,
        pool.and_then(|pool| pool.and_fetch(queue(options))),
    )
}

/// How many jobs may wait. Each stream has at most a write, a seal and a flush under way, and readers
/// hold permits of their own, so that this many never do.
fn queue(options: &Options) -> usize {
    options.max_streams.saturating_mul(4).saturating_add(1024)
}

fn started(options: &Options, pool: std::io::Result<ThreadPool>) -> Result<Arc<ThreadPool>, Error> {
    let pool = pool.map_err(|error| Error::Io {
        op: "start the threads for",
        path: options.data.clone(),
        source: Arc::new(error),
    })?;
    Ok(Arc::new(pool))
}
