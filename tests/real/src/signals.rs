//! A process that appends is killed again and again, and stopped and continued again and again.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use crate::{driven::Driven, driver::Order, machine::Place, options::Options};

/// A call to the disk may take no longer than a process is stopped, now and then.
const STALL_MS: u64 = 100;

/// Both.
pub fn run(place: &Place, options: &Options) -> String {
    let killed = killed(place, options);
    format!("{killed}; {}", stopped(place, options))
}

/// SIGKILL at some ack, or in the midst of opening; the next life begins with what is left.
fn killed(place: &Place, options: &Options) -> String {
    let mut rng = Rng::with_seed(options.seed);
    let data = place.dir.join("killed");
    let mut driven = Driven::default();
    for life in 0..options.rounds as u64 {
        let order = Order {
            life,
            records: 1_000_000,
            window: rng.usize(1..=32),
            stall_ms: 30_000,
        };
        let child = place.role("driver", order.words(&data));
        if rng.u32(0..4) == 0 {
            let opening = Duration::from_micros(rng.u64(0..15_000));
            for line in child.lines_for(opening) {
                driven.take(life, &line);
            }
        } else {
            let mut left = rng.u32(1..400);
            while left > 0 {
                let line = child.line().expect("it goes on until it is killed");
                left -= u32::from(driven.take(life, &line));
            }
        }
        child.signal(Signal::KILL);
        // Acks that were on their way count as well.
        for line in child.rest() {
            driven.take(life, &line);
        }
        child.end();
        if rng.bool() {
            driven.look(&data);
        }
    }
    driven.look(&data);
    let acks = driven.acks();
    assert!(acks >= options.rounds, "{acks} acks");
    assert_eq!(
        (driven.failures, driven.ended),
        (0, 0),
        "nothing fails where nothing but a kill happens"
    );
    format!("{} kills, {acks} acks", options.rounds)
}

/// SIGSTOP at some ack, SIGCONT after less or more time than a call to the disk may take.
fn stopped(place: &Place, options: &Options) -> String {
    let mut rng = Rng::with_seed(options.seed + 1);
    let data = place.dir.join("stopped");
    let mut driven = Driven::default();
    let (mut stops, mut life) = (0, 0);
    while stops < options.rounds {
        let order = Order {
            life,
            records: 600,
            window: rng.usize(1..=32),
            stall_ms: STALL_MS,
        };
        let child = place.role("driver", order.words(&data));
        let mut until = rng.u32(1..200);
        while let Some(line) = child.line() {
            until = until.saturating_sub(u32::from(driven.take(life, &line)));
            if until == 0 {
                child.signal(Signal::STOP);
                // Acks that were on their way, and then none.
                let time = Duration::from_millis(rng.choice([20, 50, 150, 250]).expect("one"));
                for line in child.lines_for(time) {
                    driven.take(life, &line);
                }
                child.signal(Signal::CONT);
                (stops, until) = (stops + 1, rng.u32(1..200));
            }
        }
        let status = child.end();
        assert!(
            status.success(),
            "a driver that was stopped ended with {status}"
        );
        driven.look(&data);
        life += 1;
    }
    let (acks, failures) = (driven.acks(), driven.failures);
    format!(
        "{stops} stops in {life} lives, {acks} acks, {failures} records that were told to have failed"
    )
}
