//! What counting instructions needs: a log that one thread runs, the region that counts, and valgrind.

pub mod alone;
pub mod baseline;
pub mod callgrind;
pub mod slope;

use std::hint::black_box;

/// Does the work that counts. Callgrind counts between entering this function and leaving it, and knows
/// it by its name ([`callgrind::REGION`]).
#[inline(never)]
pub fn counted_region(work: &mut dyn FnMut()) {
    work();
    // Work that is the last thing a function does may be jumped to, and is then outside of it.
    black_box(());
}

/// [`counted_region`] for work that gives something.
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    let (mut work, mut result) = (Some(work), None);
    counted_region(&mut || result = work.take().map(|work| work()));
    result.expect("the region does its work once")
}

/// Whether figures are wanted. `cargo test --benches` only looks whether all of it still runs.
pub fn is_measured() -> bool {
    std::env::args().any(|word| word == "--bench")
}
