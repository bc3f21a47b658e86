//! The coordinator: admits segments within the hot budget and the disk, rolls them over, trims.
//!
//! It also decides where each segment that has ended lives (`plan.rs`, pure, from `table.rs`) and
//! carries that out (`moves.rs`). Upload has its place here when its tier exists.

mod actor;
mod admission;
mod handle;
mod ledger;
mod moves;
mod plan;
mod table;
mod tasks;
mod tiers;

pub use actor::spawn;
pub use handle::CoordinatorHandle;
pub use ledger::{Hot, Ledger};
pub use moves::Mover;
pub use table::Table;
pub use tasks::Tasks;
