//! What happens to records, tickets and files when an actor dies, stands still, or the disk fails.

mod budget;
mod disk;
mod dropped;
mod full;
mod manifest;
mod points;
mod reads;
mod reopened;
mod restarts;
pub mod rig;
mod strict;
pub mod workload;
