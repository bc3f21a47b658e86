//! A stand-in for Tokio's `Notify` under loom, with what its documentation promises and no more.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{Mutex, MutexGuard, PoisonError};

/// Wakes one who waits, or all of them.
#[derive(Debug, Default)]
pub struct Notify(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How often all were woken.
    rounds: u64,
    /// One was to be woken, and nobody waited.
    permit: bool,
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    waker: Option<Waker>,
    /// It was the one to be woken.
    chosen: bool,
}

/// Somebody who waits, from the moment that it is enabled or polled; for all-round wake-ups from the
/// moment that it is made.
#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    round: u64,
    place: Option<u64>,
    done: bool,
}

impl Notify {
    /// Nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes everybody who waits, and leaves nothing behind for those who come later.
    pub fn notify_waiters(&self) {
        let woken = {
            let mut state = self.lock();
            state.rounds += 1;
            std::mem::take(&mut state.waiting)
        };
        for waiter in woken.into_values() {
            waiter.waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Wakes the one who waits longest, or the next one who comes.
    pub fn notify_one(&self) {
        let woken = {
            let mut state = self.lock();
            match state.waiting.values_mut().find(|waiter| !waiter.chosen) {
                Some(waiter) => {
                    waiter.chosen = true;
                    waiter.waker.take()
                }
                None => {
                    state.permit = true;
                    None
                }
            }
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Begins to wait.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            round: self.lock().rounds,
            place: None,
            done: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notified<'_> {
    /// Takes its place without waiting; true if it has been woken already.
    pub fn enable(mut self: Pin<&mut Self>) -> bool {
        self.look(None)
    }

    fn look(&mut self, waker: Option<&Waker>) -> bool {
        if self.done {
            return true;
        }
        let mut state = self.notify.lock();
        let State {
            rounds,
            permit,
            next,
            waiting,
        } = &mut *state;
        let known = self.place.and_then(|place| waiting.get_mut(&place));
        self.done = match known {
            Some(waiter) if waiter.chosen => true,
            Some(waiter) => {
                waiter.waker = waker.cloned();
                false
            }
            // All were woken meanwhile.
            None if self.place.is_some() || *rounds != self.round => true,
            None if *permit => {
                *permit = false;
                true
            }
            None => {
                *next += 1;
                let (place, waker) = (*next, waker.cloned());
                let chosen = false;
                waiting.insert(place, Waiter { waker, chosen });
                self.place = Some(place);
                return false;
            }
        };
        if self.done
            && let Some(place) = self.place.take()
        {
            waiting.remove(&place);
        }
        self.done
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.look(Some(cx.waker())) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let left = self.notify.lock().waiting.remove(&place);
        if left.is_some_and(|waiter| waiter.chosen) {
            // It was the one, and has gone without looking: another one has to be.
            self.notify.notify_one();
        }
    }
}
