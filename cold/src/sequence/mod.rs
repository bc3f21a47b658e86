//! The numbered sequence of catalog objects: who owns the prefix, and what is archived.
//!
//! ```text
//!          1       2       3       4       5       6       7
//!       ┌───────┬───────┬───────┬───────┬───────┬───────┬───────┐
//!       │ tomb- │ tomb- │ claim │ publ. │ claim │ publ. │ publ. │   8: whoever creates it first
//!       │ stone │ stone │ A     │ A     │ B     │ B     │ B     │
//!       └───────┴───────┴───────┴───────┴───────┴───────┴───────┘
//!                         whole   changes whole   changes changes
//!
//!   Sequence::claim ──▶ creates the next number, with the whole catalog
//!   Sequence::publish ─▶ creates the next number, with changes or the whole
//!   find ──▶ the last number, the whole that it points to, and the changes since
//! ```
//!
//! Each number is created only if absent, and none is ever freed. So whoever was overtaken finds the next
//! number taken, however late it tries: claims and publications are fenced by the same rule, and what is
//! there is one history.
//!
//! **An owner's late attempts.** A creation of unknown outcome may land at any later time. It does no
//! harm: every number below a claim exists when the claim is created, and an owner never tries a number
//! before it knows the one below to be its own, so all that may still land is a number that exists.
//!
//! **Earlier lives of one directory.** A directory records an owner before it tries a claim as that one.
//! Objects of a recorded owner are taken in at the next claim, if all that they say is known to the
//! manifest: a copy of the directory has the same owners on record, and must not take in what the other
//! copy has published since.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tierlog_storage::{
    AttemptId, Epoch, LogId, OwnerId,
    catalog::{Catalog, CatalogHead, CatalogKind, Change},
};

use crate::store::{Created, StoreError};

mod claim;
mod collect;
mod find;
mod publish;
#[cfg(test)]
mod tests;

pub use claim::{Adopted, Claim, ClaimError};
pub use collect::{Collected, Collection};
pub use find::{FindError, Found, find};
pub use publish::{PublishError, Published};

/// A publication holds the whole catalog when so many objects since the last whole hold changes.
pub const WHOLE_EVERY: u64 = 64;

/// What the sequence asks of a store. Outcomes that are unknown have been read back: an error means that
/// even that was not possible.
pub trait Objects: Send + Sync + fmt::Debug {
    /// Makes an object that must not exist yet.
    fn create<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Created, StoreError>>;

    /// The bytes of an object: all of them, or the first `at_most` where there are more. `Missing` when
    /// there is none.
    fn get<'a>(&'a self, key: &'a str, at_most: u64) -> BoxFuture<'a, Result<Bytes, StoreError>>;

    /// Whether there is such an object.
    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Puts a small object in the place of whatever is there.
    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The sequence as its owner sees it.
///
/// Whatever future of it is dropped half-way, the next call goes on from there.
#[derive(Debug)]
pub struct Sequence {
    objects: Arc<dyn Objects>,
    log: LogId,
    owner: OwnerId,
    epoch: Epoch,
    head: u64,
    catalog: Catalog,
    wholes: Wholes,
    /// An attempt at the number behind the head whose outcome is not known.
    pending: Option<Attempt>,
    /// Set once and for ever.
    ended: Option<Ended>,
    collected: collect::Progress,
}

/// Where the whole catalog stands.
#[derive(Debug, Clone, Copy)]
struct Wholes {
    latest: u64,
    /// The one before; everything below that is of no use any more.
    previous: u64,
    /// Bytes of the body of the latest one.
    len: u64,
    /// Bytes of changes since.
    since: u64,
}

/// One object on its way.
#[derive(Debug)]
struct Attempt {
    number: u64,
    changes: Vec<Change>,
    bytes: Bytes,
    whole: bool,
}

/// Why nothing will be published any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Fenced { by: Epoch, number: u64 },
    OtherLog { log: LogId, number: u64 },
}

impl Sequence {
    /// The last number that is known to be this owner's.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// What is archived, as of the head.
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The log.
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// Who this is, as Tier 2 knows it.
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The epoch of the claim.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Somebody else owns the prefix: nothing will be published any more.
    pub const fn is_fenced(&self) -> bool {
        self.ended.is_some()
    }

    fn head_of(&self, number: u64, kind: CatalogKind, whole_at: u64) -> CatalogHead {
        CatalogHead {
            log: self.log,
            number,
            owner: self.owner,
            epoch: self.epoch,
            attempt: AttemptId::generate(),
            kind,
            whole_at,
        }
    }
}
