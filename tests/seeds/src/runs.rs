//! Many seeds on all processors, or one of them again.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

use crate::{panics, seed, sometimes, trace::Keeps};

/// How it is called.
pub const USAGE: &str = "\
tests/seeds/run [COUNT] [--from N] [--jobs N]   tries COUNT seeds (1000), from N (0) on
tests/seeds/run --seed N [--calls]              repeats one seed and prints its trace, with
                                                each call to the disk
tests/seeds/run [COUNT] --points                tells all points that were come by, too
tests/seeds/run [COUNT] --twice                 runs each seed twice, and not one in 25";

/// Each that many seeds, one is run twice.
const TWICE_EACH: u64 = 25;
/// Fewer seeds need not come by everything.
const ENOUGH: u64 = 1_000;
/// A seed takes less than a second; one that takes so long will never end.
const STUCK_AFTER: Duration = Duration::from_secs(240);
/// More failures tell nothing new.
const MOST_FAILURES: usize = 20;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// One seed, with its trace.
    Repeat { seed: u64, calls: bool },
    /// Several.
    Try {
        from: u64,
        count: u64,
        jobs: usize,
        points: bool,
        twice_each: u64,
    },
    /// Somebody asks how.
    Help,
}

impl Order {
    /// What the arguments ask for.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut from, mut count, mut jobs, mut points) = (0, 1_000, None, false);
        let (mut seed, mut calls, mut twice_each) = (None, false, TWICE_EACH);
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64, String> {
                let text = arguments.next().unwrap_or_default();
                text.parse()
                    .map_err(|_| format!("{argument} takes a number, not {text:?}"))
            };
            match argument {
                "--seed" => seed = Some(number()?),
                "--calls" => calls = true,
                "--from" => from = number()?,
                "--jobs" => jobs = Some(usize::try_from(number()?).unwrap_or(1)),
                "--points" => points = true,
                "--twice" => twice_each = 1,
                "--help" | "-h" => return Ok(Self::Help),
                _ => {
                    let what = |_| format!("not a count of seeds: {argument:?}");
                    count = argument.parse().map_err(what)?;
                }
            }
        }
        if let Some(seed) = seed {
            return Ok(Self::Repeat { seed, calls });
        }
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        Ok(Self::Try {
            from,
            count,
            jobs: jobs.unwrap_or_else(processors).max(1),
            points,
            twice_each,
        })
    }

    /// Does it.
    pub fn carry_out(self) -> ExitCode {
        panics::listen();
        match self {
            Self::Help => {
                println!("{USAGE}");
                ExitCode::SUCCESS
            }
            Self::Repeat { seed, calls } => repeat(seed, calls),
            Self::Try {
                from,
                count,
                jobs,
                points,
                twice_each,
            } => Run::new(from, count, twice_each).all(jobs, points),
        }
    }
}

