//! A log in one thread, on a disk that fails on order and with a bucket, and whoever is at work in it.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tierlog::{
    Error, Level, Offset, ReadOnly, Settings, Stream, Supervisor,
    testing::{
        Faults, Injected,
        storage::{
            SegmentNo,
            disk::{
                Disk,
                fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
                sim::SimDisk,
            },
            layout::Layout,
        },
    },
};
use tokio::time::timeout;

use crate::{cold::bucket::Bucket, cold::sweep::leave_one};

/// Longer than whatever a wait may take by itself: a stall, restarts with their pauses, a store that is
/// given up.
pub const LIMIT: Duration = Duration::from_secs(600);

/// What somebody else in the log waits for a step of his work.
const STEP: Duration = Duration::from_secs(60);

/// One log and all that is around it.
#[derive(Clone)]
pub struct World {
    pub disk: SimDisk,
    pub plan: FaultPlan,
    pub faults: Faults,
    pub bucket: Bucket,
    pub settings: Settings,
    /// None once somebody has shut it down.
    log: Arc<Mutex<Option<Supervisor>>>,
    pub stream: Stream,
    pub view: Arc<ReadOnly>,
}

fn settings(data: &str) -> Settings {
    let mut settings = Settings::for_tests(data.to_owned());
    for (key, value) in [
        ("flush", "every 1ms"),
        ("hot_budget", "1MiB"),
        ("archive_after", "1ms"),
        ("idle_mark", "10ms"),
        ("restart_limit", "8"),
    ] {
        settings.set(key, value).expect("a setting");
    }
    settings
}

/// Runs a future to its end in one thread, where time passes only when nothing else is left to do.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    // Not every public future may go to another thread.
    let local = tokio::task::LocalSet::new();
    crate::sim::run(local.run_until(future))
}

impl World {
    /// A log of some records, of which a segment is archived.
    pub async fn new() -> Self {
        let (disk, plan, faults) = (SimDisk::new(), FaultPlan::new(), Faults::default());
        let bucket = Bucket::default();
        let settings = settings("/log");
        let on = FaultDisk::new(Arc::new(disk.clone()), plan.clone());
        let injected = injected(on, &faults, &bucket);
        let log = Supervisor::open_with(settings.clone(), injected).await;
        let log = log.expect("the log opens");
        let stream = log.log().stream("s").await.expect("a stream");
        for n in 0..4 {
            stream.append(format!("first {n}")).await.expect("an ack");
        }
        let archived = stream.append_at("archived", Level::Archived).await;
        archived.expect("archived");
        for n in 0..4 {
            stream.append(format!("then {n}")).await.expect("an ack");
        }
        let on = FaultDisk::new(Arc::new(disk.clone()), plan.clone());
        let attached = injected_for_reading(on, &bucket);
        let view = ReadOnly::attach_injected(settings.clone(), attached).await;
        Self {
            view: Arc::new(view.expect("attached")),
            log: Arc::new(Mutex::new(Some(log))),
            disk,
            plan,
            faults,
            bucket,
            settings,
            stream,
        }
    }

    /// For another log of the same process, elsewhere.
    pub fn elsewhere(&self) -> (Settings, Injected) {
        let on = FaultDisk::new(Arc::new(self.disk.clone()), self.plan.clone());
        (
            settings("/other"),
            injected(on, &self.faults, &Bucket::default()),
        )
    }

    /// For a log of what the bucket holds.
    pub fn restored(&self) -> (Settings, Injected) {
        let on = FaultDisk::new(Arc::new(self.disk.clone()), self.plan.clone());
        (
            settings("/restored"),
            injected(on, &self.faults, &self.bucket),
        )
    }

    /// For somebody who only reads it.
    pub fn reading(&self) -> (Settings, Injected) {
        let on = FaultDisk::new(Arc::new(self.disk.clone()), self.plan.clone());
        (
            self.settings.clone(),
            injected_for_reading(on, &self.bucket),
        )
    }

    /// The log, if nobody has shut it down.
    pub fn take_log(&self) -> Option<Supervisor> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub fn put_log(&self, log: Supervisor) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(log);
    }

    /// The handle to its streams, if it is there.
    pub fn handle(&self) -> Result<tierlog::Log, Error> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map(Supervisor::log).ok_or(Error::Closed)
    }

    /// Whoever else is at work does all that there is to be done, until an actor comes by the point.
    pub async fn stir(&self, point: &str, seen: impl Fn() -> bool) {
        if point == "coordinator.before_discard" {
            leave_one(&self.bucket).await;
        }
        if point == "coordinator.before_take" || point == "coordinator.before_clean" {
            self.leave_a_file();
        }
        for round in 0..3 {
            for step in 0..8 {
                if seen() {
                    return;
                }
                if point == "writer.before_repair_commit" {
                    let segments = Calls::of(CallKind::WriteAt).ending(".tls");
                    let _armed = self.plan.fail(segments, Fault::Io);
                }
                let _late = timeout(STEP, self.work(step, round)).await;
            }
        }
        if let Some(log) = self.take_log() {
            let _report = timeout(STEP, log.shutdown(Duration::from_secs(1))).await;
        }
    }

    /// Of a segment that nothing names, for a sweep to find.
    fn leave_a_file(&self) {
        let path = Layout::new("/log").segment(self.stream.id(), SegmentNo(9_999));
        let file = self.disk.create_new(&path).expect("a name that is free");
        file.sync_data().expect("synced");
    }

    async fn work(&self, step: u32, round: u32) -> Result<(), Error> {
        let stream = &self.stream;
        match step {
            0 => drop(stream.append("stirred").await?),
            1 => drop(stream.append_at("archived", Level::Archived).await?),
            2 => drop(stream.seal().await?),
            3 => drop(stream.append("sealed").await?),
            4 => {
                let before = stream.watermarks().start.plus(1);
                stream.trim(before).await?;
            }
            5 => {
                stream.append("cut off").await?;
                let last = stream.watermarks().durable.get().saturating_sub(2);
                stream.truncate_after(Some(Offset(last))).await?;
            }
            6 => drop(self.handle()?.stream(&format!("s-{round}")).await?),
            _ => drop(self.handle()?.sweep().await?),
        }
        Ok(())
    }

    /// What the caller of a future does that waits for him.
    pub async fn go_on(&self) {
        for _ in 0..3 {
            let _late = timeout(STEP, self.stream.append("and on")).await;
            let _late = timeout(STEP, self.stream.flush()).await;
        }
    }
}

fn injected(disk: FaultDisk, faults: &Faults, bucket: &Bucket) -> Injected {
    Injected {
        faults: faults.clone(),
        store: Some(Arc::new(bucket.clone())),
        ..crate::sim::on(disk)
    }
}

fn injected_for_reading(disk: FaultDisk, bucket: &Bucket) -> Injected {
    injected(disk, &Faults::default(), bucket)
}
