//! Threads that begin together.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Runs so many at once, each with its number, and gives what they gave and when they began.
pub fn run<T: Send>(count: usize, work: impl Fn(usize, Instant) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|task| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    work(task, Instant::now())
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|result| result.expect("it ends")).collect()
    })
}

/// What each of several tasks waited for, and in what time all of that was.
pub struct Waits {
    /// Microseconds, one an ack, by task.
    pub micros: Vec<Vec<f64>>,
    pub time: Duration,
}

impl Waits {
    /// How many acks each task got.
    pub fn counts(&self) -> Vec<usize> {
        self.micros.iter().map(Vec::len).collect()
    }

    pub fn rate(&self) -> f64 {
        self.counts().iter().sum::<usize>() as f64 / self.time.as_secs_f64()
    }

    pub fn sorted(self) -> Vec<f64> {
        let mut all: Vec<f64> = self.micros.into_iter().flatten().collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// Calls it again and again, on so many threads, until the time is over. `call` gets the number of the task
/// and of the call.
pub fn again(count: usize, time: Duration, call: impl Fn(usize, usize) + Sync) -> Waits {
    let begun = Instant::now();
    let micros = run(count, |task, begun| {
        let (mut micros, mut before) = (Vec::new(), begun);
        while before - begun < time {
            call(task, micros.len());
            let after = Instant::now();
            micros.push((after - before).as_secs_f64() * 1e6);
            before = after;
        }
        micros
    });
    Waits {
        micros,
        time: begun.elapsed(),
    }
}
