//! Tier 2: what is archived, what is read from there, and what a bucket that fails costs.

mod archive;
pub mod bucket;
mod crashes;
mod damage;
mod injected;
mod narrow;
mod operator;
mod outages;
mod owners;
mod parts;
#[cfg(feature = "s3")]
mod server;
pub mod sweep;
mod tombstones;
mod trips;
pub mod uploads;
mod verified;
mod wishes;

use std::sync::Arc;

use tierlog::testing::storage::disk::sim::SimDisk;

use self::bucket::Bucket;
use crate::faults::rig::Rig;

/// A log whose hot budget is four segments, and whose compressed files have room for about as many,
/// with a bucket.
pub fn rig(disk: &SimDisk, bucket: &Bucket) -> Rig {
    let mut rig = crate::tiers::rig(disk).with("archive_after", "1ms");
    rig.store = Some(Arc::new(bucket.clone()));
    rig
}

/// One with so little room for compressed files that most segments are in Tier 2 alone.
pub fn crowded(disk: &SimDisk, bucket: &Bucket) -> Rig {
    rig(disk, bucket).with("warm_budget", "96KiB")
}
