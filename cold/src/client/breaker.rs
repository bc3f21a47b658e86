//! When a store that fails is left alone.
//!
//! ```text
//!            so many failures in a row              its time is over; one call is the probe
//!   Closed ─────────────────────────────▶ Open ───────────────────────────────────▶ HalfOpen
//!      ▲                                   ▲         the probe failed: longer          │ │
//!      │                                   └───────────────────────────────────────────┘ │
//!      └───────────────────────── the probe was answered ────────────────────────────────┘
//! ```
//!
//! A state machine alone: time and chance are passed in. Time counts from when the client was made.

use std::time::Duration;

use super::policy::{Policy, backoff};

/// What a call says of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign<'a> {
    /// It answers.
    Well,
    /// It does not, or does not let us.
    Ill(&'a str),
    /// Nothing: the call was given up, or failed on our side.
    Nothing,
}

/// The right to make one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// What a call says that began in another time says nothing of this one.
    era: u64,
}

/// Whether a call would be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It would.
    Free,
    /// Not before then.
    Until(Duration),
    /// Not before the probe is back.
    Probing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen { probing: bool },
}

/// Which state it is in, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Calls are made.
    Closed,
    /// No calls are made.
    Open,
    /// One call is made, or waited for, to see whether the store is back.
    HalfOpen,
}

/// The breaker.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    state: State,
    era: u64,
    /// Failures in a row, while closed.
    failures: u32,
    /// How often it has opened in a row.
    opened: u32,
    /// Since when the store is given up; of [`State::Closed`], since when it is not.
    pub(super) since: Duration,
    /// The last failure, if no call has been answered since.
    pub(super) last_error: Option<String>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            state: State::Closed,
            era: 0,
            failures: 0,
            opened: 0,
            since: Duration::ZERO,
            last_error: None,
        }
    }

    pub(super) fn look(&self, now: Duration) -> Look {
        match self.state {
            State::Open { until } if now < until => Look::Until(until),
            State::HalfOpen { probing: true } => Look::Probing,
            _ => Look::Free,
        }
    }

    pub(super) fn phase(&self, now: Duration) -> Phase {
        match self.state {
            State::Closed => Phase::Closed,
            State::Open { until } if now < until => Phase::Open,
            _ => Phase::HalfOpen,
        }
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(&mut self, now: Duration) -> Result<Ticket, Look> {
        match self.look(now) {
            Look::Free => {}
            refused => return Err(refused),
        }
        if self.state != State::Closed {
            self.state = State::HalfOpen { probing: true };
            self.era += 1;
        }
        Ok(Ticket { era: self.era })
    }

    /// A call is over; answers whether that changed what would be let through.
    pub(super) fn done(
        &mut self,
        ticket: Ticket,
        sign: Sign<'_>,
        now: Duration,
        random: f64,
        policy: &Policy,
    ) -> bool {
        if ticket.era != self.era {
            return false;
        }
        let before = self.state;
        match (self.state, sign) {
            (State::Closed, Sign::Well) => {
                self.failures = 0;
                self.last_error = None;
            }
            (State::HalfOpen { .. }, Sign::Well) => {
                *self = Self {
                    era: self.era + 1,
                    since: now,
                    ..Self::new()
                };
            }
            (State::HalfOpen { .. }, Sign::Nothing) => {
                self.state = State::HalfOpen { probing: false };
            }
            (_, Sign::Ill(what)) => {
                self.last_error = Some(what.to_owned());
                self.failures += 1;
                if self.state != State::Closed || self.failures >= policy.failures.max(1) {
                    self.open(now, random, policy);
                }
            }
            // No ticket of this era is out while it is open.
            (State::Open { .. } | State::Closed, _) => {}
        }
        before != self.state
    }

    fn open(&mut self, now: Duration, random: f64, policy: &Policy) {
        if self.state == State::Closed {
            self.since = now;
        }
        let time = backoff(policy.open_for, policy.most_open, self.opened, random);
        self.state = State::Open {
            until: now.saturating_add(time),
        };
        self.opened = self.opened.saturating_add(1);
        self.era += 1;
    }
}

#[cfg(test)]
mod tests;
