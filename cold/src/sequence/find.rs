//! Finding what is archived from the bucket alone.

use bytes::Bytes;
use tierlog_storage::{
    Epoch, LogId, OwnerId,
    catalog::{
        Body, CATALOG_HEAD, CATALOG_MAX, Catalog, CatalogFault, CatalogHead, CatalogKind,
        CatalogObject, Refused, catalog_key,
    },
};

use super::Objects;
use crate::store::{StoreError, StoreErrorKind};

/// How often it is begun anew when objects are collected while they are read.
const TRIES: usize = 16;

/// What a prefix holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The last number when it was looked for.
    pub head: u64,
    /// The log.
    pub log: LogId,
    /// The owner as of that number.
    pub owner: OwnerId,
    /// Its epoch.
    pub epoch: Epoch,
    /// What is archived, as of that number.
    pub catalog: Catalog,
}

/// Why it is not known what a prefix holds.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// An object that others point to is missing.
    #[error("object {number} of the catalog is missing")]
    Missing {
        /// Its number.
        number: u64,
    },
    /// An object can't be read.
    #[error("object {number} of the catalog can't be used: {fault}")]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        #[source]
        fault: CatalogFault,
    },
    /// An object does not follow from those before it.
    #[error("object {number} of the catalog does not follow: {refused}")]
    Contradiction {
        /// Its number.
        number: u64,
        /// How.
        #[source]
        refused: Refused,
    },
    /// Objects were collected faster than they could be read, or tombstones stand where none belong.
    #[error(
        "object {number} of the catalog was collected while it was to be read, again and again"
    )]
    Collected {
        /// The last one.
        number: u64,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the prefix holds; `None` when there is no catalog.
///
/// # Errors
/// [`FindError`].
pub async fn find(objects: &dyn Objects) -> Result<Option<Found>, FindError> {
    let mut collected = 0;
    for _ in 0..TRIES {
        let Some(head) = last(objects).await? else {
            return Ok(None);
        };
        match read(objects, head).await? {
            Ok(found) => return Ok(Some(found)),
            Err(Tombstone(number)) => collected = number,
        }
    }
    Err(FindError::Collected { number: collected })
}

/// What stood where something else was expected: later wholes came since.
#[derive(Debug)]
struct Tombstone(u64);

/// A number that exists while the next one does not: numbers are dense.
async fn last(objects: &dyn Objects) -> Result<Option<u64>, StoreError> {
    let exists = async |number: u64| objects.has(&catalog_key(number)).await;
    if !exists(1).await? {
        return Ok(None);
    }
    let (mut low, mut high) = (1u64, 2);
    while exists(high).await? {
        (low, high) = (high, high.saturating_mul(2));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match exists(middle).await? {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(Some(low))
}

async fn read(objects: &dyn Objects, last: u64) -> Result<Result<Found, Tombstone>, FindError> {
    let bytes = get(objects, last, CATALOG_HEAD as u64).await?;
    let head = CatalogHead::decode_at(last, &bytes).map_err(damaged(last))?;
    if head.kind == CatalogKind::Tombstone {
        return Ok(Err(Tombstone(last)));
    }
    let first = head.whole_at;
    let mut found = Found {
        head: last,
        log: head.log,
        owner: head.owner,
        epoch: head.epoch,
        catalog: Catalog::default(),
    };
    for number in first..=last {
        let bytes = get(objects, number, CATALOG_MAX).await?;
        let object = CatalogObject::decode_at(number, &bytes).map_err(damaged(number))?;
        if object.head.kind == CatalogKind::Tombstone {
            return Ok(Err(Tombstone(number)));
        }
        // No claim is in between, which would hold the whole: so all of it is of one owner.
        let whose = |head: &CatalogHead| (head.log, head.owner, head.epoch, head.whole_at);
        let follows = match whose(&object.head) == whose(&head) {
            true => found.take_in(object.body, number == first),
            false => Err(Refused(format!(
                "it is not of the owner of object {last}, which points before it"
            ))),
        };
        follows.map_err(|refused| FindError::Contradiction { number, refused })?;
    }
    Ok(Ok(found))
}

impl Found {
    fn take_in(&mut self, body: Body, first: bool) -> Result<(), Refused> {
        match body {
            Body::Whole(whole) if first => self.catalog = whole,
            Body::Changes(changes) if !first => self.catalog.apply_all(&changes)?,
            _ => return Err(Refused("it does not hold what was expected".to_owned())),
        }
        Ok(())
    }
}

async fn get(objects: &dyn Objects, number: u64, at_most: u64) -> Result<Bytes, FindError> {
    match objects.get(&catalog_key(number), at_most).await {
        Err(error) if error.kind == StoreErrorKind::Missing => Err(FindError::Missing { number }),
        got => Ok(got?),
    }
}

fn damaged(number: u64) -> impl FnOnce(CatalogFault) -> FindError {
    move |fault| FindError::Damaged { number, fault }
}
