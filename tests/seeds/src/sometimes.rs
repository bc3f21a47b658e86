//! What a run of many seeds has to come by: a run that never does tests less than it seems to.
//!
//! `count:` is a counter of the log's own, `event:` one of its lines, `point:` a place in an actor; the
//! rest is noted by those who work in a seed.

use std::collections::BTreeMap;

/// Points by name.
const WANTED: &[&str] = &["ack: Durable"];

/// How many there are.
pub fn wanted() -> usize {
    WANTED.len()
}

/// Those that nobody came by.
pub fn missing(points: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let passed = |point: &&&str| points.get(**point).is_none_or(|count| *count == 0);
    WANTED.iter().filter(passed).copied().collect()
}
