//! Group commit over a log that takes one writer at a time: whoever comes first writes and syncs for all
//! who came meanwhile. It is what an app would write around such a log, and no faster log than that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A log that takes one writer.
pub trait Sink: Send {
    fn write(&mut self, payload: &[u8]);
    /// Waits for the disk.
    fn sync(&mut self);
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Vec<u8>>,
    /// Payloads that ever came.
    came: u64,
    /// Those that are on disk.
    synced: u64,
    led: bool,
}

/// The log, and who waits for it.
pub struct Group<S> {
    sink: Mutex<S>,
    queue: Mutex<Queue>,
    turn: Condvar,
}

impl<S: Sink> Group<S> {
    pub fn new(sink: S) -> Self {
        Self {
            sink: Mutex::new(sink),
            queue: Mutex::default(),
            turn: Condvar::new(),
        }
    }

    pub fn sink(&self) -> MutexGuard<'_, S> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn into_sink(self) -> S {
        self.sink
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the payload is on disk.
    pub fn durable(&self, payload: &[u8]) {
        let mut queue = self.queue.lock().expect("no thread ends here");
        queue.waiting.push(payload.to_vec());
        queue.came += 1;
        let own = queue.came;
        while queue.synced < own {
            if queue.led {
                queue = self.turn.wait(queue).expect("no thread ends here");
                continue;
            }
            queue.led = true;
            let (payloads, upto) = (std::mem::take(&mut queue.waiting), queue.came);
            drop(queue);
            let mut sink = self.sink();
            for payload in payloads {
                sink.write(&payload);
            }
            sink.sync();
            drop(sink);
            queue = self.queue.lock().expect("no thread ends here");
            (queue.synced, queue.led) = (upto, false);
            self.turn.notify_all();
        }
    }
}
