//! The binary from the outside: what it prints, what it exits with, what it leaves behind.
//!
//! Nothing here sleeps. A test that waits waits for a line of output or for an exit, and a child
//! that outlives its test is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod append;
mod bench;
mod damage;
mod demo;
mod disks;
mod harness;
mod memory;
mod names;
mod operate;
mod processes;
mod read;
mod sweep;
mod tier_2;
mod unreadable;
mod usage;
mod words;
