//! Futures without a runtime: polled in an order that a seed gives.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::{future::BoxFuture, task::noop_waker};

/// Polls it to its end.
pub(super) fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(out) = once(future.as_mut()) {
            return out;
        }
    }
}

/// Polls it once.
pub(super) fn once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

/// Polls it so many times at most, then drops it.
pub(super) fn cut_short<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    (0..polls).find_map(|_| match once(future.as_mut()) {
        Poll::Ready(out) => Some(out),
        Poll::Pending => None,
    })
}

/// Polls all of them to their ends, one step of one of them at a time.
pub(super) fn interleaved<T>(futures: Vec<BoxFuture<'_, T>>, rng: &mut fastrand::Rng) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().enumerate().collect();
    let mut done = Vec::new();
    while !running.is_empty() {
        let at = rng.usize(..running.len());
        if let Poll::Ready(out) = once(running[at].1.as_mut()) {
            done.push((running.swap_remove(at).0, out));
        }
    }
    done.sort_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, out)| out).collect()
}

/// Ready when it is polled for the second time.
#[derive(Debug, Default)]
pub(super) struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
