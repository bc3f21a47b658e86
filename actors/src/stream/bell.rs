//! A wake-up that can't be lost, and costs one load where nobody listens.

use std::future::Future;

use tierlog_storage::planted;

use crate::sync::{
    Notify,
    atomic::{AtomicUsize, Ordering, fence},
};

/// Rung after a change; whoever waits checks its own condition again.
///
/// A wait is lost when a listener checks, the change happens and rings, and only then the listener
/// begins to listen. Here listening begins before the check, and the ringer's change comes before
/// its look at the listeners, both sequentially consistent: one of the two sees the other.
#[derive(Debug, Default)]
pub struct Bell {
    listeners: AtomicUsize,
    notify: Notify,
}

struct Listening<'a>(&'a AtomicUsize);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bell {
    /// Wakes everybody who waits. Call it after the change that they wait for.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.listeners.load(Ordering::SeqCst) > 0 {
            self.notify.notify_waiters();
        }
    }

    /// Resolves once `condition` holds; it is checked at once and after each ring. Cancel-safe.
    #[expect(clippy::manual_async_fn, reason = "the signature promises Send")]
    pub fn wait_until<'a>(
        &'a self,
        mut condition: impl FnMut() -> bool + Send + 'a,
    ) -> impl Future<Output = ()> + Send + 'a {
        async move {
            loop {
                self.listeners.fetch_add(1, Ordering::SeqCst);
                let _listening = Listening(&self.listeners);
                if planted::is("lost_wake_up") {
                    if condition() {
                        return;
                    }
                    self.notify.notified().await;
                    continue;
                }
                let rung = self.notify.notified();
                tokio::pin!(rung);
                rung.as_mut().enable();
                fence(Ordering::SeqCst);
                if condition() {
                    return;
                }
                rung.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicBool};

    use super::*;

    #[tokio::test]
    async fn a_ring_between_check_and_wait_is_not_lost() {
        let bell = Bell::default();
        let mut looks = 0;
        // What it waits for happens, and is rung for, right after the first look found nothing.
        let wait = bell.wait_until(|| {
            looks += 1;
            if looks == 1 {
                bell.ring();
            }
            looks > 1
        });
        tokio::pin!(wait);
        assert!(futures::poll!(wait.as_mut()).is_ready());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rings_of_other_threads_are_heard() {
        for _ in 0..2_000 {
            let bell = Arc::new(Bell::default());
            let flag = Arc::new(AtomicBool::new(false));
            let waiter = tokio::spawn({
                let (bell, flag) = (Arc::clone(&bell), Arc::clone(&flag));
                async move { bell.wait_until(|| flag.load(Ordering::SeqCst)).await }
            });
            flag.store(true, Ordering::SeqCst);
            bell.ring();
            waiter.await.expect("the waiter resolves");
        }
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_no_listener_behind() {
        let bell = Bell::default();
        {
            let wait = bell.wait_until(|| false);
            tokio::pin!(wait);
            assert!(futures::poll!(wait.as_mut()).is_pending());
            assert_eq!(bell.listeners.load(Ordering::SeqCst), 1);
        }
        assert_eq!(bell.listeners.load(Ordering::SeqCst), 0);
    }
}
