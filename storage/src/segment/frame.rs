//! Frames: the unit that is written, checksummed and read.
//!
//! ```text
//!  0        4          8                    16                   24       28     30     32
//!  ┌────────┬──────────┬────────────────────┬────────────────────┬────────┬──────┬──────┐
//!  │ "TLFR" │ body_len │ crc64              │ base offset        │ count  │flags │ 0    │
//!  ├────────┴──────────┴─┬──────────────────┴──┬─────────────────┴────────┴──────┴──────┘
//!  │ base timestamp (ns) │ durable offset      │ records … zeros to a multiple of 8
//!  └─────────────────────┴─────────────────────┴───────────────────────────────────────
//!  32                    40                    48                  48 + body_len
//! ```
//!
//! - The CRC covers the segment's salt (8 B), bytes 0..8, and everything from byte 16 to the
//!   padded end. So lengths and timestamps are covered too, and a frame of another segment, left
//!   over in reused blocks, never passes.
//! - `body_len` counts the records without the padding; a frame starts at a multiple of 8.
//! - `durable` is a claim: all records below it were known to be durable when the frame was
//!   written. It never goes beyond the frame's own end.
//! - Flag bit 0, ATTRS: every record has an attrs byte. Other flags and the two reserved bytes are
//!   zero in version 1.

use super::records::{Cursor, Records};
use crate::{
    Offset,
    crc::{Crc64, crc64},
    planted,
};
use bytes::Bytes;

pub use super::{
    builder::FrameBuilder,
    record::{MAX_RECORD, MIN_RECORD, NewRecord, Record},
    records::{RecordRef, RecordsRef},
};

/// The bytes of a frame before its records.
pub const FRAME_HEAD: usize = 48;

/// What a frame grows to under load before the next one begins.
pub const FRAME_TARGET: usize = 64 * 1024;

/// The most bytes that the records of one frame take: one of the largest size with room to spare,
/// or a batch.
pub const MAX_BODY: usize = 2 * MAX_RECORD;

/// What a frame's head is followed by, at the least.
pub const MIN_FRAME: usize = padded(MIN_RECORD);

pub(super) const MARKER: [u8; 4] = *b"TLFR";
pub(super) const FLAG_ATTRS: u16 = 1;

const AT_BODY_LEN: usize = 4;
pub(super) const AT_CRC: usize = 8;
pub(super) const AT_BASE: usize = 16;
const AT_COUNT: usize = 24;
const AT_FLAGS: usize = 28;
const AT_RESERVED: usize = 30;
const AT_BASE_TS: usize = 32;
const AT_DURABLE: usize = 40;

const _: () = {
    assert!(AT_DURABLE + 8 == FRAME_HEAD && FRAME_HEAD.is_multiple_of(8));
    assert!(MAX_BODY.is_multiple_of(8), "padding never passes the limit");
    assert!(MAX_BODY <= u32::MAX as usize, "body_len is a u32");
    assert!(MAX_BODY / MIN_RECORD <= u32::MAX as usize, "count is a u32");
};

/// The length of a frame whose records take `body` bytes.
pub const fn padded(body: usize) -> usize {
    FRAME_HEAD + body.next_multiple_of(8)
}

/// What is wrong with the bytes where a frame should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Four zero bytes where the marker should be: nothing was written here.
    #[error("nothing is written there")]
    Blank,
    /// Something else than a frame.
    #[error("no frame begins there")]
    Marker,
    /// A head that makes no sense: lengths, flags or a claim beyond the frame.
    #[error("the head of the frame makes no sense")]
    Length,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Crc,
    /// The checksum matches, and yet the records can't be told apart.
    #[error("the records of the frame make no sense: {0}")]
    Records(&'static str),
    /// The bytes end before the frame does.
    #[error("the frame is cut short")]
    Cut,
    /// A good frame, but not the one whose turn it is.
    #[error("the frame begins with offset {0}, which is not the next one")]
    Base(Offset),
}

