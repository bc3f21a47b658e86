//! A write or a sync failed: nobody knows what of these bytes is on disk, and asking the kernel
//! again would only make it lie. Everything accepted and not durable is still in memory: it is
//! written again to a fresh segment, the old one is closed at its last durable byte, and only then
//! the acks follow.

use std::{future::Future, sync::Arc};

use tierlog_storage::{
    Offset, SegmentNo, StreamId,
    error::StorageError,
    manifest::{Entry, SegmentStatus},
    segment::{Frame, FrameSeal, HEADER_LEN, Latched},
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    active::Active,
    actor::WriterActor,
    roll::NextSegment,
    write::{Held, Placed},
};
use crate::{
    context::Counters,
    error::Error,
    protocol::{
        Reply,
        coordinator::{Admit, AdmitError, Admitted, Changed},
    },
    stream::{budget::UnsyncedPermit, segments::Segment},
    under_way::Hold,
};

/// Who waits for a seal.
type SealReply = Reply<Result<Offset, Error>>;

/// An unsealed segment that ends here, at its last durable byte.
struct Ending {
    no: SegmentNo,
    salt: u64,
    base: Option<Offset>,
    end: Offset,
    end_byte: u64,
}

impl Ending {
    /// `rewritten` is where the first frame stands in it that will be written elsewhere.
    fn of(active: &Active, rewritten: Option<(Offset, u64)>) -> Self {
        let (end, end_byte) = rewritten.unwrap_or((active.end, active.pos));
        Self {
            no: active.no,
            salt: active.salt,
            base: active.base.filter(|base| *base < end),
            end,
            end_byte,
        }
    }

    fn blank(next: &Admitted) -> Self {
        Self {
            no: next.no,
            salt: next.salt,
            base: None,
            end: Offset::ZERO,
            end_byte: HEADER_LEN,
        }
    }

    fn entry(&self, stream: StreamId) -> Entry {
        let (segment, end, end_byte) = (self.no, self.end, self.end_byte);
        match self.base {
            Some(base) => Entry::Closed {
                stream,
                segment,
                base,
                end,
                end_byte,
            },
            None => Entry::Removed { stream, segment },
        }
    }
}

impl WriterActor {
    /// Writes what is not durable again; `unwritten` was handed to a write that failed.
    pub(super) async fn repair(&mut self, unwritten: Vec<Placed>, cause: Error) {
        tracing::warn!(target: "tierlog::writer", stream = %self.stream.name, %cause, "a write or sync failed; writing again elsewhere");
        self.repairing = true;
        let outcome = self.try_repair(unwritten).await;
        self.repairing = false;
        match outcome {
            Ok(unsealed) => {
                // A request that waited for room at the flusher is of no use any more.
                self.flusher_has_room();
                self.repaired += 1;
                Counters::add(&self.generation.log.counters.repairs, 1);
                self.generation.log.meters.repairs.increment(1);
                tracing::info!(target: "tierlog::writer", stream = %self.stream.name, "written again elsewhere");
                // Who had asked for a seal gets one: of the segment in which their records are now.
                if !unsealed.is_empty() {
                    self.seal_now(unsealed).await;
                }
            }
            Err(second) => {
                let why = format!("{cause}; and writing again elsewhere failed: {second}");
                self.fail(Error::indeterminate(&why));
            }
        }
    }

    /// Gives who waits for a seal that came to nothing.
    async fn try_repair(&mut self, unwritten: Vec<Placed>) -> Result<Vec<SealReply>, Error> {
        // What is under way ends first: nothing may be written or synced while this goes on.
        let mut unwritten = unwritten;
        if let Some(write) = self.write.take() {
            let _ = self.within(write.outcome).await?;
            unwritten.extend(write.frames);
        }
        // One that still waits for room at the flusher never got there, and never will.
        self.flush_send = None;
        if let Some(flush) = self.flush.take()
            && let Some(done) = flush.done
        {
            let _ = self.within(done).await?;
        }
        let (mut endings, mut unsealed) = (Vec::new(), Vec::new());
        if let Some(sealing) = self.sealing.take() {
            match sealing.into_unsynced() {
                Ok((active, done, replies)) => {
                    unsealed = replies;
                    if let Some(done) = done {
                        let _ = self.within(done).await?;
                    }
                    endings.push(self.ending(&active, &unwritten));
                }
                // It is synced: the coordinator has it, and its commit comes before ours.
                Err(sealing) => self.sealing = Some(*sealing),
            }
        }
        endings.extend(
            self.active
                .as_ref()
                .map(|active| self.ending(active, &unwritten)),
        );
        let fresh = self.admit_fresh().await?;
        let (fresh_entry, mut active, frames) = self.rewrite(fresh, unwritten).await?;
        if let NextSegment::Ready(next) = std::mem::replace(&mut self.next, NextSegment::None) {
            // Its number is lower than the fresh one's, and records must stand in the order of
            // the numbers.
            endings.push(Ending::blank(&next));
        }
        let gone = endings.iter().filter(|ending| ending.base.is_none());
        let gone = gone.map(|ending| ending.no).collect();
        let holds = self.hold_files(gone).await?;
        self.fault("writer.before_repair_commit").await;
        let mut entries: Vec<_> = endings
            .iter()
            .map(|ending| ending.entry(self.stream_id()))
            .collect();
        entries.push(fresh_entry);
        match self.within(self.generation.manifest.commit(entries)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error @ (Error::InvalidInput { .. } | Error::StorageFull))) => {
                return Err(error);
            }
            Ok(Err(error)) => {
                self.await_restart(error.clone()).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.show_endings(endings, holds);
        let end = active.end;
        if !active.is_blank() {
            let end_byte = active.pos;
            active.show(&self.stream, end, end_byte);
        }
        self.active = Some(active);
        self.settle(end, frames).await;
        Ok(unsealed)
    }

