//! What others may ask of a writer beside its lane.

use std::{fmt, sync::Arc};

use kameo::actor::ActorRef;
use tokio::sync::oneshot;

use super::actor::WriterActor;
use crate::protocol::writer::{Inspect, Nudge, WriterHealth};

/// Handed to the coordinator and the supervisor.
#[derive(Clone)]
pub struct WriterHandle {
    actor: ActorRef<WriterActor>,
    stream: Arc<str>,
}

impl WriterHandle {
    pub(super) fn new(actor: ActorRef<WriterActor>, stream: Arc<str>) -> Self {
        Self { actor, stream }
    }

    /// Tells it that there may be room again. A full mailbox loses nothing: it looks by itself
    /// after a while.
    pub fn nudge(&self) {
        let _ = self.actor.tell(Nudge).try_send();
    }

    /// What it is doing; `None` when it has ended or is too busy to listen.
    pub async fn inspect(&self) -> Option<WriterHealth> {
        let (done, answer) = oneshot::channel();
        self.actor.tell(Inspect(done)).try_send().ok()?;
        answer.await.ok()
    }

    /// Whether it has ended: what is put on its lane is taken by nobody.
    pub fn has_ended(&self) -> bool {
        !self.actor.is_alive()
    }

    /// Ends it where it stands.
    pub fn kill(&self) {
        self.actor.kill();
    }
}

impl fmt::Debug for WriterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterHandle")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
