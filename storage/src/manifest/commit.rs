//! A commit: entries that count together or not at all.
//!
//! ```text
//!   0          4          8         16         24        28        32        40
//!   ┌──────────┬──────────┬─────────┬──────────┬─────────┬─────────┬─────────┬───────────┬──────┐
//!   │ "TLMC"   │ body len │ crc64   │ sequence │ entries │ flags   │ claimed │ entries … │ 0 … 0│
//!   │          │ u32      │         │ of first │ u32     │ u32     │         │           │ to 8 │
//!   └──────────┴──────────┴─────────┴──────────┴─────────┴─────────┴─────────┴───────────┴──────┘
//!   crc64: the file's salt, then 0..8, then 16 to the padded end
//!   flags: bit 0 = part of a snapshot: all its entries have the sequence that it stands for
//! ```
//!
//! *Claimed* is the last sequence that was durable when the commit was written. A bad commit whose
//! sequence some later commit claims was durable once: it is damage, never a tear. A commit without
//! entries takes no sequence and exists for its claim alone.

use super::{
    Seq,
    chunk::{CHUNK_HEADER, CHUNK_MIN, CHUNK_TRAILER},
    entry::{Decoded, ENTRY_OVERHEAD, Entry, EntryFault},
    wire::{Reader, TEXT_MAX, Wire},
};
use crate::crc::crc64;

/// Bytes before a commit's entries.
pub const COMMIT_HEAD: usize = 40;
const MARKER: [u8; 4] = *b"TLMC";
const FLAG_SNAPSHOT: u32 = 1;
const CRC_AT: usize = 8;
const CRC_END: usize = 16;

const _: () = {
    assert!(4 + 4 == CRC_AT && CRC_AT + 8 == CRC_END);
    assert!(CRC_END + 8 + 4 + 4 + 8 == COMMIT_HEAD && COMMIT_HEAD.is_multiple_of(8));
    // The largest entry there is, a segment with three texts, fits the smallest chunk.
    let largest = COMMIT_HEAD + ENTRY_OVERHEAD + 512 + 3 * (TEXT_MAX + 2);
    assert!(CHUNK_HEADER + largest + CHUNK_TRAILER <= CHUNK_MIN as usize);
};

/// Bytes of a commit with this many bytes of entries.
pub(super) const fn padded(body: usize) -> usize {
    COMMIT_HEAD + body.next_multiple_of(8)
}

/// The most bytes that a commit takes in chunks of a size.
pub(super) const fn commit_max(chunk_size: u64) -> usize {
    chunk_size as usize - CHUNK_HEADER - CHUNK_TRAILER
}

/// What a commit says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHead {
    /// Bytes of its entries, padding not counted.
    pub body_len: usize,
    /// The sequence of its first entry; that of the next entry there will be, if it has none.
    pub first: Seq,
    /// How many entries it has.
    pub count: u32,
    /// See [`CommitHead::is_snapshot`]; other bits are not known to this version.
    pub flags: u32,
    /// The last sequence that was durable when it was written.
    pub claimed: Seq,
}

impl CommitHead {
    /// It is part of a snapshot: all entries have the sequence `first`.
    pub const fn is_snapshot(&self) -> bool {
        self.flags & FLAG_SNAPSHOT != 0
    }

    /// The flags that this version does not know. Such a commit is intact, but what it means is
    /// not to be guessed at.
    pub const fn unknown_flags(&self) -> u32 {
        self.flags & !FLAG_SNAPSHOT
    }

    /// The sequence of the next entry behind it.
    pub fn next(&self) -> Seq {
        match self.is_snapshot() {
            true => Seq(self.first.0.saturating_add(1)),
            false => Seq(self.first.0.saturating_add(u64::from(self.count))),
        }
    }
}

/// Why no commit stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// Zeros, as if nothing had been written.
    #[error("nothing was written here")]
    Blank,
    /// Something else.
    #[error("no commit begins here")]
    Marker,
    /// Its length does not fit what is there.
    #[error("a commit's length can't be right")]
    Length,
    /// The checksum does not match.
    #[error("a commit's checksum does not match")]
    Crc,
}

/// Appends one commit to a buffer.
#[derive(Debug)]
pub(super) struct CommitBuilder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    first: Seq,
    count: u32,
    snapshot: bool,
}

