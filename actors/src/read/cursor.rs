//! The reader, as it is used.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tierlog_storage::{
    Damage, Offset, SegmentNo,
    segment::{Record, RecordRef, Records},
};

use super::{
    chunk::{Chunk, Fault, Step, take_borrowed, take_shared},
    fetch::Spot,
    flight::Flight,
    resolve::{Filter, From},
    source::{Closing, ReadContext},
    try_next::TryNext,
    view::View,
    waiting::TailWait,
};
use crate::{
    error::Error,
    stream::{keeping::Lease, marks::Level, shared::StreamShared, ticket::Life},
};

/// How a reader reads.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// At the end, wait for more instead of ending.
    pub follow: bool,
    /// How far to read: to what is durable, or to what is written.
    pub level: Level,
    /// Go on behind damage; what is missed is listed in [`Reader::gaps`].
    pub skip_damage: bool,
    /// How to tell that nothing more will come.
    pub closing: Closing,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            follow: false,
            level: Level::Durable,
            skip_damage: false,
            closing: Closing::Door,
        }
    }
}

/// Reads the records of a stream, each once, in order.
///
/// Whatever keeps it from giving the next record is an error, and the position stays where it is:
/// the next call gives the same error for as long as its cause is there. [`seek`](Self::seek) goes
/// elsewhere. Everything is cancel-safe: a record that was not given out is given out by the next
/// call, and a read that was begun goes on for it.
pub struct Reader {
    pub(super) ctx: Arc<ReadContext>,
    pub(super) stream: Arc<StreamShared>,
    pub(super) options: ReaderOptions,
    /// The offset of the next record.
    pub(super) position: Offset,
    /// The life of the tail that the watermark, the chunk and all places are of.
    pub(super) life: Arc<Life>,
    pub(super) chunk: Option<Chunk>,
    /// Where the frames behind the chunk go on.
    pub(super) next: Option<(SegmentNo, Spot)>,
    pub(super) flight: Option<Flight>,
    /// The blocks behind the chunk, on their way before they are asked for.
    pub(super) ahead: [Option<Flight>; 2],
    /// How many blocks in a row were read one behind the other.
    pub(super) run: u32,
    /// Frames that were found bad once since the last good block.
    pub(super) suspects: Vec<(SegmentNo, u64)>,
    /// What was wrong with the last of them.
    pub(super) fault: String,
    /// Offsets that no segment had when they were looked for the first time.
    pub(super) lost: Option<Offset>,
    /// How often bad frames turned out to be good since the last record.
    pub(super) flaps: u32,
    pub(super) damage: Option<Damage>,
    pub(super) truncated: Option<Error>,
    /// Records are passed over until one is wanted.
    pub(super) filter: Option<Filter>,
    pub(super) tail: TailWait,
    /// The tail's frame at this offset could not be read.
    pub(super) bad_tail: Option<Offset>,
    /// Whether to give way to other tasks after some work; not where the caller asked for what is
    /// there now.
    pub(super) polite: bool,
    /// Kept, so that it can be looked at again when a file is gone.
    pub(super) view: Option<Arc<View>>,
    /// Says where it stands, so that this is not given up under it.
    lease: Option<Lease>,
    gaps: Vec<Damage>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("stream", &self.stream.name)
            .field("position", &self.position)
            .field("options", &self.options)
            .field("flight", &self.flight)
            .field("gaps", &self.gaps.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader that begins at `from`.
    ///
    /// # Errors
    /// `Trimmed` or `InvalidInput` for an offset that is no longer or not yet there, `Unsupported`
    /// for a level that nothing reaches.
    pub async fn open(
        ctx: Arc<ReadContext>,
        stream: Arc<StreamShared>,
        from: From,
        options: ReaderOptions,
    ) -> Result<Self, Error> {
        if options.level == Level::Archived {
            let what = "a reader reads what is written or what is durable".into();
            return Err(Error::Unsupported { what });
        }
        let (life, lease) = (stream.life(), ctx.lease(&stream));
        let mut reader = Self {
            ctx,
            stream,
            options,
            position: Offset::ZERO,
            life,
            chunk: None,
            next: None,
            flight: None,
            ahead: [None, None],
            run: 0,
            suspects: Vec::new(),
            fault: String::new(),
            lost: None,
            flaps: 0,
            damage: None,
            truncated: None,
            filter: None,
            tail: TailWait::default(),
            bad_tail: None,
            polite: true,
            view: None,
            lease,
            gaps: Vec::new(),
        };
        reader.go_to(from)?;
        reader.stand();
        reader.settle().await;
        Ok(reader)
    }

    /// The next records, as many as are at hand, at least one and at most `max`; none at the end.
    /// Waits for the first one only. Cancel-safe.
    ///
    /// # Errors
    /// What keeps it from giving the next record. Where its file is gone, `Unavailable` while the log begins again,
    /// and `Closed` or `LogFailed` behind the end of the log, whose next owner may have moved it.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        self.next_batch_into(&mut records, max).await?;
        Ok(records)
    }

