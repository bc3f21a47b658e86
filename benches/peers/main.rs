//! tierlog beside the logs of crates.io, plain files and the disk, with the same work in one process run.
//!
//! `cargo bench -p tierlog-peers` runs everything; words behind `--` choose (`append`, `batch`, `durable`,
//! `streams`, `scan`, `random`, `tail`, `open`, `cost`), and `--quick` does a little of each to see whether it
//! still runs. Contestants take turns, round by round; what was written is read back where there is a way to
//! read it, and each line says where the records are when the measurement ends. `README.md` says how that was
//! found out. Tables go to `target/benches/peers.json`, plots beside it.

mod append;
mod batch;
mod child;
mod cost;
mod durable;
mod logs;
mod ours;
mod plots;
mod random;
mod reopen;
mod scan;
mod streams;
mod tail;
mod threads;

use tierlog_benches::{place, table, work::wants};

fn main() {
    logs::as_walrus_wants();
    if child::is_one() {
        return child::run();
    }
    println!("directory: {}", place::root().display());
    let parts: [(&str, fn()); 9] = [
        ("append", append::run),
        ("batch", batch::run),
        ("durable", durable::run),
        ("streams", streams::run),
        ("scan", scan::run),
        ("random", random::run),
        ("tail", tail::run),
        ("open", reopen::run),
        ("cost", cost::run),
    ];
    for (name, run) in parts {
        if wants(name) {
            run();
        }
    }
    println!("\nas JSON: {}", table::save("peers").display());
}