impl<'a> CommitBuilder<'a> {
    pub(super) fn new(first: Seq, snapshot: bool, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + COMMIT_HEAD, 0);
        Self {
            out,
            start,
            first,
            count: 0,
            snapshot,
        }
    }

    /// The bytes so far, padding included.
    pub(super) fn len(&self) -> usize {
        padded(self.out.len() - self.start - COMMIT_HEAD)
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Adds an entry that `encode` appends under the sequence that it is given.
    pub(super) fn push_with(&mut self, encode: impl FnOnce(Seq, &mut Vec<u8>)) {
        let step = if self.snapshot { 0 } else { self.count };
        encode(Seq(self.first.0 + u64::from(step)), self.out);
        self.count += 1;
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        self.push_with(|seq, out| entry.encode(seq, out));
    }

    /// Takes back the last entry, which began at this length of [`Self::len_exact`].
    pub(super) fn pop_to(&mut self, len: usize) {
        self.out.truncate(self.start + len);
        self.count -= 1;
    }

    pub(super) fn len_exact(&self) -> usize {
        self.out.len() - self.start
    }

    /// Completes the commit.
    pub(super) fn finish(self, claimed: Seq, salt: u64) {
        let body_len = self.out.len() - self.start - COMMIT_HEAD;
        self.out.resize(self.start + padded(body_len), 0);
        let commit = &mut self.out[self.start..];
        let mut head = Vec::with_capacity(COMMIT_HEAD);
        head.extend_from_slice(&MARKER);
        let body_len = u32::try_from(body_len).expect("a commit fits a chunk");
        body_len.put(&mut head);
        0u64.put(&mut head);
        self.first.0.put(&mut head);
        self.count.put(&mut head);
        let flags = if self.snapshot { FLAG_SNAPSHOT } else { 0 };
        flags.put(&mut head);
        claimed.0.put(&mut head);
        commit[..COMMIT_HEAD].copy_from_slice(&head);
        let crc = checksum(commit, salt);
        commit[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
    }
}

fn checksum(commit: &[u8], salt: u64) -> u64 {
    crc64(&[&salt.to_le_bytes(), &commit[..CRC_AT], &commit[CRC_END..]])
}

/// What the beginning of `bytes` says of a commit, and how many bytes it takes, if it can be one;
/// the checksum is not looked at.
pub(super) fn parse_head(bytes: &[u8]) -> Result<(CommitHead, usize), CommitFault> {
    let mut from = Reader::new(bytes);
    let marker: [u8; 4] = from.array().ok_or(CommitFault::Length)?;
    if marker == [0; 4] {
        return Err(CommitFault::Blank);
    }
    if marker != MARKER {
        return Err(CommitFault::Marker);
    }
    let mut take = || {
        let body_len = u32::take(&mut from)?;
        let _crc = u64::take(&mut from)?;
        Some((
            body_len,
            u64::take(&mut from)?,
            u32::take(&mut from)?,
            u32::take(&mut from)?,
            u64::take(&mut from)?,
        ))
    };
    let (body_len, first, count, flags, claimed) = take().ok_or(CommitFault::Length)?;
    let body_len = usize::try_from(body_len).map_err(|_| CommitFault::Length)?;
    let least = u64::from(count) * ENTRY_OVERHEAD as u64;
    let fits = body_len <= bytes.len()
        && padded(body_len) <= bytes.len()
        && least <= body_len as u64
        && (count > 0 || body_len == 0)
        && first.checked_add(u64::from(count)).is_some();
    if !fits {
        return Err(CommitFault::Length);
    }
    let head = CommitHead {
        body_len,
        first: Seq(first),
        count,
        flags,
        claimed: Seq(claimed),
    };
    Ok((head, padded(body_len)))
}

/// The commit at the beginning of `bytes`, checksum and all, and how many bytes it takes.
pub fn check_commit(bytes: &[u8], salt: u64) -> Result<(CommitHead, usize), CommitFault> {
    let (head, total) = parse_head(bytes)?;
    let commit = &bytes[..total];
    if commit[CRC_AT..CRC_END] != checksum(commit, salt).to_le_bytes() {
        return Err(CommitFault::Crc);
    }
    Ok((head, total))
}

/// The entries of a commit whose checksum matched.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    head: CommitHead,
    rest: &'a [u8],
    taken: u32,
}

impl<'a> Entries<'a> {
    /// `commit` begins where its head was checked.
    pub fn of(head: CommitHead, commit: &'a [u8]) -> Self {
        let end = COMMIT_HEAD + head.body_len;
        Self {
            head,
            rest: commit.get(COMMIT_HEAD..end).unwrap_or_default(),
            taken: 0,
        }
    }

    fn fail(&mut self, fault: EntryFault) -> Option<Result<(Seq, Decoded), EntryFault>> {
        self.taken = self.head.count;
        self.rest = &[];
        Some(Err(fault))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Seq, Decoded), EntryFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.taken == self.head.count {
            // Bytes behind the last entry are entries that the count forgot.
            return match self.rest {
                [] => None,
                _ => self.fail(EntryFault::Cut),
            };
        }
        let (decoded, seq, len) = match Entry::decode(self.rest) {
            Ok(entry) => entry,
            Err(fault) => return self.fail(fault),
        };
        let step = if self.head.is_snapshot() {
            0
        } else {
            self.taken
        };
        if seq.0 != self.head.first.0 + u64::from(step) {
            return self.fail(EntryFault::Sequence(seq.0));
        }
        self.taken += 1;
        self.rest = &self.rest[len..];
        Some(Ok((seq, decoded)))
    }
}
