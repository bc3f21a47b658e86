//! Handing frames to the disk: one write in flight, of as many frames as wait.

use std::{sync::Arc, time::Instant as WallInstant};

use bytes::Bytes;
use tierlog_storage::{
    Offset, SegmentNo,
    claims::{Claim, ClaimsFile},
    error::StorageError,
    planted,
    segment::{Frame, FrameSeal, Latched},
};
use tokio::time::Instant;

use super::{
    actor::WriterActor,
    policy::{FIRST_STEP, allocate_to},
    queue::Queued,
    roll::NextSegment,
};
use crate::{
    context::{Counters, LogContext, backoff},
    error::Error,
    exec::{Completion, JobDied},
    flusher::leave_claim,
    kind::Kind,
    options::FlushPolicy,
    stream::{
        budget::{Permit, UnsyncedPermit},
        shared::NextLife,
    },
};

/// Bytes that one write takes at most, unless a single frame is larger.
const MAX_WRITE: u64 = 1 << 20;

/// A write on its way.
#[derive(Debug)]
pub struct WriteInFlight {
    pub(super) outcome: Completion<WriteOutcome>,
    pub(super) frames: Vec<Placed>,
    pub(super) since: Instant,
    /// Its sync is part of it.
    synced: bool,
    /// How many appends were waiting when it began.
    appends: usize,
}

impl Placed {
    /// The frame and what it holds.
    pub(super) fn into_parts(self) -> (Frame, Permit) {
        (self.frame, self.permit)
    }
}

impl WriteInFlight {
    /// Whether its sync is part of it.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }
}

/// A frame that was given its place and handed over.
#[derive(Debug)]
pub struct Placed {
    pub(super) frame: Frame,
    pub(super) segment: SegmentNo,
    pub(super) pos: u64,
    permit: Permit,
}

/// A frame that is written and not durable. Its bytes stay here, so that they can be written again
/// elsewhere.
#[derive(Debug)]
pub struct Held {
    pub(super) frame: Frame,
    pub(super) segment: SegmentNo,
    pub(super) pos: u64,
    pub(super) permit: UnsyncedPermit,
    /// When it was written.
    pub(super) since: Instant,
}

/// What a write came to.
#[derive(Debug)]
pub struct WriteOutcome {
    /// Bytes allocated by now, where that was the job.
    allocated: Option<u64>,
    result: Result<(), WriteFault>,
}

#[derive(Debug)]
enum WriteFault {
    /// There is no room; nothing was written.
    NoSpace,
    /// Any part may have been written, or not be durable.
    Failed(StorageError),
}

/// What a write job does.
#[derive(Clone)]
struct WriteJob {
    log: Arc<LogContext>,
    file: Arc<Latched>,
    writes: Vec<(u64, Bytes)>,
    sync: Option<(Arc<ClaimsFile>, u32, Claim)>,
}

impl WriteJob {
    fn run(self) -> Result<(), WriteFault> {
        self.write().map_err(WriteFault::Failed)
    }

    fn write(&self) -> Result<(), StorageError> {
        let begun = WallInstant::now();
        for (pos, bytes) in &self.writes {
            self.file.write_at(bytes, *pos)?;
        }
        self.log.meters.write_seconds.record(begun.elapsed());
        if let Some((claims, slot, claim)) = &self.sync {
            if !planted::is("no_sync") {
                self.log.sync(&self.file)?;
            }
            leave_claim(claims, *slot, claim);
        }
        Ok(())
    }
}

/// Allocates to `target`, or where that finds no room at least to `least`.
fn allocate(file: &Latched, from: u64, target: u64, least: u64) -> WriteOutcome {
    for target in [target, least] {
        match file.allocate(from, target - from) {
            Ok(()) => {
                return WriteOutcome {
                    allocated: Some(target),
                    result: Ok(()),
                };
            }
            Err(error) if error.is_storage_full() => {}
            Err(error) => {
                return WriteOutcome {
                    allocated: None,
                    result: Err(WriteFault::Failed(error)),
                };
            }
        }
    }
    WriteOutcome {
        allocated: None,
        result: Err(WriteFault::NoSpace),
    }
}

