//! The manifest writer: makes entries durable, many callers in one sync.

mod actor;
mod handle;
mod job;

pub use actor::{Ended, ManifestArgs, spawn};
pub use handle::{CommitRefused, ManifestHandle};
