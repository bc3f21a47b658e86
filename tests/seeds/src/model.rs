//! What must be true of a stream after all that was done to it, by several at once.
//!
//! A record has an identity in its payload. What its caller was told of it, and what readers have
//! seen, narrows down where it may be; every record that is read is held against that.

mod check;

use std::collections::{BTreeMap, BTreeSet};

/// Where a record is, as far as anybody can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Refused, surely not appended, or truncated away: it is never read again.
    Never,
    /// Nobody can say.
    Open,
    /// It is durable at this offset.
    At(u64),
}

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is durable there.
    Durable(u64),
    /// It is written there: it survives the process.
    Written(u64),
    /// It is not in the log and never will be.
    Never,
    /// The outcome is unknown, and what was accepted behind it in the same life came to nothing.
    Unknown,
    /// Nothing that says anything.
    Nothing,
}

#[derive(Debug, Clone)]
pub(crate) struct Known {
    fate: Fate,
    written: Option<u64>,
    /// The first of the records that it was appended with, and how many they are.
    batch: (u64, u16),
    /// The life in which it was accepted, and its turn among all that were, where that is known.
    accepted: Option<(u64, u64)>,
    /// Its ticket said that nobody knows.
    unknown: bool,
    /// It was never appended, and not cut off later.
    refused: bool,
    /// A truncation since: it is not at this offset or beyond.
    below: u64,
    /// A truncation of which nobody knows whether it happened.
    doubted_from: u64,
}

/// One stream.
#[derive(Debug, Clone, Default)]
pub struct Model {
    records: BTreeMap<u64, Known>,
    by_offset: BTreeMap<u64, u64>,
    /// Truncations under way.
    cutting: BTreeMap<u64, u64>,
    next_cut: u64,
    cuts: BTreeSet<u64>,
    start: u64,
    start_at_most: u64,
    /// Everything below is archived.
    archived: u64,
    turns: u64,
}

/// The payload of a record: who it is, whom it came with, and something of its own behind.
pub fn payload(id: u64, batch: (u64, u16), len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18 + len);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&batch.0.to_le_bytes());
    bytes.extend_from_slice(&batch.1.to_le_bytes());
    // Hardly to be compressed, and no two alike.
    let mut own = fastrand::Rng::with_seed(id);
    bytes.resize(18 + len, 0);
    own.fill(&mut bytes[18..]);
    bytes
}

/// Who a record is, and whom it came with.
fn parse(bytes: &[u8]) -> (u64, (u64, u16)) {
    assert!(bytes.len() >= 18, "a record is what was appended");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let count = u16::from_le_bytes(bytes[16..18].try_into().expect("2 bytes"));
    let found = (number(0), (number(8), count));
    assert!(
        bytes == payload(found.0, found.1, bytes.len() - 18),
        "a record is what was appended"
    );
    found
}

impl Model {
    /// A record that is about to be handed over.
    pub fn offered(&mut self, id: u64, batch: (u64, u16)) {
        let known = Known {
            fate: Fate::Open,
            written: None,
            batch,
            accepted: None,
            unknown: false,
            refused: false,
            below: u64::MAX,
            doubted_from: u64::MAX,
        };
        self.records.insert(id, known);
    }

