//! Carries a plan out, through the actors, in one thread and without real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use tierlog::{
    Error, Level, NewRecord, Offset, Settings, Stream, Supervisor, Ticket, TryAppendBatch,
    testing::{
        Clock, Injected,
        storage::disk::{Disk, fault::FaultDisk},
    },
};

use crate::{
    bucket::Bucket,
    plan::{Ending, Life, Plan, Step, Tiers},
    promises::sum,
    recorder::{Boundary, Recorder},
    sim,
};

/// So long a life may last, on the log's own clock. Nothing in it takes more than seconds: what does not
/// come to its end waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Goes on with each look.
#[derive(Debug)]
pub struct Ticking(AtomicU64);

impl Ticking {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_700_000_000_000_000_000)))
    }
}

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// A log on this disk, with this bucket.
pub fn injected(disk: impl Disk, clock: &Arc<Ticking>, tiers: Tiers, bucket: &Bucket) -> Injected {
    let mut injected = sim::on(disk);
    injected.clock = Arc::clone(clock) as Arc<dyn Clock>;
    if tiers == Tiers::Cold {
        injected.store = Some(Arc::new(bucket.clone()));
    }
    injected
}

/// Carries a plan out; gives every moment at which it might have ended.
pub fn run(plan: &Plan) -> Vec<Boundary> {
    // Salts and pauses of the log.
    fastrand::seed(plan.seed);
    let (recorder, clock) = (Recorder::new(plan.with_creation), Ticking::new());
    for (number, life) in plan.lives.iter().enumerate() {
        let disk = recorder.begin(life.ending);
        let lived = sim::run(live(plan, life, number as u64, &recorder, &clock, disk));
        if let (Err(error), false) = (lived, recorder.is_over()) {
            let is_told = syncs_that_fail(life) > 1 && matches!(error, Error::Indeterminate { .. });
            assert!(is_told, "seed {}, life {number}: {error}", plan.seed);
        }
        recorder.end();
    }
    recorder.take_boundaries()
}

/// When one sync of the manifest fails and then that of the file that follows it, nobody can be told what became of
/// a commit, and a life ends with that answer.
fn syncs_that_fail(life: &Life) -> usize {
    let steps = life.steps.iter().flat_map(|(_, steps)| steps);
    steps
        .filter(|step| matches!(step, Step::FailSync(_)))
        .count()
}

async fn live(
    plan: &Plan,
    life: &Life,
    number: u64,
    recorder: &Recorder,
    clock: &Arc<Ticking>,
    disk: FaultDisk,
) -> Result<(), Error> {
    let injected = injected(disk, clock, plan.tiers, &recorder.bucket());
    let lived = async {
        let log = Supervisor::open_with(plan.settings.clone(), injected).await?;
        recorder.keep_on();
        let tasks = life.steps.iter().map(|(name, steps)| {
            let rng = Rng::with_seed(plan.seed << 8 | number << 4 | name.len() as u64);
            let (settings, recorder) = (&plan.settings, recorder.clone());
            Task::begin(&log, name, recorder, settings, rng, steps)
        });
        let outcomes: Result<(), Error> = join_all(tasks).await.into_iter().collect();
        outcomes?;
        if life.ending == Ending::Closed {
            let report = log.shutdown(Duration::from_secs(10)).await?;
            // One sync more may fail while it closes: then the next life recovers.
            assert!(
                report.clean || syncs_that_fail(life) > 0,
                "seed {}: {report:?}",
                plan.seed
            );
        } else {
            // It lived longer than it was to: it ends here, with what is under way.
            drop(log);
        }
        Ok(())
    };
    let lived = tokio::time::timeout(PATIENCE, lived);
    tokio::select! {
        biased;
        () = recorder.stopped() => Ok(()),
        lived = lived => lived.unwrap_or_else(|_| panic!("seed {}: it hangs", plan.seed)),
    }
}

/// Who writes to one stream.
struct Task<'a> {
    name: &'static str,
    stream: Stream,
    recorder: Recorder,
    settings: &'a Settings,
    rng: Rng,
}

impl<'a> Task<'a> {
    async fn begin(
        log: &Supervisor,
        name: &'static str,
        recorder: Recorder,
        settings: &'a Settings,
        rng: Rng,
        steps: &[Step],
    ) -> Result<(), Error> {
        recorder.note(name, |_| ());
        let stream = log.log().stream(name).await?;
        let marks = stream.watermarks();
        recorder.note(name, |promised| {
            let (start, end) = (marks.start.get(), marks.next.get());
            assert!(
                (promised.durable..=promised.next()).contains(&end)
                    || promised.cutting == Some(end)
            );
            assert!((promised.trimmed..=promised.trimming).contains(&start));
            // What is not there was not appended and never will be; what is there is durable.
            promised.ends(end);
            promised.created = true;
            (promised.trimmed, promised.trimming) = (start, start);
        });
        recorder.holds_to(name, &stream);
        let mut task = Self {
            name,
            stream,
            recorder,
            settings,
            rng,
        };
        for step in steps {
            task.take(step).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Append(size) => {
                let ticket = self.one(*size).await?;
                self.wait(ticket).await
            }
            Step::Submit(size) => self.one(*size).await.map(drop),
            Step::Archive(size) => {
                let ticket = self.one(*size).await?.at(Level::Archived);
                let ack = ticket.await?;
                let end = ack.offset.get() + u64::from(ack.count);
                self.note(|promised| promised.archived = promised.archived.max(end));
                Ok(())
            }
            Step::Batch(sizes) => {
                let ticket = self.batch(sizes).await?;
                self.wait(ticket).await
            }
            Step::Pack(sizes) => self.pack(sizes).await,
            Step::Flush => {
                let end = self.stream.flush().await?.get();
                self.note(|promised| promised.durable = promised.durable.max(end));
                Ok(())
            }
            Step::Seal => self.stream.seal().await.map(drop),
            Step::Trim(part) => self.trim(*part).await,
            Step::Truncate(part) => self.truncate(*part).await,
            Step::Idle => {
                let never = std::future::pending::<()>();
                let _ = tokio::time::timeout(Duration::from_millis(60), never).await;
                Ok(())
            }
            Step::FailSync(ending) => {
                let ending: &'static str = ending;
                let is_meant =
                    move |path: &std::path::Path| path.extension().is_some_and(|end| end == ending);
                self.recorder.disk().fail_next_sync(is_meant);
                Ok(())
            }
        }
    }

