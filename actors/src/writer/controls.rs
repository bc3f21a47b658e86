//! Commands on the lane: flush, seal, truncate, retire; and the mark of an idle stream.

use std::sync::Arc;

use tierlog_storage::{Offset, manifest::Entry, segment::Latched};
use tokio::time::Instant;

use super::{actor::WriterActor, roll::NextSegment};
use crate::{
    error::Error,
    manifest::CommitRefused,
    protocol::{
        Reply,
        writer::{Control, Retired},
    },
    stream::shared::NextLife,
};

/// A command that waits until everything before it is written, or durable.
#[derive(Debug)]
pub enum Barrier {
    /// Seal the active segment.
    Seal(Reply<Result<Offset, Error>>),
    /// Cut the tail off.
    Truncate(Offset, Reply<Result<Offset, Error>>),
    /// Stop for good.
    Retire(Reply<Retired>),
}

impl Barrier {
    /// Whether everything before it must be durable first.
    pub fn needs_durable(&self) -> bool {
        matches!(self, Self::Truncate(..) | Self::Retire(_))
    }

    /// Ends it with an error.
    pub fn fail(self, error: &Error) {
        match self {
            Self::Seal(reply) | Self::Truncate(_, reply) => {
                let _ = reply.send(Err(error.clone()));
            }
            Self::Retire(reply) => {
                let _ = reply.send(Retired {
                    entries: Vec::new(),
                    undrained: 0,
                    error: Some(error.clone()),
                });
            }
        }
    }
}

impl WriterActor {
    pub(super) fn take_control(&mut self, control: Control) {
        if let Some(error) = &self.failed {
            let error = error.clone();
            return match control {
                Control::Flush(reply) => drop(reply.send(Err(error))),
                Control::Seal(reply) => Barrier::Seal(reply).fail(&error),
                Control::Truncate(to, reply) => Barrier::Truncate(to, reply).fail(&error),
                Control::Retire(reply) => {
                    Barrier::Retire(reply).fail(&error);
                    self.retired = true;
                }
            };
        }
        match control {
            Control::Flush(reply) => {
                if self.taken <= self.durable() {
                    let _ = reply.send(Ok(Offset(self.durable())));
                } else {
                    self.flush_waiters.push_back((self.taken, reply));
                }
            }
            Control::Seal(reply) => self.barrier = Some(Barrier::Seal(reply)),
            Control::Truncate(to, reply) => self.barrier = Some(Barrier::Truncate(to, reply)),
            Control::Retire(reply) => self.barrier = Some(Barrier::Retire(reply)),
        }
    }

    /// Carries out the command at the barrier once what stands before it is done.
    pub(super) async fn start_barrier(&mut self) {
        let Some(barrier) = &self.barrier else { return };
        if !self.queue.is_empty() || self.write.is_some() {
            return;
        }
        if let Some(waiting) = self.sealing.as_mut().filter(|sealing| sealing.is_waiting()) {
            match barrier {
                Barrier::Seal(_) => waiting.hurry(),
                // What they write to the manifest goes without it, and the next recovery makes up for it.
                Barrier::Truncate(..) | Barrier::Retire(_) => self.sealing = None,
            }
        }
        let settled = self.held.is_empty() && self.flush.is_none() && self.sealing.is_none();
        if barrier.needs_durable() && !settled {
            return;
        }
        if matches!(barrier, Barrier::Seal(_)) && self.sealing.is_some() {
            return;
        }
        match self.barrier.take() {
            Some(Barrier::Seal(reply)) => self.seal_now(vec![reply]).await,
            Some(Barrier::Truncate(to, reply)) => self.truncate(to, reply).await,
            Some(Barrier::Retire(reply)) => self.retire(reply).await,
            None => {}
        }
    }