    fn ending(&self, active: &Active, unwritten: &[Placed]) -> Ending {
        let held = self
            .held
            .iter()
            .map(|held| (held.segment, held.frame.base, held.pos));
        let placed = unwritten.iter().map(|p| (p.segment, p.frame.base, p.pos));
        let first = held
            .chain(placed)
            .find(|(segment, ..)| *segment == active.no);
        Ending::of(active, first.map(|(_, base, pos)| (base, pos)))
    }

    /// A fresh segment, which the manifest does not know yet.
    pub(super) async fn admit_fresh(&mut self) -> Result<Admitted, Error> {
        // One that was asked for ahead has a lower number, and would be committed after this one.
        if let NextSegment::Asked { answer, .. } =
            std::mem::replace(&mut self.next, NextSegment::None)
            && let Ok(Ok(Ok(admitted))) = timeout(self.patience(), answer).await
        {
            // Appends may have been refused for want of it, and what this is about may come to nothing.
            self.next_answered(Ok(Ok(admitted)));
        }
        loop {
            match self.try_admit_fresh().await? {
                Ok(admitted) => return Ok(admitted),
                // A writer before this one had asked for it and ended: the file is there, and no
                // manifest names it. The next number is as good.
                Err(AdmitError::Failed(error)) if is_taken(&error) => {}
                Err(AdmitError::Failed(error)) => return Err(error),
                Err(AdmitError::Short(kind)) => return Err(Error::would_block(kind)),
            }
        }
    }

    async fn try_admit_fresh(&mut self) -> Result<Result<Admitted, AdmitError>, Error> {
        let (done, answer) = oneshot::channel();
        let admit = Admit {
            stream: self.stream_id(),
            no: self.next_no,
            incarnation: self.life.number,
            allocate: super::policy::FIRST_STEP,
            commit: false,
            nudge: self.handle.clone(),
            done,
        };
        self.next_no = self.next_no.plus(1);
        self.admit_when_room(admit).await?;
        self.within(answer).await?.map_err(|_| ended())
    }

    /// Asks for a segment, waiting for room in the mailbox: that many others ask for something at
    /// this moment, as after a fault of their disk, is no reason to give a stream up.
    fn admit_when_room(&self, admit: Admit) -> impl Future<Output = Result<(), Error>> + use<> {
        let coordinator = self.generation.coordinator.clone();
        let asked = async move {
            let mut admit = admit;
            while let Some(back) = coordinator.try_admit(admit).map_err(|_| ended())? {
                admit = back;
                coordinator.ready().await;
            }
            Ok(())
        };
        let asked = self.within(asked);
        async move { asked.await? }
    }