impl WriterActor {
    /// Hands over what waits, if nothing is being written and there is a place for it.
    pub(super) async fn start_write(&mut self) {
        if self.write.is_some() || self.queue.is_empty() || !self.find_place() {
            return;
        }
        // Space comes before places: what finds no room was never given an offset in a file.
        let need = self.bytes_wanted();
        if self.allocate(need) {
            return;
        }
        self.fault("writer.before_write").await;
        let appends = self.queue.frames().map(Queued::appends).sum();
        let (frames, writes) = self.place_frames();
        let Some(active) = &self.active else { return };
        let alone = self
            .generation
            .log
            .dirty
            .load(std::sync::atomic::Ordering::Relaxed)
            <= usize::from(self.dirty);
        let wanted = self.generation.log.options.flush == FlushPolicy::Always || self.is_urgent();
        // One hand-over for both, where nothing else is dirty: neither another stream, whose sync
        // would wait for this thread, nor an earlier segment, which must be durable first.
        let sync = wanted
            && alone
            && self.flush.is_none()
            && self
                .sealing
                .as_ref()
                .is_none_or(|sealing| !sealing.is_syncing())
            && self.held.iter().all(|held| held.segment == active.no);
        let job = WriteJob {
            log: Arc::clone(&self.generation.log),
            file: Arc::clone(&active.file),
            writes,
            sync: sync.then(|| {
                let claims = Arc::clone(&self.generation.claims);
                (claims, self.slot, self.claim(active.end))
            }),
        };
        if planted::is("two_jobs_a_segment") {
            let twin = job.clone();
            let log = &self.generation.log;
            drop(log.write_job(&self.running, move || twin.run()));
        }
        let outcome = self
            .generation
            .log
            .write_job(&self.running, move || WriteOutcome {
                allocated: None,
                result: job.run(),
            });
        self.write = Some(WriteInFlight {
            outcome,
            frames,
            since: Instant::now(),
            synced: sync,
            appends,
        });
        self.note_frames();
    }

    /// Bytes of the frames that the next write would take.
    fn bytes_wanted(&self) -> u64 {
        let Some(active) = &self.active else { return 0 };
        let mut bytes = 0;
        for frame in self.queue.frames() {
            let len = frame.builder.len() as u64;
            if bytes > 0 && (bytes + len > MAX_WRITE || !active.fits(bytes + len)) {
                break;
            }
            bytes += len;
        }
        bytes
    }

    /// Begins to allocate room for so many more bytes, where it is not there yet.
    fn allocate(&mut self, more: u64) -> bool {
        let Some(active) = &self.active else {
            return false;
        };
        let (from, least) = (active.allocated, active.allocation_for(active.pos + more));
        if least <= from {
            return false;
        }
        let target = allocate_to(from, least, active.allocation_for(active.capacity()));
        let file = Arc::clone(&active.file);
        let outcome = self
            .generation
            .log
            .write_job(&self.running, move || allocate(&file, from, target, least));
        let since = Instant::now();
        self.write = Some(WriteInFlight {
            outcome,
            frames: Vec::new(),
            since,
            synced: false,
            appends: 0,
        });
        true
    }

    /// Finishes frames and gives them their places, as many as one write takes.
    fn place_frames(&mut self) -> (Vec<Placed>, Vec<(u64, Bytes)>) {
        let owner = self.owner();
        let durable = Offset(self.durable());
        let (mut frames, mut writes, mut bytes) = (Vec::new(), Vec::new(), 0);
        let Some(active) = &mut self.active else {
            return (frames, writes);
        };
        while let Some(front) = self.queue.front() {
            let len = front.builder.len() as u64;
            if !active.fits(len) || (bytes > 0 && bytes + len > MAX_WRITE) {
                break;
            }
            let Some(queued) = self.queue.pop() else {
                break;
            };
            let seal = FrameSeal {
                base: Offset(queued.first),
                durable,
                salt: active.salt,
            };
            let frame = queued.builder.finish(&seal);
            bytes += frame.len();
            let pos = active.pos;
            writes.extend(active.place(&frame, &owner));
            frames.push(Placed {
                frame,
                segment: active.no,
                pos,
                permit: queued.permit,
            });
        }
        (frames, writes)
    }

    fn note_frames(&self) {
        let Some(write) = &self.write else { return };
        let counters = &self.generation.log.counters;
        let bytes: u64 = write.frames.iter().map(|placed| placed.frame.len()).sum();
        let records: u64 = write
            .frames
            .iter()
            .map(|placed| u64::from(placed.frame.count))
            .sum();
        Counters::add(&counters.writes, 1);
        Counters::add(&counters.frames, write.frames.len() as u64);
        Counters::add(&counters.bytes, bytes);
        Counters::add(&counters.records, records);
    }

