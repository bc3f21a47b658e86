//! The coordinator: admits segments within the hot budget and the disk, rolls them over, trims.
//!
//! It also decides where each segment that has ended lives (`plan.rs`, `plan/cold.rs`, pure, from
//! `table.rs`) and carries that out (`moves.rs`, `transfers.rs`), and what streams need not keep
//! (`retention.rs`, pure; `expiry.rs`), and sweeps the data directory and Tier 2 (`directory.rs`, `sweep.rs`).

mod actor;
mod admission;
mod archive;
mod directory;
mod expiry;
mod handle;
mod ledger;
mod moves;
mod plan;
mod retention;
mod sweep;
mod table;
mod tasks;
mod tiers;
mod transfers;

pub use actor::spawn;
pub use handle::CoordinatorHandle;
pub use ledger::{Hot, Ledger};
pub use moves::Mover;
pub use table::{Id, Table};
pub use tasks::Tasks;
