//! What all readers of a log share.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tierlog_storage::{
    LogId, Offset, SegmentNo, StorageError, StreamId,
    catalog::SegmentKey,
    disk::Disk,
    layout::Layout,
    segment::{HEADER_LEN, Latched},
};
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use super::{
    blocks::Blocks,
    files::{Files, Whence},
    follow::Follower,
    view::View,
    wishes::{Wish, Wishes},
};
use crate::{
    clock::Clock,
    cold::Remote,
    error::Error,
    exec::{Completion, Executor, FETCHING, Running, Work, run},
    meters::{ReadMeters, Share},
    options::ReadMode,
    stream::{keeping::Lease, segments::Segment, shared::StreamShared},
};

/// What readers may take.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// How sealed segments are read.
    pub mode: ReadMode,
    /// Bytes of checked blocks kept in memory.
    pub cache: usize,
    /// Files kept open. While they are being read there are up to `jobs` more.
    pub descriptors: usize,
    /// Reading jobs under way at once, of all readers together. Each holds about one block.
    pub jobs: usize,
    /// How long a reader waits for a job before it says that the disk does not answer.
    pub stall_after: Option<Duration>,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            mode: ReadMode::Pread,
            cache: 32 << 20,
            descriptors: 128,
            jobs: 64,
            stall_after: None,
        }
    }
}

/// What all readers of a log share.
pub struct ReadContext {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where its files are.
    pub layout: Layout,
    /// Where reading jobs run.
    pub executor: Arc<dyn Executor>,
    /// Open segment files.
    pub files: Files,
    /// Checked blocks.
    pub blocks: Blocks,
    /// How sealed segments are read.
    pub mode: ReadMode,
    /// What is measured.
    pub meters: ReadMeters,
    /// Bytes of checked blocks, as they are shown.
    block_bytes: Share,
    /// Counts the reading jobs that run.
    pub running: Running,
    /// One permit a job. The queue of the executor is bounded and refuses what does not fit;
    /// readers wait here instead, so that thousands of them never meet that refusal.
    pub(super) jobs: Arc<Semaphore>,
    /// The same for what is read from Tier 2: a store that does not answer takes no turn from those who
    /// read what is here.
    far_jobs: Arc<Semaphore>,
    /// By which clock readers keep what they stand on from being given up, where they do.
    leases: OnceLock<Arc<dyn Clock>>,
    /// Who reads what is in Tier 2, once it is known that there is one.
    remote: OnceLock<Arc<Remote>>,
    /// How long readers wait, where there is a runtime that can tell.
    pub(super) patience: Option<Patience>,
    /// What readers would have done about where segments are.
    pub wishes: Wishes,
    /// Counts every use of a segment.
    uses: AtomicU64,
    /// Which log it is: known once it was opened, and before anything is read.
    log: OnceLock<LogId>,
    /// What is known of somebody else's log, where it is one.
    pub(super) view: OnceLock<Weak<View>>,
    /// Who moves and removes the files.
    owner: Mutex<Owner>,
}

/// Who moves and removes the files of a log, and tells its readers.
#[derive(Debug)]
enum Owner {
    /// Somebody who tells them in time, or of whom they hear otherwise.
    AtWork,
    /// A recovery, which tells them when it is done.
    BeginsAgain,
    /// Somebody else, perhaps: this log has ended like that.
    Gone(Error),
}

impl ReadContext {
    /// A context with its own caches.
    pub fn new(
        disk: Arc<dyn Disk>,
        layout: Layout,
        executor: Arc<dyn Executor>,
        limits: &ReadLimits,
    ) -> Arc<Self> {
        let meters = ReadMeters::new();
        Arc::new(Self {
            disk,
            layout,
            executor,
            block_bytes: Share::of(&meters.block_bytes),
            meters,
            files: Files::new(limits.descriptors),
            blocks: Blocks::new(limits.cache),
            mode: limits.mode,
            running: Running::default(),
            jobs: Arc::new(Semaphore::new(limits.jobs.max(1))),
            far_jobs: Arc::new(Semaphore::new(FETCHING)),
            leases: OnceLock::new(),
            remote: OnceLock::new(),
            patience: limits.stall_after.and_then(Patience::new),
            wishes: Wishes::default(),
            uses: AtomicU64::new(0),
            log: OnceLock::new(),
            view: OnceLock::new(),
            owner: Mutex::new(Owner::AtWork),
        })
    }

