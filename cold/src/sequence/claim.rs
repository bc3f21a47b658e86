//! Becoming the owner.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tierlog_storage::{
    AttemptId, Epoch, LogId, OwnerId,
    catalog::{
        Body, CATALOG_HEAD, CATALOG_MAX, Catalog, CatalogFault, CatalogHead, CatalogKind,
        CatalogObject, Change, Refused, catalog_key,
    },
    planted,
};

use super::{Objects, Sequence, Wholes};
use crate::store::{Created, StoreError, StoreErrorKind};

/// Who claims a prefix, and what its directory knows.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The log.
    pub log: LogId,
    /// Greater than that of every claim of the directory before.
    pub epoch: Epoch,
    /// Made for this claim.
    pub owner: OwnerId,
    /// The last number that the directory knows to be its own and has taken in; `None`: it never got as
    /// far.
    pub known: Option<u64>,
    /// The owners that the directory has recorded.
    pub ours: Vec<OwnerId>,
    /// What is archived, as of `known`. It may be ahead by streams and trims that are not published yet.
    pub catalog: Catalog,
}

/// What earlier lives of the directory had left behind [`Claim::known`]. What these objects say is part
/// of [`Sequence::catalog`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adopted {
    /// The numbers.
    pub numbers: Vec<u64>,
}

/// Why a prefix could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError<E: fmt::Display> {
    /// Somebody else owns it.
    #[error("object {number} of the catalog was made by another owner, in epoch {by}")]
    Fenced {
        /// Its epoch.
        by: Epoch,
        /// The number that was found taken.
        number: u64,
    },
    /// The prefix holds another log.
    #[error("object {number} of the catalog belongs to log {log}")]
    OtherLog {
        /// That log.
        log: LogId,
        /// The number that was looked at.
        number: u64,
    },
    /// The last object that is known is not there: this is not where the log was archived to.
    #[error("object {number} of the catalog, which was there, is missing")]
    Lost {
        /// Its number.
        number: u64,
    },
    /// An earlier life of the directory has claimed in this epoch or a later one: take a greater one.
    #[error("an earlier claim was made in epoch {seen}")]
    EpochBehind {
        /// The greatest epoch that was seen.
        seen: Epoch,
    },
    /// An object of the catalog can't be read.
    #[error("object {number} of the catalog can't be used: {fault}")]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        #[source]
        fault: CatalogFault,
    },
    /// An object of an earlier life contradicts what the directory knows.
    #[error("object {number} of the catalog contradicts the directory: {refused}")]
    Contradiction {
        /// Its number.
        number: u64,
        /// How.
        #[source]
        refused: Refused,
    },
    /// The catalog is too large for an object.
    #[error("the catalog has {len} bytes, more than the {CATALOG_MAX} of an object")]
    TooLarge {
        /// Its length.
        len: u64,
    },
    /// The claim could not be recorded; it was not made.
    #[error("the claim could not be recorded: {0}")]
    Record(E),
    /// The store did not answer. The claim may have been made, or be made later; claim again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sequence {
    /// Makes `claim.owner` the owner of the prefix.
    ///
    /// `record` is called with the number that is about to be claimed, and has to make number and owner
    /// durable, for [`Claim::ours`] of later claims: without it this directory would be shut out by its
    /// own claim. `knows` says whether the directory knows of a change that an earlier life of it is said
    /// to have published.
    ///
    /// Dropping the future leaves the claim made, not made, or to be made later, like an error of kind
    /// `Store`.
    ///
    /// # Errors
    /// [`ClaimError`]. Nothing was claimed, but for `Store`, where it is unknown.
    pub async fn claim<'r, E: fmt::Display>(
        objects: Arc<dyn Objects>,
        claim: Claim,
        knows: impl Fn(&Change) -> bool,
        mut record: impl FnMut(u64) -> BoxFuture<'r, Result<(), E>>,
    ) -> Result<(Self, Adopted), ClaimError<E>> {
        let mut claiming = Claiming::begin(&*objects, claim).await?;
        loop {
            let number = claiming.next;
            let key = catalog_key(number);
            let found = match objects.get(&key, CATALOG_MAX).await {
                Ok(found) => found,
                Err(error) if error.kind == StoreErrorKind::Missing => {
                    let bytes = claiming.encode()?;
                    record(number).await.map_err(ClaimError::Record)?;
                    match objects.create(&key, bytes.clone()).await? {
                        Created::New | Created::Ours => {
                            return Ok(claiming.done(objects, bytes.len()));
                        }
                        Created::Taken(found) => found,
                    }
                }
                Err(error) => return Err(error.into()),
            };
            claiming.take_in(&found, &knows)?;
        }
    }
}

