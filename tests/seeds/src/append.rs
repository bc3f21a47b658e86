//! Those who append, in every way that there is, and give up in the midst of it now and then.

use std::{future::Future, ops::Range, sync::Arc, sync::atomic::Ordering, time::Duration};

use fastrand::Rng;
use tierlog::{
    Ack, AppendError, Error, Kind, Level, NewRecord, Offset, Stream, Ticket, TryAppend,
    TryAppendBatch,
};
use tokio::time::{sleep, timeout};

use crate::{
    model::{Told, payload},
    world::Life,
};

/// Records that were accepted, and whose ticket was not looked at yet.
struct Pending {
    stream: usize,
    ids: Range<u64>,
    level: Level,
    /// Whether somebody else had claimed Tier 2 when they were offered.
    overtaken: bool,
    ticket: Ticket,
}

/// One who appends.
pub struct Appending {
    life: Arc<Life>,
    streams: Vec<Stream>,
    rng: Rng,
    pending: Vec<Pending>,
    most: u64,
}

impl Appending {
    /// Someone.
    pub fn new(life: &Arc<Life>, who: &str, streams: &[Stream], most: u64) -> Self {
        Self {
            rng: life.world.rng(&format!("{}/{who}", life.name)),
            life: Arc::clone(life),
            streams: streams.to_vec(),
            pending: Vec::new(),
            most,
        }
    }

    /// Appends, and waits for what came of it.
    pub async fn run(mut self) {
        for _ in 0..self.life.world.plan.calls {
            let stream = self.rng.usize(0..self.streams.len());
            match self.rng.u32(0..20) {
                0..=7 => self.try_append(stream).await,
                8..=10 => self.try_batch(stream).await,
                11..=12 => self.append(stream).await,
                13 => self.append_batch(stream).await,
                14 => self.append_if(stream).await,
                15..=16 => self.pack(stream).await,
                17..=18 => self.settle_some().await,
                _ => self.rest().await,
            }
        }
        while !self.pending.is_empty() {
            self.settle_some().await;
        }
    }

    async fn rest(&mut self) {
        if self.rng.bool() {
            tokio::task::yield_now().await;
        } else {
            sleep(Duration::from_micros(self.rng.u64(0..30_000))).await;
        }
    }

    fn len(&mut self) -> usize {
        let most = self.most - 200;
        let len = match self.rng.u32(0..10) {
            0 => self.rng.u64(0..=most),
            1..=4 => self.rng.u64(0..=most.min(3_000)),
            _ => self.rng.u64(0..=most.min(300)),
        };
        usize::try_from(len).expect("it is small")
    }

    fn level(&mut self) -> Level {
        match self.rng.u32(0..10) {
            0..=1 => Level::Written,
            2 if self.life.world.plan.cold => Level::Archived,
            _ => Level::Durable,
        }
    }

    /// New records, all of which the model knows.
    fn offer(&mut self, stream: usize, count: u16, len: usize) -> (Range<u64>, Vec<NewRecord>) {
        let ids = self.life.world.ids(u64::from(count));
        let batch = (ids.start, count);
        let mut model = self.life.world.model(stream);
        for id in ids.clone() {
            model.offered(id, batch);
        }
        let records = ids
            .clone()
            .map(|id| NewRecord::new(payload(id, batch, len)));
        let records = records.collect();
        (ids, records)
    }

    fn told(&self, stream: usize, ids: Range<u64>, told: impl Fn(u64) -> Told) {
        let mut model = self.life.world.model(stream);
        for (at, id) in ids.enumerate() {
            model.told(id, told(at as u64));
        }
    }

    fn accepted(&mut self, stream: usize, ids: Range<u64>, ticket: Ticket) {
        let life = self.streams[stream].watermarks().incarnation.get();
        {
            let mut model = self.life.world.model(stream);
            ids.clone().for_each(|id| model.accepted(id, life));
        }
        let level = self.level();
        self.life.say(format_args!(
            "{ids:?} accepted by {}",
            self.streams[stream].name()
        ));
        let ticket = ticket.at(level);
        if self.rng.u32(0..12) == 0 {
            // Nobody wants to know.
            return;
        }
        self.pending.push(Pending {
            stream,
            ids,
            level,
            overtaken: self.life.overtaken.load(Ordering::Relaxed),
            ticket,
        });
    }

