//! A stream: appending, waiting, trimming.

use std::{future::Future, sync::Arc};

use tierlog_actors::{
    Error, Kind,
    protocol::writer::Control,
    stream::{
        marks::Level,
        shared::{IfOutcome, Refusal, StreamShared, Watermarks},
        ticket::{Ack, AppendError, Ticket},
    },
    supervisor::LogShared,
};
use tierlog_storage::{Offset, StreamId, segment::NewRecord};
use tokio::sync::{oneshot, watch};

use crate::{
    appender::Appender,
    info::{self, SegmentInfo},
    reader::ReaderBuilder,
};

/// A handle to one stream. Cheap to clone; appends through any clone get their offsets in the order
/// in which they were accepted.
#[derive(Debug, Clone)]
pub struct Stream {
    shared: Arc<StreamShared>,
    pub(crate) log: Arc<LogShared>,
}

/// Why [`Stream::try_append`] did not accept a record. It comes back, and nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum TryAppend {
    /// A resource is short.
    #[error("would block on {kind}")]
    WouldBlock {
        /// Which one; [`Stream::ready`] wakes when there is room.
        kind: Kind,
        /// What was to be appended.
        payload: NewRecord,
    },
    /// It can't be appended.
    #[error("{error}")]
    Failed {
        /// Why.
        error: Error,
        /// What was to be appended.
        payload: NewRecord,
    },
}

/// Why [`Stream::try_append_batch`] did not accept a batch. It comes back, and nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum TryAppendBatch {
    /// A resource is short.
    #[error("would block on {kind}")]
    WouldBlock {
        /// Which one; [`Stream::ready_for`] wakes when there is room.
        kind: Kind,
        /// What was to be appended.
        records: Vec<NewRecord>,
    },
    /// It can't be appended.
    #[error("{error}")]
    Failed {
        /// Why.
        error: Error,
        /// What was to be appended.
        records: Vec<NewRecord>,
    },
}

