//! What one task knows of the stream that it alone writes, and what may therefore be found in it
//! after a crash.

use tierlog::{Error, From, Offset, Record, Stream};

/// A stream as its only writer knows it.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// The call that creates the stream has returned.
    pub created: bool,
    /// What was accepted, by offset.
    pub submitted: Vec<String>,
    /// Ranges of offsets that are there as a whole or not at all.
    pub batches: Vec<(u64, u64)>,
    /// Everything below was said to be durable.
    pub acked: u64,
    /// Everything below was said to be trimmed.
    pub trimmed: u64,
    /// A trim up to here was asked for.
    pub trimming: u64,
    /// A truncation to this end was asked for and not answered.
    pub cutting: Option<u64>,
}

/// A stream as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub start: u64,
    pub payloads: Vec<String>,
}

impl Track {
    /// The number of records accepted.
    pub fn next(&self) -> u64 {
        self.submitted.len() as u64
    }

    /// A record was accepted.
    pub fn submit(&mut self, payload: &str) {
        self.submitted.push(payload.to_owned());
    }

    /// Records were accepted as one.
    pub fn submit_batch(&mut self, payloads: &[String]) {
        let first = self.next();
        self.submitted.extend_from_slice(payloads);
        self.batches.push((first, self.next()));
    }

    /// Everything below is durable.
    pub fn ack(&mut self, end: u64) {
        assert!(end <= self.next(), "acked up to {end} of {}", self.next());
        self.acked = self.acked.max(end);
    }

    /// The truncation that was asked for has happened.
    pub fn cut(&mut self) {
        let end = self.cutting.take().expect("it was asked for");
        self.submitted
            .truncate(usize::try_from(end).expect("a small log"));
        self.batches.retain(|(_, behind)| *behind <= end);
        self.acked = end;
    }

    /// Holds what was found against what was promised.
    pub fn check(&self, name: &str, found: Option<&Found>) {
        let Some(found) = found else {
            assert!(!self.created, "stream {name} is gone");
            return;
        };
        let end = found.start + found.payloads.len() as u64;
        assert!(
            self.trimmed <= found.start && found.start <= self.trimming,
            "{name} starts at {}, trimmed {}, asked {}",
            found.start,
            self.trimmed,
            self.trimming
        );
        let cut = self.cutting == Some(end);
        assert!(
            cut || (self.acked <= end && end <= self.next()),
            "{name} ends at {end}; acked {}, submitted {}, cutting {:?}",
            self.acked,
            self.next(),
            self.cutting
        );
        for (at, payload) in (found.start..).zip(&found.payloads) {
            let index = usize::try_from(at).expect("a small log");
            assert_eq!(*payload, self.submitted[index], "{name} at {at}");
        }
        if !cut {
            let torn = self.batches.iter().find(|(a, b)| *a < end && end < *b);
            assert_eq!(torn, None, "{name} ends at {end}, inside a batch");
        }
    }

    /// Goes on from what was found: what is not there was not appended and never will be.
    pub fn resume(&mut self, found: &Found) {
        let end = found.start + found.payloads.len() as u64;
        self.created = true;
        self.submitted
            .truncate(usize::try_from(end).expect("a small log"));
        self.batches.retain(|(_, behind)| *behind <= end);
        (self.acked, self.cutting) = (end, None);
        (self.trimmed, self.trimming) = (found.start, found.start);
    }
}

/// Reads a stream from its start, checking that offsets are dense.
pub async fn read(stream: &Stream) -> Result<Found, Error> {
    let start = stream.watermarks().start.get();
    let mut reader = stream.reader(From::Earliest).await?;
    let mut payloads = Vec::new();
    loop {
        let batch = reader.next_batch(1_000).await?;
        if batch.is_empty() {
            break;
        }
        for record in batch {
            assert_eq!(record.offset, Offset(start + payloads.len() as u64));
            payloads.push(text(&record));
        }
    }
    assert_eq!(
        stream.watermarks().durable.get(),
        start + payloads.len() as u64,
        "{} can be read up to its durable end",
        stream.name()
    );
    Ok(Found { start, payloads })
}

/// A record's payload as text.
pub fn text(record: &Record) -> String {
    String::from_utf8(record.payload.to_vec()).expect("payloads are text")
}