    /// A refusal is told, handed back whole, and without a trace.
    async fn refused(&mut self, stream: usize, ids: Range<u64>, back: &[NewRecord], kind: Kind) {
        let batch = (ids.start, u16::try_from(back.len()).expect("a small batch"));
        assert_eq!(back.len() as u64, ids.end - ids.start, "handed back");
        for (record, id) in back.iter().zip(ids.clone()) {
            let whole = payload(id, batch, record.payload.len() - 18);
            assert!(record.payload == whole, "record {id} is handed back");
        }
        self.life.say(format_args!("{ids:?} refused: {kind}"));
        self.life.world.points.pass(format!("refused: {kind}"));
        self.told(stream, ids, |_| Told::Never);
        if self.rng.bool() {
            let bytes: usize = back.iter().map(|record| record.payload.len() + 200).sum();
            let most = Duration::from_micros(self.rng.u64(0..200_000));
            let ready = self.streams[stream].ready_for(kind, bytes);
            if timeout(most, ready).await.is_ok() {
                self.life.world.points.pass(format!("ready: {kind}"));
            }
        }
    }

    fn failed(&self, stream: usize, ids: Range<u64>, error: &Error) {
        self.life.excused("an append", error);
        self.told(stream, ids, |_| Told::Never);
    }

    async fn try_append(&mut self, stream: usize) {
        let len = self.len();
        let (ids, mut records) = self.offer(stream, 1, len);
        let record = records.pop().expect("one record");
        match self.streams[stream].try_append(record) {
            Ok(ticket) => self.accepted(stream, ids, ticket),
            Err(TryAppend::WouldBlock { kind, payload }) => {
                self.refused(stream, ids, &[payload], kind).await;
            }
            Err(TryAppend::Failed { error, .. }) => self.failed(stream, ids, &error),
        }
    }

    fn batch(&mut self, stream: usize) -> (Range<u64>, Vec<NewRecord>) {
        let count = self.rng.u16(1..=9);
        let most = usize::try_from(self.most).expect("it is small") / usize::from(count);
        let len = self.rng.usize(0..=most.saturating_sub(120).min(400));
        self.offer(stream, count, len)
    }

    async fn try_batch(&mut self, stream: usize) {
        let (ids, records) = self.batch(stream);
        match self.streams[stream].try_append_batch(records) {
            Ok(ticket) => self.accepted(stream, ids, ticket),
            Err(TryAppendBatch::WouldBlock { kind, records }) => {
                self.refused(stream, ids, &records, kind).await;
            }
            Err(TryAppendBatch::Failed { error, .. }) => self.failed(stream, ids, &error),
        }
    }

