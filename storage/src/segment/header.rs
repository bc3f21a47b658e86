//! The header of a segment file.
//!
//! ```text
//!    0            8         10           12       16                 32                 48
//!    ┌────────────┬─────────┬────────────┬────────┬──────────────────┬──────────────────┐
//!    │ "TLSEGMT1" │ version │ header_len │ flags  │ log uuid         │ stream uuid      │
//!    ├────────────┼─────────┴──┬─────────┴────────┼─────────────┬────┴──────────────────┘
//!    │ segment    │ base offset│ epoch            │ incarnation │
//!    ├─48─────────┼─56─────────┼─64───────────────┼─72──────────┤
//!    │ created_ns │ capacity   │ first ext_id     │ salt        │
//!    ├─80─────────┼─88─────────┼─96───────────────┴─104─────────┘
//!    │ manifest   │ crc64 of   │
//!    │ sequence   │ 0..120     │
//!    └─112────────┴─120────────┘ 128
//! ```
//!
//! It is written with the first frame; until then these bytes are zero, and the segment is empty.
//! Flag bit 0: there is a first ext_id. The manifest sequence is that of the commit that created
//! the segment, so it claims that the manifest is durable at least that far.
//!
//! A later version may make the header longer. Magic, version, length and the CRC of the first 120
//! bytes stay in their places, so that damage is not taken for a newer version.

use crate::{Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId, crc::crc64};

/// The bytes of a header, and so the place of the first frame.
pub const HEADER_LEN: u64 = 128;

/// The version of segment files that is written, and the newest that is read.
pub const SEGMENT_VERSION: u16 = 1;

const LEN: usize = HEADER_LEN as usize;
const MAGIC: [u8; 8] = *b"TLSEGMT1";
const FLAG_EXT: u32 = 1;

const AT_VERSION: usize = 8;
const AT_LEN: usize = 10;
const AT_FLAGS: usize = 12;
const AT_LOG: usize = 16;
const AT_STREAM: usize = 32;
const AT_SEGMENT: usize = 48;
const AT_BASE: usize = 56;
const AT_EPOCH: usize = 64;
const AT_INCARNATION: usize = 72;
const AT_CREATED: usize = 80;
const AT_CAPACITY: usize = 88;
const AT_EXT: usize = 96;
const AT_SALT: usize = 104;
const AT_MANIFEST_SEQ: usize = 112;
const AT_CRC: usize = 120;

const _: () = {
    assert!(AT_CRC + 8 == LEN);
    assert!(LEN.is_multiple_of(8), "frames start at multiples of 8");
};

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log that it belongs to.
    pub log: LogId,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its number in that stream.
    pub segment: SegmentNo,
    /// The offset of its first record.
    pub base: Offset,
    /// The ownership under which it was begun.
    pub epoch: Epoch,
    /// The life of the stream's tail in which it was begun.
    pub incarnation: Incarnation,
    /// When it was begun, in nanoseconds since the Unix epoch.
    pub created_ns: u64,
    /// The bytes that it was meant to hold.
    pub capacity: u64,
    /// The ext_id of its first record.
    pub first_ext_id: Option<u64>,
    /// What the checksums of its frames and its footer begin with.
    pub salt: u64,
    /// The sequence of the manifest commit that created it, which was durable before it was used.
    pub manifest_seq: u64,
}

/// Why 128 bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There are fewer bytes.
    #[error("the header is cut short")]
    TooShort,
    /// Something else than a segment.
    #[error("it does not begin like a segment")]
    Magic,
    /// A version that this program does not know.
    #[error("it is of version {0}, written by a newer tierlog")]
    NewerVersion(u16),
    /// The checksum does not match.
    #[error("the checksum of the header does not match")]
    Crc,
    /// The checksum does not match, and the version is one that this program does not know. It may
    /// be damaged there and nowhere else: versions keep the place of the checksum.
    #[error(
        "the checksum of the header does not match, and it says version {0}, where this program \
         knows {SEGMENT_VERSION}"
    )]
    CrcOfVersion(u16),
    /// The checksum matches, and yet it makes no sense.
    #[error("the header makes no sense: {0}")]
    Invalid(&'static str),
}

