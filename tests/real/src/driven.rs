//! What processes that append told, over all their lives, and what has to be in their log by that.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    driver::{self, STREAM, payload},
    look,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Driven {
    /// Life and number of each record that is durable, by offset.
    acked: BTreeMap<u64, (u64, u64)>,
    /// Records that are surely not there.
    absent: BTreeSet<(u64, u64)>,
    /// What was read before: it stays.
    seen: Vec<String>,
    /// What was told besides acks.
    pub failures: usize,
    /// Lives that gave up.
    pub ended: usize,
}

impl Driven {
    /// A line of a life; true for an ack.
    pub fn take(&mut self, life: u64, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| crate::options::number(words[at]);
        match words[0] {
            "opened" => {
                let next = number(1);
                let end = self.acked.last_key_value().map_or(0, |(last, _)| last + 1);
                assert!(
                    next >= end,
                    "life {life} begins at {next}, and {end} was durable"
                );
                return false;
            }
            "ack" => {
                let before = self.acked.insert(number(1), (life, number(2)));
                assert_eq!(
                    before, None,
                    "life {life}: `{line}`: an offset is given out twice"
                );
                return true;
            }
            "failed" => {
                self.failures += 1;
                if words[2] == "absent" {
                    self.absent.insert((life, number(1)));
                }
            }
            "ends" => self.ended += 1,
            "short" | "closed" => {}
            _ => panic!("life {life} says `{line}`"),
        }
        false
    }

    /// How many records were acked.
    pub fn acks(&self) -> usize {
        self.acked.len()
    }

    /// Opens the log and reads it: all that was acked is there, in its place; of each life some of its records, in
    /// their order, none twice; none that was said to be absent; and all that was read before.
    pub fn look(&mut self, data: &Path) {
        let settings = driver::settings(data);
        look::runtime().block_on(async {
            if settings.data.join("CURRENT").exists() {
                look::verify(&settings).await;
            } else {
                return assert!(self.acked.is_empty(), "the log is gone");
            }
            let log = look::open(&settings).await;
            let report = log.recovery();
            assert_eq!(report.damage().count(), 0, "{report}");
            let mut found = look::read_all(&log).await;
            look::close(log).await;
            look::verify(&settings).await;
            self.check(found.streams.remove(STREAM).unwrap_or_default().payloads);
        });
    }

    fn check(&mut self, found: Vec<String>) {
        let mut last = None;
        for (offset, text) in found.iter().enumerate() {
            let words: Vec<&str> = text.splitn(4, ' ').collect();
            let (life, n) = (
                crate::options::number(words[1]),
                crate::options::number(words[2]),
            );
            assert_eq!(*text, payload(life, n), "at {offset}");
            assert!(
                last < Some((life, n)),
                "at {offset}: {life} {n} stands behind {last:?}"
            );
            assert!(
                !self.absent.contains(&(life, n)),
                "{life} {n} is there, and was said not to be"
            );
            last = Some((life, n));
        }
        for (offset, (life, n)) in &self.acked {
            let there = usize::try_from(*offset).ok().and_then(|at| found.get(at));
            assert_eq!(there, Some(&payload(*life, *n)), "acked at {offset}");
        }
        assert!(
            found.starts_with(&self.seen),
            "what was read before has changed"
        );
        self.seen = found;
    }
}
