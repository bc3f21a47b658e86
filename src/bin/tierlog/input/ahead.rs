//! The bytes that a thread may have read ahead of whoever takes from it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug)]
pub(super) struct Ahead {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: usize,
    stopped: bool,
}

/// Bytes that wait; dropped once they do no more.
#[derive(Debug)]
pub(crate) struct Room {
    of: Arc<Ahead>,
    bytes: usize,
}

impl Ahead {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits until `bytes` more fit, or nothing else waits, since more than the limit would otherwise
    /// wait for ever. `None` when nobody wants them any more.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let full = |state: &mut State| {
            let fits = state.held == 0 || state.held + bytes <= self.limit;
            !fits && !state.stopped
        };
        let waited = self.changed.wait_while(self.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        state.held += bytes;
        let of = Arc::clone(self);
        Some(Room { of, bytes })
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.lock().held -= self.bytes;
        self.of.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_waits_alone_and_the_rest_within_it() {
        let ahead = Ahead::new(100);
        let large = ahead.take(500).expect("nothing else waits");
        let behind = std::thread::spawn({
            let ahead = Arc::clone(&ahead);
            move || {
                let first = ahead.take(60).expect("wanted");
                let held = ahead.lock().held;
                drop(first);
                held
            }
        });
        drop(large);
        assert_eq!(behind.join().expect("it ends"), 60, "the large one is gone");
        let both = [ahead.take(60), ahead.take(40)];
        assert_eq!(ahead.lock().held, 100);
        drop(both);
        assert_eq!(ahead.lock().held, 0);
    }

    #[test]
    fn a_wait_for_room_ends_when_nobody_wants_what_it_is_for() {
        let ahead = Ahead::new(100);
        let held = ahead.take(100).expect("nothing else waits");
        let behind = std::thread::spawn({
            let ahead = Arc::clone(&ahead);
            move || ahead.take(1).is_none()
        });
        ahead.stop();
        assert!(behind.join().expect("it ends"));
        drop(held);
        assert!(ahead.take(1).is_none(), "nor does one that begins later");
    }
}