fn repeat(seed: u64, calls: bool) -> ExitCode {
    let keeps = if calls { Keeps::Calls } else { Keeps::Lines };
    let outcome = seed::run(seed, keeps);
    for line in &outcome.lines {
        println!("{line}");
    }
    let (sum, count) = outcome.sum;
    eprintln!("seed {seed}: {count} events, sum {sum:016x}");
    for failure in &outcome.failures {
        eprintln!("seed {seed} FAILED: {failure}");
    }
    match outcome.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Seeds that are being tried.
struct Run {
    from: u64,
    count: u64,
    twice_each: u64,
    next: AtomicU64,
    done: AtomicU64,
    events: AtomicU64,
    over: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    failures: Vec<String>,
    points: BTreeMap<String, u64>,
    /// The seeds under way, and since when.
    under_way: BTreeMap<u64, Instant>,
    twice: u64,
}

impl Run {
    fn new(from: u64, count: u64, twice_each: u64) -> Self {
        Self {
            from,
            count,
            twice_each,
            next: AtomicU64::new(from),
            done: AtomicU64::new(0),
            events: AtomicU64::new(0),
            over: AtomicBool::new(false),
            found: Mutex::default(),
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self, jobs: usize, points: bool) -> ExitCode {
        let begun = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| self.work())).collect();
            scope.spawn(|| self.look_after(begun));
            for worker in workers {
                let _ = worker.join();
            }
            self.over.store(true, Ordering::Relaxed);
        });
        self.tell(begun, points)
    }

    fn work(&self) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.from + self.count || self.found().failures.len() >= MOST_FAILURES {
                return;
            }
            self.found().under_way.insert(seed, Instant::now());
            let twice = seed.is_multiple_of(self.twice_each);
            let keeps = if twice { Keeps::Lines } else { Keeps::Sum };
            if twice {
                count_tasks_to(0);
            }
            let outcome = seed::run(seed, keeps);
            let again = twice.then(|| {
                count_tasks_to(2);
                seed::run(seed, keeps).lines
            });
            let mut found = self.found();
            found.under_way.remove(&seed);
            for failure in &outcome.failures {
                let line = failed(seed, failure);
                eprintln!("{line}");
                found.failures.push(line);
            }
            if let Some(again) = again {
                found.twice += 1;
                if again != outcome.lines {
                    let line = failed(seed, &parted(&outcome.lines, &again));
                    eprintln!("{line}");
                    found.failures.push(line);
                }
            }
            for (point, count) in outcome.points {
                *found.points.entry(point).or_default() += count;
            }
            self.events.fetch_add(outcome.sum.1, Ordering::Relaxed);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells how far it is, and which seed does not end.
    fn look_after(&self, begun: Instant) {
        let mut told = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
            let found = self.found();
            let stuck = found
                .under_way
                .iter()
                .find(|(_, since)| since.elapsed() > STUCK_AFTER);
            if let Some((seed, _)) = stuck {
                eprintln!("{}", failed(*seed, "it does not end"));
                std::process::exit(1);
            }
            drop(found);
            if told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                let done = self.done.load(Ordering::Relaxed);
                eprintln!(
                    "{done} of {} seeds in {} s",
                    self.count,
                    begun.elapsed().as_secs()
                );
            }
        }
    }

    fn tell(&self, begun: Instant, points: bool) -> ExitCode {
        let found = self.found();
        if points {
            for (point, count) in &found.points {
                println!("{count:>10}  {point}");
            }
        }
        let missing = match self.count >= ENOUGH {
            true => sometimes::missing(&found.points),
            false => Vec::new(),
        };
        for point in &missing {
            eprintln!("FAILED: no seed came by: {point}");
        }
        let (done, events) = (
            self.done.load(Ordering::Relaxed),
            self.events.load(Ordering::Relaxed),
        );
        println!(
            "{done} seeds from {}, {events} events, {} of them twice, {} points wanted, {} missing, {} \
             failures, {} s",
            self.from,
            found.twice,
            sometimes::wanted(),
            missing.len(),
            found.failures.len(),
            begun.elapsed().as_secs()
        );
        match found.failures.is_empty() && missing.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// Tokio numbers the tasks of the whole process, and keeps them in four lists by that number. Whether a
/// course follows from them shows where they are others the second time.
fn count_tasks_to(remainder: u64) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let number = || async { tokio::spawn(async { tokio::task::id().to_string() }).await };
        for _ in 0..4 {
            let last: Option<u64> = number().await.ok().and_then(|id| id.parse().ok());
            if last.is_none_or(|last| (last + 1) % 4 == remainder) {
                return;
            }
        }
    });
}

/// Where the second course left the first one. It is told here, since whatever made it differ need not
/// come again.
fn parted(first: &[String], second: &[String]) -> String {
    const BEFORE: usize = 5;
    let same = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let mut what = "the second time it took another course".to_owned();
    for line in &first[same.saturating_sub(BEFORE)..same] {
        what.push_str(&format!("\n  both    {line}"));
    }
    for (which, lines) in [("first", first), ("second", second)] {
        for line in lines.iter().skip(same).take(BEFORE) {
            what.push_str(&format!("\n  {which:<7} {line}"));
        }
    }
    what
}

fn failed(seed: u64, what: &str) -> String {
    format!("seed {seed} FAILED: {what}\n  again, with its trace: tests/seeds/run --seed {seed}")
}
