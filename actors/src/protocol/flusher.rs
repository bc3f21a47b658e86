//! What the flusher takes.

use std::sync::Arc;

use tierlog_storage::{StreamId, claims::Claim, segment::Latched};

use super::Reply;
use crate::{error::Error, exec::Running};

/// Sync these files of a stream, oldest first, then leave the claim.
///
/// A writer has one such request under way at a time. Should another one for the same stream arrive
/// while the first still waits for a thread, both become one.
#[derive(Debug)]
pub struct FlushRequest {
    /// The stream.
    pub stream: StreamId,
    /// Its dirty segments, in order.
    pub files: Vec<Arc<Latched>>,
    /// What is durable once all of them are synced, and where to say so.
    pub claim: Claim,
    /// The stream's slot in the claims file.
    pub slot: u32,
    /// Counts the job as one of the stream's.
    pub running: Running,
    /// The outcome. An error means that nobody knows what is on disk, and that these files must
    /// never be synced again.
    pub done: Reply<Result<(), Error>>,
}
