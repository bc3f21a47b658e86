//! What is read, held against what is known.

use std::collections::BTreeMap;

use tierlog::Record;

use super::{Fate, Model, parse};

impl Model {
    /// One record, as a reader gave it out now. `durable`: it reads what is durable alone.
    pub fn seen(&mut self, record: &Record, durable: bool) {
        let (id, batch) = parse(&record.payload);
        let offset = record.offset.get();
        let doubted = self.doubted();
        let known = self.records.get(&id);
        let known = known.unwrap_or_else(|| panic!("record {id} at {offset} was never appended"));
        assert_eq!(batch, known.batch, "record {id}");
        let sure = offset < doubted && offset < known.doubted_from;
        match known.fate {
            Fate::Never => {
                panic!("record {id} is read at {offset} and must not be there: {known:?}")
            }
            Fate::At(at) => assert!(at == offset || !sure, "record {id} moved to {offset}"),
            Fate::Open => assert!(offset < known.below, "record {id} was truncated away"),
        }
        if durable && sure {
            self.settle(id, offset);
        }
    }

    /// One record that somebody reads who looked at the log a while ago.
    pub fn seen_before(&self, record: &Record) {
        let (id, batch) = parse(&record.payload);
        let known = self.records.get(&id);
        let known = known.unwrap_or_else(|| panic!("record {id} was never appended"));
        assert_eq!(batch, known.batch, "record {id}");
        assert!(!known.refused, "record {id} was refused: {known:?}");
    }

    /// Everything that can be read. `settled`: nothing is under way, so that what is not there now
    /// will never be.
    pub fn check(&mut self, start: u64, records: &[Record], settled: bool) {
        assert!(
            self.start <= start && start <= self.start_at_most.max(self.start),
            "the stream begins at {start}, and not from {} to {}",
            self.start,
            self.start_at_most
        );
        self.trimmed(start);
        let mut found = BTreeMap::new();
        let mut last = 0;
        for (record, offset) in records.iter().zip(start..) {
            assert_eq!(record.offset.get(), offset, "dense");
            self.seen(record, true);
            let (id, _) = parse(&record.payload);
            assert!(
                found.insert(id, offset).is_none(),
                "record {id} is there twice"
            );
            if let Some((_, turn)) = self.records[&id].accepted {
                assert!(last < turn, "record {id} at {offset} is out of its turn");
                last = turn;
            }
        }
        self.all_there(start, &found, settled);
        self.whole_batches(start, &found);
        if settled && start == 0 && self.cuts.is_empty() {
            self.is_a_prefix(&found);
        }
    }

    fn all_there(&mut self, start: u64, found: &BTreeMap<u64, u64>, settled: bool) {
        let end = start + found.len() as u64;
        let doubted = self.doubted();
        let mut gone = Vec::new();
        for (id, known) in &mut self.records {
            let at = found.get(id).copied();
            match known.fate {
                Fate::At(offset)
                    if (start..doubted.min(known.doubted_from)).contains(&offset)
                        && at != Some(offset) =>
                {
                    gone.push((*id, offset, "durable"));
                }
                Fate::Open if settled => {
                    let written = known.written.filter(|offset| *offset >= start);
                    if let Some(offset) = written.filter(|_| at.is_none()) {
                        gone.push((*id, offset, "written"));
                    }
                    known.fate = at.map_or(Fate::Never, Fate::At);
                    known.doubted_from = u64::MAX;
                }
                _ => {}
            }
            if settled {
                known.written = None;
                known.doubted_from = u64::MAX;
            }
        }
        if settled {
            self.by_offset = found.iter().map(|(id, offset)| (*offset, *id)).collect();
        }
        let (count, first) = (gone.len(), gone.first());
        if let Some((id, offset, how)) = first {
            let known = &self.records[id];
            panic!(
                "{count} records are gone, the first one is {id}, which was {how} at {offset}; the \
                 stream has {start}..{end}; {known:?}"
            );
        }
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

    /// What nobody knew the outcome of is there if anything is that was accepted behind it in the same
    /// life.
    fn is_a_prefix(&self, found: &BTreeMap<u64, u64>) {
        let mut missing: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (id, known) in &self.records {
            if let Some((life, turn)) = known.accepted
                && known.unknown
                && !found.contains_key(id)
            {
                let first = missing.entry(life).or_insert((turn, *id));
                *first = (*first).min((turn, *id));
            }
        }
        for id in found.keys() {
            if let Some((life, turn)) = self.records[id].accepted
                && let Some((before, lost)) = missing.get(&life)
            {
                assert!(
                    turn < *before,
                    "record {id} is there, and {lost} before it is not"
                );
            }
        }
    }
}
