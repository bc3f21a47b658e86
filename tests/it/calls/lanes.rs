//! Which call fails in which story, and how a story is told.

use std::{
    cell::Cell,
    collections::VecDeque,
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
    pauses,
    rig::{Life, Rig},
    sites::Coverage,
    story::{Beginning, Steps, Told, check, tell, tell_all_lives},
};
use crate::support::{say, within};

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

/// What is told of a lane: calls of one life.
#[derive(Debug)]
pub struct Part<'a> {
    pub lane: Lane,
    pub beginning: &'a Beginning,
    /// Which of its calls; without this from 1 on, until that life passes untouched.
    pub numbers: Option<Vec<u64>>,
}

/// What came of a story.
#[derive(Debug)]
pub struct Outcome {
    pub lane: Lane,
    pub life: Life,
    pub nth: u64,
    /// How many calls failed.
    pub struck: u64,
    /// How many of them in the life that they were counted in.
    pub within: u64,
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
        let (lane, life, nth, struck) = (self.lane, self.life, self.nth, self.struck);
        let failure = self.failure.as_deref().unwrap_or("all is well");
        write!(f, "{lane} {life:?} {nth}: {struck} calls failed; {failure}")
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
pub fn of_files() -> Vec<(Lane, u64)> {
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
    segments.into_iter().chain(manifests).collect()
}

/// Tells the story without a fault; gives how each of its lives begins.
pub fn tell_untouched(coverage: &Coverage) -> Vec<Beginning> {
    let rig = Rig::new();
    coverage.note(&rig.plan, true);
    run(within(tell_all_lives(&rig)))
}

/// Tells all of these.
pub fn tell_all(parts: Vec<Part<'_>>, coverage: &Coverage) -> Vec<Outcome> {
    let parts = Mutex::new(VecDeque::from(parts));
    let outcomes = Mutex::new(Vec::new());
    let next = || {
        parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(part) = next() {
                    let told = tell_part(&part, coverage);
                    if part.numbers.is_none() {
                        let (lane, life) = (part.lane, part.beginning.life);
                        say(&format!("{lane} {life:?}: {} stories", told.len()));
                    }
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

fn tell_part(part: &Part<'_>, coverage: &Coverage) -> Vec<Outcome> {
    let tell = |nth| tell_with(part.lane, part.beginning, nth, coverage);
    if let Some(numbers) = &part.numbers {
        return numbers.iter().copied().map(tell).collect();
    }
    let mut outcomes = Vec::new();
    for nth in 1.. {
        let told = tell(nth);
        let is_last = told.within == 0;
        if told.failure.is_some() {
            say(&told.to_string());
        }
        outcomes.push(told);
        if is_last {
            break;
        }
    }
    outcomes
}

/// Tells a story; again, where it failed while the whole process stood still.
pub fn tell_with(lane: Lane, beginning: &Beginning, nth: u64, coverage: &Coverage) -> Outcome {
    loop {
        let pauses = pauses::so_far();
        let told = tell_once(lane, beginning, nth, coverage);
        if told.failure.is_none() || pauses::so_far() == pauses {
            return told;
        }
        say(&format!("the process stood still, once more: {told}"));
    }
}

fn tell_once(lane: Lane, beginning: &Beginning, nth: u64, coverage: &Coverage) -> Outcome {
    let (rig, told) = beginning.set_out();
    let (life, within) = (beginning.life, Cell::new(0));
    coverage.note(&rig.plan, false);
    let calls = Calls::of(lane.kind).nth(nth);
    let calls = match lane.ending {
        Some(ending) => calls.ending(ending),
        None => calls,
    };
    let calls = if lane.forever { calls.forever() } else { calls };
    let armed = rig.plan.fail(calls, lane.fault);
    let steps = Steps::default();
    let over = || within.set(armed.struck());
    let told = tell(&rig, &steps, told, life, over);
    let story = AssertUnwindSafe(story(&rig, &armed, &steps, told)).catch_unwind();
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
        life,
        nth,
        struck: armed.struck(),
        within: within.get(),
        failure: failure.map(|what| format!("at {:?}: {what}", steps.told())),
    }
}

async fn story(rig: &Rig, armed: &Armed, steps: &Steps, story: impl Future<Output = Told>) {
    let mut story = Box::pin(story);
    let mut before = steps.told();
    let told = loop {
        if let Ok(told) = timeout(QUIET, &mut story).await {
            break told;
        }
        let now = steps.told();
        if now == before && armed.struck() > 0 {
            armed.stop();
            break within(&mut story).await;
        }
        before = now;
    };
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
