//! What a log leaves behind in a process that opens and closes many: nothing.
//!
//! A binary of its own, since it counts all allocations and threads of the process. Its one test
//! does one thing after the other.

use std::{
    alloc::System,
    fs,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::StreamExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tierlog::{
    From, Offset, ReadOnly, Settings, Supervisor,
    testing::{Action, Faults, Injected, SystemClock, ThreadPool, storage::disk::sim::SimDisk},
};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order.
    Shutdown,
    /// Its supervisor is dropped, with records on their way.
    Dropped,
    /// The runtime is dropped under it, with records on their way.
    Runtime,
}

/// Waits until something that other threads bring about is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..5_000_000 {
        if is_so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{what}");
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("proc").count()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn injected(disk: &SimDisk, faults: &Faults) -> Injected {
    Injected {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(SystemClock),
        executor: Arc::new(ThreadPool::start(2, 1, 256).expect("threads")),
        faults: faults.clone(),
        store: None,
    }
}

/// What must be gone once a log is.
#[derive(Debug)]
struct Traces(Vec<(&'static str, Weak<dyn Send + Sync>)>);

impl Traces {
    fn of(log: &Supervisor) -> Self {
        let shared = log.context();
        let log = Arc::clone(&shared.log);
        let mut traces = vec![weak("readers", &log.readers), weak("budget", &log.budget)];
        traces.extend(
            shared
                .streams()
                .iter()
                .map(|stream| weak("a stream", stream)),
        );
        traces.extend([weak("the log", &log), weak("what handles share", &shared)]);
        Self(traces)
    }

    fn left(&self) -> Vec<&'static str> {
        let left = self.0.iter().filter(|(_, weak)| weak.strong_count() > 0);
        left.map(|(name, _)| *name).collect()
    }
}

fn weak<T: Send + Sync + 'static>(
    name: &'static str,
    of: &Arc<T>,
) -> (&'static str, Weak<dyn Send + Sync>) {
    let of: Arc<dyn Send + Sync> = of.clone();
    (name, Arc::downgrade(&of))
}

/// A log in full use, from its opening to its end.
async fn live(disk: &SimDisk, end: End, restarted: bool) -> (Traces, Option<Supervisor>) {
    let settings = Settings::for_tests("/data/log");
    let faults = Faults::default();
    let log = Supervisor::open_with(settings.clone(), injected(disk, &faults))
        .await
        .expect("it opens");
    let a = log.log().stream("a").await.expect("a stream");
    let b = log.log().stream("b").await.expect("a stream");
    let mut follower = a.reader(From::Earliest).follow().await.expect("a reader");
    for n in 0..20 {
        a.append(format!("record {n}")).await.expect("an ack");
        b.append("x".repeat(1_000)).await.expect("an ack");
    }
    a.seal().await.expect("sealed");
    a.append("behind").await.expect("an ack");
    a.trim(Offset(3)).await.expect("trimmed");
    b.truncate_after(Some(Offset(7))).await.expect("cut");
    let mut refused = a.reader(From::Earliest).await.expect("a reader");
    assert_eq!(refused.next_batch(100).await.expect("records").len(), 18);
    assert!(follower.next().await.is_some());
    if restarted {
        restarts(&log, &faults).await;
    }
    let view = ReadOnly::attach_injected(settings, injected(disk, &faults))
        .await
        .expect("attached");
    let theirs = view.stream("b").expect("a stream");
    let mut following = theirs
        .reader(From::Earliest)
        .follow()
        .await
        .expect("a reader");
    assert!(following.next().await.is_some());
    let traces = Traces::of(&log);
    let mut pending: Vec<_> = (0..50).filter_map(|_| a.try_append("late").ok()).collect();
    match end {
        End::Shutdown => {
            let report = log.shutdown(Duration::from_secs(60)).await.expect("closed");
            assert!(report.clean, "{report:?}");
            for ticket in pending.drain(..) {
                ticket.await.expect("drained");
            }
        }
        End::Dropped => drop(log),
        End::Runtime => return (traces, Some(log)),
    }
    (traces, None)
}

/// A writer ends, and then an actor that serves all; others take their places.
async fn restarts(log: &Supervisor, faults: &Faults) {
    let stream = log.log().stream("a").await.expect("a stream");
    for (nth, point) in ["writer.before_write", "manifest.before_commit"]
        .into_iter()
        .enumerate()
    {
        faults.arm(point, Action::Kill, 1);
        let _ = stream.append("lost or not").await;
        let _ = stream.seal().await;
        while log.health().await.restarts.len() <= nth {
            tokio::task::yield_now().await;
        }
        stream.append("after it").await.expect("an ack");
    }
}

/// One log, and the wait until all that ran for it has ended.
fn one(end: End, restarted: bool, before: usize) {
    let runtime = runtime();
    let disk = SimDisk::new();
    let (traces, log) = runtime.block_on(live(&disk, end, restarted));
    if end == End::Runtime {
        drop(runtime);
        drop(log);
    } else {
        // Actors that were told to end do so in their own time.
        runtime.block_on(async {
            for _ in 0..1_000_000 {
                if traces.left().is_empty() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
        drop(runtime);
    }
    until("its threads end", || threads() <= before);
    assert_eq!(traces.left(), [""; 0], "{end:?}");
}

/// Allocations that were not given back, and their bytes.
fn held() -> (usize, usize) {
    let stats = ALLOCATOR.stats();
    let allocations = stats.allocations - stats.deallocations;
    (allocations, stats.bytes_allocated - stats.bytes_deallocated)
}

#[test]
fn three_hundred_logs_in_one_process_leave_nothing_behind() {
    let threads_before = threads();
    let all = [End::Shutdown, End::Dropped, End::Runtime];
    // What is made once a process: names, tables, buffers of the test's own output.
    for end in all.into_iter().cycle().take(15) {
        one(end, true, threads_before);
    }
    for end in all {
        let (allocations, bytes) = held();
        for nth in 0..100 {
            one(end, nth % 5 == 0, threads_before);
        }
        let (later, more_bytes) = held();
        let what = format!(
            "{end:?}: {allocations} allocations of {bytes} B, then {later} of {more_bytes} B"
        );
        // One a log would be a hundred.
        assert!(later < allocations + 50, "{what}");
        assert!(more_bytes < bytes + 100_000, "{what}");
    }
}
