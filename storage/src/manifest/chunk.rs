//! The frame of a manifest file: its header, and the two ends of a chunk.
//!
//! ```text
//!   0          128      4096           4096 + size        4096 + 2 * size
//!   ┌──────────┬────────┬──────────────┬──────────────────┬────────
//!   │ header   │ zeros  │ chunk 0      │ chunk 1          │ …
//!   └──────────┴────────┴──────────────┴──────────────────┴────────
//!
//!   chunk:  0          64                      used        size - 32      size
//!           ┌──────────┬───────────┬───────────┬───────────┬──────────────┐
//!           │ header   │ commit    │ commit …  │ zeros     │ trailer      │
//!           └──────────┴───────────┴───────────┴───────────┴──────────────┘
//! ```
//!
//! The last chunk has no trailer: zeros follow its last commit. A trailer tells that the writer
//! went on in the next chunk. Commits are in [`super::commit`].
//!
//! File header, 128 B:
//!
//! ```text
//!    0            8         10           12       16                 32
//!    ┌────────────┬─────────┬────────────┬────────┬──────────────────┐
//!    │ "TLMANIF1" │ version │ header len │ flags  │ log uuid         │
//!    ├─32─────────┼─40──────┴────┬─48────┴────────┼─56────────┬─64───┴────┬─72──────┐
//!    │ number     │ chunk size   │ created ns     │ sequence  │ previous  │ salt    │
//!    ├─80─────────┴──────────────┴────┬─120───────┴───128─────┴───────────┴─────────┘
//!    │ zeros                          │ crc64 of 0..120 │
//!    └────────────────────────────────┴─────────────────┘
//! ```
//!
//! The sequence is the one that the snapshot at the beginning of the file stands for. A later
//! version may make the header longer; magic, version, length and the checksum of the first 120
//! bytes stay in their places, so that damage is not taken for a newer version.
//!
//! Chunk header, 64 B, and chunk trailer, 32 B:
//!
//! ```text
//!    0            8        16            24         40                 48       56
//!    ┌────────────┬────────┬─────────────┬──────────┬──────────────────┬────────┬────────────┐
//!    │ "TLMCHUNK" │ index  │ next entry's│ log uuid │ crc64 of the     │ file   │ crc64 of   │
//!    │            │        │ sequence    │          │ trailer before   │ number │ salt, 0..56│
//!    └────────────┴────────┴─────────────┴──────────┴──────────────────┴────────┴────────────┘
//!
//!    0            8         12      16            24                                32
//!    ┌────────────┬─────────┬───────┬─────────────┬─────────────────────────────────┐
//!    │ "TLMCHEND" │ commits │ used  │ next entry's│ crc64 of salt, used bytes of    │
//!    │            │ u32     │ u32   │ sequence    │ the chunk, trailer 0..24        │
//!    └────────────┴─────────┴───────┴─────────────┴─────────────────────────────────┘
//! ```

use std::path::Path;

use serde::Serialize;

use super::{
    Seq,
    wire::{Reader, Wire},
};
use crate::{
    crc::{Crc64, crc64},
    error::StorageError,
    ids::LogId,
};

/// The version of manifest files and of `CURRENT` that is written, and the newest that is read.
pub const MANIFEST_VERSION: u16 = 1;
/// Bytes of a file's header.
pub const FILE_HEADER: usize = 128;
/// Where the first chunk begins.
pub const FIRST_CHUNK: u64 = 4096;
/// Bytes of a chunk's header.
pub const CHUNK_HEADER: usize = 64;
/// Bytes of a chunk's trailer.
pub const CHUNK_TRAILER: usize = 32;
/// The least size of a chunk.
pub const CHUNK_MIN: u64 = 16 << 10;
/// The greatest size of a chunk.
pub const CHUNK_MAX: u64 = 1 << 20;

