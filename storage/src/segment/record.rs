//! Records: what an app hands in, what it gets back, and how one lies inside a frame.
//!
//! ```text
//!   in a frame without ATTRS            in a frame with ATTRS
//!   ┌──────────────────────────────┐    ┌──────────────────────────────┐
//!   │ varint payload length        │    │ varint payload length        │
//!   │ varint timestamp - base (ns) │    │ varint timestamp - base (ns) │
//!   │ payload                      │    │ attrs: u8, bit 0 ext_id,     │
//!   └──────────────────────────────┘    │            bit 1 key         │
//!                                       │ varint ext_id      (bit 0)   │
//!                                       │ varint key length  (bit 1)   │
//!                                       │ key                (bit 1)   │
//!                                       │ payload                      │
//!                                       └──────────────────────────────┘
//! ```
//!
//! A record carries no checksum and no offset of its own: the frame's covers it, and its offset is
//! the frame's base plus its place. Varints are LEB128 in their shortest form; a longer one is
//! refused, so that each record has exactly one encoding.

use std::fmt;

use bytes::Bytes;

use crate::{Offset, varint};

/// The largest payload and key, together, that one record may have.
pub const MAX_RECORD: usize = 64 << 20;

/// The fewest bytes that a record takes: an empty payload at the frame's base timestamp.
pub const MIN_RECORD: usize = 2;

/// The most bytes that a varint takes.
pub(super) const MAX_VARINT: usize = varint::MAX_LEN;

const ATTR_EXT: u8 = 1;
const ATTR_KEY: u8 = 2;

/// A record to be appended.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// The app's bytes.
    pub payload: Bytes,
    /// What the record is about, for apps that need it beside the payload.
    pub key: Option<Bytes>,
    /// The app's own number for the record: a Raft term or index, a sequence of its source.
    pub ext_id: Option<u64>,
}

impl NewRecord {
    /// A record of these bytes, without key and ext_id.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            key: None,
            ext_id: None,
        }
    }

    /// The same record with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with an ext_id.
    #[must_use]
    pub fn ext_id(mut self, ext_id: u64) -> Self {
        self.ext_id = Some(ext_id);
        self
    }

    /// True when the record needs a frame with ATTRS.
    pub fn has_attrs(&self) -> bool {
        self.key.is_some() || self.ext_id.is_some()
    }

    /// The bytes of payload and key, which is what [`MAX_RECORD`] and byte budgets count.
    pub fn size(&self) -> usize {
        self.payload.len() + self.key.as_ref().map_or(0, Bytes::len)
    }

    /// No fewer bytes than the record can take in a frame, whatever its timestamp.
    pub fn encoded_len_max(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| MAX_VARINT + key.len());
        2 * MAX_VARINT + 1 + MAX_VARINT + key + self.payload.len()
    }
}

impl fmt::Debug for NewRecord {
    /// Lengths only: no payload and no key ever reaches a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("payload_len", &self.payload.len())
            .field("key_len", &self.key.as_ref().map(Bytes::len))
            .field("ext_id", &self.ext_id)
            .finish()
    }
}

macro_rules! from_payload {
    ($($from:ty: $payload:ident => $bytes:expr;)+) => {
        $(impl From<$from> for NewRecord {
            fn from($payload: $from) -> Self {
                Self::new($bytes)
            }
        })+
    };
}

from_payload! {
    Bytes: payload => payload;
    Vec<u8>: payload => payload;
    String: payload => payload;
    &'static str: payload => payload;
    &String: payload => Bytes::copy_from_slice(payload.as_bytes());
    &[u8]: payload => Bytes::copy_from_slice(payload);
}

impl<const N: usize> From<&[u8; N]> for NewRecord {
    fn from(payload: &[u8; N]) -> Self {
        Self::from(&payload[..])
    }
}

/// Appends timestamp and, in a frame with ATTRS, the attributes; what is left out is the payload.
#[inline]
pub(super) fn put_head(out: &mut Vec<u8>, payload_len: usize, delta: u64) {
    if payload_len < 0x80 && delta < 0x80 {
        out.extend_from_slice(&[payload_len as u8, delta as u8]);
    } else {
        varint::write(out, payload_len as u64);
        varint::write(out, delta);
    }
}

