//! Who does the work in tierlog: writer, flusher, coordinator, manifest writer, supervisor.
//!
//! Actors talk only through typed mailboxes and answer slots ([`protocol`]); what the handles of an
//! app share with them is in [`stream`]. Nothing here touches a file: that is
//! [`tierlog_storage`]'s, on threads of the [`exec`]utor.

pub mod clock;
pub mod context;
pub mod coordinator;
mod error;
pub mod exec;
pub mod fault;
pub mod flusher;
mod kind;
pub mod manifest;
pub mod meters;
pub mod options;
pub mod place;
pub mod protocol;
pub mod read;
pub mod stream;
pub mod supervisor;
pub mod writer;

pub use error::{Error, ErrorKind};
pub use kind::Kind;
