//! tierlog beside plain `std` code and the disk's own fdatasync, in one run.
//!
//! `cargo bench --bench log` runs everything; words behind `--` choose (`append`, `durable`,
//! `scan`, `open`, `memory`). Contestants of one piece of work take turns, round by round, so that
//! a noisy neighbour meets all of them; what is printed is the median of the rounds with the lowest
//! and the highest, and the ratio to the contestant that the work is measured against. Everything
//! that was written is read back or counted.

mod append;
mod durable;
mod memory;
mod open;
mod place;
mod scan;
mod table;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| !w.starts_with('-'))
        .collect();
    let wants = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
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
    if words.iter().any(|word| word == "memory") {
        memory::run();
    }
}