    async fn retire(&mut self, reply: Reply<Retired>) {
        self.fault("writer.retire").await;
        let mut entries = Vec::new();
        let mut blank = Vec::new();
        if let NextSegment::Ready(next) = &self.next {
            // It stays behind as an empty file that nothing names; the next open removes it.
            blank.push(Arc::clone(&next.file));
            entries.push(Entry::Removed {
                stream: self.stream_id(),
                segment: next.no,
            });
        }
        let mut error = None;
        match self.active.take() {
            Some(active) if active.is_blank() => {
                blank.push(Arc::clone(&active.file));
                entries.push(Entry::Removed {
                    stream: self.stream_id(),
                    segment: active.no,
                });
                entries.push(self.mark(None, 0, true));
            }
            Some(active) => {
                // What was allocated ahead goes back to the disk.
                let (file, end) = (active.file.clone(), active.pos);
                let log = Arc::clone(&self.generation.log);
                let trimmed = self
                    .generation
                    .log
                    .write_job(&self.running, move || {
                        file.set_len(end).and_then(|()| log.sync(&file))
                    })
                    .await;
                match trimmed {
                    Ok(Ok(())) => entries.push(self.mark(Some(active.no), active.pos, true)),
                    Ok(Err(failed)) => error = Some(Error::from(failed)),
                    Err(died) => error = Some(Error::indeterminate(&died)),
                }
            }
            None => entries.push(self.mark(None, 0, true)),
        }
        self.empty(blank).await;
        let refuse = NextLife::Refuse(Error::Closed);
        let closed = vec![(self.taken, Error::Closed)];
        self.stream
            .fail_queued(self.taken, closed, Vec::new(), refuse);
        let _ = reply.send(Retired {
            entries,
            undrained: 0,
            error,
        });
        self.retired = true;
    }

    /// Cuts files in which nothing was ever written down to nothing: the next open read them to their end, as
    /// long as a segment, to see that they are blank. They can't be removed yet, for the manifest names them
    /// until what a retirement answers is durable; a segment without a byte is blank wherever a crash comes.
    /// One that stays as long as it was, or is so again behind a power cut, is only read.
    async fn empty(&mut self, blank: Vec<Arc<Latched>>) {
        if blank.is_empty() {
            return;
        }
        let job = self.generation.log.write_job(&self.running, move || {
            for file in blank {
                if let Err(error) = file.set_len(0) {
                    tracing::debug!(target: "tierlog::writer", path = %file.path().display(), %error, "a blank segment keeps its room until the next open");
                }
            }
        });
        let _ = job.await;
    }

    fn mark(
        &self,
        segment: Option<tierlog_storage::SegmentNo>,
        end_byte: u64,
        clean: bool,
    ) -> Entry {
        Entry::Mark {
            stream: self.stream_id(),
            durable: Offset(self.durable()),
            segment,
            end_byte,
            incarnation: self.life.number,
            clean,
        }
    }

    /// The stream has nothing to do: after a while its end is marked, so that damage below it is
    /// told from a tear.
    pub(super) fn note_idle(&mut self) {
        let idle = self.held.is_empty() && self.queue.is_empty() && self.write.is_none();
        self.mark_at = idle.then(|| Instant::now() + self.generation.log.options.idle_mark);
    }

    pub(super) fn start_mark(&mut self) {
        if self.marking.is_some() || self.mark_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.mark_at = None;
        if !self.held.is_empty() || self.write.is_some() {
            return;
        }
        self.stream.tail.clear();
        let (segment, end_byte) = match &self.active {
            Some(active) if !active.is_blank() => (Some(active.no), active.pos),
            _ => (None, 0),
        };
        match self
            .generation
            .manifest
            .try_commit(vec![self.mark(segment, end_byte, false)])
        {
            Ok(outcome) => self.marking = Some(outcome),
            Err(CommitRefused::Full(_)) => self.note_idle(),
            Err(CommitRefused::Gone) => {}
        }
    }

    pub(super) fn marked(&mut self, _answered: bool) {
        // A mark that failed is only less precision; the next idle time brings another.
        self.marking = None;
    }
}
