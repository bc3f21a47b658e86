//! What the benchmarks share: where they work, how contestants take turns, and how much they do.

pub mod appends;
pub mod place;
pub mod plain;
pub mod records;
pub mod segments;
pub mod table;
pub mod usage;
pub mod work;