impl SegmentHeader {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..8].copy_from_slice(&MAGIC);
        put(&mut out, AT_VERSION, SEGMENT_VERSION.to_le_bytes());
        put(&mut out, AT_LEN, (LEN as u16).to_le_bytes());
        let flags = self.first_ext_id.map_or(0, |_| FLAG_EXT);
        put(&mut out, AT_FLAGS, flags.to_le_bytes());
        put(&mut out, AT_LOG, *self.log.as_bytes());
        put(&mut out, AT_STREAM, *self.stream.as_bytes());
        for (at, value) in [
            (AT_SEGMENT, self.segment.0),
            (AT_BASE, self.base.0),
            (AT_EPOCH, self.epoch.0),
            (AT_INCARNATION, self.incarnation.0),
            (AT_CREATED, self.created_ns),
            (AT_CAPACITY, self.capacity),
            (AT_EXT, self.first_ext_id.unwrap_or(0)),
            (AT_SALT, self.salt),
            (AT_MANIFEST_SEQ, self.manifest_seq),
        ] {
            put(&mut out, at, value.to_le_bytes());
        }
        let crc = crc64(&[&out[..AT_CRC]]);
        put(&mut out, AT_CRC, crc.to_le_bytes());
        out
    }

    /// Reads a header from the first 128 of `bytes`; `None` when they are all zero, as in a
    /// segment that nothing was written to.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, HeaderError> {
        let bytes: &[u8; LEN] = bytes.first_chunk().ok_or(HeaderError::TooShort)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let version = u16::from_le_bytes(get(bytes, AT_VERSION));
        if crc64(&[&bytes[..AT_CRC]]) != header_crc(bytes) {
            return Err(match version {
                0..=SEGMENT_VERSION => HeaderError::Crc,
                newer => HeaderError::CrcOfVersion(newer),
            });
        }
        match version {
            SEGMENT_VERSION => {}
            0 => return Err(HeaderError::Invalid("version 0")),
            newer => return Err(HeaderError::NewerVersion(newer)),
        }
        if u16::from_le_bytes(get(bytes, AT_LEN)) != LEN as u16 {
            return Err(HeaderError::Invalid("its length"));
        }
        let flags = u32::from_le_bytes(get(bytes, AT_FLAGS));
        let ext = number(bytes, AT_EXT);
        let first_ext_id = match flags {
            0 if ext == 0 => None,
            FLAG_EXT => Some(ext),
            _ => return Err(HeaderError::Invalid("its flags")),
        };
        Ok(Some(Self {
            log: LogId::from_bytes(get(bytes, AT_LOG)),
            stream: StreamId::from_bytes(get(bytes, AT_STREAM)),
            segment: SegmentNo(number(bytes, AT_SEGMENT)),
            base: Offset(number(bytes, AT_BASE)),
            epoch: Epoch(number(bytes, AT_EPOCH)),
            incarnation: Incarnation(number(bytes, AT_INCARNATION)),
            created_ns: number(bytes, AT_CREATED),
            capacity: number(bytes, AT_CAPACITY),
            first_ext_id,
            salt: number(bytes, AT_SALT),
            manifest_seq: number(bytes, AT_MANIFEST_SEQ),
        }))
    }
}

/// The checksum field of an encoded header, with which the digest of its segment begins.
pub fn header_crc(header: &[u8; LEN]) -> u64 {
    number(header, AT_CRC)
}

fn put<const N: usize>(out: &mut [u8; LEN], at: usize, bytes: [u8; N]) {
    out[at..at + N].copy_from_slice(&bytes);
}

fn get<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn number(bytes: &[u8; LEN], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}