    /// Writes every frame that is not durable into the fresh segment, and syncs it.
    async fn rewrite(
        &mut self,
        fresh: Admitted,
        unwritten: Vec<Placed>,
    ) -> Result<(Entry, Active, Vec<(Frame, UnsyncedPermit)>), Error> {
        let entry = fresh.entry.clone();
        let mut active = Active::blank(fresh, self.life.number);
        let durable = Offset(self.durable());
        let owner = self.owner();
        let mut old: Vec<(Frame, UnsyncedPermit)> = Vec::new();
        for Held { frame, permit, .. } in self.held.drain(..) {
            old.push((frame, permit));
        }
        for placed in unwritten {
            let (frame, permit) = placed.into_parts();
            old.push((frame, permit.written()));
        }
        self.held_bytes = 0;
        let mut writes = Vec::new();
        let mut frames = Vec::with_capacity(old.len());
        for (frame, permit) in old {
            let seal = FrameSeal {
                base: frame.base,
                durable,
                salt: active.salt,
            };
            let frame = frame.resealed(&seal);
            writes.extend(active.place(&frame, &owner));
            frames.push((frame, permit));
        }
        let file: Arc<Latched> = Arc::clone(&active.file);
        let (from, to) = (active.allocated, active.allocation_for(active.pos));
        let (log, hold) = (Arc::clone(&self.generation.log), active.hold.clone());
        let job = self.generation.log.write_job(&self.running, move || {
            let _hold = hold;
            if to > from {
                file.allocate(from, to - from)?;
            }
            for (pos, bytes) in &writes {
                file.write_at(bytes, *pos)?;
            }
            log.sync(&file)
        });
        active.allocated = active.allocated.max(to);
        match self.within(job).await? {
            Ok(Ok(())) => Ok((entry, active, frames)),
            Ok(Err(error)) => Err(Error::from(error)),
            Err(died) => Err(Error::indeterminate(&died)),
        }
    }

    /// Keeps a sweep away from the files of segments that a commit is about to give up.
    pub(super) fn hold_files(
        &self,
        numbers: Vec<SegmentNo>,
    ) -> impl Future<Output = Result<Vec<Hold>, Error>> + use<> {
        let under_way = Arc::clone(&self.generation.log.under_way);
        let stream = self.stream_id();
        self.within(async move { under_way.hold_all(stream, numbers).await })
    }

    fn show_endings(&self, endings: Vec<Ending>, holds: Vec<Hold>) {
        let (mut gone, mut now_closed) = (Vec::new(), Vec::new());
        self.stream.segments.update(|map| {
            for ending in endings {
                map.retain(|_, known| known.no != ending.no);
                let Some(base) = ending.base else {
                    gone.push(ending.no);
                    continue;
                };
                let (end, end_byte) = (ending.end, ending.end_byte);
                let status = SegmentStatus::Closed {
                    base,
                    end,
                    end_byte,
                };
                if let Some(closed) = Segment::ended(ending.no, ending.salt, &status) {
                    now_closed.push((ending.no, ending.salt, status));
                    map.insert(base.get(), Arc::new(closed));
                }
            }
        });
        self.tell_changed(gone, now_closed, holds);
    }

    /// Tells the coordinator what there is no more and what has ended without a footer. Should it end
    /// before it comes to that, the next open finds it in the manifest.
    pub(super) fn tell_changed(
        &self,
        gone: Vec<SegmentNo>,
        closed: Vec<(SegmentNo, u64, SegmentStatus)>,
        holds: Vec<Hold>,
    ) {
        if !gone.is_empty() || !closed.is_empty() {
            let changed = Changed {
                stream: self.stream_id(),
                gone,
                closed,
                holds,
            };
            tokio::spawn(self.generation.coordinator.changed(changed));
        }
    }

    /// Everything is written, synced and named: says so.
    async fn settle(&mut self, end: Offset, frames: Vec<(Frame, UnsyncedPermit)>) {
        // Appends may have been refused for want of a segment, and this is none that was asked for ahead.
        self.set_blocked(None);
        if frames.is_empty() {
            return;
        }
        self.stream.tail.clear();
        for (frame, _) in &frames {
            self.stream.tail.push(frame);
        }
        self.claim_end(end).await;
        if end.get() > self.written() {
            self.life.marks.advance_written(end.get());
        }
        drop(frames);
        self.durable_to(end).await;
    }

    /// The manifest writer ended with a commit of ours, or is about to. Only what the next
    /// generation finds on disk tells what came of it, and this one is ended for it; until then
    /// nothing may be done on the word of either state.
    pub(super) async fn await_restart(&mut self, error: Error) {
        tokio::time::sleep(self.patience()).await;
        self.fail(error);
    }

    fn patience(&self) -> std::time::Duration {
        self.generation.log.options.stall_after
    }

    /// The outcome, unless it takes longer than anybody may be kept waiting.
    pub(super) fn within<F: Future>(
        &self,
        outcome: F,
    ) -> impl Future<Output = Result<F::Output, Error>> + use<F> {
        let patience = self.patience();
        async move {
            timeout(patience, outcome)
                .await
                .map_err(|_| Error::indeterminate(&format!("no answer within {patience:?}")))
        }
    }
}

fn ended() -> Error {
    Error::Unavailable {
        why: "the coordinator ended".into(),
    }
}

/// Whether a file of that number is there already.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Storage(error) if matches!(&**error,
        StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists))
}