const FILE_MAGIC: [u8; 8] = *b"TLMANIF1";
const CHUNK_MAGIC: [u8; 8] = *b"TLMCHUNK";
const TRAILER_MAGIC: [u8; 8] = *b"TLMCHEND";
const FILE_CRC_AT: usize = FILE_HEADER - 8;

const _: () = {
    // magic, version + length + flags, log, and six numbers end before the checksum.
    assert!(8 + 8 + 16 + 6 * 8 <= FILE_CRC_AT);
    assert!(FILE_HEADER as u64 <= FIRST_CHUNK);
    assert!(8 + 8 + 8 + 16 + 8 + 8 + 8 == CHUNK_HEADER);
    assert!(8 + 4 + 4 + 8 + 8 == CHUNK_TRAILER);
    // Commits begin at multiples of 8, and `used` has 32 bits.
    assert!(CHUNK_HEADER.is_multiple_of(8) && CHUNK_TRAILER.is_multiple_of(8));
    assert!(CHUNK_MAX <= u32::MAX as u64 && CHUNK_MIN.is_multiple_of(FIRST_CHUNK));
};

/// True for a size that chunks may have: whole pages within the limits.
pub const fn is_chunk_size(size: u64) -> bool {
    size >= CHUNK_MIN && size <= CHUNK_MAX && size.is_multiple_of(FIRST_CHUNK)
}

/// Why bytes are not the header, trailer or pointer that should stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// There are fewer bytes.
    #[error("it is cut short")]
    Cut,
    /// Zeros, as if nothing had been written.
    #[error("it is blank")]
    Blank,
    /// Something else.
    #[error("it does not begin as it should")]
    Magic,
    /// The checksum does not match.
    #[error("its checksum does not match")]
    Crc,
    /// The checksum does not match, and the version is one that this program does not know. It may
    /// be damaged there and nowhere else: versions keep the place of the checksum.
    #[error(
        "its checksum does not match, and it says version {0}, where this program knows {MANIFEST_VERSION}"
    )]
    CrcOfVersion(u16),
    /// Intact, but of a version that this program does not know.
    #[error("it is of version {0}")]
    Newer(u16),
    /// Intact, and yet it makes no sense.
    #[error("it makes no sense: {0}")]
    Invalid(&'static str),
}

impl HeadFault {
    /// The error of a file whose first `len` bytes are at fault.
    pub(super) fn at(self, path: &Path, what: &str, len: usize) -> StorageError {
        let path = path.to_path_buf();
        match self {
            Self::Newer(found) => StorageError::NewerVersion {
                path,
                found,
                supported: MANIFEST_VERSION,
            },
            fault => StorageError::CorruptFile {
                path,
                what: format!("{what}: {fault}"),
                range: Some((0, len as u64)),
            },
        }
    }
}

/// What stands at the beginning of a manifest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileHeader {
    /// The log that it belongs to.
    pub log: LogId,
    /// The file's number, which its name says too.
    pub number: u64,
    /// The size of its chunks.
    pub chunk_size: u64,
    /// When it was begun, in nanoseconds since the epoch of Unix.
    pub created_ns: u64,
    /// The sequence that its snapshot stands for; entries behind it go on from there.
    pub first: Seq,
    /// The file that counted before this one, 0 for none.
    pub previous: u64,
    /// What the checksums of chunks and commits begin with, so that blocks of a file that was
    /// deleted never pass for blocks of this one.
    pub salt: u64,
}

/// Starts what [`Prefix::open`] reads: the first 16 bytes of a file header and of `CURRENT`.
pub(super) fn put_prefix(magic: [u8; 8], len: usize, flags: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&magic);
    MANIFEST_VERSION.put(out);
    u16::try_from(len).expect("128").put(out);
    flags.put(out);
}

/// Ends it: zeros up to the checksum, and the checksum.
pub(super) fn put_suffix(mut out: Vec<u8>) -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    out.resize(FILE_CRC_AT, 0);
    bytes[..FILE_CRC_AT].copy_from_slice(&out);
    bytes[FILE_CRC_AT..].copy_from_slice(&crc64(&[&out]).to_le_bytes());
    bytes
}

