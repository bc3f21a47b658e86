//! A stand-in for Tokio's `watch` where orders are tried: a value, a number that rises with each change, and
//! a wake-up for all behind it. As there, a change is made under the lock of the value.

use super::{Arc, Mutex, MutexGuard, Notify, PoisonError};

#[derive(Debug)]
struct Shared<T> {
    value: Mutex<(u64, T)>,
    changed: Notify,
}

/// Changes the value.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Learns of changes.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The sender is gone; here it never is before its receivers, which hold the stream.
#[derive(Debug)]
pub struct Gone;

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, (u64, T)> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            value: Mutex::new((0, value)),
            changed: Notify::new(),
        }))
    }

    /// Whoever subscribes has seen all that is there now.
    pub fn subscribe(&self) -> Receiver<T> {
        let shared = Arc::clone(&self.0);
        let seen = shared.lock().0;
        Receiver { shared, seen }
    }

    /// Changes the value, and wakes those who watch if it says so.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        {
            let mut value = self.0.lock();
            if !change(&mut value.1) {
                return false;
            }
            value.0 += 1;
        }
        self.0.changed.notify_waiters();
        true
    }

    /// Changes the value, and wakes those who watch.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }
}

impl<T> Receiver<T> {
    /// All that is there now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.lock().0;
    }

    /// Resolves when there is something that was not seen, and sees it.
    pub async fn changed(&mut self) -> Result<(), Gone> {
        loop {
            // Listening begins before the look.
            let changed = self.shared.changed.notified();
            let now = self.shared.lock().0;
            if std::mem::replace(&mut self.seen, now) != now {
                return Ok(());
            }
            changed.await;
        }
    }
}
