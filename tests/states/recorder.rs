//! Watches a workload: before each change of the disk or of the bucket it keeps what a crash at that moment
//! would find, and what was promised by then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tierlog::{
    Stream,
    testing::storage::disk::{
        fault::{Call, CallKind, FaultDisk, FaultPlan},
        sim::SimDisk,
    },
};
use tokio::sync::Notify;

use crate::{
    bucket::{Bucket, Objects},
    plan::Ending,
    promises::{Promised, Promises},
};

/// A moment at which the machine, or the process, may stop.
#[derive(Debug, Clone)]
pub struct Boundary {
    /// The disk with its cache.
    pub disk: SimDisk,
    pub objects: Objects,
    pub promises: Arc<Promises>,
    /// The call that would have been next.
    pub before: String,
}

/// Cheap to clone; each clone is the same one.
#[derive(Clone)]
pub struct Recorder {
    seen: Arc<Mutex<Seen>>,
    stopped: Arc<Notify>,
}

struct Seen {
    disk: SimDisk,
    bucket: Bucket,
    promises: Promises,
    streams: Vec<(&'static str, Stream)>,
    boundaries: Vec<Boundary>,
    /// What was kept last, as long as nothing else was promised since.
    last: Arc<Promises>,
    /// Boundaries are kept.
    keeping: bool,
    life: Running,
}

/// How far a life has come.
struct Running {
    changes: u64,
    ending: Ending,
    /// The disk as the next life finds it, and what was promised when this one ended.
    over: Option<(SimDisk, Promises)>,
}

impl Recorder {
    pub fn new(keeping: bool) -> Self {
        let recorder = Self {
            seen: Arc::new(Mutex::new(Seen {
                disk: SimDisk::new(),
                bucket: Bucket::default(),
                promises: Promises::new(),
                streams: Vec::new(),
                boundaries: Vec::new(),
                last: Arc::default(),
                keeping,
                life: Running {
                    changes: 0,
                    ending: Ending::Closed,
                    over: None,
                },
            })),
            stopped: Arc::default(),
        };
        let watching = recorder.clone();
        recorder.bucket().watch(move |call| watching.meet(call));
        recorder
    }

    /// The disk of a new life, which ends as it is told.
    pub fn begin(&self, ending: Ending) -> FaultDisk {
        let mut seen = self.lock();
        seen.streams.clear();
        seen.life = Running {
            changes: 0,
            ending,
            over: None,
        };
        let plan = FaultPlan::new();
        let watching = self.clone();
        plan.watch(move |call, _| {
            if CallKind::CHANGING.contains(&call.kind) {
                watching.meet(&tell(call));
            }
        });
        FaultDisk::new(Arc::new(seen.disk.clone()), plan)
    }

    /// The life is over, in one way or the other; nothing of it runs any more.
    pub fn end(&self) {
        let mut seen = self.lock();
        seen.streams.clear();
        let over = seen.life.over.take();
        let (disk, promises) = match over {
            Some(left) => left,
            None => {
                seen.keep("the end");
                (seen.disk.crash_process(), seen.promises.clone())
            }
        };
        (seen.disk, seen.promises) = (disk, promises);
    }

    /// Comes back when the life is over before its time.
    pub async fn stopped(&self) {
        loop {
            let stopped = self.stopped.notified();
            if self.is_over() {
                return;
            }
            stopped.await;
        }
    }

    pub fn is_over(&self) -> bool {
        self.lock().life.over.is_some()
    }

    /// Boundaries are kept from here on.
    pub fn keep_on(&self) {
        self.lock().keeping = true;
    }

    pub fn bucket(&self) -> Bucket {
        self.lock().bucket.clone()
    }

    /// The disk with its cache.
    pub fn disk(&self) -> SimDisk {
        self.lock().disk.clone()
    }

    /// From here on whatever the stream says of itself is a promise.
    pub fn holds_to(&self, name: &'static str, stream: &Stream) {
        self.lock().streams.push((name, stream.clone()));
    }

    /// Notes what was asked of a stream, or promised by it.
    pub fn note<T>(&self, name: &'static str, note: impl FnOnce(&mut Promised) -> T) -> T {
        note(self.lock().promises.entry(name).or_default())
    }

    pub fn take_boundaries(&self) -> Vec<Boundary> {
        std::mem::take(&mut self.lock().boundaries)
    }

    fn meet(&self, call: &str) {
        let mut seen = self.lock();
        if seen.life.over.is_some() {
            return;
        }
        seen.keep(call);
        seen.life.changes += 1;
        let left = match seen.life.ending {
            Ending::Killed(nth) if nth == seen.life.changes => seen.disk.crash_process(),
            Ending::PowerCut(nth, seed) if nth == seen.life.changes => seen.disk.power_cut(seed),
            _ => return,
        };
        seen.life.over = Some((left, seen.promises.clone()));
        self.stopped.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn keep(&mut self, before: &str) {
        for (name, stream) in &self.streams {
            let promised = self.promises.entry(name).or_default();
            if promised.cutting.is_none() {
                // Who asks the stream itself was told so, whether anybody did or not.
                let marks = stream.watermarks();
                promised.durable = promised.durable.max(marks.durable.get());
                promised.archived = promised.archived.max(marks.archived.get());
                promised.trimmed = promised.trimmed.max(marks.start.get());
                assert!(promised.durable <= promised.next(), "{name}: {marks:?}");
            }
        }
        if !self.keeping {
            return;
        }
        if *self.last != self.promises {
            self.last = Arc::new(self.promises.clone());
        }
        self.boundaries.push(Boundary {
            disk: self.disk.copy(),
            objects: self.bucket.objects(),
            promises: Arc::clone(&self.last),
            before: before.to_owned(),
        });
    }
}

/// A call, for people.
fn tell(call: &Call) -> String {
    let Call {
        kind,
        path,
        pos,
        len,
    } = call;
    let path = path.display();
    match (pos, len) {
        (0, 0) => format!("{kind:?} {path}"),
        _ => format!("{kind:?} {path} at {pos}, {len} bytes"),
    }
}
