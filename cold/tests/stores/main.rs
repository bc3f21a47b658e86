//! What every store must do, what the client makes of one that misbehaves, and what the local one
//! leaves behind at a power cut.

#![allow(clippy::unwrap_used, reason = "a test")]

mod contract;
mod creating;
mod dir;
mod dir_crashes;
mod fake_gcs;
mod faults;
mod parts;
mod patience;
mod probing;
mod rig;
mod rivals;
mod servers;
mod wire;
