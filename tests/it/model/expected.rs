//! One stream as the model has it.

use tierlog::{Error, Offset, Record, Watermarks};

use super::ops::NewText;

/// What a record has to be; its time is what it was when it was first read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub payload: String,
    pub key: Option<Vec<u8>>,
    pub ext_id: Option<u64>,
    pub time: Option<u64>,
}

/// A stream.
#[derive(Debug, Default)]
pub struct Model {
    pub start: u64,
    /// By offset; what was trimmed is still here and not looked at.
    pub records: Vec<Expected>,
    /// What follows one another is there as a whole or not at all.
    pub batches: Vec<(u64, u64)>,
    /// At least so much is durable.
    pub durable: u64,
    /// The last incarnation seen.
    pub life: u64,
    /// Makes each text another one.
    pub made: u64,
}

impl Model {
    pub fn next(&self) -> u64 {
        self.records.len() as u64
    }

    /// The text of a record that was never appended before.
    pub fn make(&mut self, what: &NewText) -> Expected {
        self.made += 1;
        Expected {
            payload: format!("{}/{}", self.made, "x".repeat(what.filler)),
            key: what.key.map(|key| vec![key; usize::from(key % 5)]),
            ext_id: what.ext_id,
            time: None,
        }
    }

    /// It was accepted as a whole.
    pub fn add(&mut self, records: &[Expected]) {
        let first = self.next();
        self.records.extend_from_slice(records);
        self.batches.push((first, self.next()));
    }

    /// A part of what is there, in sixteenths; 17 and more lie beyond.
    pub fn at(&self, part: u64) -> u64 {
        let len = self.next() - self.start;
        self.start + len * part / 16 + u64::from(part > 16)
    }

    /// Everything behind is gone.
    pub fn truncate(&mut self, end: u64) {
        self.records
            .truncate(usize::try_from(end).expect("a small log"));
        self.batches.retain(|(_, behind)| *behind <= end);
        self.durable = self.durable.min(end);
    }

    /// After a crash: what had been durable is there, and of what was accepted a prefix.
    pub fn crashed(&mut self, start: u64, end: u64) {
        assert_eq!(start, self.start, "a crash trims nothing");
        assert!(
            self.durable <= end && end <= self.next(),
            "{end} is left of {}; {} were durable",
            self.next(),
            self.durable
        );
        let torn = self.batches.iter().find(|(a, b)| *a < end && end < *b);
        assert_eq!(torn, None, "half a batch, up to {end}");
        self.truncate(end);
        self.durable = end;
    }

    /// Holds marks against what they can be, and learns what is durable.
    pub fn check_marks(&mut self, marks: &Watermarks) {
        let Watermarks {
            start,
            durable,
            archived,
            written,
            next,
            incarnation,
        } = *marks;
        let ordered = start <= durable && durable <= written && written <= next;
        assert!(ordered && archived <= durable, "{marks:?}");
        assert_eq!(
            (start.get(), next.get()),
            (self.start, self.next()),
            "{marks:?}"
        );
        assert!(
            durable.get() >= self.durable,
            "{marks:?}, {} were durable",
            self.durable
        );
        assert!(
            incarnation.get() >= self.life,
            "{marks:?}, life {}",
            self.life
        );
        (self.durable, self.life) = (durable.get(), incarnation.get());
    }

    /// Holds a record against what it has to be.
    pub fn check_record(&mut self, record: &Record) {
        let at = record.offset.get();
        let expected = &mut self.records[usize::try_from(at).expect("a small log")];
        assert_eq!(record.payload, expected.payload, "at {at}");
        assert_eq!(record.key.as_deref(), expected.key.as_deref(), "at {at}");
        assert_eq!(record.ext_id, expected.ext_id, "at {at}");
        let time = *expected.time.get_or_insert(record.timestamp);
        assert_eq!(record.timestamp, time, "at {at}: its time has changed");
    }

    /// The first record from the start on that is of this time or later.
    pub fn first_since(&self, time: u64) -> Option<u64> {
        (self.start..self.next()).find(|n| self.record(*n).time.is_some_and(|t| t >= time))
    }

    /// The first record from the start on with this id or a greater one.
    pub fn first_with(&self, ext_id: u64) -> Option<u64> {
        (self.start..self.next()).find(|n| self.record(*n).ext_id.is_some_and(|id| id >= ext_id))
    }

    pub fn record(&self, offset: u64) -> &Expected {
        &self.records[usize::try_from(offset).expect("a small log")]
    }
}

/// The error of a cut, trim or read outside of what is there.
pub fn is_trimmed(error: &Error, start: u64) -> bool {
    matches!(error, Error::Trimmed { start: s, .. } if *s == Offset(start))
}
