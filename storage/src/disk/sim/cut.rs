//! What is left after a crash.

use fastrand::Rng;

use super::{
    choice::Choices,
    world::{Node, World},
};

/// What becomes at a power cut of that which was never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// For each page, length and name something else, as this seed has it.
    Seeded(u64),
    /// All of it is lost.
    AllLost,
    /// All of it has just been written. What a failed sync forgot is lost even so.
    AllKept,
}

impl World {
    /// The process is gone, and its locks and handles with it.
    pub(super) fn end_process(&mut self) {
        self.locks.clear();
        self.fail_syncs.clear();
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.handles = 0;
            }
        }
        self.collect_garbage();
    }

    /// The machine is gone, and the cache with it.
    pub(super) fn cut_power(&mut self, cut: Cut) {
        let choices = Choices::of(self.clone());
        let picks = match cut {
            Cut::AllLost => choices.lost(),
            Cut::AllKept => choices.kept(),
            Cut::Seeded(seed) => choices.sample(&mut Rng::with_seed(seed)),
        };
        choices.apply(&picks, self);
    }
}
