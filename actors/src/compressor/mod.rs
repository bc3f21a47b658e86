//! The compressor: makes compressed files of sealed segments, and segment files of those again.

mod actor;
mod handle;

pub use actor::spawn;
pub use handle::CompressorHandle;
