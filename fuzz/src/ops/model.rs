//! What must be true of a stream after all that was done to it.

use std::collections::{BTreeMap, BTreeSet};

use tierlog::Record;

/// What became of one record, as far as the caller can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Refused, or surely not appended, or truncated away: it must never be read again.
    Never,
    /// Nobody can say yet.
    Open,
    /// It is durable at this offset.
    At(u64),
}

#[derive(Debug, Clone, Copy)]
struct Known {
    fate: Fate,
    /// The first of the records that it was appended with, and how many they are.
    batch: (u64, u16),
    /// A truncation since it was accepted: it is not at this offset or beyond.
    below: u64,
    /// A truncation that failed since, of which nobody knows yet whether it happened: from this offset
    /// on it may be gone once that is known, even where its ticket, or a reader, says that it is durable
    /// there.
    doubted_from: u64,
}

/// One stream.
#[derive(Debug, Default)]
pub struct Model {
    records: BTreeMap<u64, Known>,
    start: u64,
    /// A trim that failed may have happened all the same.
    start_at_most: u64,
    /// Ends of truncations: there a batch may be cut.
    cuts: BTreeSet<u64>,
}

/// The payload of a record: who it is, whom it came with, and something of its own behind.
pub fn payload(id: u64, batch: (u64, u16), len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18 + len);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&batch.0.to_le_bytes());
    bytes.extend_from_slice(&batch.1.to_le_bytes());
    bytes.extend((0..len).map(|at| (id as usize + at) as u8));
    bytes
}

fn parse(bytes: &[u8]) -> (u64, (u64, u16)) {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let count = u16::from_le_bytes(bytes[16..18].try_into().expect("2 bytes"));
    let found = (number(0), (number(8), count));
    let whole = payload(found.0, found.1, bytes.len() - 18);
    assert_eq!(bytes, whole, "a record is what was appended");
    found
}

impl Model {
    /// A record that is about to be handed over.
    pub fn offered(&mut self, id: u64, batch: (u64, u16)) {
        let known = Known {
            fate: Fate::Open,
            batch,
            below: u64::MAX,
            doubted_from: u64::MAX,
        };
        self.records.insert(id, known);
    }

    /// What its ticket, or the refusal, said.
    pub fn told(&mut self, id: u64, fate: Fate) {
        let known = self.records.get_mut(&id).expect("it was offered");
        known.fate = match fate {
            // It was read meanwhile, behind whatever put it in doubt.
            Fate::At(offset) if known.fate == Fate::At(offset) => fate,
            Fate::At(offset) if offset >= known.below => Fate::Never,
            Fate::At(offset) if offset >= known.doubted_from => Fate::Open,
            fate => fate,
        };
    }

    /// The stream was truncated to end here.
    pub fn truncated(&mut self, end: u64) {
        self.cuts.insert(end);
        for known in self.records.values_mut() {
            known.below = known.below.min(end);
            if matches!(known.fate, Fate::At(offset) if offset >= end) {
                known.fate = Fate::Never;
            }
        }
    }

    /// A truncation failed: it may have happened, and shows at the latest in the next process.
    pub fn maybe_truncated(&mut self, end: u64) {
        self.cuts.insert(end);
        for known in self.records.values_mut() {
            known.doubted_from = known.doubted_from.min(end);
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

    /// A trim failed: it may have happened.
    pub fn maybe_trimmed(&mut self, before: u64) {
        self.start_at_most = self.start_at_most.max(before);
    }

    /// Holds everything that can be read against what is known. `settled`: nothing is under way,
    /// so that what is not there now will never be.
    pub fn check(&mut self, start: u64, records: &[Record], settled: bool) {
        assert!(
            self.start <= start && start <= self.start_at_most,
            "start {start}: {self:?}"
        );
        self.trimmed(start);
        let mut found = BTreeMap::new();
        let mut last = None;
        for (record, offset) in records.iter().zip(start..) {
            assert_eq!(record.offset.get(), offset, "dense");
            let (id, batch) = parse(&record.payload);
            let known = self
                .records
                .get_mut(&id)
                .expect("only what was appended is read");
            assert_eq!(batch, known.batch);
            assert!(
                last < Some(id),
                "in the order of appending, each once: {id} after {last:?}"
            );
            last = Some(id);
            match known.fate {
                Fate::Never => panic!("record {id} must not be there: {known:?}"),
                Fate::At(at) => assert_eq!(at, offset, "record {id} moved"),
                Fate::Open => assert!(offset < known.below, "record {id} was truncated away"),
            }
            // Who has read it as durable may count on it from now on.
            if settled || offset < known.doubted_from {
                (known.fate, known.doubted_from) = (Fate::At(offset), u64::MAX);
            }
            found.insert(id, offset);
        }
        let end = start + records.len() as u64;
        for (id, known) in &mut self.records {
            match known.fate {
                Fate::At(at) if at >= start => {
                    assert_eq!(
                        found.get(id),
                        Some(&at),
                        "durable record {id} is gone; end {end}"
                    );
                }
                Fate::Open if settled => known.fate = Fate::Never,
                _ => {}
            }
        }
        self.whole_batches(start, &found);
    }

    /// A batch is there as a whole, but for what was trimmed or truncated of it.
    fn whole_batches(&self, start: u64, found: &BTreeMap<u64, u64>) {
        for (id, offset) in found {
            let (first, count) = self.records[id].batch;
            let place = id - first;
            assert!(place <= *offset, "a batch lies together");
            let begin = offset - place;
            let all = (0..u64::from(count)).map(|n| (first + n, begin + n));
            for (member, at) in all.filter(|(_, at)| *at >= start) {
                let there = found.get(&member) == Some(&at);
                let cut = self.cuts.iter().any(|end| begin < *end && *end <= at);
                assert!(
                    there || cut,
                    "of batch {first}..+{count}, record {member} is missing"
                );
            }
        }
    }
}
