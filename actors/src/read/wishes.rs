//! What readers would have the coordinator do. They don't wait for it, and it does not wait for them.

use std::collections::BTreeMap;

use tierlog_storage::{SegmentNo, StreamId, planted};

use crate::sync::{Mutex, MutexGuard, Notify, PoisonError};

/// Wishes that are kept at most. More are dropped: who still wants it wishes again.
const MOST: usize = 1024;

/// What is wished of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// It is read again and again out of its compressed file: make the segment file again.
    Hydrate,
    /// Its segment file is damaged, and the compressed one is not: give the damaged one up.
    Heal,
}

/// One wish a segment, however many readers have it.
#[derive(Debug, Default)]
pub struct Wishes {
    open: Mutex<BTreeMap<(StreamId, SegmentNo), Wish>>,
    come: Notify,
}

impl Wishes {
    /// Adds one, or makes it the greater of two.
    pub fn add(&self, stream: StreamId, segment: SegmentNo, wish: Wish) {
        if planted::is("wish_told_before_it_is_there") {
            self.come.notify_one();
        }
        let mut open = self.lock();
        let full = open.len() >= MOST;
        match open.get_mut(&(stream, segment)) {
            Some(known) => *known = wish.max(*known),
            None if full => return,
            None => {
                open.insert((stream, segment), wish);
            }
        }
        drop(open);
        if !planted::is("wish_told_before_it_is_there") {
            self.come.notify_one();
        }
    }

    /// Takes all of them; waits for the first. Cancel-safe. For one who listens.
    pub async fn take(&self) -> BTreeMap<(StreamId, SegmentNo), Wish> {
        loop {
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            // A wish that comes in between leaves a permit, and the wait ends at once.
            self.come.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(StreamId, SegmentNo), Wish>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
