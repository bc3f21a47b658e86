//! The threads of a log, in virtual time: each job is run after a latency that the seed gives, so
//! that jobs of several threads come to their end in any order.
//!
//! A job that waits for Tier 2 can't run to its end at once, since nothing else would run meanwhile.
//! It gets a thread of its own, which takes turns with the runtime: one of the two runs, and the
//! other one waits to be told that it is its turn.

use std::{
    fmt,
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use fastrand::Rng;
use tierlog::testing::{Executor, Job, Work, storage, turns};
use tokio::{
    runtime::Handle,
    sync::{Notify, RwLock, Semaphore},
    time::sleep,
};

use crate::{observer::Listener, panics};

/// How long jobs take.
#[derive(Debug, Clone, Copy)]
pub struct Latencies {
    /// Most of them, at most.
    pub most: Duration,
    /// Of a thousand, so many take longer.
    pub slow_per_mille: u32,
    /// At most so long.
    pub slow: Duration,
    /// Of ten thousand, so many take so long that nobody waits for them.
    pub stuck_per_myriad: u32,
    /// So long.
    pub stuck: Duration,
}

/// The pool of one process.
pub struct Pool {
    rng: Mutex<Rng>,
    runtime: Handle,
    latencies: Latencies,
    write: Arc<Semaphore>,
    sync: Arc<Semaphore>,
    read: Arc<Semaphore>,
    compress: Arc<Semaphore>,
    fetch: Arc<Semaphore>,
    /// Who waits for Tier 2 may be waited for, on his thread, by who reads the same block.
    far: Arc<RwLock<()>>,
    listener: Listener,
    /// No job takes so long any more that nobody waits for it.
    quiet: Arc<AtomicBool>,
}

impl Pool {
    /// Threads on the current runtime.
    pub fn start(
        seed: u64,
        threads: usize,
        compressing: usize,
        latencies: Latencies,
        listener: Listener,
        quiet: Arc<AtomicBool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            rng: Mutex::new(Rng::with_seed(seed)),
            runtime: Handle::current(),
            latencies,
            write: Arc::new(Semaphore::new(threads.min(4) + 2)),
            sync: Arc::new(Semaphore::new(threads)),
            read: Arc::new(Semaphore::new(threads.min(4))),
            compress: Arc::new(Semaphore::new(compressing)),
            fetch: Arc::new(Semaphore::new(1)),
            far: Arc::default(),
            listener,
            quiet,
        })
    }

    /// How long a job takes, and the chance that it brings along.
    fn draw(&self, work: Work) -> (Duration, u64) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let Latencies {
            most,
            slow_per_mille,
            slow,
            stuck_per_myriad,
            stuck,
        } = self.latencies;
        let micros = |rng: &mut Rng, most: Duration| {
            let most = u64::try_from(most.as_micros()).expect("a short time");
            Duration::from_micros(rng.u64(0..=most))
        };
        let latency = match rng.u32(0..10_000) {
            n if n < stuck_per_myriad
                && work != Work::Compress
                && !self.quiet.load(Ordering::Relaxed) =>
            {
                self.listener.points.pass("trouble: a job is stuck");
                self.listener
                    .trace
                    .say("pool", format_args!("a job is stuck: {work:?}"));
                stuck
            }
            n if n % 1_000 < slow_per_mille => micros(&mut rng, slow),
            _ => micros(&mut rng, most),
        };
        (latency, rng.u64(..))
    }
}

impl Executor for Pool {
    fn submit(&self, work: Work, job: Job) -> Result<(), Job> {
        let (latency, seed) = self.draw(work);
        let far = Arc::clone(&self.far);
        let threads = Arc::clone(match work {
            Work::Write | Work::Store => &self.write,
            Work::Sync => &self.sync,
            Work::Read => &self.read,
            Work::Compress => &self.compress,
            Work::Fetch => &self.fetch,
        });
        let (runtime, listener) = (self.runtime.clone(), self.listener.clone());
        self.runtime.spawn(async move {
            let Ok(_thread) = threads.acquire_owned().await else {
                return;
            };
            if !latency.is_zero() {
                sleep(latency).await;
            }
            match work {
                Work::Fetch => {
                    let _alone = far.write().await;
                    take_turns(job, seed, runtime, listener).await;
                }
                Work::Read => {
                    let _beside = far.read().await;
                    job();
                }
                Work::Write | Work::Sync | Work::Store | Work::Compress => job(),
            }
        });
        Ok(())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// What a thread says when it hands the turn back.
enum Back {
    /// It goes on when this is rung.
    Waits(Arc<Bell>),
    /// It is done.
    Done,
}

/// A thread that takes turns. Dropping it ends the thread where it waits.
struct Other {
    go: Option<SyncSender<()>>,
    back: Receiver<Back>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Other {
    fn drop(&mut self) {
        self.go = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn take_turns(job: Job, seed: u64, runtime: Handle, listener: Listener) {
    let (go, turn) = sync_channel(1);
    let (hand, back) = sync_channel(1);
    let panics = panics::of_this_thread();
    let thread = thread::spawn(move || {
        if turn.recv().is_err() {
            return;
        }
        let _entered = runtime.enter();
        let _heard = tracing::subscriber::set_default(listener);
        panics::take(panics);
        fastrand::seed(seed);
        storage::ids::seed_identities(Some(seed));
        turns::take(Rc::new(Mine {
            turn,
            hand: hand.clone(),
        }));
        job();
        let _ = hand.send(Back::Done);
    });
    let other = Other {
        go: Some(go),
        back,
        thread: Some(thread),
    };
    loop {
        let told = other.go.as_ref().map(|go| go.send(()));
        if !matches!(told, Some(Ok(()))) {
            return;
        }
        match other.back.recv() {
            Ok(Back::Waits(bell)) => bell.0.notified().await,
            Ok(Back::Done) | Err(_) => return,
        }
    }
}

#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// The thread's end of it.
struct Mine {
    turn: Receiver<()>,
    hand: SyncSender<Back>,
}

impl turns::Turns for Mine {
    fn wait(&self, mut future: Pin<&mut dyn Future<Output = ()>>) {
        loop {
            let bell = Arc::new(Bell::default());
            let waker = Waker::from(Arc::clone(&bell));
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            if polled == Poll::Ready(()) {
                return;
            }
            let handed = self.hand.send(Back::Waits(bell));
            if handed.is_err() || self.turn.recv().is_err() {
                // The process is gone.
                resume_unwind(Box::new("its process has ended"));
            }
        }
    }
}