impl Stream {
    pub(crate) fn new(shared: Arc<StreamShared>, log: Arc<LogShared>) -> Self {
        Self { shared, log }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its identity, which names its folder.
    pub fn id(&self) -> StreamId {
        self.shared.id
    }

    /// Where it stands now.
    pub fn watermarks(&self) -> Watermarks {
        self.shared.watermarks()
    }

    /// Where it stands, at each advance of `written`, `durable` or `start`. Events may be merged:
    /// take the value, not the number of changes. `next` is as of the last advance.
    pub fn watch(&self) -> watch::Receiver<Watermarks> {
        self.shared.watch()
    }

    /// Appends a record and waits until it is durable, waiting for room as long as it takes.
    ///
    /// Cancel-safe in this sense: dropped before the record was accepted, nothing is appended;
    /// dropped afterwards, the record is appended all the same. To know which, use
    /// [`try_append`](Self::try_append).
    ///
    /// When it returns the record survives `kill -9` and power cuts. Under the policy `manual` it waits
    /// until somebody calls [`flush`](Self::flush).
    ///
    /// ```
    /// use tierlog::{Offset, Settings, Supervisor};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tierlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
    /// # let orders = supervisor.log().stream("orders").await?;
    /// let ack = orders.append("hello").await?;
    /// assert_eq!(ack.offset, Offset(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AppendError`], with the record where it is surely not in the log.
    pub async fn append(&self, record: impl Into<NewRecord>) -> Result<Ack, AppendError> {
        self.append_at(record, Level::Durable).await
    }

    /// [`append`](Self::append), waiting for another level.
    ///
    /// # Errors
    /// As [`append`](Self::append). `Archived` is refused before anything is appended where the log has
    /// no Tier 2 that outlives it; an error of an append that waits for it may be about a record that is
    /// durable, and not archived yet.
    pub async fn append_at(
        &self,
        record: impl Into<NewRecord>,
        level: Level,
    ) -> Result<Ack, AppendError> {
        let mut record = record.into();
        if level == Level::Archived && self.shared.life().marks.archive().is_none() {
            return Err(AppendError {
                error: no_archive(),
                records: vec![record],
            });
        }
        loop {
            match self.shared.submit_one(record) {
                Ok(ticket) => return ticket.at(level).await,
                Err((Refusal::WouldBlock(kind), back)) => {
                    let bytes = back.encoded_len_max();
                    record = back;
                    self.ready_for(kind, bytes).await;
                }
                Err((Refusal::Failed(error), back)) => {
                    return Err(AppendError {
                        error,
                        records: vec![back],
                    });
                }
            }
        }
    }

    /// Accepts a record without waiting, or refuses it without a trace. Works on any thread, in
    /// Tokio or not. The ticket resolves when the record is durable.
    ///
    /// ```
    /// use tierlog::{Settings, Supervisor, TryAppend};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tierlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
    /// # let orders = supervisor.log().stream("orders").await?;
    /// match orders.try_append("hello") {
    ///     Ok(ticket) => {
    ///         ticket.await?;
    ///     }
    ///     Err(TryAppend::WouldBlock { kind, payload }) => {
    ///         println!("short of {kind}; {} bytes came back", payload.size());
    ///         orders.ready(kind).await; // or do without it
    ///     }
    ///     Err(TryAppend::Failed { error, .. }) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TryAppend`], with the record.
    pub fn try_append(&self, record: impl Into<NewRecord>) -> Result<Ticket, TryAppend> {
        self.shared
            .submit_one(record.into())
            .map_err(|(refusal, payload)| match refusal {
                Refusal::WouldBlock(kind) => TryAppend::WouldBlock {
                    kind: self.refused(kind),
                    payload,
                },
                Refusal::Failed(error) => TryAppend::Failed { error, payload },
            })
    }

    /// Appends several records, all or nothing, and waits until they are durable. They get
    /// offsets that follow one another; the ack has the first.
    ///
    /// Cancel-safe as [`append`](Self::append): never a part of them is appended.
    ///
    /// ```
    /// use tierlog::{NewRecord, Settings, Supervisor};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tierlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
    /// # let orders = supervisor.log().stream("orders").await?;
    /// let batch = vec![NewRecord::new("debit"), NewRecord::new("credit")];
    /// let ack = orders.append_batch(batch).await?;
    /// assert_eq!((ack.offset.get(), ack.count), (0, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `RecordTooLarge` when they are over `max_record` together; `InvalidInput` for none at all;
    /// otherwise as [`append`](Self::append).
    pub async fn append_batch(&self, records: Vec<NewRecord>) -> Result<Ack, AppendError> {
        let mut records = records;
        loop {
            match self.shared.submit_batch(records) {
                Ok(ticket) => return ticket.await,
                Err((Refusal::WouldBlock(kind), back)) => {
                    let bytes = back.iter().map(|r| r.encoded_len_max() + PER_RECORD).sum();
                    records = back;
                    self.ready_for(kind, bytes).await;
                }
                Err((Refusal::Failed(error), records)) => {
                    return Err(AppendError { error, records });
                }
            }
        }
    }

    /// [`append_batch`](Self::append_batch) without waiting.
    ///
    /// # Errors
    /// [`TryAppendBatch`], with the records.
    pub fn try_append_batch(&self, records: Vec<NewRecord>) -> Result<Ticket, TryAppendBatch> {
        self.shared
            .submit_batch(records)
            .map_err(|(refusal, records)| match refusal {
                Refusal::WouldBlock(kind) => TryAppendBatch::WouldBlock {
                    kind: self.refused(kind),
                    records,
                },
                Refusal::Failed(error) => TryAppendBatch::Failed { error, records },
            })
    }

    /// Appends a record if it gets the offset `expected`, and waits until it is durable.
    ///
    /// Cancel-safe as [`append`](Self::append).
    ///
    /// ```
    /// use tierlog::{Error, Offset, Settings, Supervisor};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tierlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
    /// # let orders = supervisor.log().stream("orders").await?;
    /// let next = orders.watermarks().next;
    /// orders.append_if(next, "mine").await?;
    /// let refused = orders.append_if(next, "too late").await.expect_err("0 is taken");
    /// assert!(matches!(refused.error, Error::Conflict { next: Offset(1), .. }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Conflict` with the next offset otherwise, said only once everything below that offset is
    /// durable, so that nobody acts on a state that a crash could take back. Otherwise as
    /// [`append`](Self::append).
    pub async fn append_if(
        &self,
        expected: Offset,
        record: impl Into<NewRecord>,
    ) -> Result<Ack, AppendError> {
        let mut record = record.into();
        loop {
            match self.shared.submit_if(expected, record) {
                IfOutcome::Accepted(ticket) => return ticket.await,
                IfOutcome::Refused(Refusal::WouldBlock(kind), back) => {
                    let bytes = back.encoded_len_max();
                    record = back;
                    self.ready_for(kind, bytes).await;
                }
                IfOutcome::Refused(Refusal::Failed(error), back) => {
                    return Err(AppendError {
                        error,
                        records: vec![back],
                    });
                }
                IfOutcome::Elsewhere {
                    next,
                    settled,
                    record: back,
                } => {
                    record = back;
                    // Where what it quotes came to nothing, the question is asked again.
                    if settled.is_settled().await {
                        let error = Error::Conflict { expected, next };
                        return Err(AppendError {
                            error,
                            records: vec![record],
                        });
                    }
                }
            }
        }
    }

    /// A client-side batcher, for the highest rate. Nothing that is in it is in the log yet.
    pub fn appender(&self) -> Appender {
        Appender::new(self.clone())
    }

    /// Resolves when a record of the largest size would not be refused with this kind. Others may
    /// be faster, and another kind may be short by then: call again and see. Cancel-safe, and no
    /// wake-up is lost between a refusal and this call.
    pub async fn ready(&self, kind: Kind) {
        self.ready_for(kind, self.shared.max_record()).await;
    }

    /// [`ready`](Self::ready) for a record of so many bytes.
    pub async fn ready_for(&self, kind: Kind, bytes: usize) {
        self.shared.ready(kind, bytes).await;
        // A trim is refused by a mailbox, which the door knows nothing of.
        match (kind, self.log.generation()) {
            (Kind::Manifest, Ok(generation)) => generation.manifest.ready().await,
            (Kind::Rollover, Ok(generation)) => generation.coordinator.ready().await,
            _ => {}
        }
    }

    /// Makes everything accepted so far durable, whatever the flush policy. Gives the durable end.
    ///
    /// Dropping the future does not stop the sync.
    ///
    /// # Errors
    /// When it can't be made durable, or the stream refuses.
    pub async fn flush(&self) -> Result<Offset, Error> {
        self.command(Control::Flush).await
    }

    /// Ends the active segment: everything accepted so far is durable and the manifest says that
    /// the segment is sealed when this returns. Gives its end. Without records in it, nothing
    /// happens. Dropping the future does not stop it.
    ///
    /// # Errors
    /// `RolloverFailed`, or as [`flush`](Self::flush).
    pub async fn seal(&self) -> Result<Offset, Error> {
        self.command(Control::Seal).await
    }

    /// Drops all records below `before`, durably; files go once no record in them is left. Gives
    /// the new start. What was trimmed already stays trimmed. Waits while a mailbox is full. Once it
    /// is asked for, it happens even if the future is dropped.
    ///
    /// # Errors
    /// `InvalidInput` when `before` is beyond the durable end.
    pub async fn trim(&self, before: Offset) -> Result<Offset, Error> {
        loop {
            match self.ask_to_trim(before).await {
                Err(Error::WouldBlock {
                    kind: Kind::Manifest,
                }) => {
                    self.log.generation()?.manifest.ready().await;
                }
                // Not `ready`: what there is no room for may wait for this very trim.
                Err(Error::WouldBlock {
                    kind: Kind::Admission,
                }) => self.shared.edges_settle().await,
                Err(Error::WouldBlock { .. }) => {
                    self.log.generation()?.coordinator.ready().await;
                }
                outcome => return outcome,
            }
        }
    }

    /// [`trim`](Self::trim) that is refused instead of waiting for a full mailbox.
    ///
    /// # Errors
    /// `WouldBlock(Rollover)` where the coordinator's mailbox is full, `WouldBlock(Manifest)` where
    /// the manifest writer's is, `WouldBlock(Admission)` while a truncation is under way, for which
    /// [`ready`](Self::ready) knows nothing: it waits for room too. Otherwise as [`trim`](Self::trim).
    pub async fn try_trim(&self, before: Offset) -> Result<Offset, Error> {
        let outcome = self.ask_to_trim(before).await;
        if let Err(Error::WouldBlock { kind }) = outcome {
            self.refused(kind);
        }
        outcome
    }

    async fn ask_to_trim(&self, before: Offset) -> Result<Offset, Error> {
        let generation = self.log.generation()?;
        generation
            .coordinator
            .trim(Arc::clone(&self.shared), before)
            .await
    }

    /// Removes every record behind `last`, or all of them for `None`; durable when it returns.
    /// Their offsets are given out again, under a new incarnation; a reader that stood beyond gets
    /// `Truncated`. Appends are refused with `WouldBlock(Admission)` meanwhile. Gives the next
    /// offset.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// `Trimmed` when the cut would lie below the start; `Archived` when it would take back what is;
    /// `WouldBlock` without room for a segment that it needs; `Unavailable` while one that it cuts moves between
    /// tiers: nothing was cut. `Unavailable` too when the writer ends meanwhile: look at the watermarks.
    pub async fn truncate_after(&self, last: Option<Offset>) -> Result<Offset, Error> {
        let end = last.map_or(Offset::ZERO, |last| last.plus(1));
        self.command(|reply| Control::Truncate(end, reply)).await
    }

    async fn command(
        &self,
        make: impl Fn(oneshot::Sender<Result<Offset, Error>>) -> Control,
    ) -> Result<Offset, Error> {
        loop {
            let (done, answer) = oneshot::channel();
            match self.shared.submit_control(make(done)) {
                Ok(()) => {
                    let gone = || Error::Unavailable {
                        why: "the stream is restarting".into(),
                    };
                    return answer
                        .await
                        .unwrap_or_else(|_| Err(self.shared.is_shut().unwrap_or_else(gone)));
                }
                Err(Refusal::WouldBlock(_)) => self.shared.ready_for_control().await,
                Err(Refusal::Failed(error)) => return Err(error),
            }
        }
    }

    /// A reader that begins at `from`: await it, or choose how it reads first.
    pub fn reader(&self, from: tierlog_actors::read::From) -> ReaderBuilder {
        ReaderBuilder::live(
            Arc::clone(&self.log.log.readers),
            Arc::clone(&self.shared),
            from,
        )
    }

    /// Where its segments live.
    ///
    /// # Errors
    /// None: what it tells is in memory.
    pub async fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        let layout = &self.log.log.layout;
        let segments = self.shared.segments.all();
        Ok(segments
            .iter()
            .map(|s| info::segment(layout, self.shared.id, s))
            .collect())
    }

    /// Counts a refusal that the app meets.
    pub(crate) fn refused(&self, kind: Kind) -> Kind {
        self.log.log.meters.refused(kind);
        kind
    }

    pub(crate) fn shared(&self) -> &Arc<StreamShared> {
        &self.shared
    }

    pub(crate) fn frame_target(&self) -> usize {
        self.log.log.options.frame_target()
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.log.log.clock.now_ns()
    }
}

/// What each record of a batch costs beside its bytes.
const PER_RECORD: usize = 128;

fn no_archive() -> Error {
    Error::Unsupported {
        what: "the log has no Tier 2 that outlives it, so nothing is archived; set `cold`".into(),
    }
}

/// Waits on the calling thread for any future of this crate. For threads outside Tokio.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}
