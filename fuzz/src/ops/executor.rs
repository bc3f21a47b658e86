//! Blocking work that runs on the one thread there is, later and in an order that the seed gives.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tierlog::testing::{Executor, Work};
use tokio::sync::Notify;

type Job = Box<dyn FnOnce() + Send>;

/// As many jobs as a pool of real threads would take.
const MOST: usize = 256;

/// Jobs that wait, and a task that runs them.
pub struct Later {
    jobs: Mutex<Vec<Job>>,
    rung: Notify,
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl Later {
    /// Starts the task on the current runtime; it ends when nobody has the executor any more.
    pub fn start() -> Arc<Self> {
        let later = Arc::new(Self {
            jobs: Mutex::default(),
            rung: Notify::new(),
        });
        tokio::spawn(Self::work(Arc::downgrade(&later)));
        later
    }

    async fn work(this: Weak<Self>) {
        while let Some(later) = this.upgrade() {
            match later.next() {
                Some(job) => {
                    drop(later);
                    job();
                    // Others may get ahead of the next job, or not.
                    for _ in 0..fastrand::u8(..4) {
                        tokio::task::yield_now().await;
                    }
                }
                None => later.rung.notified().await,
            }
        }
    }

    /// Its process is gone, and so is what it had not done. A job holds the log, the log holds its
    /// executor and that the job: without this, none of them would ever be freed.
    pub fn forget(&self) {
        let jobs = std::mem::take(&mut *self.jobs());
        drop(jobs);
    }

    fn jobs(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of those that wait, one that a free thread might take: one of the oldest few.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        let within = jobs.len().min(4);
        (within > 0).then(|| jobs.remove(fastrand::usize(..within)))
    }
}

impl Executor for Later {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        let mut jobs = self.jobs();
        if jobs.len() == MOST {
            return Err(job);
        }
        jobs.push(job);
        self.rung.notify_one();
        Ok(())
    }
}