    /// A recovery is about to remove files that readers may look for, until this is dropped.
    pub fn begin_again(self: &Arc<Self>) -> BeginningAgain {
        self.change_owner(Owner::BeginsAgain);
        BeginningAgain(Arc::clone(self))
    }

    /// The log has ended. From now on its directory may have another owner; the first word counts.
    pub fn disown(&self, error: Error) {
        self.change_owner(Owner::Gone(error));
    }

    fn change_owner(&self, owner: Owner) {
        let mut now = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*now, Owner::Gone(_)) {
            *now = owner;
        }
    }

    /// Why it says nothing of a file that it is not there, if that is so.
    pub(super) fn orphaned(&self) -> Option<Error> {
        match &*self.owner.lock().unwrap_or_else(PoisonError::into_inner) {
            Owner::AtWork => None,
            Owner::BeginsAgain => Some(Error::Unavailable {
                why: "the log is being begun again".into(),
            }),
            Owner::Gone(error) => Some(error.clone()),
        }
    }

    /// Says which log it is; the first word counts.
    pub fn is_of(&self, log: LogId) {
        let _ = self.log.set(log);
    }

    /// From now on readers keep what they stand on from being given up.
    pub fn leases_by(&self, clock: Arc<dyn Clock>) {
        let _ = self.leases.set(clock);
    }

    /// A place for a reader of a stream.
    pub(super) fn lease(&self, stream: &StreamShared) -> Option<Lease> {
        let clock = self.leases.get()?;
        Some(stream.keeping.leases.take(Arc::clone(clock)))
    }

    /// Says who reads what is in Tier 2; the first word counts.
    pub fn reads_through(&self, remote: Arc<Remote>) {
        let _ = self.remote.set(remote);
    }

    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.get()
    }

    /// Whether there is a Tier 2 to read from.
    pub fn has_objects(&self) -> bool {
        self.remote().is_some()
    }

    /// The object of a segment, to be read whole by threads that are meant to wait; `None` without Tier 2.
    pub fn object(&self, key: SegmentKey, len: u64) -> Option<Latched> {
        let remote = self.remote()?;
        Some(remote.whole(key, len, None))
    }

    /// Lets go of bytes that came from the object of a segment.
    pub(super) fn forget_far(&self, stream: StreamId, segment: &Segment) {
        if let (Some(remote), Some((key, _))) = (self.remote(), segment.object(stream)) {
            remote.forget(&key);
        }
    }

    /// Where the segments of a stream are looked for.
    pub(super) fn whence(&self, stream: StreamId) -> Result<Whence<'_>, StorageError> {
        Ok(Whence {
            disk: &*self.disk,
            layout: &self.layout,
            log: self.log()?,
            stream,
            remote: self.remote(),
        })
    }

    /// The turns of a kind of reading job.
    pub(super) fn turns(&self, far: bool) -> &Arc<Semaphore> {
        match far {
            true => &self.far_jobs,
            false => &self.jobs,
        }
    }

    pub(super) fn log(&self) -> Result<LogId, StorageError> {
        let none = || StorageError::Invalid {
            what: "a log was read before it was opened".into(),
        };
        self.log.get().copied().ok_or_else(none)
    }

    /// Lets go of segments whose files were removed: an open descriptor keeps the space of a
    /// removed file, which on a full disk is just what is missing.
    pub fn forget(&self, stream: StreamId, gone: &[SegmentNo]) {
        self.files.forget(stream, gone);
        self.blocks.forget(stream, gone);
        self.show_blocks();
    }

    /// Shows what the checked blocks take by now.
    pub(super) fn show_blocks(&self) {
        self.block_bytes.set(self.blocks.used());
    }

    /// Lets go of the files of segments that are elsewhere by now. Their blocks stay: the bytes are the
    /// same wherever they come from.
    pub fn moved(&self, stream: StreamId, moved: &[SegmentNo]) {
        self.files.forget(stream, moved);
    }

    /// A segment is read.
    pub(super) fn used(&self, segment: &Segment) {
        let now = self.uses.fetch_add(1, Ordering::Relaxed) + 1;
        segment.used.touch(now);
    }

    /// So much of a segment was decoded. One that was twice over, but for what headers and footers
    /// take, is worth being made again.
    pub(super) fn decoded(&self, stream: StreamId, segment: &Segment, bytes: usize) {
        let twice = 2 * segment.end_byte().saturating_sub(HEADER_LEN);
        if segment.used.decode(bytes as u64) >= twice {
            segment.used.begin_anew();
            self.wishes.add(stream, segment.no, Wish::Hydrate);
        }
    }

    /// The segment file of this one is damaged, and there is a good copy.
    pub(super) fn wish_healed(&self, stream: StreamId, segment: &Segment) {
        self.wishes.add(stream, segment.no, Wish::Heal);
    }

    /// Reads again what somebody else's log says of itself. Where that fails, what is known stays.
    pub(super) fn look_again(&self) {
        if let Some(view) = self.view.get().and_then(Weak::upgrade)
            && let Err(error) = view.refresh()
        {
            tracing::debug!(target: "tierlog::reader", %error, "a refresh failed");
        }
    }

    /// Runs a reading job.
    pub(super) fn job<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Completion<T> {
        self.job_of(Work::Read, f)
    }

    /// Runs one on the threads for this kind of work.
    pub(super) fn job_of<T: Send + 'static>(
        &self,
        work: Work,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Completion<T> {
        run(&self.executor, work, &self.running, f)
    }
}

