//! Recent frames, kept in memory for readers at the tail.

use std::collections::VecDeque;

use tierlog_storage::{Offset, segment::Frame};

use crate::{
    meters::Share,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The bytes that the tails of all streams of a log may take together.
#[derive(Debug)]
pub struct TailBudget {
    limit: usize,
    used: AtomicUsize,
    shown: Share,
}

impl TailBudget {
    /// A budget of `limit` bytes, of which `shown` tells what is used.
    pub fn new(limit: usize, shown: Share) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            shown,
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The last frames of one stream, contiguous.
#[derive(Debug)]
pub struct Tail {
    budget: Arc<TailBudget>,
    frames: Mutex<VecDeque<Frame>>,
}

impl Tail {
    /// An empty one.
    pub fn new(budget: Arc<TailBudget>) -> Self {
        Self {
            budget,
            frames: Mutex::default(),
        }
    }

    /// Adds a written frame, and lets old ones of this stream go while the budget is exceeded.
    pub fn push(&self, frame: &Frame) {
        let size = frame.bytes.len();
        let mut frames = self.lock();
        if frames.back().is_some_and(|last| last.end() != frame.base) {
            // A gap would make a reader skip what lies between: begin anew behind it.
            self.free(&mut frames, usize::MAX);
        }
        self.budget.used.fetch_add(size, Ordering::Relaxed);
        self.budget.shown.add(size as u64);
        frames.push_back(frame.clone());
        while self.budget.used() > self.budget.limit && !frames.is_empty() {
            self.free(&mut frames, 1);
        }
    }

    /// The frame that holds the offset.
    pub fn find(&self, offset: Offset) -> Option<Frame> {
        let frames = self.lock();
        let at = frames.partition_point(|frame| frame.end() <= offset);
        frames.get(at).filter(|frame| frame.base <= offset).cloned()
    }

    /// Forgets everything: the stream is idle, or its tail has changed.
    pub fn clear(&self) {
        self.free(&mut self.lock(), usize::MAX);
    }

    fn free(&self, frames: &mut VecDeque<Frame>, most: usize) {
        let count = most.min(frames.len());
        let bytes: usize = frames.drain(..count).map(|frame| frame.bytes.len()).sum();
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.shown.sub(bytes as u64);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}
