//! What the coordinator does beside its loop: each task ends with an effect on its state.

use std::sync::Arc;

use tierlog_storage::{
    Epoch, Incarnation, Offset, SegmentNo, StreamId,
    disk::Disk,
    error::StorageError,
    layout::Layout,
    manifest::{Entry, SealedFacts, SegmentStatus},
    segment::{self, Latched},
};

use super::{
    moves::{MoveFault, Moved},
    sweep::Step,
    table::{Id, Known},
    transfers::Published,
};
use crate::{
    context::{Counters, LogContext},
    error::Error,
    exec::Running,
    kind::Kind,
    manifest::ManifestHandle,
    protocol::{
        Reply,
        coordinator::{AdmissionGuard, Admit, AdmitError, Admitted, Rollover, Trim},
    },
    stream::{segments::Segment, shared::StreamShared},
    under_way::Hold,
    writer::WriterHandle,
};
use tokio::time::timeout;

/// What a task needs.
#[derive(Debug, Clone)]
pub struct Tasks {
    pub(super) log: Arc<LogContext>,
    pub(super) manifest: ManifestHandle,
    pub(super) epoch: Epoch,
    pub(super) running: Running,
}

/// What a task's end changes.
#[derive(Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// A segment was sealed.
    Sealed(Id, Box<Known>),
    /// Segments are gone.
    Gone(StreamId, Vec<SegmentNo>),
    /// The compressed files of segments that were cut are gone; and what else came of it.
    Cleaned(StreamId, Vec<SegmentNo>, Box<Effect>),
    /// A move between tiers has ended.
    Moved(Id, Moved),
    /// A publication has ended.
    Published(Result<Published, MoveFault>),
    /// A step of a sweep has ended.
    Swept(Step),
    /// The limits of a stream are other ones.
    Retained(StreamId),
    /// What a stream need not keep was trimmed, so many segments, or not; and what that came to.
    Expired(StreamId, Result<u64, Error>, Box<Effect>),
    /// The disk was full; this writer wants to be told when something was freed.
    DiskFull {
        /// Its stream.
        stream: StreamId,
        /// It.
        writer: WriterHandle,
    },
    /// A folder could not be synced: whether the names in it are durable is unknown.
    Broken(Error),
}

/// Makes a segment: file and folder durable, then the manifest, then the answer.
pub async fn admit(tasks: Tasks, admit: Admit, guard: AdmissionGuard) -> Effect {
    let Tasks {
        log,
        manifest,
        epoch,
        running,
    } = tasks;
    let Admit {
        stream,
        no,
        incarnation,
        allocate,
        commit,
        nudge,
        done,
    } = admit;
    log.faults.at("coordinator.before_create").await;
    let hold = log.under_way.hold((stream, no)).await;
    let file = match create(&log, &running, (stream, no), allocate, &hold).await {
        Ok(file) => file,
        Err(why) => return why.tell(done, stream, nudge),
    };
    log.faults.at("coordinator.after_create").await;
    let salt = fastrand::u64(..);
    let capacity = log.options.segment_size;
    let entry = created((stream, no), salt, capacity, epoch, incarnation);
    let mut seq = tierlog_storage::manifest::Seq(0);
    if commit {
        match manifest.commit(vec![entry.clone()]).await {
            Ok(committed) => seq = committed,
            Err(error) => {
                let why = NotCreated::unnamed(&log, &running, (stream, no), error).await;
                return why.tell(done, stream, nudge);
            }
        }
        log.faults.at("coordinator.after_commit").await;
    }
    tracing::debug!(target: "tierlog::coordinator", %stream, segment = %no, "a segment was made");
    let admitted = Admitted {
        file: Arc::new(file),
        no,
        salt,
        capacity,
        allocated: allocate,
        seq,
        entry,
        guard,
        hold,
    };
    // A writer that is gone drops it: the guard gives its bytes back, and the next recovery finds
    // a blank segment.
    let _ = done.send(Ok(admitted));
    Effect::None
}

/// Why there is no segment: what its writer is told, and what it says of the disk.
struct NotCreated {
    answer: AdmitError,
    disk: DiskState,
}

