//! The whole log from one seed: actors, clock, threads, disk and store in virtual time, with tiny
//! capacities, and whatever can go wrong. The same seed takes the same course.

mod append;
mod bucket;
mod calls;
mod clock;
mod command;
mod last;
mod lives;
mod model;
mod observer;
mod panics;
mod plan;
mod points;
mod pool;
mod read;
mod rival;
mod runs;
mod seed;
mod sometimes;
mod trace;
mod trouble;
mod work;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match runs::Order::parse(&arguments) {
        Ok(order) => order.carry_out(),
        Err(what) => {
            eprintln!("{what}\n\n{}", runs::USAGE);
            ExitCode::from(2)
        }
    }
}
