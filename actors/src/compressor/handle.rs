//! What others may ask of the compressor.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kameo::actor::ActorRef;
use tierlog_storage::warm::WarmFault;
use tokio::sync::{Notify, oneshot};

use super::actor::CompressorActor;
use crate::{
    protocol::compressor::{Compress, Made, Restore},
    under_way::Hold,
};
use tierlog_storage::{manifest::WarmCopy, warm::WarmIdentity};

/// Handed out to the coordinator. It stays the same when the actor behind it is replaced, which
/// happens alone: nothing rests on what it was doing.
#[derive(Clone)]
pub struct CompressorHandle(Arc<Place>);

struct Place {
    actor: Mutex<ActorRef<CompressorActor>>,
    /// Another actor has come into this place.
    replaced: Notify,
}

impl CompressorHandle {
    pub(super) fn new(actor: ActorRef<CompressorActor>) -> Self {
        Self(Arc::new(Place {
            actor: Mutex::new(actor),
            replaced: Notify::new(),
        }))
    }

    /// Compresses a segment, waiting for room and then for the outcome.
    ///
    /// # Errors
    /// What kept it from being compressed; `Stopped` when the actor ended.
    pub async fn compress(
        &self,
        identity: WarmIdentity,
        finish: bool,
        hold: Option<Hold>,
    ) -> Result<Made, WarmFault> {
        let (done, outcome) = oneshot::channel();
        let message = Compress {
            identity,
            finish,
            hold,
            done,
        };
        let actor = self.actor();
        let _ = actor.tell(message).send().await;
        outcome.await.unwrap_or(Err(WarmFault::Stopped))
    }

    /// Makes a segment file again, waiting for room and then for the outcome.
    ///
    /// # Errors
    /// What kept it from being made; `Stopped` when the actor ended.
    pub async fn restore(
        &self,
        identity: WarmIdentity,
        copy: WarmCopy,
        hold: Option<Hold>,
    ) -> Result<(), WarmFault> {
        let (done, outcome) = oneshot::channel();
        let message = Restore {
            identity,
            copy,
            hold,
            done,
        };
        let actor = self.actor();
        let _ = actor.tell(message).send().await;
        outcome.await.unwrap_or(Err(WarmFault::Stopped))
    }

    /// The actor behind this one from now on is the one behind `other`.
    pub fn replace(&self, other: &Self) {
        let actor = other.actor();
        *self.0.actor.lock().unwrap_or_else(PoisonError::into_inner) = actor;
        self.0.replaced.notify_one();
    }

    /// Resolves when the actor was replaced since it last did. Cancel-safe. For one who listens.
    pub async fn replaced(&self) {
        self.0.replaced.notified().await;
    }

    /// Ends the actor where it stands.
    pub fn kill(&self) {
        self.actor().kill();
    }

    fn actor(&self) -> ActorRef<CompressorActor> {
        self.0
            .actor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for CompressorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressorHandle").finish_non_exhaustive()
    }
}
