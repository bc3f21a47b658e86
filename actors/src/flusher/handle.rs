//! What others may ask of the flusher.

use std::fmt;

use futures::future::BoxFuture;
use kameo::{actor::ActorRef, error::SendError};

use super::actor::FlusherActor;
use crate::protocol::flusher::FlushRequest;

/// Handed out to the writers.
#[derive(Clone)]
pub struct FlusherHandle(ActorRef<FlusherActor>);

/// The flusher has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlusherGone;

impl FlusherHandle {
    pub(super) fn new(actor: ActorRef<FlusherActor>) -> Self {
        Self(actor)
    }

    /// Asks for a sync, if there is room in the mailbox; gives the request back where there is not.
    ///
    /// # Errors
    /// `FlusherGone`; whoever holds the outcome's slot learns it from there as well.
    pub fn try_flush(&self, request: FlushRequest) -> Result<Option<FlushRequest>, FlusherGone> {
        match self.0.tell(request).try_send() {
            Ok(()) => Ok(None),
            Err(SendError::MailboxFull(request)) => Ok(Some(request)),
            Err(_) => Err(FlusherGone),
        }
    }

    /// Waits for room. The writer holds this beside everything else that it waits for, so that a
    /// full flusher never stops it from listening.
    pub fn flush_when_room(&self, request: FlushRequest) -> BoxFuture<'static, ()> {
        let actor = self.0.clone();
        Box::pin(async move {
            // Should the actor be gone, the request is dropped, and its slot tells the writer.
            let _ = actor.tell(request).send().await;
        })
    }

    /// Whether the mailbox has room.
    pub fn has_room(&self) -> bool {
        let mailbox = self.0.mailbox_sender();
        mailbox.is_closed() || mailbox.capacity().is_none_or(|room| room > 0)
    }

    /// Ends the actor where it stands.
    pub fn kill(&self) {
        self.0.kill();
    }
}

impl fmt::Debug for FlusherHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlusherHandle").finish_non_exhaustive()
    }
}
