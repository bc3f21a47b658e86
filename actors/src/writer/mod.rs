//! The writer of a stream: the one place where its records get into frames, segments and order.
//!
//! ```text
//!   lane ──▶ queue (frames being filled) ──▶ one write in flight ──▶ held ──▶ durable
//!                                                    │                │
//!                                            same job, when alone   flusher otherwise
//! ```
//!
//! What waits in the queue still has its records, to be handed back. What was handed to a write is
//! kept as encoded frames until it is durable, so that a failed sync can be answered by writing it
//! again elsewhere.

mod active;
mod actor;
mod alarm;
mod controls;
mod drain;
mod flush;
mod handle;
mod policy;
mod queue;
mod repair;
mod roll;
mod sealing;
mod truncate;
mod write;

pub use actor::{Start, spawn};
pub use handle::WriterHandle;
pub use queue::{Queue, Queued};