/// Checks what a file header and `CURRENT` have in common; the flags and a reader behind them.
pub(super) fn open_prefix(bytes: &[u8], magic: [u8; 8]) -> Result<(u32, Reader<'_>), HeadFault> {
    let bytes = bytes.get(..FILE_HEADER).ok_or(HeadFault::Cut)?;
    if bytes.iter().all(|b| *b == 0) {
        return Err(HeadFault::Blank);
    }
    let (body, crc) = bytes.split_at(FILE_CRC_AT);
    let mut reader = Reader::new(body);
    if reader.array() != Some(magic) {
        return Err(HeadFault::Magic);
    }
    let mut prefix = || {
        Some((
            u16::take(&mut reader)?,
            u16::take(&mut reader)?,
            u32::take(&mut reader)?,
        ))
    };
    let (version, len, flags) = prefix().ok_or(HeadFault::Cut)?;
    if crc != crc64(&[body]).to_le_bytes() {
        return Err(match version {
            0..=MANIFEST_VERSION => HeadFault::Crc,
            newer => HeadFault::CrcOfVersion(newer),
        });
    }
    match version {
        0 => return Err(HeadFault::Invalid("version 0")),
        MANIFEST_VERSION => {}
        newer => return Err(HeadFault::Newer(newer)),
    }
    if usize::from(len) != FILE_HEADER {
        return Err(HeadFault::Invalid("another length"));
    }
    Ok((flags, reader))
}

impl FileHeader {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; FILE_HEADER] {
        let mut out = Vec::with_capacity(FILE_HEADER);
        put_prefix(FILE_MAGIC, FILE_HEADER, 0, &mut out);
        self.log.put(&mut out);
        for number in [
            self.number,
            self.chunk_size,
            self.created_ns,
            self.first.0,
            self.previous,
            self.salt,
        ] {
            number.put(&mut out);
        }
        put_suffix(out)
    }

    /// The header at the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadFault> {
        let (flags, mut from) = open_prefix(bytes, FILE_MAGIC)?;
        if flags != 0 {
            return Err(HeadFault::Invalid("unknown flags"));
        }
        let mut take = || {
            Some(Self {
                log: Wire::take(&mut from)?,
                number: Wire::take(&mut from)?,
                chunk_size: Wire::take(&mut from)?,
                created_ns: Wire::take(&mut from)?,
                first: Seq(Wire::take(&mut from)?),
                previous: Wire::take(&mut from)?,
                salt: Wire::take(&mut from)?,
            })
        };
        let header = take().ok_or(HeadFault::Cut)?;
        if !is_chunk_size(header.chunk_size) {
            return Err(HeadFault::Invalid("no such chunk size"));
        }
        Ok(header)
    }

    /// Where a chunk begins; `None` beyond what a file can hold.
    pub fn chunk_start(&self, index: u64) -> Option<u64> {
        index.checked_mul(self.chunk_size)?.checked_add(FIRST_CHUNK)
    }
}

/// What stands at the beginning of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChunkHeader {
    /// Its place in the file: 0, 1, 2, …
    pub index: u64,
    /// The sequence that the next entry has.
    pub next: Seq,
    /// The log that it belongs to.
    pub log: LogId,
    /// The checksum in the trailer of the chunk before; 0 for the first one.
    pub previous_crc: u64,
    /// The number of the file that it belongs to.
    pub number: u64,
}

