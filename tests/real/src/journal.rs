//! What a workload told of itself, and what may be found after a power cut by that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{look::Found, record::Record, workload};

/// Something that the workload did or was promised, at a position of the record. What it asks for it tells before,
/// what it was promised behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The log was opened for this life, and a stream begins there.
    Begins(u64, String, u64),
    /// Records of a stream, first offset and count, were handed over; as one batch or one by one.
    Submits(String, u64, u64, bool),
    /// Everything below is durable.
    Durable(String, u64),
    /// Everything below is archived.
    Archived(String, u64),
    /// Everything below is to go.
    Trims(String, u64),
    /// It is gone.
    Trimmed(String, u64),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(life, stream, at) => write!(f, "begins {stream} {at} {life}"),
            Self::Submits(stream, first, count, batch) => {
                write!(f, "submits {stream} {first} {count} {batch}")
            }
            Self::Durable(stream, end) => write!(f, "durable {stream} {end}"),
            Self::Archived(stream, end) => write!(f, "archived {stream} {end}"),
            Self::Trims(stream, before) => write!(f, "trims {stream} {before}"),
            Self::Trimmed(stream, start) => write!(f, "trimmed {stream} {start}"),
        }
    }
}

/// A line of the workload: the position, and what is told.
fn parse(line: &str) -> Option<(u64, Told)> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let stream = (*words.get(2)?).to_owned();
    let told = match words[1] {
        "begins" => Told::Begins(number(4)?, stream, number(3)?),
        "submits" => Told::Submits(stream, number(3)?, number(4)?, words.get(5)? == &"true"),
        "durable" => Told::Durable(stream, number(3)?),
        "archived" => Told::Archived(stream, number(3)?),
        "trims" => Told::Trims(stream, number(3)?),
        "trimmed" => Told::Trimmed(stream, number(3)?),
        _ => return None,
    };
    Some((number(0)?, told))
}

/// All that was told, with the number of entries that the disk had carried out by then.
#[derive(Debug, Default)]
pub struct Journal {
    told: Vec<(usize, Told)>,
    seed: u64,
}

/// What one stream may be.
#[derive(Debug, Default)]
struct Allowed {
    durable: u64,
    archived: u64,
    trimmed: u64,
    /// Starts that were asked for.
    starts: BTreeSet<u64>,
    /// One past what was handed over.
    submitted: u64,
    /// Batches, by their first offset.
    batches: BTreeMap<u64, u64>,
    /// Where each life began.
    lives: BTreeMap<u64, u64>,
}

impl Journal {
    /// What the workload of this seed printed.
    pub fn new(lines: &[String], record: &Record, seed: u64) -> Self {
        let told = lines
            .iter()
            .filter(|line| line.as_str() != workload::DONE)
            .map(|line| {
                let (position, told) =
                    parse(line).unwrap_or_else(|| panic!("`{line}` makes no sense"));
                (record.entries_at(position), told)
            });
        Self {
            told: told.collect(),
            seed,
        }
    }

    /// How many acks it had, and of those how many that told of the archive.
    pub fn acks(&self) -> (usize, usize) {
        let count = |is: fn(&Told) -> bool| self.told.iter().filter(|(_, told)| is(told)).count();
        (
            count(|told| matches!(told, Told::Durable(..))),
            count(|told| matches!(told, Told::Archived(..))),
        )
    }

    /// What each stream may be when the power goes after so many entries.
    fn at(&self, entries: usize) -> BTreeMap<&str, Allowed> {
        let mut all: BTreeMap<&str, Allowed> = BTreeMap::new();
        for (at, told) in self.told.iter().filter(|(at, _)| *at <= entries) {
            match told {
                Told::Begins(life, stream, begin) => {
                    let allowed = all.entry(stream).or_default();
                    allowed.lives.insert(*life, *begin);
                    // What the last life had handed over and left undone is not to come any more.
                    allowed.submitted = *begin;
                    allowed.batches.split_off(begin);
                    allowed.durable = allowed.durable.max(*begin);
                }
                Told::Submits(stream, first, count, batch) => {
                    let allowed = all.entry(stream).or_default();
                    assert_eq!(
                        *first, allowed.submitted,
                        "the workload submits in order, at {at}"
                    );
                    allowed.submitted += count;
                    if *batch {
                        allowed.batches.insert(*first, *count);
                    }
                }
                Told::Durable(stream, end) => {
                    raise(&mut all.entry(stream).or_default().durable, *end)
                }
                Told::Archived(stream, end) => {
                    raise(&mut all.entry(stream).or_default().archived, *end)
                }
                Told::Trims(stream, before) => {
                    all.entry(stream).or_default().starts.insert(*before);
                }
                Told::Trimmed(stream, start) => {
                    raise(&mut all.entry(stream).or_default().trimmed, *start)
                }
            }
        }
        all
    }

    /// Holds what was found against what was promised before the cut.
    pub fn check(&self, found: &Found, entries: usize) {
        let allowed = self.at(entries);
        for (name, allowed) in &allowed {
            match found.streams.get(*name) {
                Some(stream) => allowed.check(name, stream, self.seed),
                None => panic!("{name} is gone"),
            }
        }
        for (name, stream) in &found.streams {
            // One that was about to be made when the power went.
            let is_known = allowed.contains_key(name.as_str());
            assert!(
                is_known || stream.payloads.is_empty(),
                "{name} was never told of"
            );
        }
    }
}

fn raise(mark: &mut u64, to: u64) {
    *mark = (*mark).max(to);
}

impl Allowed {
    fn check(&self, name: &str, found: &crate::look::Stream, seed: u64) {
        let (start, end) = (found.start, found.start + found.payloads.len() as u64);
        assert!(
            end >= self.durable,
            "{name} ends at {end}, and {} was durable",
            self.durable
        );
        assert!(
            end <= self.submitted,
            "{name} ends at {end}, and {} was handed over",
            self.submitted
        );
        assert!(
            start >= self.trimmed && (start == 0 || self.starts.contains(&start)),
            "{name} starts at {start}; trimmed to {}, asked for {:?}",
            self.trimmed,
            self.starts
        );
        assert!(
            found.archived >= self.archived,
            "{name} is archived up to {}, and {} was told",
            found.archived,
            self.archived
        );
        for (first, count) in &self.batches {
            assert!(
                end <= *first || end >= first + count,
                "{name} ends at {end}, in the midst of a batch of {count} at {first}"
            );
        }
        for (offset, payload) in (start..).zip(&found.payloads) {
            let life = self.lives.iter().rev().find(|(_, begin)| **begin <= offset);
            let (life, _) = life.unwrap_or_else(|| panic!("{name} at {offset} is of no life"));
            assert!(
                *payload == workload::payload(seed, name, *life, offset),
                "{name} at {offset} is not what life {life} appended there: {:?}",
                &payload[..payload.len().min(60)]
            );
        }
    }
}
