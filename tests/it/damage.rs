//! Every flipped bit and every truncation of a small log that was closed in order, and whole files
//! that are gone, swapped or somebody else's.
//!
//! What is damaged is read right or is an error; it is never silent, never a panic, and opening it
//! never makes it worse.

mod cuts;
mod files;
mod flips;
mod limits;
mod sample;
mod sealed;
