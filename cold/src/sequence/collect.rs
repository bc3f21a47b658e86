//! Collecting: tombstones in the place of objects that nobody needs any more.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tierlog_storage::{
    AttemptId, Epoch, LogId, OwnerId,
    catalog::{Body, CATALOG_HEAD, CatalogHead, CatalogKind, CatalogObject, catalog_key},
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

/// What a sequence has to collect. It needs the sequence no more, which may publish meanwhile.
///
/// Of those that one sequence has given, one runs at a time.
#[derive(Clone)]
pub struct Collection {
    objects: Arc<dyn Objects>,
    log: LogId,
    owner: OwnerId,
    epoch: Epoch,
    /// Numbers below are of no use.
    bound: u64,
    progress: Progress,
}

/// How far a sequence has been collected: numbers below were replaced by tombstones; 0: not looked yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|next| *next > 0)
    }

    fn set(&self, next: u64) {
        self.0.store(next, Ordering::Relaxed);
    }

    /// Forgets it, as the next life does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.set(0);
    }
}

impl Sequence {
    /// What there is to collect: tombstones are due in the place of all objects below the whole before
    /// the latest one. The one before stays, for who has just read that it is the latest. `recorded` is
    /// the head that the directory has durably noted: what lies behind it is what its next life takes in,
    /// and must find.
    ///
    /// # Errors
    /// `Fenced` and `OtherLog` as for a publication.
    pub fn collection(&self, recorded: u64) -> Result<Collection, PublishError> {
        self.check_alive()?;
        Ok(Collection {
            objects: Arc::clone(&self.objects),
            log: self.log,
            owner: self.owner,
            epoch: self.epoch,
            bound: self.wholes.previous.min(recorded),
            progress: self.collected.clone(),
        })
    }

    /// Collects at once.
    #[cfg(test)]
    pub(super) async fn collect(
        &mut self,
        recorded: u64,
        limit: u64,
    ) -> Result<Collected, PublishError> {
        Ok(self.collection(recorded)?.run(limit).await?)
    }
}

impl Collection {
    /// Puts tombstones in the place of up to `limit` objects, the oldest first.
    ///
    /// An owner that was overtaken and does not know it does no harm: what it takes for the whole before
    /// the latest is older than that, and stays of no use however late a tombstone lands. Dropping the
    /// future leaves the one that is under way replaced or not; the next call goes on from there.
    ///
    /// # Errors
    /// Those of the store; the next call goes on from the same place.
    pub async fn run(&self, limit: u64) -> Result<Collected, StoreError> {
        let bound = self.bound;
        let mut next = match self.progress.get() {
            Some(next) => next,
            None => first_content(&*self.objects, bound).await?,
        };
        self.progress.set(next);
        let mut replaced = 0;
        while next < bound && replaced < limit {
            let tombstone = CatalogObject {
                head: self.head_of(next),
                body: Body::None,
            };
            let bytes = Bytes::from(tombstone.encode());
            self.objects.replace(&catalog_key(next), bytes).await?;
            next += 1;
            replaced += 1;
            self.progress.set(next);
        }
        Ok(Collected {
            replaced,
            more: next < bound,
        })
    }

    fn head_of(&self, number: u64) -> CatalogHead {
        CatalogHead {
            log: self.log,
            number,
            owner: self.owner,
            epoch: self.epoch,
            attempt: AttemptId::generate(),
            kind: CatalogKind::Tombstone,
            whole_at: 0,
        }
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
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
