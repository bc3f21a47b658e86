//! Recovery over disks that forget, fail and lie: nothing that was durable is lost, nothing that was
//! damaged is silent.

#![cfg(feature = "fault-injection")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test")]

mod crashes;
mod creation;
mod damage;
mod full_disk;
mod leftovers;
mod readers;
mod reading;
mod real;
mod rig;
mod unclean;
