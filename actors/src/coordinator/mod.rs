//! The coordinator: admits segments within the hot budget and the disk, rolls them over, trims.
//!
//! Compression, upload and hydration have their places here when their tiers exist: a segment that
//! was rolled over is what they start from.

mod actor;
mod admission;
mod handle;
mod ledger;
mod tasks;

pub use actor::spawn;
pub use handle::CoordinatorHandle;
pub use ledger::{Hot, Ledger};
pub use tasks::Tasks;
