//! The messages, by receiver. Each carries the slot in which its answer travels.

pub mod compressor;
pub mod coordinator;
pub mod flusher;
pub mod manifest;
pub mod supervisor;
pub mod sweep;
pub mod uploader;
pub mod writer;

use tokio::sync::oneshot;

/// Where an answer goes. Dropping it unanswered tells the asker that the actor is gone.
pub type Reply<T> = oneshot::Sender<T>;