impl NotCreated {
    /// The manifest did not take it. Where it surely does not name the file, that goes.
    async fn unnamed(
        log: &Arc<LogContext>,
        running: &Running,
        id: (StreamId, SegmentNo),
        error: Error,
    ) -> Self {
        // Refused, as one that was asked for before a truncation is behind it; or there was no room in the
        // manifest, and nothing was written: that is weather like any other full disk.
        if matches!(error, Error::InvalidInput { .. } | Error::StorageFull) {
            take_back(log, running, id).await;
        }
        let (answer, disk) = match error {
            Error::StorageFull => (AdmitError::Short(Kind::Admission), DiskState::Full),
            error => (AdmitError::Failed(error), DiskState::Fine),
        };
        Self { answer, disk }
    }

    fn tell(
        self,
        done: Reply<Result<Admitted, AdmitError>>,
        stream: StreamId,
        writer: WriterHandle,
    ) -> Effect {
        let _ = done.send(Err(self.answer));
        match self.disk {
            DiskState::Fine => Effect::None,
            DiskState::Full => Effect::DiskFull { stream, writer },
            DiskState::Broken(error) => Effect::Broken(error),
        }
    }
}

enum DiskState {
    Fine,
    Full,
    /// A folder could not be synced.
    Broken(Error),
}

async fn create(
    log: &Arc<LogContext>,
    running: &Running,
    (stream, no): (StreamId, SegmentNo),
    allocate: u64,
    hold: &Hold,
) -> Result<Latched, NotCreated> {
    let (job_log, hold) = (Arc::clone(log), hold.clone());
    let created = log
        .write_job(running, move || {
            let _hold = hold;
            segment::create_segment(job_log.disk.as_ref(), &job_log.layout, stream, no, allocate)
        })
        .await;
    let (answer, disk) = match created {
        Ok(Ok(file)) => return Ok(file),
        Ok(Err(error)) if error.is_storage_full() => {
            (AdmitError::Short(Kind::Admission), DiskState::Full)
        }
        Ok(Err(error)) => {
            let broken = is_dir_sync(&error, &log.layout, stream);
            let error = Error::from(error);
            let disk = match broken {
                true => DiskState::Broken(error.clone()),
                false => DiskState::Fine,
            };
            (AdmitError::Failed(error), disk)
        }
        Err(died) => {
            let error = Error::indeterminate(&died);
            (AdmitError::Failed(error), DiskState::Fine)
        }
    };
    Err(NotCreated { answer, disk })
}

/// What the manifest is told of a segment that was made.
fn created(
    (stream, segment): (StreamId, SegmentNo),
    salt: u64,
    capacity: u64,
    epoch: Epoch,
    incarnation: Incarnation,
) -> Entry {
    Entry::SegmentCreated {
        stream,
        segment,
        salt,
        capacity,
        epoch,
        incarnation,
    }
}

/// Removes a file that was made for nothing. Should that fail, the next open does it.
async fn take_back(log: &Arc<LogContext>, running: &Running, what: (StreamId, SegmentNo)) {
    let job_log = Arc::clone(log);
    let job = log.write_job(running, move || {
        let path = job_log.layout.segment(what.0, what.1);
        if let Err(error) = job_log.disk.remove(&path) {
            tracing::debug!(target: "tierlog::coordinator", path = %path.display(), %error, "a leftover stays until the next open");
        }
    });
    let _ = job.await;
}

