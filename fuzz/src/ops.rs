//! A whole log on a disk that forgets, against a model: appends, batches, seals, trims,
//! truncations, failing syncs, a full disk, clean closes, killed processes, power cuts.
//!
//! Everything runs on one thread from the input alone. The clock stands still while anything can
//! run and jumps to the next timer when nothing can, so that a wait without end is found at once.
//!
//! Byte 0: the policy and the seed; with bit 6 there is so little room for segments that they are
//! compressed. Then an operation a byte, some with a byte behind.

pub mod executor;
pub mod model;
mod trouble;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use executor::Later;
use model::{Fate, Model, payload};
use tierlog::{
    Ack, AppendError, Error, FlushPolicy, From, Offset, Settings, Size, Stream, Supervisor, Ticket,
    TryAppend, TryAppendBatch,
    testing::{
        Clock, Faults, Injected,
        storage::{disk::sim::SimDisk, segment::NewRecord},
    },
};

use crate::take;

const STREAMS: usize = 2;
const MOST_OPS: usize = 200;
/// Nothing takes an hour of a clock that stands still while there is work.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut data = &data[..data.len().min(2 * MOST_OPS)];
    let first = take(&mut data);
    fastrand::seed(u64::from(first));
    let mut world = World {
        disk: SimDisk::new(),
        policy: first % 3,
        tight: first & 0x40 != 0,
        next_id: 0,
        models: Default::default(),
        time: Arc::new(Ticks::default()),
        faulty: false,
        full: false,
        executors: Vec::new(),
    };
    for _ in 0..MOST_OPS {
        if !world.life(&mut data) {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_ns(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// What outlives a process.
struct World {
    disk: SimDisk,
    policy: u8,
    /// Segments have to go to Tier 1.
    tight: bool,
    next_id: u64,
    models: [Model; STREAMS],
    time: Arc<Ticks>,
    /// A fault was armed that may still strike: refusals and failures are no surprise.
    faulty: bool,
    /// The disk may have no room left.
    full: bool,
    /// Those of the processes that were begun since the last one ended.
    executors: Vec<Arc<Later>>,
}

/// How a life ended.
enum End {
    Closed,
    Killed,
    PowerCut(u64),
}

impl World {
    /// One process: opens the log, checks it, and does what the input says until it ends. False
    /// when the input is used up.
    fn life(&mut self, data: &mut &[u8]) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let end = runtime.block_on(async {
            let (supervisor, streams) = self.open().await;
            let mut process = Process {
                supervisor,
                streams,
                pending: Vec::new(),
                world: self,
            };
            process.check(true).await;
            process.run(data).await
        });
        // What is still queued, and every actor, ends with the runtime, as with a process.
        drop(runtime);
        for executor in self.executors.drain(..) {
            executor.forget();
        }
        self.disk.set_capacity(None);
        self.full = false;
        self.disk = match end {
            Some(End::PowerCut(seed)) => self.disk.power_cut(seed),
            Some(End::Closed | End::Killed) | None => self.disk.crash_process(),
        };
        end.is_some()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::for_tests("/log");
        settings.flush = match self.policy {
            0 => FlushPolicy::Always,
            1 => FlushPolicy::Manual,
            _ => FlushPolicy::Every(Duration::from_millis(5)),
        };
        settings.hot_budget = self.tight.then(|| Size::kib(480));
        settings
    }

    fn injected(&mut self) -> Injected {
        let executor = Later::start();
        self.executors.push(Arc::clone(&executor));
        Injected {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::clone(&self.time) as Arc<dyn Clock>,
            executor,
            faults: Faults::default(),
            store: None,
        }
    }

    async fn open(&mut self) -> (Supervisor, [Stream; STREAMS]) {
        // A sync that was armed to fail may fail here; the fault is spent then, and a new process
        // opens the log.
        for _ in 0..64 {
            let injected = self.injected();
            match within(Supervisor::open_with(self.settings(), injected)).await {
                Ok(supervisor) => match self.streams(&supervisor).await {
                    Ok(streams) => return (supervisor, streams),
                    Err(error) => assert!(self.faulty, "a stream did not open: {error}"),
                },
                Err(error) => assert!(self.faulty, "the log did not open: {error}"),
            }
            self.disk = self.disk.crash_process();
        }
        panic!("the log does not open again");
    }

    async fn streams(&self, supervisor: &Supervisor) -> Result<[Stream; STREAMS], Error> {
        let log = supervisor.log();
        Ok([
            within(log.stream("a")).await?,
            within(log.stream("b")).await?,
        ])
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.expect("every wait ends")
}

/// Accepted records whose ticket was not looked at.
struct Pending {
    stream: usize,
    ids: std::ops::Range<u64>,
    ticket: Ticket,
}

struct Process<'a> {
    supervisor: Supervisor,
    streams: [Stream; STREAMS],
    pending: Vec<Pending>,
    world: &'a mut World,
}

impl Process<'_> {
    async fn run(mut self, data: &mut &[u8]) -> Option<End> {
        while !data.is_empty() {
            let op = take(data);
            let stream = usize::from(op >> 7);
            match op & 0x0f {
                0..=2 => self.append(stream, usize::from(take(data)) * 60),
                3 => self.append_batch(stream, u16::from(take(data) % 8) + 1),
                4 => self.append_if(stream, take(data)).await,
                5 => self.yields(take(data)).await,
                6 => self.flush(stream).await,
                7 => self.seal(stream).await,
                8 => self.trim(stream, take(data)).await,
                9 => self.truncate(stream, take(data)).await,
                10 => self.settle().await,
                11 => self.arm(take(data)),
                12 => self.check(false).await,
                13 => return Some(self.close().await),
                14 => return Some(End::Killed),
                _ => return Some(End::PowerCut(u64::from(take(data)))),
            }
        }
        self.settle().await;
        self.check(false).await;
        None
    }

    fn ids(&mut self, stream: usize, count: u16) -> (std::ops::Range<u64>, (u64, u16)) {
        let first = self.world.next_id;
        self.world.next_id += u64::from(count);
        let ids = first..self.world.next_id;
        for id in ids.clone() {
            self.world.models[stream].offered(id, (first, count));
        }
        (ids, (first, count))
    }

    fn refused(&mut self, stream: usize, ids: std::ops::Range<u64>) {
        for id in ids {
            self.world.models[stream].told(id, Fate::Never);
        }
    }

    fn append(&mut self, stream: usize, len: usize) {
        let (ids, batch) = self.ids(stream, 1);
        let record = NewRecord::new(payload(ids.start, batch, len));
        match self.streams[stream].try_append(record) {
            Ok(ticket) => self.pending.push(Pending {
                stream,
                ids,
                ticket,
            }),
            Err(
                TryAppend::WouldBlock { payload: back, .. }
                | TryAppend::Failed { payload: back, .. },
            ) => {
                assert_eq!(back.payload, payload(ids.start, batch, len), "handed back");
                self.refused(stream, ids);
            }
        }
    }

    fn append_batch(&mut self, stream: usize, count: u16) {
        let (ids, batch) = self.ids(stream, count);
        let len = |id: u64| (id % 5) as usize * 90;
        let records = ids
            .clone()
            .map(|id| NewRecord::new(payload(id, batch, len(id))))
            .collect();
        match self.streams[stream].try_append_batch(records) {
            Ok(ticket) => self.pending.push(Pending {
                stream,
                ids,
                ticket,
            }),
            Err(
                TryAppendBatch::WouldBlock { records: back, .. }
                | TryAppendBatch::Failed { records: back, .. },
            ) => {
                assert_eq!(back.len(), usize::from(count), "handed back");
                self.refused(stream, ids);
            }
        }
    }

    async fn append_if(&mut self, stream: usize, add: u8) {
        // A few of them expect what is not so.
        let expected = self.streams[stream]
            .watermarks()
            .next
            .plus(u64::from(add / 64));
        let (ids, batch) = self.ids(stream, 1);
        if self.world.policy == 1 {
            // Only a flush makes anything durable: nobody would end the wait.
            return self.refused(stream, ids);
        }
        let record = NewRecord::new(payload(ids.start, batch, 20));
        let handle = self.streams[stream].clone();
        let call = handle.append_if(expected, record);
        tokio::pin!(call);
        let outcome = match tokio::time::timeout(PATIENCE, &mut call).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // On a full disk it waits for room, and goes on by itself once there is some.
                assert!(self.world.full, "every wait ends");
                self.make_room();
                within(call).await
            }
        };
        if let Err(AppendError {
            error: Error::Conflict { next, .. },
            ..
        }) = &outcome
        {
            assert_ne!(*next, expected);
            return self.refused(stream, ids);
        }
        if let Ok(ack) = &outcome {
            assert_eq!(ack.offset, expected);
        }
        self.resolved(stream, ids, outcome);
    }

    fn resolved(
        &mut self,
        stream: usize,
        ids: std::ops::Range<u64>,
        outcome: Result<Ack, AppendError>,
    ) {
        let model = &mut self.world.models[stream];
        match outcome {
            Ok(ack) => {
                assert_eq!(u64::from(ack.count), ids.end - ids.start, "all of them");
                for (id, offset) in ids.zip(ack.offset.get()..) {
                    model.told(id, Fate::At(offset));
                }
            }
            Err(AppendError { error, records }) => {
                assert!(self.world.faulty, "nothing went wrong, and yet: {error}");
                let count = ids.end - ids.start;
                // What is handed back is surely not in the log.
                let fate = match error {
                    Error::Indeterminate { .. } => Fate::Open,
                    _ if records.len() as u64 == count => Fate::Never,
                    Error::NotAppended { .. } | Error::StorageFull => Fate::Never,
                    _ => Fate::Open,
                };
                ids.for_each(|id| model.told(id, fate));
            }
        }
    }

    async fn yields(&mut self, times: u8) {
        for _ in 0..times % 32 {
            tokio::task::yield_now().await;
        }
        if times >= 0xf0 {
            tokio::time::sleep(Duration::from_millis(u64::from(times & 0x0f) * 10)).await;
        }
    }

    async fn flush(&mut self, stream: usize) {
        match within(self.streams[stream].flush()).await {
            Ok(end) => assert!(end <= self.streams[stream].watermarks().durable),
            Err(error) => self.excused(&error),
        }
    }

    async fn seal(&mut self, stream: usize) {
        if let Err(error) = within(self.streams[stream].seal()).await {
            self.excused(&error);
        }
    }

    async fn trim(&mut self, stream: usize, by: u8) {
        let marks = self.streams[stream].watermarks();
        let before = marks.start.plus(u64::from(by % 32));
        match within(self.streams[stream].trim(before)).await {
            Ok(start) => self.world.models[stream].trimmed(start.get()),
            Err(error) => {
                self.world.models[stream].maybe_trimmed(before.get());
                self.excused(&error);
            }
        }
    }

    async fn truncate(&mut self, stream: usize, by: u8) {
        let marks = self.streams[stream].watermarks();
        let next = marks
            .next
            .get()
            .saturating_sub(u64::from(by % 16))
            .max(marks.start.get());
        let last = next.checked_sub(1).map(Offset);
        match within(self.streams[stream].truncate_after(last)).await {
            Ok(end) => {
                assert!(end.get() <= next, "{end} for {next}");
                self.world.models[stream].truncated(end.get());
            }
            Err(error) => {
                self.world.models[stream].maybe_truncated(next);
                self.excused(&error);
            }
        }
    }

    /// Waits for all tickets.
    async fn settle(&mut self) {
        if self.world.policy == 1 {
            for stream in 0..STREAMS {
                self.flush(stream).await;
            }
        }
        for Pending {
            stream,
            ids,
            ticket,
        } in std::mem::take(&mut self.pending)
        {
            let outcome = within(ticket).await;
            self.resolved(stream, ids, outcome);
        }
    }

    /// Reads everything and holds it against the model.
    async fn check(&mut self, settled: bool) {
        for stream in 0..STREAMS {
            let outcome = within(self.read(stream)).await;
            match outcome {
                Ok((start, records)) => self.world.models[stream].check(start, &records, settled),
                Err(error) => {
                    assert!(!matches!(error, Error::Corrupt(_)), "{error}");
                    self.excused(&error);
                }
            }
        }
    }

    async fn read(&self, stream: usize) -> Result<(u64, Vec<tierlog::Record>), Error> {
        let stream = &self.streams[stream];
        let start = stream.watermarks().start;
        let mut reader = stream.reader(From::Offset(start)).await?;
        let mut records = Vec::new();
        loop {
            let batch = reader.next_batch(64).await?;
            if batch.is_empty() {
                return Ok((start.get(), records));
            }
            records.extend(batch);
        }
    }

    async fn close(mut self) -> End {
        let pending = std::mem::take(&mut self.pending);
        let Self {
            supervisor,
            world,
            streams,
            ..
        } = self;
        let outcome = within(supervisor.shutdown(Duration::from_secs(60))).await;
        let clean = matches!(&outcome, Ok(report) if report.clean);
        assert!(clean || world.faulty, "a clean close: {outcome:?}");
        drop(streams);
        for Pending {
            stream,
            ids,
            ticket,
        } in pending
        {
            match within(ticket).await {
                Ok(ack) => {
                    for (id, offset) in ids.zip(ack.offset.get()..) {
                        world.models[stream].told(id, Fate::At(offset));
                    }
                }
                Err(failed) => assert!(world.faulty, "drained, and yet: {failed}"),
            }
        }
        End::Closed
    }
}
