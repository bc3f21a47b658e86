//! Warm files (Tier 1): a sealed segment as seekable zstd.
//!
//! ```text
//! ┌──────────────┬────────────┬────────────┬─ ─ ─┬────────────┬──────────────┬────────────┐
//! │ head         │ zstd frame │ zstd frame │     │ zstd frame │ index        │ seek table │
//! └──────────────┴────────────┴────────────┴─ ─ ─┴────────────┴──────────────┴────────────┘
//!  skippable      the segment's bytes, in order: header,        skippable      skippable
//!  frame          frames, footer; cut at borders of frames      frame          frame
//! ```
//!
//! zstd passes over skippable frames, so that `zstd -d` gives back the segment, byte for byte. The
//! seek table is that of zstd's contrib "seekable format", for other programs; this one goes by the
//! index, which has a checksum of the stored bytes of each frame: nothing is decoded before it was
//! checked, and nothing is allocated on the word of bytes that were not.
//!
//! Source of the container: the documents `zstd_compression_format.md` (skippable frames) and
//! `contrib/seekable_format/zstd_seekable_compression_format.md` of zstd.

mod compress;
mod files;
mod head;
mod index;
mod read;
mod seek_table;
mod view;

use crate::{
    error::StorageError,
    ids::{LogId, SegmentNo, StreamId},
    manifest::SealedFacts,
};

pub use compress::{Compressed, WarmOptions, compare, compress};
pub(crate) use files::check_crc;
pub use files::{fetch, finish, hydrate, look, make};
pub use head::{HEAD_LEN, WarmHead};
pub use index::{IndexTail, WarmFrame, WarmIndex};
pub use read::{decode, read_frame, read_index, restore};
pub use view::{WarmView, as_segment};

/// Called before each piece of work, with how far it has got; it may wait. False: not to go on.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

/// The version of the format.
pub const WARM_VERSION: u16 = 1;

/// Bytes of the segment in one zstd frame, about: it is cut at the first border of a frame of the
/// segment behind so many.
pub const WARM_FRAME: usize = 256 * 1024;

/// The most bytes of the segment that one zstd frame holds: one frame of the largest record, with
/// the segment's header before it and a full one behind.
pub const MAX_PLAIN: usize = crate::segment::MAX_BODY + 2 * WARM_FRAME;

/// Which sealed segment a warm file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmIdentity {
    /// Its log.
    pub log: LogId,
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub segment: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// What the manifest says of it.
    pub facts: SealedFacts,
}

/// Why a warm file, or a part of one, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WarmFault {
    /// A checksum does not match, or a structure contradicts itself.
    #[error("{0}")]
    Damaged(&'static str),
    /// It stands for another segment, or belongs to another log.
    #[error("it stands for another segment: {0}")]
    Foreign(&'static str),
    /// A version that this program does not know.
    #[error(
        "it is of format version {0}, written by a newer tierlog; this one reads up to {WARM_VERSION}"
    )]
    NewerVersion(u16),
    /// zstd can't decode bytes whose checksum is right.
    #[error("zstd: {0}")]
    Zstd(String),
    /// It was told to stop.
    #[error("it was given up")]
    Stopped,
    /// It could not be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// The number with which a skippable frame of this program begins.
const SKIPPABLE: u32 = 0x184D_2A5D;
/// Bytes before the content of a skippable frame.
const SKIPPABLE_HEAD: usize = 8;

fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(SKIPPABLE_HEAD + content.len());
    out.extend_from_slice(&magic.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(content);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests;
