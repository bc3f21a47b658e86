//! Opening a stream: into the manifest if it is new, its active segment if it was closed cleanly,
//! and a writer.

use std::{collections::HashSet, sync::Arc};

use tierlog_storage::{
    Offset, StreamId,
    disk::{Access, Disk},
    error::StorageError,
    layout::Layout,
    manifest::{Entry, SegmentState, SegmentStatus, StreamState},
    names::is_plain,
    recovery::{ActiveSegment, RecoverCtx, StreamRecovery, recover_stream, reopen_active},
    segment::{HEADER_LEN, Latched, RecordsRef, read_block},
};

use tokio::time::timeout;

use super::{
    actor::{OpenEntry, SupervisorActor},
    findings,
    generation::{Who, ending},
};
use crate::{
    context::{Generation, LogContext},
    error::Error,
    exec::Running,
    protocol::{Reply, supervisor::OpenStream},
    stream::{
        archive::ArchiveMark,
        budget::Budget,
        segments::{Copies, Segment},
        shared::{Begin, DoorLimits, StreamShared},
    },
    under_way::Hold,
    writer::{self, Start},
};

/// Somebody who waits for a stream.
#[derive(Debug)]
pub(super) struct Waiting(Reply<Result<Arc<StreamShared>, Error>>);

/// What preparing a stream came to.
#[derive(Debug)]
pub(super) struct OpenOutcome {
    name: Arc<str>,
    /// The generation that it was prepared with.
    serial: u64,
    prepared: Result<Prepared, Error>,
}

/// A stream that is ready for its writer.
#[derive(Debug)]
pub(super) struct Prepared {
    id: StreamId,
    pub(super) state: StreamState,
    pub(super) active: Option<ActiveSegment>,
    pub(super) last_ts: u64,
}

impl SupervisorActor {
    pub(super) fn open_stream(&mut self, open: OpenStream) {
        let OpenStream { name, create, done } = open;
        if let Some(error) = self.failed.as_ref().or(self.overtaken.as_ref()) {
            let _ = done.send(Err(error.clone()));
            return;
        }
        if let Some(entry) = self.names.get(&name).and_then(|id| self.open.get(id)) {
            let _ = done.send(Ok(Arc::clone(&entry.stream)));
            return;
        }
        let waiting = Waiting(done);
        if let Some(others) = self.opening.get_mut(&name) {
            others.push(waiting);
            return;
        }
        if !create && !self.names.contains_key(&name) {
            let _ = waiting.0.send(Err(Error::UnknownStream {
                name: name.to_string(),
            }));
            return;
        }
        let limit = self.log.options.max_streams;
        if self.open.len() + self.opening.len() >= limit {
            let _ = waiting.0.send(Err(Error::TooManyStreams { limit }));
            return;
        }
        self.opening.insert(Arc::clone(&name), vec![waiting]);
        self.begin_opening(name);
    }

    fn begin_opening(&mut self, name: Arc<str>) {
        let serial = self.generation_serial();
        let Some(generation) = self.generation.clone() else {
            self.answer(
                &name,
                &Err(Error::Unavailable {
                    why: "the log is restarting".into(),
                }),
            );
            return;
        };
        let known = self.names.get(&name).copied();
        let known = known.and_then(|id| Some((id, self.known.get(&id)?.clone())));
        self.tasks.push(Box::pin(async move {
            let prepared = prepare(generation, Arc::clone(&name), known).await;
            OpenOutcome {
                name,
                serial,
                prepared,
            }
        }));
    }

    pub(super) async fn opened(&mut self, outcome: OpenOutcome) {
        let OpenOutcome {
            name,
            serial,
            prepared,
        } = outcome;
        if serial != self.generation_serial() && self.failed.is_none() {
            // A restart came in between: what was prepared belongs to actors that are gone.
            self.begin_opening(name);
            return;
        }
        // Tier 2 may have been lost to somebody else meanwhile: nothing may be appended any more.
        let opened = match &self.overtaken {
            Some(error) => Err(error.clone()),
            None => prepared.and_then(|prepared| self.take_in(&name, prepared)),
        };
        self.answer(&name, &opened);
    }

    pub(super) fn answer(&mut self, name: &Arc<str>, opened: &Result<Arc<StreamShared>, Error>) {
        for Waiting(reply) in self.opening.remove(name).into_iter().flatten() {
            let _ = reply.send(opened.clone());
        }
    }

