//! What others may ask of the uploader.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kameo::{actor::ActorRef, message::Message};
use tierlog_storage::{
    catalog::{Change, SegmentKey},
    manifest::WarmCopy,
    warm::WarmIdentity,
};
use tokio::sync::oneshot;

use super::actor::UploaderActor;
use crate::{
    protocol::{
        Reply,
        sweep::{Discard, Page, Survey},
        uploader::{Delete, Fetch, Look, Publish, TransferFault, Upload},
    },
    under_way::Hold,
};

/// Handed out to the coordinator. It stays the same when the actor behind it is replaced, which
/// happens alone.
#[derive(Clone)]
pub struct UploaderHandle(Arc<Mutex<ActorRef<UploaderActor>>>);

impl UploaderHandle {
    pub(super) fn new(actor: ActorRef<UploaderActor>) -> Self {
        Self(Arc::new(Mutex::new(actor)))
    }

    /// Makes an object of a compressed file. When this returns it is durable and was read back.
    ///
    /// # Errors
    /// [`TransferFault`]; whether there is an object is unknown then.
    pub async fn upload(&self, key: SegmentKey, copy: WarmCopy) -> Result<(), TransferFault> {
        self.ask(|done| Upload { key, copy, done }).await
    }

    /// Publishes changes of the catalog, those that it does not have yet; gives the number of the last
    /// catalog object.
    ///
    /// # Errors
    /// [`TransferFault`]; whether they are published is unknown then, and found out by the next call.
    pub async fn publish(&self, changes: Vec<Change>) -> Result<u64, TransferFault> {
        self.ask(|done| Publish { changes, done }).await
    }

    /// Deletes objects.
    ///
    /// # Errors
    /// [`TransferFault`]; some of them may be gone then.
    pub async fn delete(&self, keys: Vec<String>) -> Result<(), TransferFault> {
        self.ask(|done| Delete { keys, done }).await
    }

    /// Makes a compressed file again. When this returns, it and its name are durable.
    ///
    /// # Errors
    /// [`TransferFault`]; what was there before is as it was.
    pub async fn fetch(
        &self,
        identity: WarmIdentity,
        key: SegmentKey,
        copy: WarmCopy,
        hold: Option<Hold>,
    ) -> Result<(), TransferFault> {
        self.ask(|done| Fetch {
            identity,
            key,
            copy,
            hold,
            done,
        })
        .await
    }

    /// Whether an object is there, with this length.
    ///
    /// # Errors
    /// [`TransferFault`].
    pub async fn look(&self, key: SegmentKey, len: u64) -> Result<(), TransferFault> {
        self.ask(|done| Look { key, len, done }).await
    }

    /// Looks through the objects behind `after`, as far as one page of a listing goes.
    ///
    /// # Errors
    /// [`TransferFault`].
    pub async fn survey(&self, after: Option<String>) -> Result<Page, TransferFault> {
        self.ask(|done| Survey { after, done }).await
    }

    /// Deletes a leftover, if Tier 2 is still this owner's and its catalog does not name it.
    ///
    /// # Errors
    /// [`TransferFault`]; it may be gone all the same if it is one of the store.
    pub async fn discard(&self, key: SegmentKey) -> Result<(), TransferFault> {
        self.ask(|done| Discard { key, done }).await
    }

    /// The actor behind this one from now on is the one behind `other`.
    pub fn replace(&self, other: &Self) {
        let actor = other.actor();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = actor;
    }

    /// Ends the actor where it stands.
    pub fn kill(&self) {
        self.actor().kill();
    }

    async fn ask<T, M>(
        &self,
        message: impl FnOnce(Reply<Result<T, TransferFault>>) -> M,
    ) -> Result<T, TransferFault>
    where
        M: Send + 'static,
        UploaderActor: Message<M>,
    {
        let (done, outcome) = oneshot::channel();
        let actor = self.actor();
        let _ = actor.tell(message(done)).send().await;
        outcome.await.unwrap_or(Err(TransferFault::Stopped))
    }

    fn actor(&self) -> ActorRef<UploaderActor> {
        let actor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        actor.clone()
    }
}

impl fmt::Debug for UploaderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploaderHandle").finish_non_exhaustive()
    }
}
