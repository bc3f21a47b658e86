//! Crash states at scale: what a log promised while a workload ran is recovered from every disk that a power
//! cut or a kill may have left, at every moment of it.

mod bucket;
mod cuts;
mod explorer;
mod found;
mod kept_and_broken;
mod plan;
mod promises;
mod recorder;
mod recovered;
#[path = "../it/sim.rs"]
mod sim;
mod whole;
mod workload;

use std::{
    collections::HashSet,
    io::Write,
    panic::catch_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use explorer::{Explorer, Name, Tally};

/// So many different states there have to be.
const STATES: usize = 200_000;

/// What all seeds together came to.
#[derive(Default)]
struct Sum {
    images: HashSet<u64>,
    tally: Tally,
    seeds: u64,
    failures: Vec<String>,
}

impl Sum {
    fn add(&mut self, explorer: Explorer, outcome: Result<(), String>) {
        self.seeds += 1;
        self.images.extend(&explorer.images);
        let (all, one) = (&mut self.tally, explorer.tally);
        all.moments += one.moments;
        all.exhausted += one.exhausted;
        all.recoveries += one.recoveries;
        all.through_actors += one.through_actors;
        all.restores += one.restores;
        all.within += one.within;
        self.failures.extend(outcome.err());
    }

    fn tell(&self, begun: Instant) -> String {
        let Tally {
            moments,
            exhausted,
            recoveries,
            through_actors,
            restores,
            within,
        } = self.tally;
        format!(
            "{} different states ({within} of them within a recovery) at {moments} moments of {} seeds, all \
             choices tried at {exhausted} of these; {recoveries} recoveries, {through_actors} states through \
             the actors, {restores} restores from the bucket; {:.0?}",
            self.images.len(),
            self.seeds,
            begun.elapsed()
        )
    }
}

/// Goes through one seed after the other until there are so many states.
fn explore(first: u64, states: usize) -> Sum {
    let (next, sum, begun) = (
        AtomicU64::new(first),
        Mutex::new(Sum::default()),
        Instant::now(),
    );
    let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let so_far = lock();
            if so_far.images.len() >= states || !so_far.failures.is_empty() {
                return;
            }
            drop(so_far);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let carried_out = catch_unwind(|| Explorer::of(seed));
            let Ok(mut explorer) = carried_out else {
                let what = format!("seed {seed}: its workload fails, as is told above");
                lock().failures.push(what);
                return;
            };
            let outcome = explorer.explore();
            let mut so_far = lock();
            so_far.add(explorer, outcome);
            say(&so_far.tell(begun));
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn setting<T: std::str::FromStr>(key: &str) -> Option<T> {
    let text = std::env::var(key).ok()?;
    let parsed = text.parse().ok();
    assert!(parsed.is_some(), "{key} is {text:?}");
    parsed
}

#[test]
fn what_was_promised_is_recovered_from_every_crash_state() {
    let states = setting("TIERLOG_STATES").unwrap_or(STATES);
    let sum = explore(setting("TIERLOG_STATES_SEED").unwrap_or(0), states);
    assert!(sum.failures.is_empty(), "{}", sum.failures.join("\n\n"));
    assert!(sum.images.len() >= states, "{}", sum.images.len());
}

#[test]
fn a_state_is_looked_at_again_by_its_name() {
    let name = std::env::var("TIERLOG_STATES_REPEAT");
    let name = name.unwrap_or("5/20/sample-3".to_owned());
    let name: Name = name.parse().expect("the name of a state");
    let looked = Explorer::of(name.seed).look(&name);
    assert!(looked.is_ok(), "{}", looked.unwrap_err());
}
