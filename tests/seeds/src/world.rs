//! What outlives the processes of a seed, and what all who work in one share.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tierlog::{
    Error, Log, Stream,
    testing::{
        COLD_POINTS, Faults, MOVE_POINTS, POINTS, SWEEP_POINTS,
        storage::{
            disk::{fault::FaultPlan, sim::SimDisk},
            error::StorageError,
        },
    },
};
use tokio::{sync::RwLock, time::timeout};

use crate::{
    bucket::Bucket,
    clock::Time,
    model::Model,
    observer::Listener,
    plan::{Plan, Trouble},
    points::Points,
    trace::{Keeps, Trace},
};

/// The streams there may be.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// After so long whatever stands in the way is taken out of it.
const PATIENCE: Duration = Duration::from_secs(90);
/// And after so long more nothing will ever come.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// What outlives processes.
pub struct World {
    /// The seed.
    pub seed: u64,
    /// What it makes of things.
    pub plan: Plan,
    /// What time it is.
    pub time: Arc<Time>,
    /// What happened.
    pub trace: Trace,
    /// What was come by.
    pub points: Points,
    /// Listens to the log.
    pub listener: Listener,
    /// Tier 2.
    pub bucket: Bucket,
    /// The streams as they must be.
    pub models: Vec<Mutex<Model>>,
    ids: Arc<AtomicU64>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, keeps: Keeps) -> Arc<Self> {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::of(&mut rng);
        let time = Arc::new(Time::default());
        let trace = Trace::new(keeps, Arc::clone(&time));
        let points = Points::default();
        let listener = Listener {
            trace: trace.clone(),
            points: points.clone(),
        };
        let bucket = Bucket::new(
            rng.u64(..),
            Arc::clone(&time),
            trace.clone(),
            points.clone(),
        );
        trace.say("seed", format_args!("{seed}: {plan:?}"));
        Arc::new(Self {
            seed,
            models: (0..plan.streams).map(|_| Mutex::default()).collect(),
            plan,
            time,
            trace,
            points,
            listener,
            bucket,
            ids: Arc::default(),
        })
    }

    /// The world of one who goes on from a copy of the directory as a power cut would leave it now.
    pub fn fork(&self) -> Arc<Self> {
        let model = |at| {
            let mut model = self.model(at).clone();
            model.process_ended();
            model.cache_lost();
            Mutex::new(model)
        };
        Arc::new(Self {
            seed: self.seed,
            plan: self.plan.clone(),
            time: Arc::clone(&self.time),
            trace: self.trace.clone(),
            points: self.points.clone(),
            listener: self.listener.clone(),
            bucket: self.bucket.clone(),
            models: (0..self.plan.streams).map(model).collect(),
            ids: Arc::clone(&self.ids),
        })
    }

    /// A source of chance for one who does something in one life.
    pub fn rng(&self, who: &str) -> Rng {
        let mut mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in who.bytes() {
            mixed = (mixed ^ u64::from(byte))
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(17);
        }
        Rng::with_seed(mixed)
    }

    /// Identities for so many records.
    pub fn ids(&self, count: u64) -> std::ops::Range<u64> {
        let first = self.ids.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }

    /// A stream as it must be.
    pub fn model(&self, stream: usize) -> MutexGuard<'_, Model> {
        self.models[stream]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// One process, as those who work in it see it.
pub struct Life {
    /// What outlives it.
    pub world: Arc<World>,
    /// Its number and that of the log's owner within it.
    pub name: String,
    /// Its disk.
    pub disk: SimDisk,
    /// What the disk does wrong.
    pub plan: FaultPlan,
    /// What actors do wrong.
    pub faults: Faults,
    /// Nobody is to do anything wrong any more.
    pub quiet: Arc<AtomicBool>,
    /// It is closing, or was overtaken: errors that say so are none.
    pub closing: AtomicBool,
    /// Its machine is about to stop.
    pub halted: AtomicBool,
    /// Somebody tries to claim its Tier 2.
    pub rivalled: AtomicBool,
    /// He has claimed it.
    pub overtaken: AtomicBool,
    /// Held by whoever appends and can't tell when he is accepted, and by who truncates.
    pub gates: Vec<RwLock<()>>,
    /// What is at work, once it is open.
    pub at_work: Mutex<Option<(Log, Vec<Stream>)>>,
}

