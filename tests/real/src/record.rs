//! What a disk was told, in order: writes with their bytes, and flushes.
//!
//! ```text
//!   entry  kind u64 (1 write, 2 flush) │ offset u64 │ length u64 │ bytes of a write
//! ```
//!
//! The device appends each entry before it answers. The length of the file at some moment is therefore a position: all
//! entries that end at or below it had been carried out by then.

use std::{fs, io, path::Path};

const WRITE: u64 = 1;
const FLUSH: u64 = 2;
const HEAD: usize = 24;

/// One thing that the disk was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// These bytes at this place.
    Write(u64, &'a [u8]),
    /// Everything before is durable.
    Flush,
}

/// The bytes of an entry.
pub fn encode(entry: Entry<'_>) -> Vec<u8> {
    let (kind, offset, data) = match entry {
        Entry::Write(offset, data) => (WRITE, offset, data),
        Entry::Flush => (FLUSH, 0, &[][..]),
    };
    let mut bytes = Vec::with_capacity(HEAD + data.len());
    for word in [kind, offset, data.len() as u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(data);
    bytes
}

/// All of it.
#[derive(Debug)]
pub struct Record {
    bytes: Vec<u8>,
    /// Where each entry begins, and where the last one ends.
    begins: Vec<usize>,
}

impl Record {
    /// Reads it; what is not whole at its end was never answered.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let mut begins = vec![0];
        let mut at = 0;
        while let Some(len) = word(&bytes, at + 16) {
            at += HEAD + usize::try_from(len).expect("a length");
            if at > bytes.len() {
                break;
            }
            begins.push(at);
        }
        Ok(Self { bytes, begins })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// The entry of this number.
    pub fn entry(&self, number: usize) -> Entry<'_> {
        let at = self.begins[number];
        let field = |nth: usize| word(&self.bytes, at + 8 * nth).expect("a whole entry");
        match field(0) {
            WRITE => Entry::Write(field(1), &self.bytes[at + HEAD..self.begins[number + 1]]),
            FLUSH => Entry::Flush,
            other => panic!("entry {number} is of kind {other}"),
        }
    }

    /// How many entries had been carried out when the file was this long.
    pub fn entries_at(&self, position: u64) -> usize {
        let position = usize::try_from(position).expect("a length");
        self.begins.partition_point(|begin| *begin <= position) - 1
    }

    /// The number behind the last flush among the first `at` entries.
    pub fn behind_flush(&self, at: usize) -> usize {
        let flush = (0..at).rev().find(|n| self.entry(*n) == Entry::Flush);
        flush.map_or(0, |n| n + 1)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}
