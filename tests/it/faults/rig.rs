//! A log on a disk that fails on order, with actors that fail on order.

use std::{future::Future, sync::Arc};

use tierlog::{
    Health, Settings, Stream, Supervisor,
    testing::{
        Clock, Faults, Injected, SystemClock, ThreadPool,
        cold::store::Store,
        storage::disk::{
            Disk, RealDisk,
            fault::{FaultDisk, FaultPlan},
            sim::SimDisk,
        },
    },
};

use super::strict::Strict;
use crate::support::within;

/// A disk and what is armed on it and in the actors.
#[derive(Debug, Clone)]
pub struct Rig {
    pub settings: Settings,
    pub disk: Strict,
    pub plan: FaultPlan,
    pub faults: Faults,
    /// Tier 2.
    pub store: Option<Arc<dyn Store>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Rig {
    /// Over a simulated disk.
    pub fn sim(disk: &SimDisk) -> Self {
        Self::over(Arc::new(disk.clone()), Settings::for_tests("/log"))
    }

    /// Over the real one.
    pub fn real(dir: &std::path::Path) -> Self {
        Self::over(Arc::new(RealDisk), crate::support::small(dir))
    }

    fn over(disk: Arc<dyn Disk>, mut settings: Settings) -> Self {
        let plan = FaultPlan::new();
        // One restart after the other is what these tests do; the limit has its own.
        settings.restart_limit = 8;
        settings.max_streams = 16;
        Self {
            settings,
            disk: Strict::new(Arc::new(FaultDisk::new(disk, plan.clone()))),
            plan,
            faults: Faults::default(),
            store: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets a key.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.set(key, value).expect("a setting");
        self
    }

    /// What is put in place of the real thing.
    pub fn injected(&self) -> Injected {
        let threads = ThreadPool::start(self.settings.io_threads, 1, 1024)
            .and_then(|threads| threads.and_fetch(1024))
            .expect("threads");
        Injected {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::clone(&self.clock),
            executor: Arc::new(threads),
            faults: self.faults.clone(),
            store: self.store.clone(),
        }
    }

    /// Opens the log.
    pub async fn open(&self) -> Supervisor {
        within(Supervisor::open_with(
            self.settings.clone(),
            self.injected(),
        ))
        .await
        .expect("the log opens")
    }

    /// Opens the log once its last owner, who is just going away, is gone.
    pub async fn reopen(&self) -> Supervisor {
        within(async {
            loop {
                match Supervisor::open_with(self.settings.clone(), self.injected()).await {
                    Ok(supervisor) => return supervisor,
                    Err(error) if crate::support::is_locked(&error) => {
                        tokio::task::yield_now().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await
    }

    /// The log as the next process finds it, without the faults.
    pub fn on(&self, disk: &SimDisk) -> Self {
        Self {
            settings: self.settings.clone(),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            ..Self::sim(disk)
        }
    }
}

/// Another process, or another supervisor in this one, finds the directory in use.
pub async fn is_in_use(rig: &Rig) -> bool {
    match Supervisor::open_with(rig.settings.clone(), rig.injected()).await {
        Ok(_) => false,
        Err(error) => {
            assert!(crate::support::is_locked(&error), "{error}");
            true
        }
    }
}

/// Waits until the log's health is as wanted.
pub async fn until(supervisor: &Supervisor, wanted: impl Fn(&Health) -> bool) -> Health {
    within(async {
        loop {
            let health = supervisor.health().await;
            if wanted(&health) {
                return health;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Waits until something holds that nobody rings a bell for.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// Is a segment file of a stream.
pub fn segment(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "tls")
}

/// Is a manifest file.
pub fn manifest(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "tlm")
}

/// Lets everybody else run until nothing changes any more, as far as that can be told.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Runs a test on a runtime of one thread, and on one of several.
pub fn on_each_runtime<F: Future<Output = ()>>(test: impl Fn(&'static str) -> F) {
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut several = tokio::runtime::Builder::new_multi_thread();
    for (name, builder) in [
        ("current-thread", &mut one),
        ("multi-thread", several.worker_threads(2)),
    ] {
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(test(name));
    }
}

/// A stream and the log that it is in.
pub async fn one_stream(rig: &Rig) -> (Supervisor, Stream) {
    let log = rig.open().await;
    let stream = within(log.log().stream("s")).await.expect("a stream");
    (log, stream)
}
