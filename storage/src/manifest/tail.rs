//! Where the next commit goes: the layout of a file that grows, without the file.

use std::fmt;

use super::{
    Seq,
    chunk::{CHUNK_HEADER, CHUNK_TRAILER, ChunkHeader, ChunkTrailer, FIRST_CHUNK, FileHeader},
};
use crate::crc::Crc64;

/// The end of a manifest file. A copy of it is advanced while a write is prepared and takes the
/// place of the original once the write is durable.
#[derive(Clone)]
pub(super) struct Tail {
    header: FileHeader,
    index: u64,
    used: usize,
    commits: u32,
    digest: Crc64,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("number", &self.header.number)
            .field("index", &self.index)
            .field("used", &self.used)
            .field("commits", &self.commits)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// The end of a new file: appends its header and that of its first chunk.
    pub(super) fn begin(header: FileHeader, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&header.encode());
        out.resize(FIRST_CHUNK as usize, 0);
        let mut tail = Self {
            header,
            index: 0,
            used: 0,
            commits: 0,
            digest: Crc64::new(),
        };
        tail.begin_chunk(header.first.next(), 0, out);
        tail
    }

    pub(super) const fn salt(&self) -> u64 {
        self.header.salt
    }

    pub(super) const fn chunk_size(&self) -> u64 {
        self.header.chunk_size
    }

    /// The byte behind the last commit.
    pub(super) const fn position(&self) -> u64 {
        FIRST_CHUNK + self.index * self.header.chunk_size + self.used as u64
    }

    /// The byte behind the chunk that is being filled.
    pub(super) const fn chunk_end(&self) -> u64 {
        FIRST_CHUNK + (self.index + 1) * self.header.chunk_size
    }

    /// What is left in the chunk that is being filled.
    pub(super) const fn room(&self) -> usize {
        self.header.chunk_size as usize - CHUNK_TRAILER - self.used
    }

    /// Appends what has to be written at [`Self::position`] for a commit to follow, and advances.
    /// `next` is the sequence of the next entry before the commit.
    pub(super) fn append(&mut self, commit: &[u8], next: Seq, out: &mut Vec<u8>) {
        debug_assert!(commit.len().is_multiple_of(8));
        if commit.len() > self.room() {
            self.next_chunk(next, out);
        }
        debug_assert!(commit.len() <= self.room());
        self.put(commit, out);
        self.commits += 1;
    }

    /// The zeros up to the trailer are written too: one write for both chunks, and the next chunk
    /// begins right behind it.
    fn next_chunk(&mut self, next: Seq, out: &mut Vec<u8>) {
        let trailer = ChunkTrailer {
            commits: self.commits,
            used: u32::try_from(self.used).expect("a chunk is at most CHUNK_MAX"),
            next,
        };
        out.resize(out.len() + self.room(), 0);
        let (bytes, crc) = trailer.encode(self.digest.clone());
        out.extend_from_slice(&bytes);
        self.index += 1;
        self.begin_chunk(next, crc, out);
    }

    fn begin_chunk(&mut self, next: Seq, previous_crc: u64, out: &mut Vec<u8>) {
        let FileHeader {
            log, number, salt, ..
        } = self.header;
        self.digest = Crc64::new();
        self.digest.write(&salt.to_le_bytes());
        (self.used, self.commits) = (0, 0);
        let header = ChunkHeader {
            index: self.index,
            next,
            log,
            previous_crc,
            number,
        };
        self.put(&header.encode(salt), out);
        debug_assert_eq!(self.used, CHUNK_HEADER);
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.digest.write(bytes);
        self.used += bytes.len();
        out.extend_from_slice(bytes);
    }
}