    fn take_in(&mut self, name: &Arc<str>, prepared: Prepared) -> Result<Arc<StreamShared>, Error> {
        let generation = self.shared.generation()?;
        let id = prepared.id;
        let options = &self.log.options;
        let limits = DoorLimits {
            lane: options.lane_records,
            max_record: options.max_record,
        };
        let budget = Budget::new(
            options.stream_unsynced(),
            Some(Arc::clone(&self.log.budget)),
        );
        let state = &prepared.state;
        let begin = Begin {
            start: state.start,
            end: state.next,
            incarnation: state.incarnation,
            archive: self
                .log
                .cold
                .as_ref()
                .filter(|cold| cold.is_durable)
                .map(|cold| {
                    let (end, wishes) = (state.archived.get(), Arc::clone(&cold.wishes));
                    ArchiveMark::new(id, end, wishes)
                }),
        };
        let tail = Arc::clone(&self.log.tail);
        let stream = StreamShared::new(id, name, limits, budget, tail, begin);
        stream.keeping.show(state.retention);
        fill_segments(&stream, state);
        self.known.insert(id, state.clone());
        self.names.insert(Arc::clone(name), id);
        let slot = self.free_slot();
        self.start_writer(generation, Arc::clone(&stream), slot, prepared);
        self.shared.add_stream(Arc::clone(&stream));
        tracing::debug!(target: "tierlog::supervisor", stream = %name, %id, "a stream is open");
        Ok(stream)
    }

    /// A slot of the claims file that no open stream has. A stream that a restart did not find any
    /// more leaves a gap, and then the number of streams is somebody's slot.
    fn free_slot(&self) -> u32 {
        let taken = || self.open.values().map(|entry| entry.slot);
        let next = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        // A set of all slots only where there is a gap: made for every stream, it was a fifth of what
        // opening each of a thousand streams took.
        if taken().all(|slot| slot != next) {
            return next;
        }
        let taken: HashSet<_> = taken().collect();
        (0..next).find(|slot| !taken.contains(slot)).unwrap_or(next)
    }

    /// Starts the writer of a stream whose life has begun.
    pub(super) fn start_writer(
        &mut self,
        generation: Generation,
        stream: Arc<StreamShared>,
        slot: u32,
        prepared: Prepared,
    ) {
        let serial = self.next_serial();
        let running = Running::default();
        let attach = generation
            .coordinator
            .attach(Arc::clone(&stream), prepared.state.clone());
        // Beside: the supervisor must not wait for room in a mailbox.
        tokio::spawn(attach);
        let (writer, ended) = writer::spawn(Start {
            generation,
            stream: Arc::clone(&stream),
            slot,
            active: prepared.active,
            next_segment: prepared.state.next_segment,
            last_ts: prepared.last_ts,
            running: running.clone(),
        });
        self.endings
            .push(ending(ended, Who::Writer(stream.id), serial));
        self.open.insert(
            stream.id,
            OpenEntry {
                stream,
                writer,
                slot,
                running,
                serial,
            },
        );
    }
}

/// Shows readers the segments that have ended.
pub(super) fn fill_segments(stream: &StreamShared, state: &StreamState) {
    stream.segments.update(|map| {
        map.clear();
        for (no, segment) in &state.segments {
            if let Some(ended) = Segment::ended(*no, segment.salt, &segment.status)
                && ended.base < ended.end()
                // What was trimmed is known as long as it has an object that is to be deleted.
                && ended.end() > state.start
            {
                let ended = ended.with_copies(Copies::of(&segment.residency));
                map.insert(ended.base.get(), Arc::new(ended));
            }
        }
    });
}

async fn prepare(
    generation: Generation,
    name: Arc<str>,
    known: Option<(StreamId, StreamState)>,
) -> Result<Prepared, Error> {
    let Some((id, _)) = known else {
        if let Some(c) = name.chars().find(|c| !is_plain(*c)) {
            let what = format!("it has U+{:04X}, which a terminal obeys", u32::from(c));
            return Err(Error::StreamName { what });
        }
        let id = StreamId::generate();
        let created_ns = generation.log.clock.now_ns();
        let created = Entry::StreamCreated {
            stream: id,
            name: name.to_string(),
            created_ns,
        };
        generation.manifest.commit(vec![created]).await?;
        let state = generation
            .manifest
            .state_of(id)
            .await?
            .ok_or_else(|| Error::Unavailable {
                why: "the manifest does not know the new stream".into(),
            })?;
        return Ok(Prepared {
            id,
            state,
            active: None,
            last_ts: 0,
        });
    };
    // Where its segments are may have changed since the log was opened.
    let state = generation
        .manifest
        .state_of(id)
        .await?
        .ok_or_else(|| Error::Unavailable {
            why: "the manifest does not know the stream".into(),
        })?;
    reopen(&generation, id, state).await
}

