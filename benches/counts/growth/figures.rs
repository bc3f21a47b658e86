//! What is known about a piece of work once it is done. A child prints it, a line a figure.

use std::{alloc::System, collections::BTreeMap, time::Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tierlog_counts::counted;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What was printed.
pub type Figures = BTreeMap<String, f64>;

/// How many units of work the region did; what counts for one unit is divided by it.
pub const UNITS: &str = "units";
/// Instructions within the region, for one unit.
pub const INSTRUCTIONS: &str = "instructions";
/// Microseconds within the region, for one unit.
pub const TIME: &str = "us";
/// Bytes of the heap that are held behind the region and were not before it.
pub const HEAP: &str = "heap, B";
/// Resident memory of the process at its peak.
pub const RESIDENT: &str = "resident, B";
/// Bytes of the manifest, up to its last commit.
pub const MANIFEST: &str = "manifest, B";
/// Bytes of all objects of the catalog.
pub const CATALOG: &str = "catalog, B";

/// Prints a figure.
pub fn tell(name: &str, figure: f64) {
    println!("{name}\t{figure}");
}

/// Reads what a child printed.
pub fn heard(printed: &str) -> Figures {
    let lines = printed.lines().filter_map(|line| line.split_once('\t'));
    lines
        .filter_map(|(name, figure)| Some((name.to_owned(), figure.parse().ok()?)))
        .collect()
}

/// Does the work that counts, and prints what it took.
pub fn region<T>(units: usize, work: impl FnOnce() -> T) -> T {
    let before = held();
    let begun = Instant::now();
    let result = counted(work);
    let took = begun.elapsed().as_secs_f64() * 1e6;
    tell(UNITS, units as f64);
    tell(TIME, took / units as f64);
    tell(HEAP, held() - before);
    tell(RESIDENT, peak_resident());
    result
}

fn held() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

fn peak_resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map_or(0.0, |kib: f64| kib * 1024.0)
}