    /// As [`next_batch`](Self::next_batch), into a buffer that the caller keeps; gives how many
    /// were added. Cancel-safe.
    ///
    /// # Errors
    /// As there.
    pub async fn next_batch_into(
        &mut self,
        records: &mut Vec<Record>,
        max: usize,
    ) -> Result<usize, Error> {
        self.polite = true;
        poll_fn(|cx| self.poll_batch(cx, records, max.max(1))).await
    }

    /// Shows up to `max` records that are at hand, at least one, without sharing their bytes: the
    /// fastest way to scan. Gives how many; none at the end. Waits for the first one only.
    /// Cancel-safe.
    ///
    /// # Errors
    /// What keeps it from showing the next record.
    pub async fn visit(
        &mut self,
        max: usize,
        mut see: impl FnMut(RecordRef<'_>),
    ) -> Result<usize, Error> {
        self.polite = true;
        poll_fn(|cx| self.poll_visit(cx, max.max(1), &mut see)).await
    }

    /// The next record, to be awaited, asked for now, or waited for on this thread.
    pub fn try_next(&mut self) -> TryNext<'_> {
        TryNext::new(self)
    }

    /// The offset of the next record.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The damage that was passed over, in order.
    pub fn gaps(&self) -> &[Damage] {
        &self.gaps
    }

    /// Goes on at another offset, forgetting any error. Whether it can be read shows with the next
    /// record.
    pub fn seek(&mut self, to: Offset) {
        self.forget_place();
        (self.truncated, self.filter, self.damage) = (None, None, None);
        self.life = self.stream.life();
        self.position = to;
        self.stand();
    }

    /// It stands here now. For each chunk, and not for each record: it costs a look at the clock.
    pub(super) fn stand(&self) {
        if let Some(lease) = &self.lease {
            lease.stand(self.position);
        }
    }

    /// It has read all there is, and holds nothing back.
    pub(super) fn leave(&self) {
        if let Some(lease) = &self.lease {
            lease.leave();
        }
    }

    /// Drops everything that was found out about where records are.
    pub(super) fn forget_place(&mut self) {
        (self.chunk, self.next) = (None, None);
        (self.flight, self.ahead) = (None, [None, None]);
        (self.lost, self.bad_tail) = (None, None);
        self.suspects.clear();
        (self.run, self.flaps) = (0, 0);
    }

    /// Goes on behind damage.
    pub(super) fn pass(&mut self, damage: Damage) {
        self.position = damage.to.max(self.position);
        self.gaps.push(damage);
    }

