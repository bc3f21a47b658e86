//! The footer of a sealed segment: the sparse index and a trailer that ends the file.
//!
//! ```text
//!  data_end                data_end + 24 n                                     file length
//!  ┌───────────────────────┬───────────────────────────────────────────────────┐
//!  │ n index entries, 24 B │ trailer, 128 B                                    │
//!  └───────────────────────┴───────────────────────────────────────────────────┘
//!    0            8         10            12       16                 32
//!    ┌────────────┬─────────┬─────────────┬────────┬──────────────────┐
//!    │ "TLSEALD1" │ version │ trailer_len │ flags  │ log uuid         │
//!    ├─32─────────┼─40──────┼─48──────────┼─56─────┴──┬─64────────────┤
//!    │ segment    │ base    │ end offset  │ data_end  │ index entries │
//!    ├─72─────────┼─80──────┼─88──────────┼─96────────┼─104───────────┤
//!    │ first_ts   │ last_ts │ ext_id min  │ ext_id max│ digest        │
//!    ├─112────────┼─120─────┼─128─────────┴───────────┴───────────────┘
//!    │ watermark  │ crc64   │
//!    └────────────┴─────────┘
//! ```
//!
//! - The CRC covers the segment's salt (8 B), the index and the trailer before it.
//! - The digest is the CRC64 of the checksum fields of all frames in order, 8 bytes each, begun
//!   with that of the header: it tells that no frame was exchanged, left out or added.
//! - The watermark is what was known to be durable when the footer was written.
//! - Flag bit 0: a flush of the segment had failed. Flag bit 1: there is an ext_id range.
//!
//! A segment is sealed when the manifest says so. A footer without that is tail.
//!
//! Entries are at least 4 KiB of frames apart, which bounds the index by the file. In every version
//! magic, version, length, `data_end`, the number of entries and the CRC stay in their places, so
//! that damage is not taken for a newer version.

use std::io;

use super::{
    header::{HEADER_LEN, SEGMENT_VERSION},
    index::{INDEX_ENTRY, INDEX_EVERY, IndexEntry, SparseIndex},
};
use crate::{
    LogId, Offset, SegmentNo,
    crc::{Crc64, crc64},
    disk::DiskFile,
};

/// The bytes of the trailer.
pub const TRAILER_LEN: usize = 128;

const MAGIC: [u8; 8] = *b"TLSEALD1";

/// The least distance of two index entries that is read.
const INDEX_SPACING: u64 = 4096;

const FLAG_FLUSH_FAILED: u32 = 1;
const FLAG_EXT: u32 = 2;

const AT_VERSION: usize = 8;
const AT_LEN: usize = 10;
const AT_FLAGS: usize = 12;
const AT_LOG: usize = 16;
const AT_SEGMENT: usize = 32;
const AT_BASE: usize = 40;
const AT_END: usize = 48;
const AT_DATA_END: usize = 56;
const AT_ENTRIES: usize = 64;
const AT_FIRST_TS: usize = 72;
const AT_LAST_TS: usize = 80;
const AT_EXT_MIN: usize = 88;
const AT_EXT_MAX: usize = 96;
const AT_DIGEST: usize = 104;
const AT_WATERMARK: usize = 112;
const AT_CRC: usize = 120;

const _: () = {
    assert!(AT_CRC + 8 == TRAILER_LEN);
    assert!(TRAILER_LEN.is_multiple_of(8));
    assert!(INDEX_SPACING <= INDEX_EVERY);
};

/// The CRC64 over the checksums of a segment, in order.
#[derive(Clone)]
pub struct Digest(Crc64);

impl Digest {
    /// Begins with the checksum field of the segment's header.
    pub fn new(header_crc: u64) -> Self {
        let mut digest = Self(Crc64::new());
        digest.push(header_crc);
        digest
    }

    /// Adds the next frame's checksum field.
    #[inline]
    pub fn push(&mut self, frame_crc: u64) {
        self.0.write(&frame_crc.to_le_bytes());
    }

    /// The digest so far.
    pub fn value(&self) -> u64 {
        self.0.sum64()
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({:016x})", self.value())
    }
}

/// What a sealed segment says of itself as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The log that it belongs to.
    pub log: LogId,
    /// Its number in its stream.
    pub segment: SegmentNo,
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// The byte behind its last frame, where the footer begins.
    pub data_end: u64,
    /// The timestamp of its first record.
    pub first_ts: u64,
    /// The timestamp of its last record.
    pub last_ts: u64,
    /// The least and the greatest ext_id in it, if any record has one.
    pub ext: Option<(u64, u64)>,
    /// The digest of all checksums.
    pub digest: u64,
    /// What was known to be durable when the footer was written.
    pub watermark: Offset,
    /// A write or a sync of the segment had failed, so its last records may be in a later one.
    pub flush_failed: bool,
    /// Starts of frames.
    pub index: SparseIndex,
}

