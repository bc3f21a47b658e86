//! What the uploader takes.

use tierlog_cold::store::{StoreError, StoreErrorKind};
use tierlog_storage::{
    catalog::{Change, SegmentKey},
    manifest::WarmCopy,
    warm::{WarmFault, WarmIdentity},
};

use super::Reply;
use crate::{error::Error, under_way::Hold};

/// Make an object of a compressed file, and read it back.
#[derive(Debug)]
pub struct Upload {
    /// What it is called.
    pub key: SegmentKey,
    /// The compressed file.
    pub copy: WarmCopy,
    /// Answered once the object is there, durable and verified.
    pub done: Reply<Result<(), TransferFault>>,
}

/// Say in the catalog what has changed.
#[derive(Debug)]
pub struct Publish {
    /// The changes; those that the catalog has already are passed over.
    pub changes: Vec<Change>,
    /// The number of the last catalog object, once it is there.
    pub done: Reply<Result<u64, TransferFault>>,
}

/// Delete objects that no catalog names.
#[derive(Debug)]
pub struct Delete {
    /// What they are called.
    pub keys: Vec<String>,
    /// Answered once none of them is there.
    pub done: Reply<Result<(), TransferFault>>,
}

/// Make a compressed file again from its object.
#[derive(Debug)]
pub struct Fetch {
    /// Of which segment.
    pub identity: WarmIdentity,
    /// The object.
    pub key: SegmentKey,
    /// What it holds.
    pub copy: WarmCopy,
    /// Keeps a sweep away from its files until the job has ended, whoever still waits for that.
    pub hold: Option<Hold>,
    /// Answered once the file and its name are durable and its checksum was found right.
    pub done: Reply<Result<(), TransferFault>>,
}

/// Ask whether an object is there, with its length.
#[derive(Debug)]
pub struct Look {
    /// What it is called.
    pub key: SegmentKey,
    /// How long it has to be.
    pub len: u64,
    /// `Damaged` where it is not so long, `Store` of kind `Missing` where it is not there.
    pub done: Reply<Result<(), TransferFault>>,
}

/// Why nothing was transferred.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferFault {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file here could not be read or written.
    #[error("{0}")]
    Local(String),
    /// What is there is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// Tier 2 is not this log's, or not any more.
    #[error(transparent)]
    Ended(Error),
    /// The actor ended.
    #[error("it was given up")]
    Stopped,
}

impl TransferFault {
    /// There is no such object.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == StoreErrorKind::Missing)
    }
}

impl From<WarmFault> for TransferFault {
    fn from(fault: WarmFault) -> Self {
        match fault {
            WarmFault::Stopped => Self::Stopped,
            WarmFault::Disk(error) => Self::Local(error.to_string()),
            fault => Self::Damaged(fault.to_string()),
        }
    }
}
