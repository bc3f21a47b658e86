//! What the benchmarks share: where they work, how contestants take turns, and how much they do.

pub mod place;
pub mod table;
pub mod work;
