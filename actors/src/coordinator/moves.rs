//! Moving segments between tiers: each step is durable before the one that rests on it.
//!
//! ```text
//!   Warm      compress, sync, compare ─▶ manifest: [Sealed,] Warmed ─▶ readers
//!   DropHot   look at the other copy ─▶ manifest: HotDropped ─▶ readers ─▶ remove the file
//!   Hydrate   decode, sync ─▶ manifest: HotRestored ─▶ readers
//! ```
//!
//! A crash between two steps leaves a file that the manifest does not name, which the next open
//! removes, or one that it has dropped, which the next open removes as well.

use std::{path::PathBuf, sync::Arc, time::Instant};

use tierlog_storage::{
    LogId, StreamId,
    disk::Disk,
    manifest::{ColdCopy, Entry, SealedFacts, SegmentStatus, WarmCopy},
    planted,
    warm::{WarmFault, WarmIdentity, look},
};

use super::{
    table::{Id, Known},
    tasks::{Effect, Tasks, is_dir_sync, remove_file, sealed, sync_dir},
    transfers,
};
use crate::{
    compressor::CompressorHandle,
    error::Error,
    exec::Work,
    protocol::{compressor::Made, coordinator::AdmissionGuard, uploader::TransferFault},
    stream::{
        segments::{Copies, SegmentKind},
        shared::StreamShared,
    },
    under_way::Hold,
    uploader::UploaderHandle,
};

/// What a move needs besides what every task does.
#[derive(Debug, Clone)]
pub struct Mover {
    /// What every task needs.
    pub tasks: Tasks,
    /// Whose segments they are.
    pub log: LogId,
    /// Who compresses.
    pub compressor: CompressorHandle,
    /// Who uploads, if there is a Tier 2.
    pub uploader: Option<UploaderHandle>,
}

/// How a move ended.
#[derive(Debug)]
pub enum Moved {
    /// There is a compressed file.
    Warmed(Made),
    /// The segment file is gone, or about to go.
    HotDropped,
    /// The compressed file was no copy any more, and is gone.
    WarmLost,
    /// The segment file is there again.
    Hydrated,
    /// There is an object.
    Uploaded(ColdCopy),
    /// There is none yet.
    NotUploaded(MoveFault),
    /// The compressed file is gone, or about to go.
    WarmDropped,
    /// The compressed file is there again.
    Fetched(WarmCopy),
    /// The object is gone.
    ColdDeleted,
    /// Nothing has changed; it may be tried again.
    Failed(MoveFault),
}

/// Why nothing has changed.
#[derive(Debug)]
pub enum MoveFault {
    /// The segment is not what it was, or gone.
    Gone,
    /// A file could not be made or read.
    Warm(WarmFault),
    /// The manifest did not take it.
    Manifest(Error),
    /// A folder could not be synced: which names in it are durable is unknown.
    Folder(Error),
    /// Tier 2 did not do it.
    Cold(TransferFault),
}

impl MoveFault {
    /// Whether the manifest surely does not name what was made. Where that is not known, the next
    /// recovery finds out, and nothing may be removed before.
    pub(super) fn names_nothing(&self) -> bool {
        matches!(self, Self::Gone | Self::Manifest(Error::StorageFull))
    }
}

/// A failure of a job, told apart from that of a folder's sync.
fn job_fault(mover: &Mover, stream: StreamId, fault: WarmFault) -> MoveFault {
    match fault {
        WarmFault::Disk(error) if is_dir_sync(&error, &mover.tasks.log.layout, stream) => {
            MoveFault::Folder(error.into())
        }
        fault => MoveFault::Warm(fault),
    }
}

/// One segment on its way.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which.
    pub id: Id,
    /// As it was when the move was decided.
    pub known: Known,
    /// Where readers find it, if its stream is open.
    pub stream: Option<Arc<StreamShared>>,
    /// What keeps a sweep away from its files, once the move has begun.
    pub hold: Option<Hold>,
}

