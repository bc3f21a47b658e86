//! A log on a simulated disk, whole in one thread: no real time passes, and nothing runs beside the
//! test.

use std::sync::Arc;

use tierlog::{
    Settings, Size,
    testing::{Executor, Faults, Injected, Job, SystemClock, Work, storage::disk::Disk},
};

/// Runs blocking work where it is asked for.
#[derive(Debug)]
struct Inline;

impl Executor for Inline {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        job();
        Ok(())
    }
}

/// A log on this disk, without threads.
pub fn on(disk: impl Disk) -> Injected {
    Injected {
        disk: Arc::new(disk),
        clock: Arc::new(SystemClock),
        executor: Arc::new(Inline),
        faults: Faults::default(),
        store: None,
    }
}

/// Settings for the smallest log that there can be: one segment holds one full frame.
pub fn tiny() -> Settings {
    Settings {
        segment_size: Size::kib(68),
        max_record: Size::kib(64),
        unsynced_bytes: Size::kib(128),
        max_streams: 8,
        restart_limit: 0,
        io_threads: 1,
        ..Settings::for_tests("/data/log")
    }
}

/// Runs a future to its end in one thread, where time passes only when nothing else is left to do.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}
