//! Segment files.

pub mod file;
