//! From the lane into the queue.

use super::actor::WriterActor;
use crate::{kind::Kind, protocol::writer::LaneMsg};

impl WriterActor {
    /// Takes what waits on the lane, up to a barrier or a full queue.
    pub(super) async fn fill(&mut self) {
        let waiting = self.lane.len();
        self.waiting.set_len(waiting);
        if waiting == 0 || !self.listens() {
            return;
        }
        self.fault("writer.drain").await;
        let now = self.generation.log.clock.now_ns();
        while self.listens() {
            match self.lane.try_recv() {
                Ok(message) => self.take(message, now),
                Err(_) => break,
            }
        }
        // Room on the lane: those who were refused may come again.
        self.stream.bell.ring();
    }

    /// Whether anything may be taken from the lane.
    pub(super) fn listens(&self) -> bool {
        self.barrier.is_none() && !self.queue.is_full()
    }

    /// The first message after a while without any.
    pub(super) async fn take_first(&mut self, message: LaneMsg) {
        self.fault("writer.drain").await;
        let now = self.generation.log.clock.now_ns();
        self.take(message, now);
        // It may have been the last one, and then nothing is left to drain: on a lane of one
        // message nobody else would say that there is room.
        self.stream.bell.ring();
    }

    fn take(&mut self, message: LaneMsg, now: u64) {
        match message {
            LaneMsg::Append(append) => {
                assert_eq!(
                    append.first, self.taken,
                    "the lane keeps the order of the offsets"
                );
                self.taken += u64::from(append.what.count());
                self.queue.push(append, now);
                self.mark_at = None;
            }
            LaneMsg::Control(control) => self.take_control(control),
        }
    }

    /// Says at the door what is short, or that nothing is.
    pub(super) fn set_blocked(&mut self, kind: Option<Kind>) {
        if self.note_blocked(kind) {
            self.stream.set_blocked(kind);
        }
    }

    /// Keeps in mind what is short, for those who watch the log too; false where it is known.
    pub(super) fn note_blocked(&mut self, kind: Option<Kind>) -> bool {
        if std::mem::replace(&mut self.blocked, kind) == kind {
            return false;
        }
        let stream = &self.stream.name;
        if let Some(kind) = kind {
            self.generation.log.meters.refused(kind);
            tracing::debug!(target: "tierlog::writer", %stream, %kind, "appends are refused");
        } else {
            tracing::debug!(target: "tierlog::writer", %stream, "there is room again");
        }
        true
    }
}
