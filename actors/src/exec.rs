//! Where blocking work runs: threads meant for it, never a Tokio worker.
//!
//! An actor hands over a closure and holds a [`Completion`], a slot reserved together with the
//! request, so that a result never has to find room in a mailbox. The queue of a pool is bounded by
//! construction: each actor has a fixed number of jobs in flight. Should it ever be full all the
//! same, the job is refused and its completion says so at once.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::sync::{
    Arc, Notify,
    atomic::{AtomicUsize, Ordering},
};

mod threads;

use threads::Threads;

/// How much they give way: where others want the processor as well, each gets three times as much of it.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Which threads a job runs on, so that a reader never waits behind a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Writes, and syncs that go with them.
    Write,
    /// Syncs of streams alone, as many at once as are allowed.
    Sync,
    /// Reads.
    Read,
    /// Compression and what undoes it: long work that nobody waits for.
    Compress,
    /// Waiting for bytes out of Tier 2.
    Fetch,
    /// The calls of a Tier 2 that is a folder. Apart from those who wait for them.
    Store,
}

/// Runs blocking work somewhere.
pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// Takes a job, or hands it back when the queue is full or the executor is gone.
    ///
    /// # Errors
    /// The job itself, not run.
    fn submit(&self, work: Work, job: Job) -> Result<(), Job>;
}

/// Readers' jobs that wait for Tier 2 at once, and threads that make the calls of one that is a folder.
pub const FETCHING: usize = 4;

/// The most threads that writes need, besides two: they end in the page cache as a rule, and few of them sync.
const WRITING: usize = 4;

/// Real threads: one pool for writes, one for syncs, one for reads, one for compression, one that waits for
/// Tier 2.
#[derive(Debug)]
pub struct ThreadPool {
    /// None for those who only read.
    write: Option<Threads>,
    /// The same.
    sync: Option<Threads>,
    read: Threads,
    /// None for those who only read.
    compress: Option<Threads>,
    /// None without Tier 2.
    fetch: Option<Threads>,
    /// The same.
    store: Option<Threads>,
}

impl ThreadPool {
    /// Starts `threads` threads for syncs, as many, but at most four, and two more for writes, as many, but at
    /// most four, for reads, and `compressing` for compression. They end when the pool is dropped and their
    /// queue is empty.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(threads: usize, compressing: usize, queue: usize) -> std::io::Result<Self> {
        Ok(Self {
            // Two more, so that a write does not wait behind a commit of the manifest and a new segment.
            write: Some(Threads::start(
                "write",
                threads.min(WRITING) + 2,
                queue,
                || (),
            )?),
            sync: Some(Threads::start("sync", threads, queue, || ())?),
            compress: Some(Threads::start("compress", compressing, queue, give_way)?),
            ..Self::start_for_reading(threads, queue)?
        })
    }

    /// Starts those for reads alone: a write is refused.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_for_reading(threads: usize, queue: usize) -> std::io::Result<Self> {
        Ok(Self {
            write: None,
            sync: None,
            compress: None,
            fetch: None,
            store: None,
            read: Threads::start("read", threads.min(4), queue, || ())?,
        })
    }

    /// Starts those that wait for Tier 2 as well.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn and_fetch(self, queue: usize) -> std::io::Result<Self> {
        Ok(Self {
            // Two more than readers take, so that what heals a file does not wait behind them.
            fetch: Some(Threads::start("fetch", FETCHING + 2, queue, || ())?),
            store: Some(Threads::start("store", FETCHING, queue, || ())?),
            ..self
        })
    }
}

/// Lets every other thread of the machine go first: segments can wait, and appends can't. A system that
/// refuses it loses nothing but that.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let this = Some(rustix::thread::gettid());
        if let Ok(own) = getpriority_process(this) {
            let _ = setpriority_process(this, (own + NICE).min(19));
        }
    }
}

impl Executor for ThreadPool {
    fn submit(&self, work: Work, job: Job) -> Result<(), Job> {
        let pool = match work {
            Work::Write => self.write.as_ref(),
            Work::Sync => self.sync.as_ref(),
            Work::Read => Some(&self.read),
            Work::Compress => self.compress.as_ref(),
            Work::Fetch => self.fetch.as_ref(),
            Work::Store => self.store.as_ref(),
        };
        let Some(pool) = pool else {
            return Err(job);
        };
        pool.submit(job)
    }
}

/// The job ended without a result: it panicked, or no thread took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a blocking job died")]
pub struct JobDied;

/// The slot in which a job's result arrives. Dropping it does not stop the job.
#[derive(Debug)]
pub struct Completion<T>(oneshot::Receiver<T>);

impl<T> Completion<T> {
    /// Waits on the calling thread. Not for Tokio workers.
    ///
    /// # Errors
    /// [`JobDied`].
    pub fn wait(self) -> Result<T, JobDied> {
        self.0.blocking_recv().map_err(|_| JobDied)
    }
}

impl<T> Future for Completion<T> {
    type Output = Result<T, JobDied>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|result| result.map_err(|_| JobDied))
    }
}

/// Counts jobs that still run, so that nobody recovers files under a write that is still going on.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<RunningInner>);

#[derive(Debug, Default)]
struct RunningInner {
    count: AtomicUsize,
    idle: Notify,
}

