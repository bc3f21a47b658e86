//! A log over one disk, Tier 2 in a folder of the same, on threads that all stories share.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tierlog::{
    Error, Settings, Supervisor,
    testing::{
        Executor, Faults, Injected, Job, SystemClock, ThreadPool, Work,
        cold::store::{Blocking, DirStore},
        storage::{
            disk::{
                Disk,
                fault::{FaultDisk, FaultPlan},
                sim::SimDisk,
            },
            layout::Layout,
        },
    },
};

/// Which part of a story is told, and so with which settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    First,
    CutShort,
    Recovered,
    /// There is room for all of it on this machine.
    Roomy,
    /// A log without Tier 2, elsewhere.
    Plain,
    /// Another log, made of what Tier 2 holds.
    Restored,
}

impl Life {
    /// In the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::First,
        Self::CutShort,
        Self::Recovered,
        Self::Roomy,
        Self::Plain,
        Self::Restored,
    ];
}

/// Where the log is, and its Tier 2.
pub const LOG: &str = "/log";
const COLD: &str = "/cold";

/// Threads for all stories that are told at once.
#[derive(Debug, Clone)]
struct Threads(Arc<ThreadPool>);

impl Executor for Threads {
    fn submit(&self, work: Work, job: Job) -> Result<(), Job> {
        self.0.submit(work, job)
    }
}

impl Blocking for Threads {
    fn run(&self, job: Job) -> Result<(), Job> {
        self.0.submit(Work::Store, job)
    }
}

fn threads() -> Threads {
    static THREADS: OnceLock<Arc<ThreadPool>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| {
        let pool = ThreadPool::start(6, 2, 1 << 16).and_then(|pool| pool.and_fetch(1 << 16));
        Arc::new(pool.expect("threads"))
    });
    Threads(Arc::clone(threads))
}

/// A disk and what is armed on it.
#[derive(Debug, Clone)]
pub struct Rig {
    pub sim: SimDisk,
    pub plan: FaultPlan,
}

impl Rig {
    pub fn new() -> Self {
        Self::on(SimDisk::new())
    }

    /// The next process, without faults.
    pub fn on(sim: SimDisk) -> Self {
        Self {
            sim,
            plan: FaultPlan::new(),
        }
    }

    pub fn disk(&self) -> Arc<dyn Disk> {
        let sim = Arc::new(self.sim.clone());
        Arc::new(FaultDisk::new(sim, self.plan.clone()))
    }

    /// So little room that segments cross all tiers.
    pub fn settings(&self, life: Life) -> Settings {
        let mut settings = Settings::for_tests(LOG);
        let flush = match life {
            Life::CutShort => "manual",
            Life::Recovered => "every 1ms",
            _ => "always",
        };
        let hot = if life == Life::Roomy {
            "8MiB"
        } else {
            "320KiB"
        };
        let warm = if life == Life::Roomy {
            "8MiB"
        } else {
            "160KiB"
        };
        for (key, value) in [
            ("flush", flush),
            ("hot_budget", hot),
            ("warm_budget", warm),
            ("archive_after", "1ms"),
            ("idle_mark", "10ms"),
            ("tail_cache", "0B"),
            ("read_cache", "0B"),
            ("restart_limit", "3"),
            ("cold_wait", "1s"),
        ] {
            settings.set(key, value).expect("a setting");
        }
        if life == Life::Restored {
            settings.data = "/restored".into();
        }
        if life == Life::Plain {
            settings.data = "/plain".into();
            settings.set("read", "map").expect("a setting");
            settings.set("warm_budget", "8MiB").expect("a setting");
            // A batch is longer than the room that a segment begins with.
            settings.set("max_record", "32KiB").expect("a setting");
        }
        settings
    }

    pub fn injected(&self, life: Life) -> Injected {
        let threads = Arc::new(threads());
        let store = DirStore::new(self.disk(), PathBuf::from(COLD), Arc::clone(&threads) as _);
        Injected {
            disk: self.disk(),
            clock: Arc::new(SystemClock),
            executor: threads,
            faults: Faults::default(),
            store: (life != Life::Plain).then(|| Arc::new(store) as _),
        }
    }

    /// Waits until nobody has the log open any more.
    pub async fn free(&self) {
        let path = Layout::new(LOG).lock();
        while matches!(self.sim.lock(&path), Err(error) if error.kind() == ErrorKind::WouldBlock) {
            tokio::task::yield_now().await;
        }
    }

    /// Opens the log once its last owner, who is just going away, is gone.
    pub async fn open(&self, life: Life) -> Result<Supervisor, Error> {
        loop {
            match Supervisor::open_with(self.settings(life), self.injected(life)).await {
                Err(error) if crate::support::is_locked(&error) => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    }
}

/// What somebody has left lying about: copies of files under numbers that nothing names.
pub fn litter(sim: &SimDisk) {
    let streams = Path::new(LOG).join("streams");
    for stream in sim.list(&streams).unwrap_or_default() {
        let dir = streams.join(stream.name);
        let names = sim.list(&dir).unwrap_or_default();
        for ending in ["tls", "tlz"] {
            let mut paths = names.iter().map(|entry| dir.join(&entry.name));
            let Some(file) = paths.find(|path| path.extension().is_some_and(|end| end == ending))
            else {
                continue;
            };
            for number in [0, 1, 500] {
                // One that is there is somebody's.
                let _there = sim.link(&file, &dir.join(format!("{number:020}.{ending}")));
            }
        }
    }
}