/// Says in the manifest that a segment is sealed, then shows it to readers as such.
pub async fn roll_over(tasks: Tasks, rollover: Rollover) -> Effect {
    let Rollover {
        stream,
        no,
        salt,
        facts,
        done,
    } = rollover;
    match tasks
        .manifest
        .commit(vec![sealed(stream.id, no, &facts)])
        .await
    {
        Ok(_) => {
            tracing::debug!(
                target: "tierlog::coordinator", stream = %stream.name, segment = %no,
                base = %facts.base, end = %facts.end, bytes = facts.file_len, "a segment is sealed"
            );
            let status = SegmentStatus::Sealed(facts);
            let mut known = Known::hot(salt, status);
            if let Some(segment) = Segment::ended(no, salt, &status) {
                known.used = Arc::clone(&segment.used);
                stream.segments.put(Arc::new(segment));
            }
            Counters::add(&tasks.log.counters.sealed, 1);
            let _ = done.send(Ok(()));
            let sealed = Effect::Sealed((stream.id, no), Box::new(known));
            match facts.end <= stream.start() {
                true => free_late(&tasks, &stream, sealed).await,
                false => sealed,
            }
        }
        Err(error) => {
            let error = match error {
                // Its writer tries again.
                Error::StorageFull => error,
                other => Error::RolloverFailed {
                    why: other.to_string().into(),
                },
            };
            let _ = done.send(Err(error));
            Effect::None
        }
    }
}

/// Durable first, then the files go.
pub async fn trim(tasks: Tasks, trim: Trim) -> Effect {
    let Trim {
        stream,
        before,
        done,
    } = trim;
    // One that was before us needs nothing of the coordinator, and comes to its end by itself.
    let _turn = stream.trims.lock().await;
    let Ok(edges) = stream.edges.try_lock() else {
        // Its end is being moved. To wait for that here would keep the coordinator from the segment
        // that the truncation may be waiting for.
        let _ = done.send(Err(Error::would_block(Kind::Admission)));
        return Effect::None;
    };
    let now = stream.watermarks();
    if before > now.durable {
        let what = format!(
            "can't trim before {before}: the durable end is {}",
            now.durable
        );
        let _ = done.send(Err(Error::InvalidInput { what }));
        return Effect::None;
    }
    let before = before.max(now.start);
    let (gone, committed) = give_up(&tasks, &stream, before).await;
    drop(edges);
    tracing::debug!(
        target: "tierlog::coordinator", stream = %stream.name, start = %before,
        segments = gone.numbers.len(), "trimmed"
    );
    let effect = remove(&tasks, stream.id, gone).await;
    let outcome = match committed {
        // Another trim may have gone further meanwhile: then this one has nothing left to do.
        Err(error) if stream.start() < before => Err(error),
        _ => Ok(before),
    };
    let _ = done.send(outcome);
    effect
}

/// Frees a segment that was sealed after all of its records had been trimmed: the trim left it to
/// its writer, and nobody else comes for it.
async fn free_late(tasks: &Tasks, stream: &Arc<StreamShared>, sealed: Effect) -> Effect {
    let _turn = stream.trims.lock().await;
    let (gone, committed) = give_up(tasks, stream, stream.start()).await;
    match committed {
        // Should the manifest refuse, the next trim frees it, whatever its offset.
        Err(_) if gone.numbers.is_empty() => sealed,
        // It is among them, or a trim that came first has freed it.
        _ => remove(tasks, stream.id, gone).await,
    }
}

/// Segments that the manifest names no more, and whose files are about to go.
#[derive(Debug, Default)]
struct GivenUp {
    numbers: Vec<SegmentNo>,
    holds: Vec<Hold>,
}

/// Moves the start up to `before`, durably, and forgets every segment that has ended below it; gives
/// them. What has ended by the time of a commit is known to
/// the manifest as such, and is no longer named by it behind the commit; what ends while it is under
/// way takes another one.
async fn give_up(
    tasks: &Tasks,
    stream: &Arc<StreamShared>,
    before: Offset,
) -> (GivenUp, Result<(), Error>) {
    let mut gone = GivenUp::default();
    loop {
        let below = stream.segments.ended_below(before);
        if below.is_empty() && before <= stream.start() {
            return (gone, Ok(()));
        }
        let numbers: Vec<_> = below.iter().map(|segment| segment.no).collect();
        // Before the commit: behind it, and until they are gone, a sweep would find files that nothing
        // names or explains.
        let holds = tasks.log.under_way.hold_all(stream.id, numbers.clone());
        // A sweep that hangs in the disk has taken the name of a leftover of theirs. That one can't become
        // anything else any more, and nobody has to wait for it.
        let holds = timeout(tasks.log.options.stall_after, holds).await;
        let holds = holds.unwrap_or_default();
        let entry = Entry::Trimmed {
            stream: stream.id,
            start: before,
        };
        if let Err(error) = tasks.manifest.commit(vec![entry]).await {
            return (gone, Err(error));
        }
        tasks.log.faults.at("coordinator.after_trim_commit").await;
        stream.advance_start(before);
        stream.segments.remove(&below);
        gone.numbers.extend(numbers);
        gone.holds.extend(holds);
    }
}