/// Appends the attributes of a record, which stand between its head and its payload.
pub(super) fn put_attrs(out: &mut Vec<u8>, record: &NewRecord) {
    let ext = record.ext_id.map_or(0, |_| ATTR_EXT);
    let key = record.key.as_ref().map_or(0, |_| ATTR_KEY);
    out.push(ext | key);
    if let Some(ext_id) = record.ext_id {
        varint::write(out, ext_id);
    }
    if let Some(key) = &record.key {
        varint::write(out, key.len() as u64);
        out.extend_from_slice(key);
    }
}

/// One record at the start of a body; the ranges are places in that body.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) delta: u64,
    pub(super) ext_id: Option<u64>,
    pub(super) key: Option<(usize, usize)>,
    /// Its end is the end of the record.
    pub(super) payload: (usize, usize),
}

/// Reads the record at the start of `body`.
#[inline]
pub(super) fn take_record(body: &[u8], attrs: bool) -> Result<Taken, &'static str> {
    // Most records by far: short, without attributes, and soon after the frame's first one.
    if let (false, &[len, delta, ..]) = (attrs, body)
        && (len | delta) < 0x80
        && 2 + usize::from(len) <= body.len()
    {
        return Ok(Taken {
            delta: u64::from(delta),
            ext_id: None,
            key: None,
            payload: (2, 2 + usize::from(len)),
        });
    }
    let mut pos = 0;
    let payload_len = take_varint(body, &mut pos)?;
    let delta = take_varint(body, &mut pos)?;
    let (mut ext_id, mut key) = (None, None);
    if attrs {
        (ext_id, key) = take_attrs(body, &mut pos)?;
    }
    let payload = take_range(body, &mut pos, payload_len)?;
    Ok(Taken {
        delta,
        ext_id,
        key,
        payload,
    })
}

type Attrs = (Option<u64>, Option<(usize, usize)>);

fn take_attrs(body: &[u8], pos: &mut usize) -> Result<Attrs, &'static str> {
    let attrs = *body.get(*pos).ok_or("attributes are cut short")?;
    *pos += 1;
    if attrs & !(ATTR_EXT | ATTR_KEY) != 0 {
        return Err("an unknown attribute");
    }
    let ext_id = match attrs & ATTR_EXT {
        0 => None,
        _ => Some(take_varint(body, pos)?),
    };
    let key = match attrs & ATTR_KEY {
        0 => None,
        _ => {
            let len = take_varint(body, pos)?;
            Some(take_range(body, pos, len)?)
        }
    };
    Ok((ext_id, key))
}

#[inline]
fn take_varint(body: &[u8], pos: &mut usize) -> Result<u64, &'static str> {
    let rest = body.get(*pos..).ok_or("a number is cut short")?;
    let (value, used) = varint::read(rest).ok_or("a number is cut short or overlong")?;
    *pos += used;
    Ok(value)
}

#[inline]
fn take_range(body: &[u8], pos: &mut usize, len: u64) -> Result<(usize, usize), &'static str> {
    let from = *pos;
    if len > (body.len() - from) as u64 {
        return Err("a length goes beyond the body");
    }
    // It fits what remains, so it fits a usize.
    *pos = from + len as usize;
    Ok((from, *pos))
}

/// A record as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream.
    pub offset: Offset,
    /// When it was appended, in nanoseconds since the Unix epoch; never less than that of the
    /// record before it.
    pub timestamp: u64,
    /// The app's own number for it.
    pub ext_id: Option<u64>,
    /// What it is about.
    pub key: Option<Bytes>,
    /// The app's bytes, a slice of the block that was read.
    pub payload: Bytes,
}

impl fmt::Debug for Record {
    /// Lengths only: no payload and no key ever reaches a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("ext_id", &self.ext_id)
            .field("key_len", &self.key.as_ref().map(Bytes::len))
            .field("payload_len", &self.payload.len())
            .finish()
    }
}