    pub(super) fn poll_record(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Record>, Error>> {
        loop {
            if !ready!(self.poll_ready(cx))? {
                return Poll::Ready(Ok(None));
            }
            if !self.passes_filter() {
                continue;
            }
            let Some(chunk) = &mut self.chunk else {
                continue;
            };
            let (position, mut taken) = (self.position, None);
            let (reached, fault) = chunk.take(position, position.plus(1), |records, at| {
                take_shared(records, at, |record| taken = Some(record))
            });
            self.position = reached;
            if let Some(fault) = fault {
                self.note_fault(*fault);
            }
            if let Some(record) = taken {
                return Poll::Ready(Ok(Some(record)));
            }
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        records: &mut Vec<Record>,
        max: usize,
    ) -> Poll<Result<usize, Error>> {
        self.poll_many(cx, max, |records_of, position| {
            take_shared(records_of, position, |record| records.push(record))
        })
    }

    fn poll_visit(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        see: &mut impl FnMut(RecordRef<'_>),
    ) -> Poll<Result<usize, Error>> {
        self.poll_many(cx, max, |records, position| {
            take_borrowed(records, position, &mut *see)
        })
    }

    /// Takes up to `max` records by `take`. What stops it behind the first one is left for the
    /// next call, which meets it again.
    fn poll_many(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        mut take: impl FnMut(&mut Records, Offset) -> Step,
    ) -> Poll<Result<usize, Error>> {
        let mut taken = 0;
        while taken < max {
            match self.poll_ready(cx) {
                Poll::Ready(Ok(true)) => {}
                _ if taken > 0 => break,
                Poll::Ready(Ok(false)) => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            if !self.passes_filter() {
                continue;
            }
            let Some(chunk) = &mut self.chunk else {
                continue;
            };
            let most = chunk.limit.since(self.position).min((max - taken) as u64);
            let end = self.position.plus(most);
            let (reached, fault) = chunk.take(self.position, end, &mut take);
            taken += reached.since(self.position) as usize;
            self.position = reached;
            if let Some(fault) = fault {
                self.note_fault(*fault);
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Passes over the records of the chunk that are not wanted; false where none is left in it.
    fn passes_filter(&mut self) -> bool {
        let Some(filter) = self.filter else {
            return true;
        };
        let Some(chunk) = &mut self.chunk else {
            return false;
        };
        while self.position < chunk.limit {
            let (position, mut wanted) = (self.position, false);
            let (_, fault) = chunk.take(position, position.plus(1), |records, at| {
                take_borrowed(records, at, |record| wanted = filter.wants(&record))
            });
            if let Some(fault) = fault {
                self.note_fault(*fault);
                return false;
            }
            if wanted {
                self.filter = None;
                // It was only looked at: it is to be read again.
                chunk.rewind();
                return true;
            }
            self.position = position.plus(1);
        }
        false
    }

    /// Goes to the first record that is wanted, if it is there already. What stands in the way is
    /// met again, and told, by whoever reads.
    async fn settle(&mut self) {
        if self.filter.is_none() {
            return;
        }
        self.polite = true;
        poll_fn(|cx| {
            while self.filter.is_some() && self.position < self.limit() {
                match ready!(self.poll_ready(cx)) {
                    Ok(true) => self.passes_filter(),
                    Ok(false) | Err(_) => break,
                };
            }
            Poll::Ready(())
        })
        .await;
    }

    /// A frame passed its checksum and can't be read all the same.
    #[cold]
    fn note_fault(&mut self, fault: Fault) {
        self.forget_place();
        let Some((segment, bytes)) = fault.home else {
            // What this process keeps in memory can't be read: the file has it, too.
            self.bad_tail = Some(self.position);
            return;
        };
        // What came before the position in that frame was read.
        let (from, to) = (self.position, fault.span.1.max(self.position.plus(1)));
        let stream = self.stream.id;
        self.note_damage(Damage {
            stream,
            segment,
            from,
            to,
            bytes,
            what: fault.what,
        });
    }
}

impl futures::Stream for Reader {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polite = true;
        self.poll_record(cx).map(Result::transpose)
    }
}
