//! The breaker, shared by the calls of a client.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Watch,
    breaker::{Breaker, Look, Phase, Sign, Ticket},
    policy::Policy,
};

/// What is thought of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerState {
    /// Whether calls are made.
    pub phase: Phase,
    /// For how long it has been closed, or else how long ago the store was given up, in milliseconds.
    pub for_millis: u64,
    /// The last failure, if no call has been answered since.
    pub last_error: Option<String>,
}

/// Lets calls through, or not.
pub(super) struct Gate {
    policy: Policy,
    born: Instant,
    breaker: Mutex<Breaker>,
    /// What would be let through may have changed.
    changed: Notify,
    watch: Arc<dyn Watch>,
    /// Held while the watch is told, so that what it is told last is how things are.
    telling: Mutex<()>,
}

impl Gate {
    pub(super) fn new(policy: Policy, watch: Arc<dyn Watch>) -> Self {
        Self {
            policy,
            born: Instant::now(),
            breaker: Mutex::new(Breaker::new()),
            changed: Notify::new(),
            watch,
            telling: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        let now = self.now();
        let breaker = self.breaker();
        let lasted = now.saturating_sub(breaker.since);
        BreakerState {
            phase: breaker.phase(now),
            for_millis: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
            last_error: breaker.last_error.clone(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.breaker().phase(self.now()) == Phase::Closed
    }

    /// Lets a call through, or says in one line why not.
    pub(super) fn enter(&self) -> Result<Pass<'_>, String> {
        let now = self.now();
        let (admitted, opens, last) = {
            let mut breaker = self.breaker();
            let was = breaker.phase(now) == Phase::Closed;
            let last = breaker.last_error.clone();
            (breaker.admit(now), !was, last)
        };
        match admitted {
            Ok(ticket) => {
                let pass = Pass {
                    gate: self,
                    ticket: Some(ticket),
                };
                if opens {
                    self.tell();
                }
                Ok(pass)
            }
            Err(look) => {
                let when = match look {
                    Look::Until(then) => {
                        format!("for {:.1?} more", then.saturating_sub(now))
                    }
                    _ => "until a probe is back".to_owned(),
                };
                let last = last.unwrap_or_default();
                Err(format!("the store is left alone {when}, since: {last}"))
            }
        }
    }

    /// Comes back when a call would be let through.
    pub(super) async fn ready(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening begins before the look: what changes in between is not missed.
            changed.as_mut().enable();
            let look = self.breaker().look(self.now());
            match look {
                Look::Free => return,
                Look::Probing => changed.await,
                Look::Until(then) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(self.born + then) => {}
                    }
                }
            }
        }
    }

    fn leave(&self, ticket: Ticket, sign: Sign<'_>) {
        let (now, random) = (self.now(), fastrand::f64());
        let changed = self.breaker().done(ticket, sign, now, random, &self.policy);
        if changed {
            self.changed.notify_waiters();
            self.tell();
        }
    }

    fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.watch.breaker(self.state());
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// A call under way. One that is dropped says nothing of the store, but makes room for another probe.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
}

impl Pass<'_> {
    pub(super) fn leave(mut self, sign: Sign<'_>) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.leave(ticket, sign);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.leave(ticket, Sign::Nothing);
        }
    }
}
