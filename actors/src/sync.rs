//! Where threads meet: the locks, atomics and wake-ups of what handles, readers and actors share.
//!
//! They are those of std, Tokio and flume, re-exported. `tests/loom` builds this crate with
//! `--cfg tierlog_loom` and `tests/shuttle` with `--cfg tierlog_shuttle`: then they are types that hand
//! over to another thread at each use, so that orders that a test never meets by chance are tried. The
//! name of the flag is ours, since `--cfg loom` would change Tokio as well.
//!
//! | | loom | shuttle |
//! |---|---|---|
//! | locks, atomics, fences | its own | its own |
//! | [`Notify`] | a stand-in, `sync/notify.rs` | Tokio's |
//! | [`lane`] | a stand-in, `sync/queue.rs` | flume's |
//! | [`watch`] | a stand-in, `sync/watched.rs` | the same stand-in |
//!
//! Tokio's `watch` runs what it is given under a lock of its own; where that meets another thread, both
//! would stand still for good under a scheduler that has one thread of the system for all.

pub use std::sync::{Arc, PoisonError, Weak};
#[cfg(not(any(tierlog_loom, tierlog_shuttle)))]
pub use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

#[cfg(tierlog_loom)]
pub use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
#[cfg(tierlog_shuttle)]
pub use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
#[cfg(not(tierlog_loom))]
pub use tokio::sync::Notify;
#[cfg(not(any(tierlog_loom, tierlog_shuttle)))]
pub use tokio::sync::watch;

#[cfg(tierlog_loom)]
pub use notify::Notify;
#[cfg(any(tierlog_loom, tierlog_shuttle))]
pub use watched as watch;

#[cfg(tierlog_loom)]
mod notify;
#[cfg(tierlog_loom)]
mod queue;
#[cfg(any(tierlog_loom, tierlog_shuttle))]
pub mod watched;

/// The queue between the door of a stream and its writer.
pub mod lane {
    #[cfg(tierlog_loom)]
    pub use super::queue::{Receiver, Sender, bounded};
    #[cfg(not(tierlog_loom))]
    pub use flume::{Receiver, Sender, bounded};
}
