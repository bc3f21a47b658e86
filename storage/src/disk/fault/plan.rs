//! What is armed, what was called, and the gates at which calls are held.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{CallKind, Calls, Fault};

/// How long a test waits for a call to arrive before it is given up as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which call.
    pub kind: CallKind,
    /// On which path; of a rename or a link the new one.
    pub path: PathBuf,
    /// Where in the file, for calls that have a position.
    pub pos: u64,
    /// How many bytes, for calls that have a length.
    pub len: u64,
}

/// The faults of a disk. A clone is the same plan.
#[derive(Clone, Default)]
pub struct FaultPlan {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    next_rule: u64,
    counts: BTreeMap<(CallKind, PathBuf), u64>,
    recording: bool,
    calls: Vec<Call>,
    watcher: Option<Watcher>,
}

/// Told of each call before it is made, and of how many were made to fail before.
type Watcher = Arc<dyn Fn(&Call, u64) + Send + Sync>;

struct Rule {
    id: u64,
    calls: Calls,
    /// How many calls have matched, meant or not.
    seen: u64,
    /// How many of them were meant.
    met: u64,
    action: Action,
}

enum Action {
    Fail(Fault),
    /// `parked` calls wait here now.
    Hold {
        parked: u64,
    },
    /// What those do who were parked; who comes later is not stopped.
    Released(Option<Fault>),
}

impl FaultPlan {
    /// A plan without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes these calls fail. Of two armed faults that mean the same call the older one strikes.
    pub fn fail(&self, calls: Calls, fault: Fault) -> Armed {
        Armed {
            plan: self.clone(),
            rule: self.add(calls, Action::Fail(fault)),
        }
    }

    /// Parks these calls before they do anything, until the returned value is told to release
    /// them or is dropped.
    #[must_use = "dropping it releases the calls"]
    pub fn hold(&self, calls: Calls) -> Held {
        Held {
            plan: self.clone(),
            rule: self.add(calls, Action::Hold { parked: 0 }),
        }
    }

    /// Takes back everything that is armed and releases every call that is held.
    pub fn clear(&self) {
        self.lock().rules.clear();
        self.shared.changed.notify_all();
    }

    /// How many calls of a kind have been made, failed ones too.
    pub fn count(&self, kind: CallKind) -> u64 {
        self.count_at(kind, |_| true)
    }

    /// The same, of calls on the paths that satisfy `wanted`. A rename or a link counts under its
    /// new name.
    pub fn count_at(&self, kind: CallKind, wanted: impl Fn(&Path) -> bool) -> u64 {
        let state = self.lock();
        let counts = state.counts.iter();
        counts
            .filter(|((k, path), _)| *k == kind && wanted(path))
            .map(|(_, count)| count)
            .sum()
    }

    /// How many calls that change something have been made: the places at which a crash can be
    /// tried.
    pub fn changes(&self) -> u64 {
        CallKind::CHANGING
            .iter()
            .map(|&kind| self.count(kind))
            .sum()
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.lock().counts.clear();
    }

    /// Begins to record calls in their order, or stops. The record grows until it is taken.
    pub fn record(&self, on: bool) {
        self.lock().recording = on;
    }

    /// Has each call looked at before it is made, by the thread that makes it, with how many were made to
    /// fail before. What the disk below holds at a call that changes something is what a crash there would
    /// leave.
    pub fn watch(&self, watcher: impl Fn(&Call, u64) + Send + Sync + 'static) {
        self.lock().watcher = Some(Arc::new(watcher));
    }