/// What a frame says before its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// The bytes of the records, without the padding.
    pub body_len: u32,
    /// The checksum.
    pub crc: u64,
    /// The offset of the first record.
    pub base: Offset,
    /// How many records there are; never 0.
    pub count: u32,
    /// The flags.
    pub flags: u16,
    /// The timestamp from which those of the records are counted, which is that of the first one.
    pub base_ts: u64,
    /// The claim: all records below it were durable when the frame was written.
    pub durable: Offset,
}

impl FrameHead {
    /// Reads a head whose marker is right and whose lengths are possible.
    ///
    /// Says nothing about the checksum: until that was checked, no field may be believed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; FRAME_HEAD] = bytes.first_chunk()?;
        let parsed = Self {
            body_len: u32_at(head, AT_BODY_LEN),
            crc: u64_at(head, AT_CRC),
            base: Offset(u64_at(head, AT_BASE)),
            count: u32_at(head, AT_COUNT),
            flags: u16_at(head, AT_FLAGS),
            base_ts: u64_at(head, AT_BASE_TS),
            durable: Offset(u64_at(head, AT_DURABLE)),
        };
        let sane = head[..4] == MARKER
            && u16_at(head, AT_RESERVED) == 0
            && parsed.flags & !FLAG_ATTRS == 0
            && parsed.count > 0
            && parsed.body_len as usize <= MAX_BODY
            && parsed.body_len as usize / MIN_RECORD >= parsed.count as usize
            && parsed.base.0.checked_add(u64::from(parsed.count)).is_some()
            && parsed.durable <= parsed.end();
        sane.then_some(parsed)
    }

    /// The bytes of the whole frame, with its padding.
    pub const fn total_len(&self) -> usize {
        padded(self.body_len as usize)
    }

    /// The offset behind the last record.
    pub const fn end(&self) -> Offset {
        self.base.plus(self.count as u64)
    }

    /// True when every record has an attrs byte.
    pub const fn has_attrs(&self) -> bool {
        self.flags & FLAG_ATTRS != 0
    }

    /// Writes the head over the first bytes of `frame`, all of which must be there, and the CRC
    /// of the whole into it.
    fn seal(&mut self, frame: &mut [u8], salt: u64) {
        debug_assert_eq!(frame.len(), self.total_len());
        frame[..4].copy_from_slice(&MARKER);
        put(frame, AT_BODY_LEN, self.body_len.to_le_bytes());
        put(frame, AT_BASE, self.base.0.to_le_bytes());
        put(frame, AT_COUNT, self.count.to_le_bytes());
        put(frame, AT_FLAGS, self.flags.to_le_bytes());
        put(frame, AT_RESERVED, [0; 2]);
        put(frame, AT_BASE_TS, self.base_ts.to_le_bytes());
        put(frame, AT_DURABLE, self.durable.0.to_le_bytes());
        self.crc = frame_crc(frame, salt);
        put(frame, AT_CRC, self.crc.to_le_bytes());
    }
}

fn u16_at(head: &[u8; FRAME_HEAD], at: usize) -> u16 {
    u16::from_le_bytes([head[at], head[at + 1]])
}

fn u32_at(head: &[u8; FRAME_HEAD], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; FRAME_HEAD], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}

/// The CRC of a whole padded frame under a salt.
pub(super) fn frame_crc(frame: &[u8], salt: u64) -> u64 {
    let (before, behind) = summed(frame);
    crc64(&[&salt.to_le_bytes(), before, behind])
}

/// The CRC so far of a frame of which only the start is at hand, head included.
pub(super) fn begun_crc(start: &[u8], salt: u64) -> Crc64 {
    let (before, behind) = summed(start);
    let mut crc = Crc64::new();
    for part in [&salt.to_le_bytes(), before, behind] {
        crc.write(part);
    }
    crc
}

