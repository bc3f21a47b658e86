//! What is left after a crash.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::world::{NameChange, Node, NodeId, World};

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

/// Which of a folder's pending changes are kept.
enum Kept {
    /// The first ones, as a journal keeps them.
    First(usize),
    /// Any of them.
    Any,
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
        let mut rng = Rng::with_seed(if let Cut::Seeded(seed) = cut { seed } else { 0 });
        let pending = std::mem::take(&mut self.pending);
        let kept = match cut {
            Cut::AllLost => Vec::new(),
            Cut::AllKept => pending
                .into_iter()
                .filter(|change| !change.is_forgotten())
                .collect(),
            Cut::Seeded(_) => choose(pending, &mut rng),
        };
        self.make_durable(kept);
        for node in self.nodes.values_mut() {
            match node {
                Node::Folder(folder) => {
                    let durable = folder.durable.iter();
                    folder.names = durable
                        .filter_map(|(name, at)| Some((name.clone(), at.1?)))
                        .collect();
                }
                Node::File(file) => {
                    file.pages = file.pages.after(cut, &mut rng);
                    file.names = 0;
                }
            }
        }
        self.end_process();
        self.count_names();
    }

    fn count_names(&mut self) {
        let folders = self.nodes.values().filter_map(|node| match node {
            Node::Folder(folder) => Some(folder.names.values().copied()),
            Node::File(_) => None,
        });
        for id in folders.flatten().collect::<Vec<_>>() {
            if let Some(Node::File(file)) = self.nodes.get_mut(&id) {
                file.names += 1;
            }
        }
    }
}

/// Chooses folder by folder. A rename between folders goes with the one that it leaves.
fn choose(pending: Vec<NameChange>, rng: &mut Rng) -> Vec<NameChange> {
    let mut folders: BTreeMap<NodeId, (usize, Kept)> = BTreeMap::new();
    for change in &pending {
        folders
            .entry(change.sets[0].folder)
            .or_insert((0, Kept::Any))
            .0 += 1;
    }
    for (changes, kept) in folders.values_mut() {
        if rng.bool() {
            *kept = Kept::First(rng.usize(..=*changes));
        }
    }
    let mut keep = |change: &NameChange| match folders.get_mut(&change.sets[0].folder) {
        Some((_, Kept::First(left))) => {
            let kept = *left > 0;
            *left = left.saturating_sub(1);
            kept
        }
        _ => rng.bool(),
    };
    pending.into_iter().filter(|change| keep(change)).collect()
}
