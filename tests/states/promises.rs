//! What a log has promised by one moment, and whether what was found afterwards keeps it.

use std::collections::BTreeMap;

use tierlog::testing::storage::crc::crc64;

/// Streams by their names.
pub type Promises = BTreeMap<&'static str, Promised>;

/// A checksum of all that an app gives a record.
pub fn sum(payload: &[u8], key: Option<&[u8]>, ext_id: Option<u64>) -> u64 {
    let key = key.map_or([0, 0], |key| [1 + key.len() as u64, crc64(&[key])]);
    let ext_id = ext_id.map_or([0, 0], |id| [1, id]);
    let [a, b, c, d] = [key, ext_id].concat().try_into().unwrap_or_default();
    let attributes = [a, b, c, d].map(u64::to_le_bytes).concat();
    crc64(&[&attributes, payload])
}

/// One stream, as the only one who writes to it knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promised {
    /// The call that makes the stream has returned.
    pub created: bool,
    /// What was handed over, by offset: the checksum of each record.
    pub submitted: Vec<u64>,
    /// Ranges of offsets that are there as a whole or not at all.
    pub batches: Vec<(u64, u64)>,
    /// Everything below was called durable, to somebody.
    pub durable: u64,
    /// Everything below was called archived.
    pub archived: u64,
    /// Everything below was called trimmed.
    pub trimmed: u64,
    /// A trim up to here was asked for.
    pub trimming: u64,
    /// A truncation to this end was asked for and not answered.
    pub cutting: Option<u64>,
}

/// One stream, as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The offset of the first record, or of the next one where there is none.
    pub start: u64,
    /// Everything below is archived, as far as is known.
    pub archived: u64,
    /// The checksums of its records, from `start` on.
    pub records: Vec<u64>,
}

impl Found {
    /// The offset of the next record.
    pub fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }
}

impl Promised {
    /// The offset of the next record, if all that was handed over is taken.
    pub fn next(&self) -> u64 {
        self.submitted.len() as u64
    }

    /// One record is handed over.
    pub fn submit(&mut self, record: u64) {
        self.submitted.push(record);
    }

    /// Records are handed over as one.
    pub fn submit_batch(&mut self, records: &[u64]) {
        let first = self.next();
        self.submitted.extend_from_slice(records);
        self.batches.push((first, self.next()));
    }

    /// The stream ends here now, and everything in it is durable.
    pub fn ends(&mut self, end: u64) {
        self.submitted
            .truncate(usize::try_from(end).unwrap_or(usize::MAX));
        self.batches.retain(|(_, behind)| *behind <= end);
        (self.durable, self.cutting) = (end, None);
        self.archived = self.archived.min(end);
    }

    /// Holds what was found against what was promised.
    pub fn check(&self, found: Option<&Found>) -> Result<(), String> {
        let Some(found) = found else {
            let is_gone = self.created.then(|| "it is gone".to_owned());
            return is_gone.map_or(Ok(()), Err);
        };
        let (start, end) = (found.start, found.end());
        let starts = self.trimmed..=self.trimming;
        if !starts.contains(&start) {
            return Err(format!("it starts at {start}, and not in {starts:?}"));
        }
        if end > self.next() {
            return Err(format!(
                "it ends at {end}, and {} were handed over",
                self.next()
            ));
        }
        let is_cut = self.cutting == Some(end);
        if end < self.durable && !is_cut {
            return Err(format!(
                "it ends at {end}, and {} were called durable; a truncation was asked for: {:?}",
                self.durable, self.cutting
            ));
        }
        if found.archived < self.archived {
            return Err(format!(
                "it is archived up to {}, and {} were called so",
                found.archived, self.archived
            ));
        }
        self.check_records(found)?;
        let torn = self.batches.iter().find(|(a, b)| *a < end && end < *b);
        match torn {
            Some(batch) if !is_cut => Err(format!(
                "it ends at {end}, which is within the batch {batch:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Each record is the one that was handed over for its offset.
    pub fn check_records(&self, found: &Found) -> Result<(), String> {
        let first = usize::try_from(found.start).unwrap_or(usize::MAX);
        let submitted = self.submitted.get(first..).unwrap_or_default();
        let mut both = (found.start..).zip(found.records.iter().zip(submitted));
        let other = both.find(|(_, (found, submitted))| found != submitted);
        match other {
            Some((at, _)) => Err(format!("the record at {at} is another one")),
            None => Ok(()),
        }
    }
}