/// What of a frame is in its checksum: what stands before that, and behind it.
fn summed(frame: &[u8]) -> (&[u8], &[u8]) {
    match planted::is("header_outside_the_crc") {
        true => (&[], &frame[FRAME_HEAD..]),
        false => (&frame[..AT_CRC], &frame[AT_BASE..]),
    }
}

/// Checks head and checksum of the frame at the start of `bytes`, which may go on behind it.
pub fn check_frame(bytes: &[u8], salt: u64) -> Result<FrameHead, FrameFault> {
    let head = check_head(bytes)?;
    let frame = bytes.get(..head.total_len()).ok_or(FrameFault::Cut)?;
    if frame_crc(frame, salt) != head.crc {
        return Err(FrameFault::Crc);
    }
    Ok(head)
}

/// Checks the head alone; the frame may be longer than `bytes`.
pub(super) fn check_head(bytes: &[u8]) -> Result<FrameHead, FrameFault> {
    match bytes.first_chunk() {
        Some(&[0, 0, 0, 0]) => Err(FrameFault::Blank),
        Some(&MARKER) if bytes.len() < FRAME_HEAD => Err(FrameFault::Cut),
        Some(&MARKER) => FrameHead::parse(bytes).ok_or(FrameFault::Length),
        Some(_) => Err(FrameFault::Marker),
        None => Err(FrameFault::Cut),
    }
}

/// What the place of a frame adds to its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSeal {
    /// The offset of its first record.
    pub base: Offset,
    /// What is known to be durable; what lies beyond the frame's end is not claimed by it.
    pub durable: Offset,
    /// The segment's salt.
    pub salt: u64,
}

/// An encoded frame, ready to be written. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The whole of it, padding included.
    pub bytes: Bytes,
    /// The offset of its first record.
    pub base: Offset,
    /// How many records it has; never 0.
    pub count: u32,
    /// The timestamp of the first record.
    pub first_ts: u64,
    /// The timestamp of the last record.
    pub last_ts: u64,
    /// Its checksum.
    pub crc: u64,
    /// The least and the greatest ext_id in it, if any record has one.
    pub ext: Option<(u64, u64)>,
}

impl Frame {
    /// Takes over a frame that was read: checks its checksum and walks its records.
    ///
    /// `bytes` is exactly the frame.
    pub fn checked(bytes: Bytes, salt: u64) -> Result<Self, FrameFault> {
        let head = check_frame(&bytes, salt)?;
        if head.total_len() != bytes.len() {
            return Err(FrameFault::Length);
        }
        let walk = Walk::over(&bytes, &head, head.count)?;
        Ok(Self {
            bytes,
            base: head.base,
            count: head.count,
            first_ts: walk.first_ts,
            last_ts: walk.last_ts,
            crc: head.crc,
            ext: walk.ext,
        })
    }

    /// The offset behind the last record.
    pub const fn end(&self) -> Offset {
        self.base.plus(self.count as u64)
    }

    /// How many bytes it takes in a file.
    // A frame is never empty, so there is nothing for an is_empty to say.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The same records in another place: under its salt, base and claim.
    ///
    /// Nothing is encoded again; the head of a copy is changed and its checksum made anew.
    pub fn resealed(&self, seal: &FrameSeal) -> Self {
        let mut head = self.head();
        let mut bytes = self.bytes.to_vec();
        let crc = close(&mut head, &mut bytes, seal);
        Self {
            bytes: bytes.into(),
            base: seal.base,
            crc,
            ..self.clone()
        }
    }

    /// The first `n` records alone, in another place; all of them where there are fewer.
    ///
    /// # Panics
    /// When `n` is 0: no frame is empty, and the caller has nothing to write.
    pub fn keep_first(&self, n: u32, seal: &FrameSeal) -> Self {
        assert!(n > 0, "a frame holds at least one record");
        let mut head = self.head();
        let count = n.min(head.count);
        let walk = Walk::over(&self.bytes, &head, count)
            .expect("the records were encoded here or walked when the frame was taken over");
        let body = walk.pos - FRAME_HEAD;
        // At most the body_len that is there already.
        head.body_len = body as u32;
        head.count = count;
        let mut bytes = self.bytes[..walk.pos].to_vec();
        bytes.resize(padded(body), 0);
        let crc = close(&mut head, &mut bytes, seal);
        Self {
            bytes: bytes.into(),
            base: seal.base,
            count,
            first_ts: walk.first_ts,
            last_ts: walk.last_ts,
            crc,
            ext: walk.ext,
        }
    }