impl Subject {
    /// Before anything is made or given up: a sweep must neither meet a file that is about to be named,
    /// nor one that is about to be removed.
    pub(super) async fn held(mut self, mover: &Mover) -> Self {
        self.hold = Some(mover.tasks.log.under_way.hold(self.id).await);
        self
    }

    pub(super) fn identity(&self, log: LogId) -> WarmIdentity {
        let (stream, segment) = self.id;
        WarmIdentity {
            log,
            stream,
            segment,
            salt: self.known.salt,
            facts: facts_of(&self.known.status),
        }
    }

    pub(super) fn show(&self, facts: &SealedFacts, copies: Copies) {
        if let Some(stream) = &self.stream {
            show(stream, self.id, facts, copies);
        }
    }
}

/// Shows readers where a segment is.
pub fn show(stream: &StreamShared, id: Id, facts: &SealedFacts, copies: Copies) {
    stream.segments.update(|map| {
        let Some(segment) = map.get_mut(&facts.base.get()) else {
            return;
        };
        let known = (&segment.kind, segment.copies);
        if segment.no == id.1 && known != (&SegmentKind::Sealed(*facts), copies) {
            *segment = Arc::new(segment.moved(SegmentKind::Sealed(*facts), copies));
        }
    });
}

/// What is known of a segment that was never sealed: base, end and the byte behind its frames.
fn facts_of(status: &SegmentStatus) -> SealedFacts {
    let blank = |base, end, data_end| SealedFacts {
        base,
        end,
        data_end,
        file_len: 0,
        first_ts: 0,
        last_ts: 0,
        ext: None,
        digest: 0,
        flush_failed: false,
    };
    match *status {
        SegmentStatus::Sealed(facts) => facts,
        SegmentStatus::Closed {
            base,
            end,
            end_byte,
        } => blank(base, end, end_byte),
        SegmentStatus::Open => blank(
            tierlog_storage::Offset::ZERO,
            tierlog_storage::Offset::ZERO,
            0,
        ),
    }
}

/// Compresses a segment.
pub async fn warm(mover: Mover, subject: Subject) -> Effect {
    let subject = subject.held(&mover).await;
    let finish = subject.known.facts().is_none();
    let begun = Instant::now();
    let moved = match try_warm(&mover, &subject, finish).await {
        Ok(made) => {
            let took = begun.elapsed();
            mover.tasks.log.meters.compress_seconds.record(took);
            tracing::debug!(
                target: "tierlog::coordinator", stream = %subject.id.0, segment = %subject.id.1,
                bytes = made.facts.file_len, compressed = made.copy.file_len, ?took,
                "a segment is compressed"
            );
            let copies = Copies {
                hot: true,
                warm: Some(made.copy),
                ..subject.known.copies()
            };
            subject.show(&made.facts, copies);
            if finish {
                // Another file has its name now.
                let (stream, no) = subject.id;
                mover.tasks.log.readers.moved(stream, &[no]);
            }
            Moved::Warmed(made)
        }
        Err(fault) if finish => Moved::Failed(unfinish(&mover, &subject).await.unwrap_or(fault)),
        Err(fault) => Moved::Failed(fault),
    };
    Effect::Moved(subject.id, moved)
}

/// Finishing may have put a file in the place of one that went meanwhile with its segment. Whoever gave that up
/// has removed what was there, and does not come back; a segment that is named has its file.
async fn unfinish(mover: &Mover, subject: &Subject) -> Option<MoveFault> {
    let (stream, segment) = subject.id;
    // What can't be asked for now, the next recovery finds.
    let state = mover.tasks.manifest.state_of(stream).await.ok()?;
    if state.is_some_and(|state| state.segments.contains_key(&segment)) {
        return None;
    }
    let path = mover.tasks.log.layout.segment(stream, segment);
    remove(mover, path).await.err()
}

