//! The bell, which wakes without being lost and costs one load where nobody listens.

use std::sync::Arc;

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use tierlog_actors::stream::bell::Bell;

use crate::rig::every_order;

/// Whoever waits looks once; what it waits for may happen before, at or behind that look.
#[test]
fn whoever_waits_for_a_bell_is_woken() {
    every_order(3, || {
        let (bell, done) = (Arc::new(Bell::default()), Arc::new(AtomicUsize::new(0)));
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let (bell, done) = (Arc::clone(&bell), Arc::clone(&done));
                thread::spawn(move || {
                    // No more than what the bell promises to those who ring: the change comes first.
                    done.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                })
            })
            .collect();
        block_on(bell.wait_until(|| done.load(Ordering::Relaxed) == 2));
        ringers
            .into_iter()
            .for_each(|ringer| ringer.join().unwrap());
    });
}

/// One gives up in the midst of its wait, and the other one goes on.
#[test]
fn who_gives_up_takes_no_ring_from_who_waits() {
    every_order(3, || {
        let (bell, done) = (Arc::new(Bell::default()), Arc::new(AtomicUsize::new(0)));
        let waits = {
            let (bell, done) = (Arc::clone(&bell), Arc::clone(&done));
            thread::spawn(move || {
                block_on(bell.wait_until(|| done.load(Ordering::Relaxed) == 1));
            })
        };
        let gives_up = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || {
                let wait = bell.wait_until(|| false);
                futures::pin_mut!(wait);
                let waker = futures::task::noop_waker();
                let mut cx = std::task::Context::from_waker(&waker);
                assert!(Future::poll(wait, &mut cx).is_pending());
            })
        };
        done.store(1, Ordering::Relaxed);
        bell.ring();
        waits.join().unwrap();
        gives_up.join().unwrap();
    });
}