    /// Its records.
    pub fn records(&self) -> Records {
        Records::of(self.bytes.clone()).unwrap_or_else(Records::failed)
    }

    /// The records of one that was just encoded; `body` are its unpadded bytes behind the head.
    pub(super) fn encoded(mut bytes: Vec<u8>, facts: Encoded, seal: &FrameSeal) -> Self {
        let body = bytes.len() - FRAME_HEAD;
        bytes.resize(padded(body), 0);
        let mut head = FrameHead {
            body_len: u32::try_from(body).expect("the builder keeps the body below MAX_BODY"),
            crc: 0,
            base: seal.base,
            count: facts.count,
            flags: if facts.attrs { FLAG_ATTRS } else { 0 },
            base_ts: facts.first_ts,
            durable: seal.durable,
        };
        let crc = close(&mut head, &mut bytes, seal);
        Self {
            bytes: bytes.into(),
            base: seal.base,
            count: facts.count,
            first_ts: facts.first_ts,
            last_ts: facts.last_ts,
            crc,
            ext: facts.ext,
        }
    }

    fn head(&self) -> FrameHead {
        FrameHead::parse(&self.bytes)
            .expect("the head was written here or checked when the frame was taken over")
    }
}

impl std::fmt::Debug for Frame {
    /// Without the bytes: no payload ever reaches a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.bytes.len())
            .field("base", &self.base)
            .field("count", &self.count)
            .field("first_ts", &self.first_ts)
            .field("last_ts", &self.last_ts)
            .field("crc", &self.crc)
            .field("ext", &self.ext)
            .finish()
    }
}

/// What the builder knows of the records that it has encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) count: u32,
    pub(super) attrs: bool,
    pub(super) first_ts: u64,
    pub(super) last_ts: u64,
    pub(super) ext: Option<(u64, u64)>,
}

/// Puts a head with its place into a whole frame and returns the checksum.
fn close(head: &mut FrameHead, bytes: &mut [u8], seal: &FrameSeal) -> u64 {
    head.base = seal.base;
    head.durable = seal.durable.min(head.end());
    head.seal(bytes, seal.salt);
    head.crc
}

/// What a walk over the first records of a frame tells.
struct Walk {
    pos: usize,
    first_ts: u64,
    last_ts: u64,
    ext: Option<(u64, u64)>,
}

impl Walk {
    fn over(frame: &[u8], head: &FrameHead, count: u32) -> Result<Self, FrameFault> {
        let mut cursor = Cursor::new(head);
        let mut walk = Self {
            pos: FRAME_HEAD,
            first_ts: head.base_ts,
            last_ts: head.base_ts,
            ext: None,
        };
        for nth in 0..count {
            let raw = cursor
                .step(frame)
                .unwrap_or(Err(FrameFault::Records("there are too few")))?;
            if nth == 0 {
                walk.first_ts = raw.timestamp;
            }
            walk.last_ts = raw.timestamp;
            walk.ext = widened(walk.ext, raw.ext_id);
        }
        walk.pos = cursor.pos();
        match cursor.step(frame) {
            Some(Err(fault)) if count == head.count => Err(fault),
            _ => Ok(walk),
        }
    }
}

/// The range that also holds `ext_id`.
pub(crate) fn widened(range: Option<(u64, u64)>, ext_id: Option<u64>) -> Option<(u64, u64)> {
    match (range, ext_id) {
        (Some((min, max)), Some(id)) => Some((min.min(id), max.max(id))),
        (None, Some(id)) => Some((id, id)),
        (range, None) => range,
    }
}