    /// Waits for an outcome, or not long enough.
    async fn wait(
        &mut self,
        stream: usize,
        ids: Range<u64>,
        level: Level,
        call: impl Future<Output = Result<Ack, AppendError>>,
    ) {
        let overtaken = self.life.overtaken.load(Ordering::Relaxed);
        let archives = level == Level::Archived;
        let gives_up = self.rng.u32(0..6) == 0 || archives;
        // Tier 2 may be out of reach for as long as it likes.
        let most = if archives { 30_000_000 } else { 20_000 };
        let most = Duration::from_micros(self.rng.u64(0..most));
        let outcome = if gives_up {
            match timeout(most, call).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.life.world.points.pass("app: an append was dropped");
                    return self.life.say(format_args!("{ids:?} dropped"));
                }
            }
        } else {
            self.life.ends("an append", call).await
        };
        self.resolved(stream, ids, level, overtaken, outcome);
    }

    async fn append(&mut self, stream: usize) {
        let life = Arc::clone(&self.life);
        let _gate = life.ends("a gate", life.gates[stream].read()).await;
        let (len, level) = (self.len(), self.level());
        let (ids, mut records) = self.offer(stream, 1, len);
        let record = records.pop().expect("one record");
        let handle = self.streams[stream].clone();
        self.life.say(format_args!(
            "{ids:?} of {len} bytes to {}, {level:?}",
            handle.name()
        ));
        self.wait(stream, ids, level, handle.append_at(record, level))
            .await;
    }

    async fn append_batch(&mut self, stream: usize) {
        let life = Arc::clone(&self.life);
        let _gate = life.ends("a gate", life.gates[stream].read()).await;
        let (ids, records) = self.batch(stream);
        let handle = self.streams[stream].clone();
        self.life
            .say(format_args!("{ids:?} as a batch to {}", handle.name()));
        self.wait(stream, ids, Level::Durable, handle.append_batch(records))
            .await;
    }

    async fn append_if(&mut self, stream: usize) {
        let life = Arc::clone(&self.life);
        let _gate = life.ends("a gate", life.gates[stream].read()).await;
        let (ids, mut records) = self.offer(stream, 1, 20);
        let record = records.pop().expect("one record");
        let handle = self.streams[stream].clone();
        let off = self.rng.u64(0..4) / 3;
        let expected = handle.watermarks().next.plus(off);
        self.life.say(format_args!(
            "{ids:?} to {} if at {expected}",
            handle.name()
        ));
        let call = async {
            let outcome = handle.append_if(expected, record).await;
            if let Ok(ack) = &outcome {
                assert_eq!(ack.offset, expected, "it was to be there or nowhere");
            }
            outcome
        };
        self.wait(stream, ids, Level::Durable, call).await;
    }

    /// An appender's buffers.
    async fn pack(&mut self, stream: usize) {
        let life = Arc::clone(&self.life);
        let _gate = life.ends("a gate", life.gates[stream].read()).await;
        let mut appender = self.streams[stream].appender();
        self.life
            .say(format_args!("a buffer for {}", self.streams[stream].name()));
        let mut buffered: Vec<u64> = Vec::new();
        for _ in 0..self.rng.u32(1..30) {
            let len = self.len();
            let (ids, records) = self.offer(stream, 1, len);
            let pushed = self
                .life
                .ends("a push", appender.push(&records[0].payload))
                .await;
            match pushed {
                Ok(sent) => {
                    if let Some(ticket) = sent {
                        self.sent(stream, &mut buffered, ticket);
                    }
                    buffered.push(ids.start);
                }
                Err(error) => {
                    self.failed(stream, ids, &error);
                    break;
                }
            }
        }
        if self.rng.u32(0..8) == 0 {
            // Dropping it tries to send what is in it.
            self.life.world.points.pass("app: an appender was dropped");
            return;
        }
        match self.life.ends("a send", appender.send()).await {
            Ok(Some(ticket)) => self.sent(stream, &mut buffered, ticket),
            Ok(None) => {}
            Err(error) => self.life.excused("a send", &error),
        }
    }

    fn sent(&mut self, stream: usize, buffered: &mut Vec<u64>, ticket: Ticket) {
        let (level, overtaken) = (self.level(), self.life.overtaken.load(Ordering::Relaxed));
        let ids = std::mem::take(buffered);
        assert_eq!(ids.len(), ticket.count() as usize, "a buffer is sent whole");
        let mut ticket = Some(ticket.at(level));
        // Identities of others may lie between them: the ticket is kept as if it were of the first.
        let life = self.streams[stream].watermarks().incarnation.get();
        {
            let mut model = self.life.world.model(stream);
            ids.iter().for_each(|id| model.accepted(*id, life));
        }
        if ids.windows(2).all(|pair| pair[0] + 1 == pair[1])
            && let (Some(first), Some(last)) = (ids.first(), ids.last())
            && let Some(ticket) = ticket.take()
        {
            self.pending.push(Pending {
                stream,
                ids: *first..*last + 1,
                level,
                overtaken,
                ticket,
            });
        }
    }

    async fn settle_some(&mut self) {
        if self.pending.is_empty() {
            return self.rest().await;
        }
        let at = self.rng.usize(0..self.pending.len());
        let Pending {
            stream,
            ids,
            level,
            overtaken,
            ticket,
        } = self.pending.swap_remove(at);
        if level == Level::Archived {
            // Tier 2 may be out of reach for as long as it likes.
            let most = Duration::from_millis(self.rng.u64(0..30_000));
            match timeout(most, ticket).await {
                Ok(outcome) => self.resolved(stream, ids, level, overtaken, outcome),
                Err(_) => self.life.say(format_args!("{ids:?} not archived so far")),
            }
            return;
        }
        let outcome = self.life.ends("a ticket", ticket).await;
        self.resolved(stream, ids, level, overtaken, outcome);
    }

    fn resolved(
        &self,
        stream: usize,
        ids: Range<u64>,
        level: Level,
        overtaken: bool,
        outcome: Result<Ack, AppendError>,
    ) {
        let count = ids.end - ids.start;
        match outcome {
            Ok(ack) => {
                assert_eq!(u64::from(ack.count), count, "all of them");
                self.life
                    .say(format_args!("{ids:?} {level:?} at {}", ack.offset));
                self.life.world.points.pass(format!("ack: {level:?}"));
                let first = ack.offset.get();
                if level == Level::Archived {
                    assert!(
                        !overtaken,
                        "{ids:?} is archived by an owner that was overtaken"
                    );
                    self.life.world.model(stream).archived(first + count);
                }
                self.told(stream, ids, |at| match level {
                    Level::Written => Told::Written(first + at),
                    _ => Told::Durable(first + at),
                });
            }
            Err(AppendError { error, records }) => {
                if let Error::Conflict { next, .. } = error {
                    assert!(next > Offset(0) || !records.is_empty());
                    self.life.world.points.pass("error: Conflict");
                    return self.told(stream, ids, |_| Told::Never);
                }
                self.life.excused("an append", &error);
                let told = match error {
                    _ if records.len() as u64 == count => Told::Never,
                    Error::NotAppended { .. } | Error::StorageFull => Told::Never,
                    Error::Indeterminate { .. } => Told::Unknown,
                    _ => Told::Nothing,
                };
                self.told(stream, ids, |_| told);
            }
        }
    }
}