/// Why there is no footer.
#[derive(Debug, thiserror::Error)]
pub enum FooterError {
    /// The file is too short to have one.
    #[error("the file is too short for a footer")]
    TooShort,
    /// The file does not end with a trailer.
    #[error("the file does not end with a footer")]
    Magic,
    /// A version that this program does not know.
    #[error("the footer is of version {0}, written by a newer tierlog")]
    NewerVersion(u16),
    /// The checksum does not match.
    #[error("the checksum of the footer does not match")]
    Crc,
    /// It makes no sense.
    #[error("the footer makes no sense: {0}")]
    Invalid(&'static str),
    /// The file could not be read.
    #[error("the footer could not be read")]
    Io(#[source] io::Error),
}

impl Footer {
    /// The footer as it stands behind `data_end`.
    pub fn encode(&self, salt: u64) -> Vec<u8> {
        let entries = self.index.entries();
        let mut out = Vec::with_capacity(entries.len() * INDEX_ENTRY + TRAILER_LEN);
        for entry in entries {
            out.extend_from_slice(&entry.encode());
        }
        let mut trailer = [0; TRAILER_LEN];
        trailer[..8].copy_from_slice(&MAGIC);
        put(&mut trailer, AT_VERSION, SEGMENT_VERSION.to_le_bytes());
        put(&mut trailer, AT_LEN, (TRAILER_LEN as u16).to_le_bytes());
        let failed = if self.flush_failed {
            FLAG_FLUSH_FAILED
        } else {
            0
        };
        let flags = failed | self.ext.map_or(0, |_| FLAG_EXT);
        put(&mut trailer, AT_FLAGS, flags.to_le_bytes());
        put(&mut trailer, AT_LOG, *self.log.as_bytes());
        let (ext_min, ext_max) = self.ext.unwrap_or((0, 0));
        for (at, value) in [
            (AT_SEGMENT, self.segment.0),
            (AT_BASE, self.base.0),
            (AT_END, self.end.0),
            (AT_DATA_END, self.data_end),
            (AT_ENTRIES, entries.len() as u64),
            (AT_FIRST_TS, self.first_ts),
            (AT_LAST_TS, self.last_ts),
            (AT_EXT_MIN, ext_min),
            (AT_EXT_MAX, ext_max),
            (AT_DIGEST, self.digest),
            (AT_WATERMARK, self.watermark.min(self.end).0),
        ] {
            put(&mut trailer, at, value.to_le_bytes());
        }
        let crc = crc64(&[&salt.to_le_bytes(), &out, &trailer[..AT_CRC]]);
        put(&mut trailer, AT_CRC, crc.to_le_bytes());
        out.extend_from_slice(&trailer);
        out
    }

    /// Reads the footer that ends a file.
    ///
    /// Nothing is allocated for the index before its length was held against the file's and
    /// against how many frames there can be.
    pub fn read(file: &dyn DiskFile, file_len: u64, salt: u64) -> Result<Self, FooterError> {
        let at = file_len
            .checked_sub(TRAILER_LEN as u64)
            .ok_or(FooterError::TooShort)?;
        let mut trailer = [0; TRAILER_LEN];
        read_exactly(file, &mut trailer, at)?;
        let (data_end, entries) = extent(&trailer)?;
        if data_end + (entries * INDEX_ENTRY) as u64 != at {
            return Err(FooterError::Invalid(
                "its lengths are not those of the file",
            ));
        }
        let mut bytes = vec![0; entries * INDEX_ENTRY + TRAILER_LEN];
        read_exactly(file, &mut bytes, data_end)?;
        Self::decode(&bytes, salt)
    }

    /// The footer with which `bytes` begin, whatever follows it; they begin at `data_end`.
    ///
    /// Where its trailer stands is not known, and each entry of its index may look like one: the index
    /// is put through the checksum once for all of them.
    pub(super) fn leading(bytes: &[u8], data_end: u64, salt: u64) -> Option<Self> {
        let mut crc = Crc64::new();
        crc.write(&salt.to_le_bytes());
        for at in (0..).step_by(INDEX_ENTRY) {
            let trailer: &[u8; TRAILER_LEN] = bytes.get(at..)?.first_chunk()?;
            if trailer.starts_with(&MAGIC) {
                let mut whole = crc.clone();
                whole.write(&trailer[..AT_CRC]);
                if whole.sum64() == number(trailer, AT_CRC)
                    && let Ok(footer) = Self::decode(&bytes[..at + TRAILER_LEN], salt)
                    && footer.data_end == data_end
                {
                    return Some(footer);
                }
            }
            crc.write(&trailer[..INDEX_ENTRY]);
        }
        None
    }

    /// Reads a footer from its bytes: the index and the trailer, nothing before or behind.
    pub fn decode(bytes: &[u8], salt: u64) -> Result<Self, FooterError> {
        let (index, trailer) = bytes.split_last_chunk().ok_or(FooterError::TooShort)?;
        let (data_end, entries) = extent(trailer)?;
        if entries * INDEX_ENTRY != index.len() {
            return Err(FooterError::Invalid("the length of its index"));
        }
        let crc = crc64(&[&salt.to_le_bytes(), index, &trailer[..AT_CRC]]);
        if crc != number(trailer, AT_CRC) {
            return Err(FooterError::Crc);
        }
        match u16::from_le_bytes(get(trailer, AT_VERSION)) {
            SEGMENT_VERSION => {}
            0 => return Err(FooterError::Invalid("version 0")),
            newer => return Err(FooterError::NewerVersion(newer)),
        }
        let flags = u32::from_le_bytes(get(trailer, AT_FLAGS));
        let ext = (number(trailer, AT_EXT_MIN), number(trailer, AT_EXT_MAX));
        let footer = Self {
            log: LogId::from_bytes(get(trailer, AT_LOG)),
            segment: SegmentNo(number(trailer, AT_SEGMENT)),
            base: Offset(number(trailer, AT_BASE)),
            end: Offset(number(trailer, AT_END)),
            data_end,
            first_ts: number(trailer, AT_FIRST_TS),
            last_ts: number(trailer, AT_LAST_TS),
            ext: (flags & FLAG_EXT != 0).then_some(ext),
            digest: number(trailer, AT_DIGEST),
            watermark: Offset(number(trailer, AT_WATERMARK)),
            flush_failed: flags & FLAG_FLUSH_FAILED != 0,
            index: SparseIndex::of(entries_of(index)),
        };
        if flags & !(FLAG_FLUSH_FAILED | FLAG_EXT) != 0 {
            return Err(FooterError::Invalid("its flags"));
        }
        footer.check().map_err(FooterError::Invalid)?;
        Ok(footer)
    }

    /// The bytes that the footer takes.
    pub fn encoded_len(&self) -> u64 {
        (self.index.entries().len() * INDEX_ENTRY + TRAILER_LEN) as u64
    }

    fn check(&self) -> Result<(), &'static str> {
        let entries = self.index.entries();
        if self.base > self.end || self.first_ts > self.last_ts {
            return Err("its range goes back");
        }
        if self.ext.is_some_and(|(min, max)| min > max) {
            return Err("its ext_id range goes back");
        }
        if self.watermark > self.end {
            return Err("it claims more than there is");
        }
        let first = IndexEntry {
            offset: self.base,
            pos: HEADER_LEN,
            ts: self.first_ts,
        };
        match (self.base == self.end, entries.first()) {
            (true, None) if self.data_end == HEADER_LEN => {}
            (false, Some(entry)) if *entry == first => {}
            _ => return Err("its index does not begin with the first frame"),
        }
        let inside = |entry: &IndexEntry| {
            entry.offset < self.end
                && entry.pos < self.data_end
                && entry.pos.is_multiple_of(8)
                && entry.ts <= self.last_ts
        };
        let forward = |pair: &[IndexEntry]| {
            pair[0].offset < pair[1].offset && pair[0].pos < pair[1].pos && pair[0].ts <= pair[1].ts
        };
        if !entries.iter().all(inside) || !entries.windows(2).all(forward) {
            return Err("its index is out of order");
        }
        Ok(())
    }
}

/// Where the frames end and how many index entries follow, both possible at least.
fn extent(trailer: &[u8; TRAILER_LEN]) -> Result<(u64, usize), FooterError> {
    if trailer[..8] != MAGIC {
        return Err(FooterError::Magic);
    }
    if u16::from_le_bytes(get(trailer, AT_LEN)) != TRAILER_LEN as u16 {
        return Err(FooterError::Invalid("the length of its trailer"));
    }
    let data_end = number(trailer, AT_DATA_END);
    let frames = data_end
        .checked_sub(HEADER_LEN)
        .filter(|len| len.is_multiple_of(8) && data_end <= i64::MAX as u64)
        .ok_or(FooterError::Invalid("the end of its frames"))?;
    let entries = number(trailer, AT_ENTRIES);
    if entries > frames / INDEX_SPACING + 1 {
        return Err(FooterError::Invalid("more index entries than frames"));
    }
    Ok((data_end, entries as usize))
}

fn entries_of(index: &[u8]) -> Vec<IndexEntry> {
    let (entries, _) = index.as_chunks::<INDEX_ENTRY>();
    entries.iter().map(IndexEntry::decode).collect()
}

fn read_exactly(file: &dyn DiskFile, buf: &mut [u8], pos: u64) -> Result<(), FooterError> {
    match file.read_at(buf, pos) {
        Ok(read) if read == buf.len() => Ok(()),
        Ok(_) => Err(FooterError::TooShort),
        Err(error) => Err(FooterError::Io(error)),
    }
}

fn put<const N: usize>(out: &mut [u8; TRAILER_LEN], at: usize, bytes: [u8; N]) {
    out[at..at + N].copy_from_slice(&bytes);
}

fn get<const N: usize>(bytes: &[u8; TRAILER_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn number(bytes: &[u8; TRAILER_LEN], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}
