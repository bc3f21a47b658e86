//! The supervisor: opens streams, watches the other actors, and begins again where one of them
//! ended.
//!
//! kameo's own restarts overlap the old state with the new one and leave stale references, so the
//! supervisor holds the task of every actor: a task that has ended has dropped its state, and only
//! then files are looked at again.

mod actor;
mod findings;
mod generation;
mod handle;
mod open;
mod restart;
mod shared;
mod shutdown;

pub use generation::Injected;
pub use handle::{SupervisorHandle, start};
pub use shared::LogShared;
