//! Who does the work in tierlog: writer, flusher, coordinator, compressor, uploader, manifest writer,
//! supervisor.
//!
//! Actors talk only through typed mailboxes and answer slots ([`protocol`]); what the handles of an
//! app share with them is in [`stream`]. Nothing here touches a file: that is
//! [`tierlog_storage`]'s, on threads of the [`exec`]utor.

mod brief;
pub mod clock;
pub mod cold;
pub mod compressor;
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
pub mod restore;
pub mod stream;
pub mod supervisor;
mod sync;
pub mod under_way;
pub mod uploader;
pub mod writer;

pub use error::{Error, ErrorKind};
pub use kind::Kind;
