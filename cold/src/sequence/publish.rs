//! Publishing: the next number, or nothing ever again.

use bytes::Bytes;
use tierlog_storage::{
    Epoch, LogId,
    catalog::{
        Body, CATALOG_HEAD, CATALOG_MAX, CatalogFault, CatalogHead, CatalogKind, CatalogObject,
        Change, Refused, catalog_key,
    },
};

use super::{Attempt, Ended, Sequence, WHOLE_EVERY, Wholes};
use crate::store::{Created, StoreError, StoreErrorKind};

/// A publication that is in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what was published is to be noted"]
pub struct Published {
    /// Its number.
    pub number: u64,
    /// What it says: these changes, and nothing else.
    pub changes: Vec<Change>,
}

/// Why something is not known to be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else owns the prefix. Every later call ends so. Of an attempt that was open it is unknown
    /// whether it became part of the history.
    #[error("object {number} of the catalog was made by another owner, in epoch {by}")]
    Fenced {
        /// Its epoch.
        by: Epoch,
        /// The number that was found taken.
        number: u64,
    },
    /// Somebody archives another log there. Every later call ends so.
    #[error("object {number} of the catalog belongs to log {log}")]
    OtherLog {
        /// That log.
        log: LogId,
        /// The number that was found taken.
        number: u64,
    },
    /// The outcome of an earlier attempt is open: [`Sequence::settle`] it first. Nothing was tried.
    #[error("it is not known whether object {number} of the catalog was made")]
    Unsettled {
        /// Its number.
        number: u64,
    },
    /// The changes make no sense. Nothing was tried.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// They make too large an object. Nothing was tried.
    #[error("an object of {len} bytes is larger than {CATALOG_MAX}")]
    TooLarge {
        /// Its length.
        len: u64,
    },
    /// The number is taken by an object that can't be read. The attempt stays open.
    #[error("object {number} of the catalog can't be used: {fault}")]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        #[source]
        fault: CatalogFault,
    },
    /// The store did not answer. The attempt stays open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Ended> for PublishError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Fenced { by, number } => Self::Fenced { by, number },
            Ended::OtherLog { log, number } => Self::OtherLog { log, number },
        }
    }
}

impl Sequence {
    /// The attempt whose outcome is open, if there is one: its number and its changes.
    pub fn pending(&self) -> Option<(u64, &[Change])> {
        let open = self.pending.as_ref()?;
        Some((open.number, &open.changes))
    }

    /// Publishes these changes: all of them, in one object, or none.
    ///
    /// Where the store does not answer, or the future is dropped, the attempt stays open
    /// ([`Self::pending`]), and nothing else is published before [`Self::settle`] has ended it: changes
    /// whose outcome is unknown would else be published twice, or never.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&mut self, changes: Vec<Change>) -> Result<Published, PublishError> {
        self.check_alive()?;
        if let Some(open) = &self.pending {
            let number = open.number;
            return Err(PublishError::Unsettled { number });
        }
        let attempt = self.prepare(changes)?;
        self.attempt(attempt).await
    }

    /// Tries the open attempt again, with the same bytes under the same number; `None` when none is open.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn settle(&mut self) -> Result<Option<Published>, PublishError> {
        self.check_alive()?;
        match self.pending.take() {
            Some(attempt) => self.attempt(attempt).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes sure that nobody has taken the prefix over by now: the number behind the head is still free.
    /// An attempt that is open is settled first.
    ///
    /// # Errors
    /// [`PublishError`], as for a publication.
    pub async fn confirm(&mut self) -> Result<(), PublishError> {
        let _settled = self.settle().await?;
        let key = catalog_key(self.head + 1);
        match self.objects.get(&key, CATALOG_HEAD as u64).await {
            Err(error) if error.kind == StoreErrorKind::Missing => Ok(()),
            Err(error) => Err(error.into()),
            Ok(found) => Err(self.taken(&found)),
        }
    }

    pub(super) fn check_alive(&self) -> Result<(), PublishError> {
        self.ended.map_or(Ok(()), |ended| Err(ended.into()))
    }

    async fn attempt(&mut self, attempt: Attempt) -> Result<Published, PublishError> {
        let key = catalog_key(attempt.number);
        // It stands there before the call begins: the future may be dropped while the call is on its way.
        let bytes = self.pending.insert(attempt).bytes.clone();
        match self.objects.create(&key, bytes).await? {
            Created::New | Created::Ours => {}
            Created::Taken(found) => return Err(self.taken(&found)),
        }
        let attempt = self.pending.take().expect("it was put there above");
        Ok(self.succeeded(attempt))
    }

    /// Only an object that is whole ends the ownership: what was altered on the way is read again when
    /// the attempt is settled.
    fn taken(&mut self, found: &Bytes) -> PublishError {
        let number = self.head + 1;
        let head = match CatalogHead::decode_at(number, found) {
            Ok(head) => head,
            Err(fault) => return PublishError::Damaged { number, fault },
        };
        let ended = match head.log == self.log {
            true => Ended::Fenced {
                by: head.epoch,
                number,
            },
            false => Ended::OtherLog {
                log: head.log,
                number,
            },
        };
        self.ended.insert(ended).to_owned().into()
    }

    fn prepare(&mut self, changes: Vec<Change>) -> Result<Attempt, PublishError> {
        let number = self.head + 1;
        let whole = self.wholes.is_due(self.head);
        let whole_at = if whole { number } else { self.wholes.latest };
        let head = self.head_of(number, CatalogKind::Publication, whole_at);
        let body = self.catalog.with(&changes, |after| match whole {
            true => Body::Whole(after.clone()),
            false => Body::Changes(changes.clone()),
        })?;
        let bytes = CatalogObject { head, body }.encode();
        match bytes.len() as u64 {
            len if len > CATALOG_MAX => Err(PublishError::TooLarge { len }),
            _ => Ok(Attempt {
                number,
                changes,
                bytes: bytes.into(),
                whole,
            }),
        }
    }

    fn succeeded(&mut self, attempt: Attempt) -> Published {
        let Attempt {
            number,
            changes,
            bytes,
            whole,
        } = attempt;
        self.catalog
            .apply_all(&changes)
            .expect("the same catalog took them when the attempt was made");
        self.head = number;
        let len = (bytes.len() - CATALOG_HEAD) as u64;
        if whole {
            self.wholes = Wholes {
                latest: number,
                previous: self.wholes.latest,
                len,
                since: 0,
            };
        } else {
            self.wholes.since += len;
        }
        Published { number, changes }
    }
}

impl Wholes {
    /// Whoever reads the catalog reads the latest whole and all that follows: neither many objects, nor
    /// more bytes of changes than of the whole.
    const fn is_due(&self, head: u64) -> bool {
        head - self.latest >= WHOLE_EVERY || self.since > self.len
    }
}