/// A timer of the runtime that the log was opened on.
pub(super) type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long readers wait. They are polled on any executor, so that they bring a runtime along.
#[derive(Debug)]
pub(super) struct Patience {
    runtime: Handle,
    pub(super) after: Duration,
}

impl Patience {
    fn new(after: Duration) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        Some(Self { runtime, after })
    }

    pub(super) fn timer(&self) -> Timer {
        let _entered = self.runtime.enter();
        Box::pin(sleep(self.after))
    }
}

/// How a reader that follows learns that nothing more will come.
#[derive(Debug, Clone, Default)]
pub enum Closing {
    /// By the door of the stream, which its owner shuts.
    #[default]
    Door,
    /// By the task that follows somebody else's log. Readers share it; it ends with the last one.
    Attached(Arc<Follower>),
}

/// A recovery is at work; see [`ReadContext::begin_again`].
#[derive(Debug)]
pub struct BeginningAgain(Arc<ReadContext>);

impl Drop for BeginningAgain {
    fn drop(&mut self) {
        self.0.change_owner(Owner::AtWork);
    }
}

/// What a reader at the end is told.
pub(super) enum Ending {
    /// More may come.
    Open,
    /// All that there is was read, and no more will come.
    Drained,
    /// No more will come, since it failed.
    Failed(Error),
}

impl Closing {
    /// What a reader that has read everything below `position` is told.
    pub(super) fn ending(&self, stream: &StreamShared, position: Offset) -> Ending {
        match self {
            Self::Attached(follower) => follower.failure().map_or(Ending::Open, Ending::Failed),
            Self::Door => match stream.is_shut() {
                None => Ending::Open,
                // What was accepted before the door was shut is still on its way: either it
                // becomes readable, or the door's next offset falls back to what is. The watermark
                // does not: what was written and never became durable stays written.
                Some(Error::Closed) if position < stream.accepted_end() => Ending::Open,
                Some(Error::Closed) => Ending::Drained,
                Some(error) => Ending::Failed(error),
            },
        }
    }
}