impl ChunkHeader {
    /// The header as it stands in a file of this salt.
    pub fn encode(&self, salt: u64) -> [u8; CHUNK_HEADER] {
        let mut out = Vec::with_capacity(CHUNK_HEADER);
        out.extend_from_slice(&CHUNK_MAGIC);
        self.index.put(&mut out);
        self.next.0.put(&mut out);
        self.log.put(&mut out);
        self.previous_crc.put(&mut out);
        self.number.put(&mut out);
        crc64(&[&salt.to_le_bytes(), &out]).put(&mut out);
        let mut bytes = [0; CHUNK_HEADER];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// The header at the beginning of a chunk.
    pub fn decode(bytes: &[u8], salt: u64) -> Result<Self, HeadFault> {
        let bytes = bytes.get(..CHUNK_HEADER).ok_or(HeadFault::Cut)?;
        let mut from = open_salted(bytes, CHUNK_MAGIC, &[&salt.to_le_bytes()])?;
        let mut take = || {
            Some(Self {
                index: Wire::take(&mut from)?,
                next: Seq(Wire::take(&mut from)?),
                log: Wire::take(&mut from)?,
                previous_crc: Wire::take(&mut from)?,
                number: Wire::take(&mut from)?,
            })
        };
        take().ok_or(HeadFault::Cut)
    }
}

/// What ends a chunk that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChunkTrailer {
    /// How many commits the chunk holds.
    pub commits: u32,
    /// How many bytes of it are used, header included.
    pub used: u32,
    /// The sequence that the next entry has.
    pub next: Seq,
}

impl ChunkTrailer {
    /// The trailer as it stands in the file, and its checksum. `digest` has seen the salt and the
    /// used bytes of the chunk.
    pub(super) fn encode(&self, mut digest: Crc64) -> ([u8; CHUNK_TRAILER], u64) {
        let mut out = Vec::with_capacity(CHUNK_TRAILER);
        out.extend_from_slice(&TRAILER_MAGIC);
        self.commits.put(&mut out);
        self.used.put(&mut out);
        self.next.0.put(&mut out);
        digest.write(&out);
        let crc = digest.sum64();
        crc.put(&mut out);
        let mut bytes = [0; CHUNK_TRAILER];
        bytes.copy_from_slice(&out);
        (bytes, crc)
    }

    /// The trailer at the end of a whole chunk, and its checksum.
    pub fn decode(chunk: &[u8], salt: u64) -> Result<(Self, u64), HeadFault> {
        let at = chunk
            .len()
            .checked_sub(CHUNK_TRAILER)
            .ok_or(HeadFault::Cut)?;
        let (body, trailer) = chunk.split_at(at);
        let mut peek = Reader::new(trailer);
        let mut take = || {
            let _magic: [u8; 8] = peek.array()?;
            Some(Self {
                commits: Wire::take(&mut peek)?,
                used: Wire::take(&mut peek)?,
                next: Seq(Wire::take(&mut peek)?),
            })
        };
        let found = take().ok_or(HeadFault::Cut)?;
        // A length that makes no sense is as good as a checksum that does not match.
        let used = usize::try_from(found.used)
            .ok()
            .and_then(|used| body.get(..used))
            .unwrap_or(body);
        open_salted(trailer, TRAILER_MAGIC, &[&salt.to_le_bytes(), used])?;
        let mut crc = [0; 8];
        crc.copy_from_slice(&trailer[CHUNK_TRAILER - 8..]);
        Ok((found, u64::from_le_bytes(crc)))
    }
}

/// Checks magic and checksum of `bytes`, which end with the checksum; `before` comes first in it.
fn open_salted<'a>(
    bytes: &'a [u8],
    magic: [u8; 8],
    before: &[&[u8]],
) -> Result<Reader<'a>, HeadFault> {
    if bytes.iter().all(|b| *b == 0) {
        return Err(HeadFault::Blank);
    }
    let (body, crc) = bytes.split_at(bytes.len().saturating_sub(8));
    let mut reader = Reader::new(body);
    if reader.array() != Some(magic) {
        return Err(HeadFault::Magic);
    }
    let parts: Vec<&[u8]> = before.iter().copied().chain([body]).collect();
    if crc != crc64(&parts).to_le_bytes() {
        return Err(HeadFault::Crc);
    }
    Ok(reader)
}
