//! What others may ask of the coordinator.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use kameo::{actor::ActorRef, error::SendError};
use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    manifest::{RetentionState, StreamState},
};
use tokio::sync::oneshot;

use super::{actor::CoordinatorActor, ledger::Ledger};
use crate::{
    error::Error,
    kind::Kind,
    protocol::{
        coordinator::{Admit, Attach, Changed, Hydrate, Retain, Rollover, Trim},
        sweep::{Sweep, SweepReport},
    },
    stream::{bell::Bell, shared::StreamShared},
};

/// Handed out to writers and streams.
#[derive(Clone)]
pub struct CoordinatorHandle {
    actor: ActorRef<CoordinatorActor>,
    ledger: Arc<Ledger>,
    drained: Arc<Bell>,
}

/// The coordinator has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoordinatorGone;

impl CoordinatorHandle {
    pub(super) fn new(
        actor: ActorRef<CoordinatorActor>,
        ledger: Arc<Ledger>,
        drained: Arc<Bell>,
    ) -> Self {
        Self {
            actor,
            ledger,
            drained,
        }
    }

    /// Asks for a segment; `Some` gives the request back because the mailbox is full.
    ///
    /// # Errors
    /// `CoordinatorGone`, when it has ended.
    pub fn try_admit(&self, admit: Admit) -> Result<Option<Admit>, CoordinatorGone> {
        match self.actor.tell(admit).try_send() {
            Ok(()) => Ok(None),
            Err(SendError::MailboxFull(admit)) => Ok(Some(admit)),
            Err(_) => Err(CoordinatorGone),
        }
    }

    /// Hands a sealed segment over, waiting for room. The writer holds this beside everything else
    /// that it waits for. Should the actor be gone, the answer slot says so.
    pub fn roll_over(&self, rollover: Rollover) -> BoxFuture<'static, ()> {
        let actor = self.actor.clone();
        Box::pin(async move {
            let _ = actor.tell(rollover).send().await;
        })
    }

    /// Tells what a repair or a truncation has changed, waiting for room. Should the actor be gone,
    /// the next open finds it in the manifest.
    pub fn changed(&self, changed: Changed) -> BoxFuture<'static, ()> {
        let actor = self.actor.clone();
        Box::pin(async move {
            let _ = actor.tell(changed).send().await;
        })
    }

    /// Tells that a stream is open, waiting for room.
    pub fn attach(&self, stream: Arc<StreamShared>, state: StreamState) -> BoxFuture<'static, ()> {
        let actor = self.actor.clone();
        Box::pin(async move {
            let _ = actor.tell(Attach { stream, state }).send().await;
        })
    }

    /// Makes the file of a segment again that is there in another tier alone.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn hydrate(&self, stream: StreamId, no: SegmentNo) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let hydrate = Hydrate { stream, no, done };
        if self.actor.tell(hydrate).send().await.is_err() {
            return Err(gone());
        }
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Sweeps the data directory, and then Tier 2 if there is one, behind the sweeps that wait already.
    ///
    /// # Errors
    /// As the disk. `Unavailable` while Tier 2 is not claimed or does not answer, `Fenced` when somebody
    /// else has claimed it, `Tier2` when its catalog can't be read.
    pub async fn sweep(&self, dry_run: bool) -> Result<SweepReport, Error> {
        let (done, outcome) = oneshot::channel();
        if self
            .actor
            .tell(Sweep { dry_run, done })
            .send()
            .await
            .is_err()
        {
            return Err(gone());
        }
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Drops everything below `before`, durably. Gives the new start.
    ///
    /// # Errors
    /// `WouldBlock(Rollover)` or `WouldBlock(Manifest)` when a mailbox is full, `InvalidInput` when
    /// `before` is beyond the durable end.
    pub async fn trim(&self, stream: Arc<StreamShared>, before: Offset) -> Result<Offset, Error> {
        let (done, outcome) = oneshot::channel();
        match self
            .actor
            .tell(Trim {
                stream,
                before,
                done,
            })
            .try_send()
        {
            Ok(()) => outcome.await.unwrap_or_else(|_| Err(gone())),
            Err(SendError::MailboxFull(_)) => Err(Error::would_block(Kind::Rollover)),
            Err(_) => Err(gone()),
        }
    }

    /// Keeps so much of a stream from now on, durably.
    ///
    /// # Errors
    /// `WouldBlock(Rollover)` or `WouldBlock(Manifest)` when a mailbox is full.
    pub async fn retain(
        &self,
        stream: Arc<StreamShared>,
        retention: RetentionState,
    ) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let retain = Retain {
            stream,
            retention,
            done,
        };
        match self.actor.tell(retain).try_send() {
            Ok(()) => outcome.await.unwrap_or_else(|_| Err(gone())),
            Err(SendError::MailboxFull(_)) => Err(Error::would_block(Kind::Rollover)),
            Err(_) => Err(gone()),
        }
    }

    /// Whether the mailbox has room.
    pub fn has_room(&self) -> bool {
        let mailbox = self.actor.mailbox_sender();
        mailbox.is_closed() || mailbox.capacity().is_none_or(|room| room > 0)
    }

    /// Resolves when there is room in the mailbox, or nobody behind it any more.
    pub async fn ready(&self) {
        self.drained.wait_until(|| self.has_room()).await;
    }

    /// Bytes that hot segments hold.
    pub fn hot_bytes(&self) -> u64 {
        self.ledger.used()
    }

    /// Ends the actor where it stands.
    pub fn kill(&self) {
        self.actor.kill();
    }
}

fn gone() -> Error {
    Error::Unavailable {
        why: "the coordinator is being restarted".into(),
    }
}

impl fmt::Debug for CoordinatorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorHandle").finish_non_exhaustive()
    }
}
