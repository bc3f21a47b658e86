//! What others may ask of the manifest writer.

use std::{fmt, sync::Arc};

use kameo::{actor::ActorRef, error::SendError};
use tierlog_storage::{
    StreamId,
    manifest::{Entry, Seq, StreamState},
};
use tokio::sync::oneshot;

use super::actor::ManifestActor;
use crate::{
    error::Error,
    protocol::manifest::{CloseClean, Commit, StateOf},
    stream::bell::Bell,
};

/// Handed out to everybody who commits.
#[derive(Clone)]
pub struct ManifestHandle {
    actor: ActorRef<ManifestActor>,
    drained: Arc<Bell>,
}

/// Why a commit was not taken. Nothing happened.
#[derive(Debug)]
pub enum CommitRefused {
    /// The mailbox is full; the entries come back.
    Full(Vec<Entry>),
    /// The actor has ended.
    Gone,
}

/// Where the outcome of a commit arrives.
pub type CommitOutcome = oneshot::Receiver<Result<Seq, Error>>;

impl ManifestHandle {
    pub(super) fn new(actor: ActorRef<ManifestActor>, drained: Arc<Bell>) -> Self {
        Self { actor, drained }
    }

    /// Puts a commit into the mailbox, if there is room.
    ///
    /// # Errors
    /// [`CommitRefused`].
    pub fn try_commit(&self, entries: Vec<Entry>) -> Result<CommitOutcome, CommitRefused> {
        let (done, outcome) = oneshot::channel();
        match self.actor.tell(Commit { entries, done }).try_send() {
            Ok(()) => Ok(outcome),
            Err(SendError::MailboxFull(commit)) => Err(CommitRefused::Full(commit.entries)),
            Err(_) => Err(CommitRefused::Gone),
        }
    }

    /// Waits for room, then for the outcome. Once it was polled the commit may happen even if the
    /// future is dropped.
    ///
    /// # Errors
    /// As the commit; `Indeterminate` when the actor ended before it answered.
    pub async fn commit(&self, entries: Vec<Entry>) -> Result<Seq, Error> {
        let (done, outcome) = oneshot::channel();
        if self
            .actor
            .tell(Commit { entries, done })
            .send()
            .await
            .is_err()
        {
            return Err(gone());
        }
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// What the manifest says of a stream.
    ///
    /// # Errors
    /// When the actor has ended.
    pub async fn state_of(&self, stream: StreamId) -> Result<Option<StreamState>, Error> {
        let (done, answer) = oneshot::channel();
        if self.actor.tell(StateOf(stream, done)).send().await.is_err() {
            return Err(gone());
        }
        answer.await.map_err(|_| gone())
    }

    /// Marks the log as closed cleanly, behind everything queued before.
    ///
    /// # Errors
    /// When `CURRENT` could not be switched: the log is then as after a crash, complete but to be
    /// recovered.
    pub async fn close_clean(&self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        if self.actor.tell(CloseClean(done)).send().await.is_err() {
            return Err(gone());
        }
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Whether a commit would be taken now.
    pub fn has_room(&self) -> bool {
        let mailbox = self.actor.mailbox_sender();
        mailbox.is_closed() || mailbox.capacity().is_none_or(|room| room > 0)
    }

    /// Resolves when there is room in the mailbox, or nobody behind it any more.
    pub async fn ready(&self) {
        self.drained.wait_until(|| self.has_room()).await;
    }

    /// Ends the actor where it stands.
    pub fn kill(&self) {
        self.actor.kill();
    }
}

pub(super) fn gone() -> Error {
    Error::indeterminate(&"the manifest writer ended")
}

impl fmt::Debug for ManifestHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestHandle").finish_non_exhaustive()
    }
}