async fn try_warm(mover: &Mover, subject: &Subject, finish: bool) -> Result<Made, MoveFault> {
    let (stream, segment) = subject.id;
    let log = &mover.tasks.log;
    log.faults.at("coordinator.before_move").await;
    let identity = subject.identity(mover.log);
    let made = mover
        .compressor
        .compress(identity, finish, subject.hold.clone())
        .await;
    let made = made.map_err(|fault| job_fault(mover, stream, fault))?;
    if planted::is("local_copy_dropped_before_the_manifest") {
        remove(mover, log.layout.segment(stream, segment)).await?;
    }
    log.faults.at("coordinator.after_move").await;
    let mut entries = Vec::new();
    if finish {
        entries.push(sealed(stream, segment, &made.facts));
    }
    entries.push(Entry::Warmed {
        stream,
        segment,
        file_len: made.copy.file_len,
        crc: made.copy.crc,
    });
    match commit(mover, entries).await {
        Ok(()) => Ok(made),
        Err(fault) => {
            // The segment was trimmed or cut meanwhile, or there is no room.
            if fault.names_nothing() {
                remove(mover, log.layout.warm(stream, segment)).await?;
            }
            Err(fault)
        }
    }
}

/// Removes a segment file that has another copy.
pub async fn drop_hot(mover: Mover, subject: Subject) -> Effect {
    let subject = subject.held(&mover).await;
    let Some(&facts) = subject.known.facts() else {
        return Effect::Moved(subject.id, Moved::Failed(MoveFault::Gone));
    };
    let looked = match subject.known.residency.warm {
        Some(copy) => look_at_warm(&mover, &subject, copy).await,
        None => match transfers::look_at_object(&mover, &subject).await {
            Ok(()) => Ok(()),
            Err(fault) => return Effect::Moved(subject.id, Moved::Failed(fault)),
        },
    };
    let moved = match looked {
        Ok(()) => match try_drop_hot(&mover, &subject, &facts).await {
            Ok(()) => Moved::HotDropped,
            Err(fault) => Moved::Failed(fault),
        },
        Err(fault) => lose_warm(&mover, &subject, &facts, fault).await,
    };
    Effect::Moved(subject.id, moved)
}

async fn try_drop_hot(
    mover: &Mover,
    subject: &Subject,
    facts: &SealedFacts,
) -> Result<(), MoveFault> {
    let (stream, segment) = subject.id;
    commit(mover, vec![Entry::HotDropped { stream, segment }]).await?;
    let copies = Copies {
        hot: false,
        ..subject.known.copies()
    };
    subject.show(facts, copies);
    let log = &mover.tasks.log;
    log.faults.at("coordinator.after_move").await;
    log.readers.moved(stream, &[segment]);
    tracing::debug!(target: "tierlog::coordinator", %stream, %segment, "a segment file makes room");
    remove(mover, log.layout.segment(stream, segment)).await
}

/// The copy that is to stand alone from now on: is it still there?
async fn look_at_warm(mover: &Mover, subject: &Subject, copy: WarmCopy) -> Result<(), WarmFault> {
    let tasks = &mover.tasks;
    tasks.log.faults.at("coordinator.before_move").await;
    let (log, identity) = (Arc::clone(&tasks.log), subject.identity(mover.log));
    // Not behind what is being compressed: that may take long, and somebody waits for the room.
    let job = tasks.log.job(Work::Read, &tasks.running, move || {
        look(&*log.disk, &log.layout, &identity, &copy)
    });
    job.await.unwrap_or(Err(WarmFault::Stopped))
}

