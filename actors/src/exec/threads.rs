//! Threads that take jobs from one bounded queue; the one that ran last is woken first.
//!
//! A stream that waits for each append has one job at a time. Were its threads woken in turn, each job would
//! find one that had slept for long: its caches are cold, and on the processor where it ran last it may have to
//! wait until that has come out of its own sleep. With six of them a durable append took half as long again.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::Job;

thread_local! {
    /// What the job of this thread has left to be done once the thread is free; nothing where there is no job.
    static AFTERWARDS: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
}

/// Does something when this thread can take another job, or at once where it is none of a pool.
///
/// Whoever waits for a job is woken at its end, on the same processor as a rule, and often before the thread
/// has come to rest. If that one were not free by then, the next job would wake another thread.
pub(super) fn afterwards(last: impl FnOnce() + Send + 'static) {
    let mut last: Option<Job> = Some(Box::new(last));
    AFTERWARDS.with_borrow_mut(|left| {
        if let Some(left) = left {
            left.extend(last.take());
        }
    });
    if let Some(last) = last {
        last();
    }
}

/// Gives them jobs. They end when it is dropped and the queue is empty.
#[derive(Debug)]
pub(super) struct Threads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// One for each thread, all with the one lock.
    bells: Vec<Condvar>,
    /// Jobs that wait at most.
    limit: usize,
}

struct State {
    queue: VecDeque<Job>,
    /// Who sleeps; the last one went to sleep last.
    idle: Vec<usize>,
    /// Those of them that were called and have not looked yet.
    called: usize,
    is_open: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("queue", &self.queue.len())
            .field("idle", &self.idle)
            .field("called", &self.called)
            .field("is_open", &self.is_open)
            .finish()
    }
}

