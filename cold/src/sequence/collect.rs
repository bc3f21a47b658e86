//! Collecting: tombstones in the place of objects that nobody needs any more.

use bytes::Bytes;
use tierlog_storage::catalog::{
    Body, CATALOG_HEAD, CatalogHead, CatalogKind, CatalogObject, catalog_key,
};

use super::{Objects, PublishError, Sequence};
use crate::store::{StoreError, StoreErrorKind};

/// What was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// How many objects were replaced.
    pub replaced: u64,
    /// There are more.
    pub more: bool,
}

impl Sequence {
    /// Puts tombstones in the place of up to `limit` objects: of those below the whole before the latest
    /// one, the oldest first. The one before stays, for who has just read that it is the latest. `recorded`
    /// is the head that the directory has durably noted: what lies behind it is what its next life takes
    /// in, and must find.
    ///
    /// An owner that was overtaken and does not know it does no harm: what it takes for the whole before
    /// the latest is older than that.
    ///
    /// # Errors
    /// [`PublishError::Store`], where the next call goes on from the same place; `Fenced` and `OtherLog`
    /// as for a publication.
    pub async fn collect(&mut self, recorded: u64, limit: u64) -> Result<Collected, PublishError> {
        self.check_alive()?;
        let bound = self.wholes.previous.min(recorded);
        let mut next = match self.collected {
            Some(next) => next,
            None => first_content(&*self.objects, bound).await?,
        };
        let mut replaced = 0;
        while next < bound && replaced < limit {
            let head = self.head_of(next, CatalogKind::Tombstone, 0);
            let body = Body::None;
            let tombstone = Bytes::from(CatalogObject { head, body }.encode());
            self.objects.replace(&catalog_key(next), tombstone).await?;
            next += 1;
            replaced += 1;
            self.collected = Some(next);
        }
        Ok(Collected {
            replaced,
            more: next < bound,
        })
    }
}

/// The first number below `bound` that is no tombstone, or `bound`. Since the oldest objects go first,
/// tombstones have no object below them.
async fn first_content(objects: &dyn Objects, bound: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, bound.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let tombstone = match objects.get(&catalog_key(middle), CATALOG_HEAD as u64).await {
            Ok(bytes) => CatalogHead::decode_at(middle, &bytes)
                .is_ok_and(|head| head.kind == CatalogKind::Tombstone),
            Err(error) if error.kind == StoreErrorKind::Missing => false,
            Err(error) => return Err(error),
        };
        if tombstone {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
