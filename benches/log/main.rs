//! tierlog beside plain `std` code and the disk's own fdatasync, in one run.
//!
//! `cargo bench -p tierlog-benches --bench log` runs everything; words behind `--` choose (`append`, `durable`,
//! `scan`, `open`, `memory`). Contestants of one piece of work take turns, round by round, so that
//! a noisy neighbour meets all of them; what is printed is the median of the rounds with the lowest
//! and the highest, and the ratio to the contestant that the work is measured against. Everything
//! that was written is read back or counted.

mod append;
mod durable;
mod memory;
mod open;
mod scan;

use tierlog_benches::{place, table::save, work::wants};

fn main() {
    println!("directory: {}", place::root().display());
    if wants("append") {
        append::run();
    }
    if wants("durable") {
        durable::run();
    }
    if wants("scan") {
        scan::run();
    }
    if wants("open") {
        open::run();
    }
    if std::env::args().any(|word| word == "memory") {
        memory::run();
    }
    println!("\nas JSON: {}", save("log").display());
}