    fn note<T>(&self, note: impl FnOnce(&mut crate::promises::Promised) -> T) -> T {
        self.recorder.note(self.name, note)
    }

    /// A record unlike any other.
    fn record(&mut self, at: u64, size: usize) -> (NewRecord, u64) {
        let mut payload = format!("{}/{at}/{:x}/", self.name, self.rng.u64(..)).into_bytes();
        payload.extend((0..size).map(|at| match at % 3 {
            0 => self.rng.u8(..),
            _ => b'.',
        }));
        let key = (self.rng.u8(..4) == 0).then(|| vec![self.rng.u8(..); self.rng.usize(..5)]);
        let ext_id = (self.rng.u8(..4) == 0).then(|| self.rng.u64(..100));
        let known = sum(&payload, key.as_deref(), ext_id);
        let mut record = NewRecord::new(payload);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(id) = ext_id {
            record = record.ext_id(id);
        }
        (record, known)
    }

    /// One record is accepted.
    async fn one(&mut self, size: usize) -> Result<Ticket, Error> {
        let at = self.note(|promised| promised.next());
        let (record, known) = self.record(at, size);
        let ticket = self.accepted(vec![record]).await?;
        self.note(|promised| promised.submit(known));
        Ok(ticket)
    }

    async fn batch(&mut self, sizes: &[usize]) -> Result<Ticket, Error> {
        let first = self.note(|promised| promised.next());
        let made = (first..)
            .zip(sizes)
            .map(|(at, size)| self.record(at, *size));
        let (records, known): (Vec<_>, Vec<_>) = made.collect::<Vec<_>>().into_iter().unzip();
        let ticket = self.accepted(records).await?;
        self.note(|promised| promised.submit_batch(&known));
        Ok(ticket)
    }

    /// A ticket for what was accepted, however long that takes. No call to the disk comes between its
    /// being accepted and what is noted of it.
    async fn accepted(&self, records: Vec<NewRecord>) -> Result<Ticket, Error> {
        let mut waiting = records;
        loop {
            match self.stream.try_append_batch(waiting) {
                Ok(ticket) => return Ok(ticket),
                Err(TryAppendBatch::WouldBlock { kind, records }) => {
                    waiting = records;
                    self.stream.ready(kind).await;
                }
                Err(TryAppendBatch::Failed { error, .. }) => return Err(error),
            }
        }
    }

    /// Waits until it is durable, or, where nobody would make it so, written.
    async fn wait(&self, ticket: Ticket) -> Result<(), Error> {
        if self.settings.flush == tierlog::FlushPolicy::Manual {
            ticket.at(Level::Written).await?;
            return Ok(());
        }
        let ack = ticket.await?;
        let end = ack.offset.get() + u64::from(ack.count);
        self.note(|promised| promised.durable = promised.durable.max(end));
        Ok(())
    }

    async fn pack(&mut self, sizes: &[usize]) -> Result<(), Error> {
        let mut appender = self.stream.appender();
        for size in sizes {
            let payload: Vec<u8> = (0..*size).map(|_| self.rng.u8(..)).collect();
            // Before it is known whether it has been sent.
            self.note(|promised| promised.submit(sum(&payload, None, None)));
            drop(appender.push(&payload).await?);
        }
        match appender.send().await? {
            Some(ticket) => self.wait(ticket).await,
            None => Ok(()),
        }
    }

    async fn trim(&mut self, part: u64) -> Result<(), Error> {
        let marks = self.stream.watermarks();
        let (start, durable) = (marks.start.get(), marks.durable.get());
        let before = start + (durable - start) * part / 16;
        self.note(|promised| promised.trimming = promised.trimming.max(before));
        let start = self.stream.trim(Offset(before)).await?.get();
        self.note(|promised| promised.trimmed = promised.trimmed.max(start));
        Ok(())
    }

    async fn truncate(&mut self, part: u64) -> Result<(), Error> {
        let marks = self.stream.watermarks();
        let (start, next) = (marks.start.get(), marks.next.get());
        let end = start + (next - start) * part / 16;
        self.note(|promised| promised.cutting = Some(end));
        let last = end.checked_sub(1).map(Offset);
        let cut = self.stream.truncate_after(last).await;
        match cut {
            Ok(end) => self.note(|promised| promised.ends(end.get())),
            // Nothing was changed: it has an object, or was on its way between tiers.
            Err(Error::Archived { .. } | Error::Unavailable { .. }) => {
                self.note(|promised| promised.cutting = None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
