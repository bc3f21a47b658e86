//! What tierlog keeps on disk: the codecs of every file, the segment files, the manifest, and the
//! decisions of recovery.
//!
//! Everything here is synchronous and knows nothing of actors. The file system is reached through
//! [`disk::Disk`] alone.

pub mod catalog;
pub mod claims;
pub mod crc;
pub mod disk;
pub mod error;
pub mod ids;
pub mod layout;
pub mod manifest;
pub mod names;
#[doc(hidden)]
pub mod planted;
pub mod recovery;
pub mod segment;
pub mod varint;
pub mod verify;
pub mod warm;

pub use error::{Damage, Result, StorageError};
pub use ids::{AttemptId, Epoch, Incarnation, LogId, Offset, OwnerId, SegmentNo, StreamId};