/// Removes files that nothing names any more: of the segments that are gone, and the compressed ones
/// of those that were cut.
pub async fn clean_up(
    tasks: Tasks,
    stream: StreamId,
    gone: Vec<SegmentNo>,
    holds: Vec<Hold>,
    cut: Vec<SegmentNo>,
) -> Effect {
    if !cut.is_empty() {
        tasks.log.readers.moved(stream, &cut);
        let (log, numbers) = (Arc::clone(&tasks.log), cut.clone());
        let job = tasks.log.write_job(&tasks.running, move || {
            for no in numbers {
                remove_file(&*log.disk, &log.layout.warm(stream, no));
            }
        });
        let _ = job.await;
    }
    let gone = GivenUp {
        numbers: gone,
        holds,
    };
    let removed = remove(&tasks, stream, gone).await;
    Effect::Cleaned(stream, cut, Box::new(removed))
}

async fn remove(tasks: &Tasks, stream: StreamId, gone: GivenUp) -> Effect {
    let GivenUp {
        numbers: segments,
        holds,
    } = gone;
    if segments.is_empty() {
        return Effect::None;
    }
    // Readers let go first: a removed file that is still open keeps its space.
    tasks.log.readers.forget(stream, &segments);
    let (log, numbers) = (Arc::clone(&tasks.log), segments.clone());
    let removed = tasks.log.write_job(&tasks.running, move || {
        let _holds = holds;
        for no in numbers {
            remove_file(&*log.disk, &log.layout.segment(stream, no));
            remove_file(&*log.disk, &log.layout.warm(stream, no));
        }
        sync_dir(log.disk.as_ref(), &log.layout.stream_dir(stream))
    });
    // What waits for this has its answer in the manifest: it does not have to wait for a disk that
    // does not come back, whose room is not free either.
    match timeout(tasks.log.options.stall_after, removed).await {
        Ok(Ok(Err(error))) => Effect::Broken(error),
        Ok(Ok(Ok(())) | Err(_)) => Effect::Gone(stream, segments),
        Err(_) => Effect::None,
    }
}

/// Removes a file, if it is there.
pub(super) fn remove_file(disk: &dyn Disk, path: &std::path::Path) {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            // It stays as a leftover that nothing names; the next open removes it.
            tracing::warn!(target: "tierlog::coordinator", path = %path.display(), %error, "a file stays");
        }
        _ => {}
    }
}

pub(super) fn sealed(stream: StreamId, segment: SegmentNo, facts: &SealedFacts) -> Entry {
    let &SealedFacts {
        base,
        end,
        data_end,
        file_len,
        first_ts,
        last_ts,
        ext,
        digest,
        flush_failed,
    } = facts;
    Entry::Sealed {
        stream,
        segment,
        base,
        end,
        data_end,
        file_len,
        first_ts,
        last_ts,
        ext,
        digest,
        flush_failed,
    }
}

pub(super) fn sync_dir(disk: &dyn Disk, dir: &std::path::Path) -> Result<(), Error> {
    disk.sync_dir(dir)
        .map_err(|error| StorageError::io("sync", dir, error).into())
}

/// Whether it was a folder of the stream that could not be synced.
pub(super) fn is_dir_sync(error: &StorageError, layout: &Layout, stream: StreamId) -> bool {
    let folders = [
        layout.stream_dir(stream),
        layout.streams_dir(),
        layout.root().to_owned(),
    ];
    matches!(error, StorageError::Io { op, path, .. } if op.starts_with("sync") && folders.contains(path))
}
