//! What time it is: the runtime's own, over all lives, and what the wall clock makes of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tierlog::testing::Clock;
use tokio::time::Instant;

/// Where the wall clock stands when a seed begins, in nanoseconds since 1970.
const WALL: u64 = 1_700_000_000_000_000_000;

/// The time of one seed.
#[derive(Debug, Default)]
pub struct Time(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the runtime of this life was begun, by its own clock.
    begun: Option<Instant>,
    /// Microseconds of all lives before.
    before: u64,
    /// By how much the wall clock has been set, in nanoseconds.
    shift: i64,
}

impl State {
    fn micros(&self) -> u64 {
        let since = self.begun.map_or(0, |begun| begun.elapsed().as_micros());
        self.before + u64::try_from(since).expect("a seed takes no ages")
    }
}

impl Time {
    /// Microseconds since the seed began.
    pub fn micros(&self) -> u64 {
        self.state().micros()
    }

    /// A runtime begins; to be called in it.
    pub fn begin(&self) {
        self.state().begun = Some(Instant::now());
    }

    /// It ends; to be called in it.
    pub fn end(&self) {
        let mut state = self.state();
        state.before = state.micros();
        state.begun = None;
    }

    /// It stops: the runtime is gone.
    pub fn stop(&self) {
        self.state().begun = None;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&self, by_ns: i64) {
        self.state().shift += by_ns;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Time {
    fn now_ns(&self) -> u64 {
        let state = self.state();
        (WALL + state.micros() * 1_000).saturating_add_signed(state.shift)
    }
}