/// One job's place in [`Running`].
#[derive(Debug)]
pub struct RunningJob(Arc<RunningInner>);

impl Running {
    /// Counts one more until the guard is dropped.
    pub fn begin(&self) -> RunningJob {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        RunningJob(Arc::clone(&self.0))
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Resolves when none runs.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            // Listening begins before the check: a job that ends in between rings anyway.
            idle.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// Hands `f` to the executor; its result comes through the completion.
pub fn run<T: Send + 'static>(
    executor: &Arc<dyn Executor>,
    work: Work,
    running: &Running,
    f: impl FnOnce() -> T + Send + 'static,
) -> Completion<T> {
    let (sender, receiver) = oneshot::channel();
    let guard = running.begin();
    let job: Job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(f));
        // The job no longer touches files: whoever waits for that may go on before the result,
        // which may be dropped unread, arrives.
        drop(guard);
        if let Ok(result) = result {
            threads::afterwards(move || {
                let _ = sender.send(result);
            });
        }
    });
    // A refused job is dropped here with its sender: the completion resolves to `JobDied`.
    let _ = executor.submit(work, job);
    Completion(receiver)
}

/// Waits on the thread of a job.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    #[cfg(feature = "fault-injection")]
    if let Some(waits) = turns::of_this_thread() {
        return turns::wait(&*waits, future);
    }
    futures::executor::block_on(future)
}

/// Jobs that take turns with the runtime: where everything runs in the order that a seed gives, a
/// job must not wait while nothing else runs.
#[cfg(feature = "fault-injection")]
pub mod turns {
    use std::{
        cell::RefCell,
        future::{Future, poll_fn},
        pin::{Pin, pin},
        rc::Rc,
    };

    /// Lets others run until a future has come to its end.
    pub trait Turns {
        /// Polls it on this thread, whenever it may go on, until it is ready.
        fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>);
    }

    thread_local! {
        static TURNS: RefCell<Option<Rc<dyn Turns>>> = const { RefCell::new(None) };
    }

    /// What jobs on this thread wait by, from now on.
    pub fn take(turns: Rc<dyn Turns>) {
        TURNS.set(Some(turns));
    }

    pub(super) fn of_this_thread() -> Option<Rc<dyn Turns>> {
        TURNS.with_borrow(Clone::clone)
    }

    pub(super) fn wait<F: Future>(turns: &dyn Turns, future: F) -> F::Output {
        let (mut future, mut output) = (pin!(future), None);
        turns.wait(pin!(poll_fn(|cx| {
            future.as_mut().poll(cx).map(|ready| output = Some(ready))
        })));
        output.expect("turns are over when the future is ready")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Arc<dyn Executor> {
        Arc::new(ThreadPool::start(1, 1, 4).expect("threads"))
    }

    #[test]
    fn a_panicking_job_resolves_its_completion_and_spares_the_thread() {
        let pool = pool();
        let running = Running::default();
        let died = run::<()>(&pool, Work::Write, &running, || panic!("on purpose"));
        assert_eq!(died.wait(), Err(JobDied));
        assert_eq!(run(&pool, Work::Write, &running, || 7).wait(), Ok(7));
        assert_eq!(running.count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_that_compress_give_way_to_those_that_write() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid()));
        let (pool, running) = (pool(), Running::default());
        let of = |work| run(&pool, work, &running, nice).wait().expect("a thread");
        let write = of(Work::Write).expect("its own priority");
        let compress = of(Work::Compress).expect("its own priority");
        assert_eq!(compress, (write + NICE).min(19));
    }

    #[test]
    fn a_pool_for_reading_refuses_a_write_at_once() {
        let pool: Arc<dyn Executor> =
            Arc::new(ThreadPool::start_for_reading(1, 4).expect("threads"));
        let running = Running::default();
        let refused = run(&pool, Work::Write, &running, || 7);
        assert_eq!(refused.wait(), Err(JobDied));
        assert_eq!(run(&pool, Work::Read, &running, || 7).wait(), Ok(7));
    }

    #[test]
    fn a_full_queue_resolves_the_completion_instead_of_hanging() {
        let pool = pool();
        let running = Running::default();
        let (started, starts) = std::sync::mpsc::sync_channel::<()>(1);
        let mut gates = Vec::new();
        // Every thread is parked before the queue is filled, or a fast one would empty it.
        for _ in 0..3 {
            let (go, gate) = std::sync::mpsc::sync_channel::<()>(1);
            let started = started.clone();
            let parked = run(&pool, Work::Write, &running, move || {
                started.send(()).expect("the test listens");
                gate.recv().is_ok()
            });
            starts.recv().expect("a thread took it");
            gates.push((go, parked));
        }
        let mut outcomes: Vec<_> = (0..5)
            .map(|n| run(&pool, Work::Write, &running, move || n))
            .collect();
        let refused = outcomes.pop().expect("five jobs for four places");
        assert_eq!(refused.wait(), Err(JobDied));
        for (go, parked) in gates {
            go.send(()).expect("the job waits");
            assert_eq!(parked.wait(), Ok(true));
        }
        assert_eq!(outcomes.remove(0).wait(), Ok(0));
    }
}
