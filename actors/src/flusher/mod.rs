//! The flusher: syncs dirty streams, several at once, one sync a stream.

mod actor;
mod handle;
mod queue;

pub(crate) use actor::leave_claim;
pub use actor::spawn;
pub use handle::FlusherHandle;