/// A claim under way.
#[derive(Debug)]
struct Claiming {
    claim: Claim,
    /// The number that is tried next.
    next: u64,
    /// The number of the latest whole below.
    whole_at: u64,
    /// The greatest epoch that was seen.
    seen: Epoch,
    adopted: Adopted,
}

impl Claiming {
    /// Another bucket would take any number: so the last known object has to be there, and of this log.
    async fn begin<E: fmt::Display>(
        objects: &dyn Objects,
        claim: Claim,
    ) -> Result<Self, ClaimError<E>> {
        let mut claiming = Self {
            next: claim.known.map_or(1, |known| known.saturating_add(1)),
            whole_at: 0,
            seen: Epoch::ZERO,
            adopted: Adopted::default(),
            claim,
        };
        let Some(number) = claiming.claim.known else {
            return Ok(claiming);
        };
        let key = catalog_key(number);
        let bytes = match objects.get(&key, CATALOG_HEAD as u64).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind == StoreErrorKind::Missing => {
                return Err(ClaimError::Lost { number });
            }
            Err(error) => return Err(error.into()),
        };
        let head = CatalogHead::decode_at(number, &bytes)
            .map_err(|fault| ClaimError::Damaged { number, fault })?;
        claiming.see(&head)?;
        Ok(claiming)
    }

    fn see<E: fmt::Display>(&mut self, head: &CatalogHead) -> Result<(), ClaimError<E>> {
        let CatalogHead {
            log,
            number,
            owner,
            epoch,
            whole_at,
            ..
        } = *head;
        if log != self.claim.log {
            return Err(ClaimError::OtherLog { log, number });
        }
        // One that this very owner has made, of which it was not told, is no later owner's.
        if owner != self.claim.owner {
            self.seen = self.seen.max(epoch);
        }
        self.whole_at = whole_at;
        Ok(())
    }

    /// Takes in the object that stands at the next number, if an earlier life has made it.
    fn take_in<E: fmt::Display>(
        &mut self,
        bytes: &Bytes,
        knows: &impl Fn(&Change) -> bool,
    ) -> Result<(), ClaimError<E>> {
        let number = self.next;
        let CatalogObject { head, body } = CatalogObject::decode_at(number, bytes)
            .map_err(|fault| ClaimError::Damaged { number, fault })?;
        self.see(&head)?;
        let changes = match body {
            Body::Whole(whole) => whole.changes().collect(),
            Body::Changes(changes) => changes,
            Body::None => Vec::new(),
        };
        let ours = self.claim.owner == head.owner || self.claim.ours.contains(&head.owner);
        let ours = ours || planted::is("epoch_unchecked");
        if !ours || head.kind == CatalogKind::Tombstone || !changes.iter().all(knows) {
            let by = head.epoch;
            return Err(ClaimError::Fenced { by, number });
        }
        changes
            .iter()
            .try_for_each(|change| self.claim.catalog.adopt(change))
            .map_err(|refused| ClaimError::Contradiction { number, refused })?;
        self.adopted.numbers.push(number);
        self.next = number.saturating_add(1);
        Ok(())
    }

    fn encode<E: fmt::Display>(&self) -> Result<Bytes, ClaimError<E>> {
        let (claim, seen) = (&self.claim, self.seen);
        if claim.epoch <= seen {
            return Err(ClaimError::EpochBehind { seen });
        }
        let head = CatalogHead {
            log: claim.log,
            number: self.next,
            owner: claim.owner,
            epoch: claim.epoch,
            attempt: AttemptId::generate(),
            kind: CatalogKind::Claim,
            whole_at: self.next,
        };
        let body = Body::Whole(claim.catalog.clone());
        let bytes = CatalogObject { head, body }.encode();
        match bytes.len() as u64 {
            len if len > CATALOG_MAX => Err(ClaimError::TooLarge { len }),
            _ => Ok(bytes.into()),
        }
    }

    fn done(self, objects: Arc<dyn Objects>, len: usize) -> (Sequence, Adopted) {
        let sequence = Sequence {
            objects,
            log: self.claim.log,
            owner: self.claim.owner,
            epoch: self.claim.epoch,
            head: self.next,
            catalog: self.claim.catalog,
            wholes: Wholes {
                latest: self.next,
                previous: self.whole_at,
                len: (len - CATALOG_HEAD) as u64,
                since: 0,
            },
            pending: None,
            ended: None,
            collected: super::collect::Progress::default(),
        };
        (sequence, self.adopted)
    }
}
