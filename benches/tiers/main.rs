//! The tiers beside what they are made of: zstd, opendal, the disk.
//!
//! `cargo bench -p tierlog-benches --bench tiers` runs everything; words behind `--` choose (`scan`,
//! `cold`, `transfer`, `beside`). Contestants take turns, and what comes back is held against what went in.

mod beside;
mod cold;
mod made;
mod scan;
mod server;
mod store;
mod transfer;

use tierlog_benches::{place, table::save, work::wants};

fn main() {
    println!("directory: {}", place::root().display());
    if wants("scan") {
        scan::run();
    }
    if wants("cold") {
        cold::run();
    }
    if wants("transfer") {
        transfer::run();
    }
    if wants("beside") {
        beside::run();
    }
    println!("\nas JSON: {}", save("tiers").display());
}
