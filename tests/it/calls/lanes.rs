//! Which call fails in which story, and how a story is told.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use futures::FutureExt;
use tierlog::testing::storage::disk::{
    fault::{Armed, CallKind, Calls, Fault},
    sim::Cut,
};
use tokio::time::timeout;

use super::{
    rig::Rig,
    sites::Coverage,
    story::{Steps, Told, check, tell},
};
use crate::support::within;

/// Stories that are told at once: most of their time they wait.
const AT_ONCE: usize = 8;

/// For so long nothing happens before a fault that came to stay goes all the same: what waits for a disk
/// to have room again, or for Tier 2, waits for as long as it takes.
const QUIET: Duration = Duration::from_millis(300);

/// One kind of call that fails in one way.
#[derive(Debug, Clone, Copy)]
pub struct Lane {
    pub kind: CallKind,
    pub fault: Fault,
    pub forever: bool,
    /// Only on files whose names end so.
    pub ending: Option<&'static str>,
}

/// What came of a story.
#[derive(Debug)]
pub struct Outcome {
    pub lane: Lane,
    pub nth: u64,
    /// How many calls failed.
    pub struck: u64,
    pub failure: Option<String>,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.forever { "good" } else { "once" };
        write!(f, "{:?} {:?} {times}", self.kind, self.fault)?;
        self.ending.map_or(Ok(()), |ending| write!(f, " {ending}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lane, nth, struck) = (self.lane, self.nth, self.struck);
        let failure = self.failure.as_deref().unwrap_or("all is well");
        write!(f, "{lane} {nth}: {struck} calls failed; {failure}")
    }
}

/// Every kind of call, in each way in which it can fail.
pub fn lanes() -> Vec<Lane> {
    let mut lanes = Vec::new();
    for kind in CallKind::ALL {
        // Of the other kinds there is no half.
        let halves = matches!(kind, CallKind::WriteAt | CallKind::Allocate);
        let faults = [Fault::Io, Fault::Full, Fault::Short(700)];
        let faults = faults.into_iter().take(if halves { 3 } else { 2 });
        for fault in faults {
            lanes.extend([false, true].map(|forever| Lane {
                kind,
                fault,
                forever,
                ending: None,
            }));
        }
    }
    lanes
}

/// What few of the others come to: the writer's repairs, and a manifest that takes from its reserve.
pub fn of_files() -> Vec<(Lane, Option<Vec<u64>>)> {
    let lane = |kind, fault, forever, ending| Lane {
        kind,
        fault,
        forever,
        ending: Some(ending),
    };
    let (write, sync) = (CallKind::WriteAt, CallKind::SyncData);
    let (full, short) = (Fault::Full, Fault::Short(700));
    let segments = [write, sync].map(|kind| (lane(kind, Fault::Io, false, ".tls"), 10));
    let manifests = [full, short].map(|fault| (lane(CallKind::Allocate, fault, true, ".tlm"), 4));
    let lanes = segments.into_iter().chain(manifests);
    lanes
        .map(|(lane, most)| (lane, Some((1..=most).collect())))
        .collect()
}

/// Tells the story without a fault; gives how many calls of each kind it made.
pub fn tell_untouched(coverage: &Coverage) -> BTreeMap<CallKind, u64> {
    let rig = Rig::new();
    coverage.note(&rig.plan, true);
    run(async {
        let mut told = Told::default();
        within(tell(&rig, &Steps::default(), &mut told)).await;
    });
    CallKind::ALL
        .map(|kind| (kind, rig.plan.count(kind)))
        .into()
}

/// Tells the stories of all lanes: those of these numbers, or from 1 on until one meets no fault.
pub fn tell_all(lanes: Vec<(Lane, Option<Vec<u64>>)>, coverage: &Coverage) -> Vec<Outcome> {
    let lanes = Mutex::new(VecDeque::from(lanes));
    let outcomes = Mutex::new(Vec::new());
    let next = || {
        lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((lane, numbers)) = next() {
                    let told = tell_lane(lane, numbers, coverage);
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(told);
                }
            });
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn tell_lane(lane: Lane, numbers: Option<Vec<u64>>, coverage: &Coverage) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let sampled = numbers.is_some();
    let numbers = numbers.unwrap_or_default().into_iter();
    let all = (1..).take_while(|_| !sampled);
    for nth in numbers.chain(all) {
        let told = tell_with(lane, nth, coverage);
        let is_last = told.struck == 0;
        outcomes.push(told);
        if is_last && !sampled {
            break;
        }
    }
    outcomes
}

pub fn tell_with(lane: Lane, nth: u64, coverage: &Coverage) -> Outcome {
    let rig = Rig::new();
    coverage.note(&rig.plan, false);
    let calls = Calls::of(lane.kind).nth(nth);
    let calls = match lane.ending {
        Some(ending) => calls.ending(ending),
        None => calls,
    };
    let calls = if lane.forever { calls.forever() } else { calls };
    let armed = rig.plan.fail(calls, lane.fault);
    let steps = Steps::default();
    let story = AssertUnwindSafe(story(&rig, &armed, &steps)).catch_unwind();
    let failure = run(story).err();
    let failure = failure.map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or("?", |text| text)
            .to_owned(),
    });
    Outcome {
        lane,
        nth,
        struck: armed.struck(),
        failure: failure.map(|what| format!("at {:?}: {what}", steps.told())),
    }
}

async fn story(rig: &Rig, armed: &Armed, steps: &Steps) {
    let mut told = Told::default();
    {
        let mut story = Box::pin(tell(rig, steps, &mut told));
        let mut before = steps.told();
        while timeout(QUIET, &mut story).await.is_err() {
            let now = steps.told();
            if now == before && armed.struck() > 0 {
                armed.stop();
                within(&mut story).await;
                break;
            }
            before = now;
        }
    }
    armed.stop();
    for (cut, what) in [
        (Cut::AllLost, "behind a power cut"),
        (Cut::Seeded(armed.struck()), "behind another power cut"),
    ] {
        steps.begin(what);
        let cut = Rig::on(rig.sim.preview_cut(cut));
        within(check(&cut, &told)).await;
    }
    steps.begin("the fault is gone");
    within(check(rig, &told)).await;
}

/// Runs a future in one thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}