impl Life {
    /// A process on a disk.
    pub fn new(world: &Arc<World>, name: String, disk: SimDisk) -> Arc<Self> {
        Arc::new(Self {
            gates: (0..world.plan.streams).map(|_| RwLock::default()).collect(),
            world: Arc::clone(world),
            name,
            disk,
            plan: FaultPlan::new(),
            faults: Faults::default(),
            quiet: Arc::default(),
            closing: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            rivalled: AtomicBool::new(false),
            overtaken: AtomicBool::new(false),
            at_work: Mutex::new(None),
        })
    }

    /// A line of the trace.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        self.world.trace.say("app", what);
    }

    /// Nothing goes wrong any more, and whatever was held goes on.
    pub fn calm(&self) {
        self.quiet.store(true, Ordering::Relaxed);
        self.plan.clear();
        self.disk.set_capacity(None);
        self.world.bucket.behave(|manners| {
            manners.down = false;
            manners.per_mille = 0;
        });
        let all = [POINTS, MOVE_POINTS, COLD_POINTS, SWEEP_POINTS];
        for point in all.into_iter().flatten() {
            self.faults.release(point);
        }
    }

    /// Takes whatever may stand in the way out of it: troubles, full budgets, unsynced bytes.
    fn relieve(&self) {
        self.calm();
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, streams)) = &*at_work else {
            return;
        };
        for (at, stream) in streams.iter().enumerate() {
            let (world, stream) = (Arc::clone(&self.world), stream.clone());
            tokio::spawn(async move {
                // One after the other, until all is trimmed that is there: each makes some room.
                for _ in 0..30 {
                    let _ = timeout(Duration::from_secs(30), stream.flush()).await;
                    // An open segment counts with its full size.
                    let _ = timeout(Duration::from_secs(30), stream.seal()).await;
                    let durable = stream.watermarks().durable;
                    world.model(at).may_trim(durable.get());
                    let trimmed = timeout(Duration::from_secs(30), stream.trim(durable)).await;
                    if let Ok(Ok(start)) = trimmed {
                        world.model(at).trimmed(start.get());
                    }
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            });
        }
    }

    /// Waits for something that has to come to its end.
    pub async fn ends<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        if let Ok(outcome) = timeout(PATIENCE, &mut future).await {
            return outcome;
        }
        self.say(format_args!("{what} does not end: out of its way"));
        if let Some((_, streams)) = &*self.at_work.lock().unwrap_or_else(PoisonError::into_inner) {
            for stream in streams {
                self.say(format_args!("{}: {:?}", stream.name(), stream.watermarks()));
            }
        }
        self.world.points.pass("app: a wait needed help");
        self.relieve();
        let outcome = timeout(FOR_EVER, future).await;
        outcome.unwrap_or_else(|_| panic!("it never ends: {what}"))
    }

    /// Whether an error is to be expected, by what goes wrong in this seed.
    #[track_caller]
    pub fn excused(&self, what: &str, error: &Error) {
        let plan = &self.world.plan;
        self.say(format_args!("{what}: {error}"));
        self.world.points.pass(format!("error: {}", kind_of(error)));
        let lies = plan.has(Trouble::Lies);
        let fine = match error {
            Error::Corrupt(_) => lies,
            _ if self.halted.load(Ordering::Relaxed) => true,
            Error::Storage(error) => match &**error {
                StorageError::Corrupt(_) | StorageError::CorruptFile { .. } => lies,
                // By the jobs of a log that was dropped, as long as they run.
                StorageError::Locked { .. } if self.closing.load(Ordering::Relaxed) => true,
                _ => !plan.is_calm(),
            },
            Error::Closed | Error::Indeterminate { .. } if self.closing.load(Ordering::Relaxed) => {
                true
            }
            Error::Unavailable { .. } if self.closing.load(Ordering::Relaxed) => true,
            // Segments on their way between tiers are not cut.
            Error::Unavailable { .. } if what == "a truncation" => true,
            Error::Closed => false,
            Error::Fenced { .. } => self.rivalled.load(Ordering::Relaxed),
            Error::Trimmed { .. } | Error::Truncated { .. } | Error::Archived { .. } => {
                // Who waits for long is helped by trims.
                true
            }
            // A segment that moves is not what its caller has got wrong.
            Error::InvalidInput { .. } => what != "a truncation",
            // A budget that is used up.
            Error::StorageFull => true,
            Error::Tier2 { .. } => lies || plan.has(Trouble::Store),
            Error::Unsupported { .. } => !plan.cold,
            _ => !plan.is_calm(),
        };
        assert!(fine, "{what}: nothing went wrong that explains it: {error}");
    }
}

/// The name of an error's variant.
fn kind_of(error: &Error) -> String {
    let text = format!("{error:?}");
    let end = text
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(text.len());
    text[..end].to_owned()
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