/// Opens what is there: the active segment of a clean close goes on; where it is not what the mark
/// says, the stream is recovered as after a crash, and what is damaged is told to its readers.
pub(super) async fn reopen(
    generation: &Generation,
    id: StreamId,
    state: StreamState,
) -> Result<Prepared, Error> {
    let log = Arc::clone(&generation.log);
    let (log_id, looked) = (generation.id, state.clone());
    let layout = log.layout.clone();
    let job = log.long_job(&generation.running, move |disk| {
        look(&*disk, &layout, log_id, id, &looked)
    });
    match job.await? {
        Ok((active, last_ts)) => Ok(Prepared {
            id,
            state,
            active,
            last_ts,
        }),
        Err(StorageError::Corrupt(damage)) => {
            tracing::error!(target: "tierlog::supervisor", stream = %state.name, %damage, "the end of the stream is not what its mark says");
            log.readers.meters.damage_at_open.increment(1);
            let (claim, running) = (Some(state.next), Running::default());
            recover(generation, &running, (id, state), claim, 1).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps sweeps out of the folder of a stream. One that hangs in the disk is waited for no longer than that.
async fn hold_folder(log: &LogContext, id: StreamId) -> Result<Hold, Error> {
    let patience = log.options.stall_after;
    let hold = timeout(patience, log.under_way.hold_stream(id)).await;
    hold.map_err(|_| Error::stalled("a sweep of the stream's folder", patience))
}

/// Recovers one stream from disk and tells the manifest. `counted` damaged stretches of it have been
/// counted already.
pub(super) async fn recover(
    generation: &Generation,
    running: &Running,
    (id, state): (StreamId, StreamState),
    claim: Option<Offset>,
    counted: usize,
) -> Result<Prepared, Error> {
    let log = Arc::clone(&generation.log);
    // It makes copies under numbers of its own, which it names once all of them are there.
    let hold = hold_folder(&log, id).await?;
    let (log_id, epoch) = (generation.id, generation.epoch);
    let (layout, now_ns) = (log.layout.clone(), log.clock.now_ns());
    let held = hold.clone();
    let job = log.long_job(running, move |disk| {
        let _held = held;
        let ctx = RecoverCtx {
            disk: &*disk,
            layout: &layout,
            log: log_id,
            epoch,
            now_ns,
        };
        recover_stream(&ctx, id, &state, claim)
    });
    let recovered = job.await??;
    let StreamRecovery {
        mut entries,
        next,
        incarnation,
        report,
        remove_after_commit,
        ..
    } = recovered;
    // The new life must be known even where nothing else has changed.
    let (segment, end_byte, clean) = (None, 0, false);
    entries.push(Entry::Mark {
        stream: id,
        durable: next,
        segment,
        end_byte,
        incarnation,
        clean,
    });
    generation.manifest.commit(entries).await?;
    findings::of_stream(&log, &report, counted);
    let state = generation
        .manifest
        .state_of(id)
        .await?
        .ok_or_else(|| Error::Unavailable {
            why: "the manifest lost a stream".into(),
        })?;
    let (layout, looked) = (log.layout.clone(), state.clone());
    let job = log.long_job(running, move |disk| {
        let _hold = hold;
        for path in remove_after_commit {
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(target: "tierlog::supervisor", path = %path.display(), %error, "a leftover stays until the next open");
            }
        }
        last_timestamp(&*disk, &layout, id, &looked)
    });
    let last_ts = job.await?;
    Ok(Prepared {
        id,
        state,
        active: None,
        last_ts,
    })
}

fn look(
    disk: &dyn Disk,
    layout: &Layout,
    log_id: tierlog_storage::LogId,
    id: StreamId,
    state: &StreamState,
) -> Result<(Option<ActiveSegment>, u64), StorageError> {
    if let Some(mark) = state.mark.filter(|mark| mark.clean)
        && let Some(no) = mark.segment
        && let Some(segment) = state.segments.get(&no)
        && matches!(segment.status, SegmentStatus::Open)
    {
        let active = reopen_active(disk, layout, log_id, id, no, segment, &mark)?;
        let last_ts = active.last_ts;
        return Ok((Some(active), last_ts));
    }
    Ok((None, last_timestamp(disk, layout, id, state)))
}

/// The time stamp of the last record, so that those of new ones do not fall behind it. Where it
/// can't be read the clock has to do: a reader of that stretch is told what is wrong with it.
fn last_timestamp(disk: &dyn Disk, layout: &Layout, id: StreamId, state: &StreamState) -> u64 {
    let filled = |segment: &&SegmentState| segment.status.range().is_some_and(|(b, e)| b < e);
    let Some((no, segment)) = state.segments.iter().rev().find(|(_, s)| filled(s)) else {
        return 0;
    };
    match &segment.status {
        SegmentStatus::Sealed(facts) => facts.last_ts,
        SegmentStatus::Open => 0,
        SegmentStatus::Closed {
            base,
            end,
            end_byte,
        } => {
            let path = layout.segment(id, *no);
            let Ok(file) = disk.open(&path, Access::Read) else {
                return 0;
            };
            let file = Latched::new(file, path);
            let (mut pos, mut at, mut last) = (HEADER_LEN, *base, 0);
            while at < *end {
                let Ok(block) = read_block(&file, segment.salt, pos, *end_byte, at, 1 << 20) else {
                    break;
                };
                if let Some((_, bytes)) = block.frames().last()
                    && let Ok(records) = RecordsRef::of(&bytes)
                {
                    last = records
                        .map_while(Result::ok)
                        .last()
                        .map_or(last, |r| r.timestamp);
                }
                (pos, at) = (block.next_pos, block.end);
            }
            last
        }
    }
}