    /// It was accepted now, in this life.
    pub fn accepted(&mut self, id: u64, life: u64) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(known) = self.records.get_mut(&id) {
            known.accepted = Some((life, turn));
        }
    }

    /// What its caller was told.
    pub fn told(&mut self, id: u64, told: Told) {
        let doubted = self.doubted();
        let known = self.records.get_mut(&id).expect("it was offered");
        match told {
            Told::Durable(offset) => {
                if offset >= known.below {
                    known.fate = Fate::Never;
                } else if known.fate == Fate::At(offset) {
                } else if offset < known.doubted_from.min(doubted) {
                    assert_ne!(known.fate, Fate::Never, "record {id} is acked at {offset}");
                    self.settle(id, offset);
                }
            }
            Told::Written(offset) => {
                if offset < known.below.min(known.doubted_from).min(doubted) {
                    assert_ne!(known.fate, Fate::Never, "record {id} is acked at {offset}");
                    known.written = Some(offset);
                }
            }
            Told::Never => {
                assert!(
                    !matches!(known.fate, Fate::At(offset) if offset < known.doubted_from.min(doubted)),
                    "record {id} was seen as durable, and is said not to be there: {known:?}"
                );
                (known.fate, known.refused) = (Fate::Never, true);
            }
            Told::Unknown => known.unknown = true,
            Told::Nothing => {}
        }
    }

    /// It is durable there, and so is nobody else.
    fn settle(&mut self, id: u64, offset: u64) {
        let known = self.records.get_mut(&id).expect("it was offered");
        if let Fate::At(before) = known.fate {
            assert_eq!(before, offset, "record {id} moved");
        }
        known.fate = Fate::At(offset);
        if let Some(other) = self.by_offset.insert(offset, id).filter(|o| *o != id) {
            let other_known = &self.records[&other];
            assert_ne!(
                other_known.fate,
                Fate::At(offset),
                "records {other} and {id} are both durable at {offset}"
            );
        }
    }

    /// From here on, what is known may be cut off at any time.
    fn doubted(&self) -> u64 {
        self.cutting.values().copied().min().unwrap_or(u64::MAX)
    }

    /// A truncation is asked for; gives its number.
    pub fn cutting(&mut self, end: u64) -> u64 {
        self.next_cut += 1;
        self.cuts.insert(end);
        self.cutting.insert(self.next_cut, end);
        self.next_cut
    }

    /// It did nothing, and will not.
    pub fn not_cut(&mut self, cut: u64) {
        self.cutting.remove(&cut);
    }

    /// The stream was truncated to end here; what is accepted in `life` or later came behind.
    pub fn cut(&mut self, cut: u64, end: u64, life: u64) {
        self.cutting.remove(&cut);
        self.cuts.insert(end);
        for known in self.records.values_mut() {
            if known.accepted.is_some_and(|(accepted, _)| accepted >= life) {
                continue;
            }
            known.below = known.below.min(end);
            if known.written.is_some_and(|offset| offset >= end) {
                known.written = None;
            }
            if matches!(known.fate, Fate::At(offset) if offset >= end) {
                known.fate = Fate::Never;
            }
        }
    }

    /// It may have happened, and shows at the latest in the next process.
    pub fn maybe_cut(&mut self, cut: u64) {
        let Some(end) = self.cutting.remove(&cut) else {
            return;
        };
        for known in self.records.values_mut() {
            known.doubted_from = known.doubted_from.min(end);
            if known.written.is_some_and(|offset| offset >= end) {
                known.written = None;
            }
            if matches!(known.fate, Fate::At(offset) if offset >= end) {
                known.fate = Fate::Open;
            }
        }
    }

    /// The stream begins here.
    pub fn trimmed(&mut self, start: u64) {
        self.start = self.start.max(start);
        self.start_at_most = self.start_at_most.max(start);
    }

    /// It may begin here from now on.
    pub fn may_trim(&mut self, before: u64) {
        self.start_at_most = self.start_at_most.max(before);
    }

    /// Everything below is archived.
    pub fn archived(&mut self, end: u64) {
        self.archived = self.archived.max(end);
    }

    /// How much is archived.
    pub fn archived_end(&self) -> u64 {
        self.archived
    }

    /// The process has ended, in whatever way: nobody is told anything any more.
    pub fn process_ended(&mut self) {
        let cuts: Vec<u64> = self.cutting.keys().copied().collect();
        cuts.into_iter().for_each(|cut| self.maybe_cut(cut));
    }

    /// It is another log that ends here: what lies behind was not archived.
    pub fn ends_at(&mut self, end: u64) {
        for known in self.records.values_mut() {
            if matches!(known.fate, Fate::At(offset) if offset >= end) {
                known.fate = Fate::Open;
            }
        }
        self.by_offset.split_off(&end);
        self.start_at_most = u64::MAX;
        self.cache_lost();
    }

    /// It is another log, which need not have heard of the last trims.
    pub fn begins_at_most(&mut self, start: u64) {
        self.start = self.start.min(start);
        self.may_trim(start);
    }

    /// What was only written may be gone.
    pub fn cache_lost(&mut self) {
        for known in self.records.values_mut() {
            known.written = None;
        }
    }
}