    pub(super) async fn written_outcome(&mut self, outcome: Result<WriteOutcome, JobDied>) {
        let Some(write) = self.write.take() else {
            return;
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(died) => {
                self.repair(write.frames, Error::indeterminate(&died)).await;
                return;
            }
        };
        if let (Some(active), Some(allocated)) = (&mut self.active, outcome.allocated) {
            active.allocated = allocated;
        }
        match outcome.result {
            Ok(()) if write.frames.is_empty() => {
                // It was only about space, and there is some.
                self.space_retry = None;
                self.next_failures = 0;
                self.set_blocked(None);
            }
            Ok(()) => {
                self.fault("writer.after_write").await;
                let end = self.hold(write.frames);
                if write.synced {
                    Counters::add(&self.generation.log.counters.syncs, 1);
                    self.durable_to(end).await;
                    self.let_others_append(write.appends).await;
                }
            }
            // Only allocations find no room: everything is still in the queue.
            Err(WriteFault::NoSpace) => self.refuse_for_space(Kind::Admission),
            Err(WriteFault::Failed(error)) => {
                self.repair(write.frames, Error::from(error)).await;
            }
        }
    }

    /// Those that were just acked may append again at once: lets them, so that the next write takes them
    /// together instead of one first and the rest behind it. One that is alone comes first anyway, and giving
    /// way costs as much as a wake-up.
    async fn let_others_append(&mut self, acked: usize) {
        let mut seen = None;
        while acked > 1 && self.lane.len() < acked && seen != Some(self.lane.len()) {
            seen = Some(self.lane.len());
            tokio::task::yield_now().await;
        }
    }

    /// The frames are written: they are shown to readers and kept until they are durable.
    pub(super) fn hold(&mut self, frames: Vec<Placed>) -> Offset {
        let last = frames.last().map(|placed| placed.frame.end());
        let (end, since) = (last.unwrap_or(Offset(self.written())), Instant::now());
        self.stream.show_written(&self.life.marks, end, || {
            for placed in frames {
                let Placed {
                    frame,
                    segment,
                    pos,
                    permit,
                    ..
                } = placed;
                self.stream.tail.push(&frame);
                self.held_bytes += frame.len();
                if let Some(active) = self.active.as_mut().filter(|active| active.no == segment) {
                    active.show(&self.stream, frame.end(), pos + frame.len());
                }
                self.held.push_back(Held {
                    frame,
                    segment,
                    pos,
                    permit: permit.written(),
                    since,
                });
            }
        });
        end
    }

    /// Everything that was not handed to a write ends `StorageFull` and is handed back; the disk is
    /// looked at again later.
    pub(super) fn refuse_for_space(&mut self, kind: Kind) {
        let from = self.queue.front().map_or(self.taken, |frame| frame.first);
        tracing::warn!(target: "tierlog::writer", stream = %self.stream.name, from, "no room; what was queued is handed back");
        let taken = self.queue.give_up();
        self.note_blocked(Some(kind));
        self.generation.log.meters.storage_full.increment(1);
        let next = NextLife::GoOn {
            blocked: Some(kind),
        };
        self.stream
            .fail_queued(from, vec![(from, Error::StorageFull)], taken, next);
        self.life = self.stream.life();
        self.taken = from;
        // Their target was given to records that are not there any more.
        while let Some((target, _)) = self.flush_waiters.back()
            && *target > from
        {
            if let Some((_, reply)) = self.flush_waiters.pop_back() {
                let _ = reply.send(Err(Error::StorageFull));
            }
        }
        self.next_failures += 1;
        self.space_retry = Some(Instant::now() + backoff(self.next_failures.saturating_add(2)));
    }

    /// Looks whether there is room by allocating a step, with nothing to write.
    pub(super) fn retry_space(&mut self) {
        self.space_retry = None;
        if !self.blocked.is_some_and(Kind::is_space) {
            return;
        }
        if self.write.is_some() {
            // One that began before the disk was full; the place is taken until it ends.
            self.space_retry = Some(Instant::now() + backoff(0));
            return;
        }
        let Some(active) = self
            .active
            .as_ref()
            .filter(|active| active.fits(FIRST_STEP))
        else {
            if matches!(self.next, NextSegment::Ready(_)) {
                // There is a place, with room allocated.
                self.set_blocked(None);
            } else {
                // The next segment is asked for anyway; its arrival says that there is room.
                self.next.retry_now();
            }
            return;
        };
        let more = (active.allocated + FIRST_STEP).saturating_sub(active.pos);
        if !self.allocate(more) {
            self.set_blocked(None);
        }
    }
}
