//! The head of a warm file: which segment it stands for.
//!
//! ```text
//!    0            4           8            16        18         20       24
//!    ┌────────────┬───────────┬────────────┬─────────┬──────────┬────────┐
//!    │ 0x184D2A5D │ 112 - 8   │ "TLWARMH1" │ version │ length   │ flags  │
//!    ├─24─────────┴───────────┼─40─────────┴─────────┴─┬─56─────┴┬─64────┤
//!    │ log uuid               │ stream uuid            │ segment │ salt  │
//!    ├─72─────────┬─80────────┼─88────────┬─96─────────┼─104─────┴───────┘
//!    │ base offset│ end offset│ plain len │ digest     │ crc64 of │
//!    │            │           │           │            │ 0..104   │
//!    └────────────┴───────────┴───────────┴────────────┴──────────┘ 112
//! ```
//!
//! Plain length and digest are the file length and the digest of the sealed segment. In every version
//! magic, version and CRC stay in their places, so that damage is not taken for a newer version.

use super::{SKIPPABLE, SKIPPABLE_HEAD, WARM_VERSION, WarmFault, WarmIdentity, u16_at, u64_at};
use crate::{
    crc::crc64,
    ids::{LogId, Offset, SegmentNo, StreamId},
};

/// The bytes of the head, with those that make it a skippable frame.
pub const HEAD_LEN: usize = 112;

const MAGIC: [u8; 8] = *b"TLWARMH1";
const AT_MAGIC: usize = SKIPPABLE_HEAD;
const AT_VERSION: usize = 16;
const AT_LEN: usize = 18;
const AT_FLAGS: usize = 20;
const AT_LOG: usize = 24;
const AT_STREAM: usize = 40;
const AT_SEGMENT: usize = 56;
const AT_SALT: usize = 64;
const AT_BASE: usize = 72;
const AT_END: usize = 80;
const AT_PLAIN: usize = 88;
const AT_DIGEST: usize = 96;
const AT_CRC: usize = 104;

const _: () = assert!(AT_CRC + 8 == HEAD_LEN && AT_MAGIC + 8 == AT_VERSION);

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmHead {
    /// The log.
    pub log: LogId,
    /// The stream.
    pub stream: StreamId,
    /// The segment's number.
    pub segment: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// Its first offset.
    pub base: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// The length of the segment file.
    pub plain_len: u64,
    /// Its digest.
    pub digest: u64,
}

impl WarmHead {
    /// The head for a segment.
    pub const fn of(identity: &WarmIdentity) -> Self {
        Self {
            log: identity.log,
            stream: identity.stream,
            segment: identity.segment,
            salt: identity.salt,
            base: identity.facts.base,
            end: identity.facts.end,
            plain_len: identity.facts.file_len,
            digest: identity.facts.digest,
        }
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; HEAD_LEN] {
        let mut out = [0; HEAD_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &SKIPPABLE.to_le_bytes());
        put(4, &((HEAD_LEN - SKIPPABLE_HEAD) as u32).to_le_bytes());
        put(AT_MAGIC, &MAGIC);
        put(AT_VERSION, &WARM_VERSION.to_le_bytes());
        put(AT_LEN, &(HEAD_LEN as u16).to_le_bytes());
        put(AT_LOG, self.log.as_bytes());
        put(AT_STREAM, self.stream.as_bytes());
        put(AT_SEGMENT, &self.segment.get().to_le_bytes());
        put(AT_SALT, &self.salt.to_le_bytes());
        put(AT_BASE, &self.base.get().to_le_bytes());
        put(AT_END, &self.end.get().to_le_bytes());
        put(AT_PLAIN, &self.plain_len.to_le_bytes());
        put(AT_DIGEST, &self.digest.to_le_bytes());
        let crc = crc64(&[&out[..AT_CRC]]);
        out[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a head.
    ///
    /// # Errors
    /// `NewerVersion`, or `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Self, WarmFault> {
        let bytes: &[u8; HEAD_LEN] = bytes
            .first_chunk()
            .ok_or(WarmFault::Damaged("the file is too short for its head"))?;
        if bytes[AT_MAGIC..AT_VERSION] != MAGIC {
            return Err(WarmFault::Damaged("the head does not begin as one"));
        }
        if crc64(&[&bytes[..AT_CRC]]) != u64_at(bytes, AT_CRC) {
            return Err(WarmFault::Damaged(
                "the checksum of the head does not match",
            ));
        }
        match u16_at(bytes, AT_VERSION) {
            WARM_VERSION => {}
            0 => return Err(WarmFault::Damaged("the head is of version 0")),
            newer => return Err(WarmFault::NewerVersion(newer)),
        }
        let whole = bytes[..4] == SKIPPABLE.to_le_bytes()
            && bytes[4..8] == ((HEAD_LEN - SKIPPABLE_HEAD) as u32).to_le_bytes()
            && usize::from(u16_at(bytes, AT_LEN)) == HEAD_LEN
            && bytes[AT_FLAGS..AT_LOG] == [0; 4];
        if !whole {
            return Err(WarmFault::Damaged("the head makes no sense"));
        }
        let id = |at: usize| std::array::from_fn(|i| bytes[at + i]);
        Ok(Self {
            log: LogId::from_bytes(id(AT_LOG)),
            stream: StreamId::from_bytes(id(AT_STREAM)),
            segment: SegmentNo(u64_at(bytes, AT_SEGMENT)),
            salt: u64_at(bytes, AT_SALT),
            base: Offset(u64_at(bytes, AT_BASE)),
            end: Offset(u64_at(bytes, AT_END)),
            plain_len: u64_at(bytes, AT_PLAIN),
            digest: u64_at(bytes, AT_DIGEST),
        })
    }

    /// Whether it is the head for this segment.
    ///
    /// # Errors
    /// `Foreign`, naming what differs.
    pub fn check(&self, identity: &WarmIdentity) -> Result<(), WarmFault> {
        let expected = Self::of(identity);
        let differs = if self.log != expected.log {
            "its log"
        } else if (self.stream, self.segment) != (expected.stream, expected.segment) {
            "its stream or number"
        } else if self.salt != expected.salt {
            "its salt"
        } else if *self != expected {
            "its range, length or digest"
        } else {
            return Ok(());
        };
        Err(WarmFault::Foreign(differs))
    }
}