impl Threads {
    /// Starts `count` threads, at least one, each of which runs `first` once. At most `limit` jobs wait.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(
        name: &str,
        count: usize,
        limit: usize,
        first: impl Fn() + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let count = count.max(1);
        let state = State {
            queue: VecDeque::new(),
            idle: Vec::with_capacity(count),
            called: 0,
            is_open: true,
        };
        let threads = Self(Arc::new(Shared {
            state: Mutex::new(state),
            bells: (0..count).map(|_| Condvar::new()).collect(),
            limit,
        }));
        for index in 0..count {
            let (shared, first) = (Arc::clone(&threads.0), first.clone());
            let named = thread::Builder::new().name(format!("tierlog-{name}-{index}"));
            named.spawn(move || {
                first();
                let mut left = Vec::new();
                while let Some(job) = shared.next(index, &mut left) {
                    AFTERWARDS.set(Some(std::mem::take(&mut left)));
                    // A job that panics must not take its thread with it; its completion is
                    // dropped by the unwinding and tells the actor.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                    left = AFTERWARDS.take().unwrap_or_default();
                }
            })?;
        }
        Ok(threads)
    }

    /// Takes a job, unless as many as may wait do so already.
    ///
    /// # Errors
    /// The job itself.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut state = self.0.state();
        if state.queue.len() >= self.0.limit {
            return Err(job);
        }
        state.queue.push_back(job);
        let woken = state.idle.pop();
        state.called += usize::from(woken.is_some());
        drop(state);
        if let Some(bell) = woken.and_then(|index| self.0.bells.get(index)) {
            bell.notify_one();
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.state().is_open = false;
        for bell in &self.0.bells {
            bell.notify_one();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing runs under it that could leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job for a thread, or nothing when there will be none. What its last job has left is done as soon
    /// as others know that the thread is free.
    fn next(&self, index: usize, left: &mut Vec<Job>) -> Option<Job> {
        let bell = self.bells.get(index)?;
        let mut state = self.state();
        loop {
            if left.is_empty() {
                if let Some(job) = state.queue.pop_front() {
                    return Some(job);
                }
                if !state.is_open {
                    return None;
                }
            }
            state.idle.push(index);
            if !left.is_empty() {
                drop(state);
                for last in left.drain(..) {
                    let _ = catch_unwind(AssertUnwindSafe(last));
                }
                state = self.state();
            }
            // Until it is called it keeps its place among the sleepers. Jobs for which nobody was called came
            // when nobody slept.
            while state.is_open && state.queue.len() <= state.called && state.idle.contains(&index)
            {
                state = bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            match state.idle.iter().position(|sleeper| *sleeper == index) {
                // A call for a sleeper must not go to it while it is at work.
                Some(place) => drop(state.idle.remove(place)),
                None => state.called -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A job under way.
    struct Parked {
        /// The thread that it runs on.
        on: String,
        go: SyncSender<()>,
        /// Says that its thread is free.
        freed: Receiver<()>,
    }

    impl Parked {
        fn submit(threads: &Threads) -> Self {
            let ((here, runs), (go, gate), (free, freed)) =
                (sync_channel(1), sync_channel(1), sync_channel(1));
            let taken = threads.submit(Box::new(move || {
                let name = thread::current().name().map(str::to_owned);
                here.send(name.expect("a name")).expect("the test listens");
                let _ = gate.recv();
                afterwards(move || free.send(()).expect("the test listens"));
            }));
            assert!(taken.is_ok(), "there is room");
            let on = runs.recv().expect("a thread took it");
            Self { on, go, freed }
        }

        /// Lets it end, and waits until its thread is free.
        fn end(self) -> String {
            self.go.send(()).expect("it waits");
            self.freed.recv().expect("it ends");
            self.on
        }
    }

    #[test]
    fn the_thread_that_was_at_work_last_is_woken_first() {
        let threads = Threads::start("test", 3, 4, || ()).expect("threads");
        let all: Vec<_> = (0..3).map(|_| Parked::submit(&threads)).collect();
        let last = all.into_iter().map(Parked::end).last();
        for _ in 0..10 {
            assert_eq!(Some(Parked::submit(&threads).end()), last);
        }
    }

    /// It went to sleep anew behind the one that had been at work after it.
    #[test]
    fn a_thread_that_takes_long_over_what_is_left_keeps_its_place_behind_those_that_were_at_work_after_it()
     {
        let threads = Threads::start("test", 2, 4, || ()).expect("threads");
        let other = Threads::start("other", 1, 4, || ()).expect("threads");
        for _ in 0..100 {
            let last = Parked::submit(&threads);
            let ((free, freed), (go, gate)) = (sync_channel(1), sync_channel(1));
            let slow = move || {
                afterwards(move || {
                    free.send(()).expect("the test listens");
                    let _ = gate.recv();
                });
            };
            assert!(threads.submit(Box::new(slow)).is_ok(), "there is room");
            freed.recv().expect("it ends");
            let last = last.end();
            go.send(()).expect("it waits");
            // Time enough for it to come to rest, as a rule.
            Parked::submit(&other).end();
            assert_eq!(Parked::submit(&threads).end(), last);
        }
    }

    #[test]
    fn who_waits_for_a_job_finds_its_thread_free() {
        let threads = Threads::start("test", 1, 4, || ()).expect("threads");
        let (done, results) = sync_channel(1);
        let free = Arc::clone(&threads.0);
        let job = move || {
            let last = move || done.send(free.state().idle.clone());
            afterwards(move || last().expect("the test listens"));
        };
        assert!(threads.submit(Box::new(job)).is_ok(), "there is room");
        assert_eq!(results.recv(), Ok(vec![0]));
    }

    #[test]
    fn what_is_left_by_a_thread_of_no_pool_is_done_at_once() {
        let (done, results) = sync_channel(1);
        afterwards(move || done.send(()).expect("the test listens"));
        assert_eq!(results.try_recv(), Ok(()));
    }

    #[test]
    fn a_job_never_waits_for_a_busy_thread_while_another_sleeps() {
        let threads = Threads::start("test", 3, 4, || ()).expect("threads");
        let jobs: Vec<_> = (0..3).map(|_| Parked::submit(&threads)).collect();
        let mut names: Vec<_> = jobs.into_iter().map(Parked::end).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3, "each has a thread of its own");
    }

    #[test]
    fn what_waits_when_they_are_dropped_is_run() {
        let threads = Threads::start("test", 1, 4, || ()).expect("threads");
        let first = Parked::submit(&threads);
        let (done, results) = sync_channel(4);
        for n in 0..4 {
            let done = done.clone();
            let job = Box::new(move || done.send(n).expect("the test listens"));
            assert!(threads.submit(job).is_ok(), "there is room");
        }
        assert!(threads.submit(Box::new(|| ())).is_err(), "no more may wait");
        drop((threads, done));
        first.end();
        assert_eq!(results.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