/// It is not: the segment file is the only copy again.
async fn lose_warm(
    mover: &Mover,
    subject: &Subject,
    facts: &SealedFacts,
    fault: WarmFault,
) -> Moved {
    let is_lost = match &fault {
        WarmFault::Damaged(_) | WarmFault::Foreign(_) | WarmFault::Zstd(_) => true,
        WarmFault::Disk(error) => error.is_missing(),
        WarmFault::NewerVersion(_) | WarmFault::Stopped => false,
    };
    if !is_lost {
        return Moved::Failed(MoveFault::Warm(fault));
    }
    let (stream, segment) = subject.id;
    tracing::error!(target: "tierlog::coordinator", %stream, %segment, %fault, "a compressed file is lost; the segment file stays");
    if let Err(fault) = commit(mover, vec![Entry::WarmDropped { stream, segment }]).await {
        return Moved::Failed(fault);
    }
    let copies = Copies {
        warm: None,
        ..subject.known.copies()
    };
    subject.show(facts, copies);
    mover.tasks.log.readers.moved(stream, &[segment]);
    match remove(mover, mover.tasks.log.layout.warm(stream, segment)).await {
        Ok(()) => Moved::WarmLost,
        Err(fault) => Moved::Failed(fault),
    }
}

/// Makes a segment file again. Its place in the hot budget comes along, and goes back by itself where
/// that comes to nothing.
pub async fn hydrate(mover: Mover, subject: Subject, guard: AdmissionGuard) -> Effect {
    let subject = subject.held(&mover).await;
    let (stream, segment) = subject.id;
    let (Some(&facts), Some(copy)) = (subject.known.facts(), subject.known.residency.warm) else {
        return Effect::Moved(subject.id, Moved::Failed(MoveFault::Gone));
    };
    let log = Arc::clone(&mover.tasks.log);
    log.faults.at("coordinator.before_move").await;
    let begun = Instant::now();
    let identity = subject.identity(mover.log);
    let restored = mover
        .compressor
        .restore(identity, copy, subject.hold.clone());
    if let Err(fault) = restored.await {
        let fault = job_fault(&mover, stream, fault);
        return Effect::Moved(subject.id, Moved::Failed(fault));
    }
    log.faults.at("coordinator.after_move").await;
    let moved = match commit(&mover, vec![Entry::HotRestored { stream, segment }]).await {
        Ok(()) => {
            let copies = Copies {
                hot: true,
                warm: Some(copy),
                ..subject.known.copies()
            };
            subject.show(&facts, copies);
            guard.keep();
            let took = begun.elapsed();
            log.meters.hydrate_seconds.record(took);
            tracing::debug!(
                target: "tierlog::coordinator", %stream, %segment, ?took,
                "a segment file is made again"
            );
            Moved::Hydrated
        }
        Err(fault) => {
            let path = log.layout.segment(stream, segment);
            let removed = match fault.names_nothing() {
                true => remove(&mover, path).await,
                false => Ok(()),
            };
            Moved::Failed(removed.err().unwrap_or(fault))
        }
    };
    Effect::Moved(subject.id, moved)
}

pub(super) async fn commit(mover: &Mover, entries: Vec<Entry>) -> Result<(), MoveFault> {
    match mover.tasks.manifest.commit(entries).await {
        Ok(_) => Ok(()),
        Err(Error::InvalidInput { .. }) => Err(MoveFault::Gone),
        Err(error) => Err(MoveFault::Manifest(error)),
    }
}

/// Removes a file that nothing names. Should that fail, the next open does it; only a folder that can't
/// be synced is an error.
pub(super) async fn remove(mover: &Mover, path: PathBuf) -> Result<(), MoveFault> {
    let tasks = &mover.tasks;
    let disk: Arc<dyn Disk> = Arc::clone(&tasks.log.disk);
    let job = tasks.log.write_job(&tasks.running, move || {
        remove_file(&*disk, &path);
        path.parent().map_or(Ok(()), |dir| sync_dir(&*disk, dir))
    });
    match job.await {
        Ok(synced) => synced.map_err(MoveFault::Folder),
        Err(_) => Ok(()),
    }
}
