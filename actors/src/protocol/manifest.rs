//! What the manifest writer takes.

use tierlog_storage::{
    StreamId,
    manifest::{Entry, Seq, StreamState},
};

use super::Reply;
use crate::error::Error;

/// Make these entries durable, all or none.
///
/// The answer comes once they are; `Err(InvalidInput)` means that they were refused and nothing
/// happened, any other error that the outcome is unknown.
#[derive(Debug)]
pub struct Commit {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The sequence number of the last of them.
    pub done: Reply<Result<Seq, Error>>,
}

/// Write what is queued, mark the end, and switch `CURRENT` to say that the log was closed cleanly.
#[derive(Debug)]
pub struct CloseClean(pub Reply<Result<(), Error>>);

/// Tell what the manifest says of a stream, everything queued before included.
#[derive(Debug)]
pub struct StateOf(pub StreamId, pub Reply<Option<StreamState>>);