    /// What was recorded since the last time.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    fn add(&self, calls: Calls, action: Action) -> u64 {
        let mut state = self.lock();
        let id = state.next_rule;
        state.next_rule += 1;
        state.rules.push(Rule {
            id,
            calls,
            seen: 0,
            met: 0,
            action,
        });
        id
    }

    /// A call is about to be made. Waits where it is held, and says whether it fails.
    pub(super) fn meet(&self, call: Call, paths: &[&Path]) -> Option<Fault> {
        let kind = call.kind;
        let mut state = self.lock();
        if let Some(watch) = state.watcher.clone() {
            let failed = state.rules.iter().map(|rule| rule.met).sum();
            // Not under the lock: whoever looks may call the disk.
            drop(state);
            watch(&call, failed);
            state = self.lock();
        }
        *state.counts.entry((kind, call.path.clone())).or_default() += 1;
        if state.recording {
            state.calls.push(call);
        }
        let mut fault = None;
        let mut gates = Vec::new();
        for rule in &mut state.rules {
            if !rule.calls.are(kind, paths) {
                continue;
            }
            rule.seen += 1;
            if !rule.calls.include(rule.seen) {
                continue;
            }
            match &mut rule.action {
                Action::Fail(armed) if fault.is_none() => {
                    fault = Some(*armed);
                    rule.met += 1;
                }
                Action::Fail(_) | Action::Released(_) => {}
                Action::Hold { parked } => {
                    *parked += 1;
                    rule.met += 1;
                    gates.push(rule.id);
                }
            }
        }
        for gate in gates {
            self.shared.changed.notify_all();
            let (after, verdict) = self.wait_at(state, gate);
            state = after;
            fault = verdict.or(fault);
        }
        fault
    }

    fn wait_at<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        gate: u64,
    ) -> (MutexGuard<'a, State>, Option<Fault>) {
        loop {
            let verdict = match state.rule(gate).map(|rule| &rule.action) {
                Some(Action::Hold { .. }) => None,
                Some(Action::Released(verdict)) => Some(*verdict),
                Some(Action::Fail(_)) | None => Some(None),
            };
            if let Some(verdict) = verdict {
                return (state, verdict);
            }
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rule(&mut self, id: u64) -> Option<&mut Rule> {
        self.rules.iter_mut().find(|rule| rule.id == id)
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultPlan")
            .field("armed", &self.lock().rules.len())
            .finish()
    }
}

/// An armed fault. Dropping this leaves it armed.
#[derive(Debug, Clone)]
pub struct Armed {
    plan: FaultPlan,
    rule: u64,
}

impl Armed {
    /// How many calls it has made fail.
    pub fn struck(&self) -> u64 {
        self.plan.lock().rule(self.rule).map_or(0, |rule| rule.met)
    }

    /// Strikes no more, and still tells how often it has.
    pub fn stop(&self) {
        if let Some(rule) = self.plan.lock().rule(self.rule) {
            rule.calls.times = 0;
        }
    }

    /// Takes the fault back; returns how many calls it made fail.
    pub fn disarm(self) -> u64 {
        let mut state = self.plan.lock();
        let struck = state.rule(self.rule).map_or(0, |rule| rule.met);
        state.rules.retain(|rule| rule.id != self.rule);
        struck
    }
}

/// Calls that are held, or will be. Dropping this releases them.
#[derive(Debug)]
pub struct Held {
    plan: FaultPlan,
    rule: u64,
}

impl Held {
    /// How many calls wait here now.
    pub fn parked(&self) -> u64 {
        match self.plan.lock().rule(self.rule).map(|rule| &rule.action) {
            Some(Action::Hold { parked }) => *parked,
            _ => 0,
        }
    }

    /// Blocks this thread until a call waits here.
    ///
    /// # Panics
    /// When none has come within a minute, so that a test which hangs says where.
    pub fn wait(&self) {
        self.wait_for(1);
    }

    /// Blocks this thread until `calls` of them wait here.
    ///
    /// # Panics
    /// When they have not come within a minute.
    pub fn wait_for(&self, calls: u64) {
        let waiting = |state: &mut State| match state.rule(self.rule).map(|rule| &rule.action) {
            Some(Action::Hold { parked }) => *parked < calls,
            _ => false,
        };
        let changed = &self.plan.shared.changed;
        let (state, waited) = changed
            .wait_timeout_while(self.plan.lock(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        assert!(!waited.timed_out(), "no call came to be held");
    }

    /// Lets the calls go on; none is held any more.
    pub fn release(self) {
        self.open(None);
    }

    /// Lets the calls that wait fail in this way; none is held any more.
    pub fn release_failing(self, fault: Fault) {
        self.open(Some(fault));
    }

    fn open(&self, verdict: Option<Fault>) {
        if let Some(rule) = self.plan.lock().rule(self.rule)
            && matches!(rule.action, Action::Hold { .. })
        {
            rule.action = Action::Released(verdict);
        }
        self.plan.shared.changed.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open(None);
    }
}
