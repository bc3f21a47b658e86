//! Reading the records of a checked frame, as slices of shared bytes or of borrowed ones.
//!
//! The checksum matched, and still nothing is taken on trust: lengths are held against what
//! remains, the count must be met exactly and the body used up exactly. A frame that a faulty
//! writer checksummed is an error, never a panic and never a record that was not appended.

use bytes::Bytes;

use super::{
    frame::{FRAME_HEAD, FrameFault, FrameHead, check_head},
    record::{Record, take_record},
};
use crate::Offset;

/// Where one record lies in its frame.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) offset: Offset,
    pub(super) timestamp: u64,
    pub(super) ext_id: Option<u64>,
    /// Start and end of the key in the frame.
    pub(super) key: Option<(usize, usize)>,
    /// Start and end of the payload in the frame.
    pub(super) payload: (usize, usize),
}

/// A walk over the records of a frame that somebody else holds.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pos: usize,
    end: usize,
    next: Offset,
    left: u32,
    base_ts: u64,
    attrs: bool,
    done: bool,
}

impl Cursor {
    pub(super) fn new(head: &FrameHead) -> Self {
        Self {
            pos: FRAME_HEAD,
            end: FRAME_HEAD + head.body_len as usize,
            next: head.base,
            left: head.count,
            base_ts: head.base_ts,
            attrs: head.has_attrs(),
            done: false,
        }
    }

    /// The byte behind the last record that was walked over.
    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// The next record; an error is the last thing that it returns.
    #[inline]
    pub(super) fn step(&mut self, frame: &[u8]) -> Option<Result<Raw, FrameFault>> {
        if self.left == 0 {
            return self.finish();
        }
        let taken = frame
            .get(self.pos..self.end)
            .ok_or("the body is cut short")
            .and_then(|body| take_record(body, self.attrs));
        let raw = match taken {
            Ok(taken) => Raw {
                offset: self.next,
                // A clock near the end of 64 bits may have been recorded; it stays there.
                timestamp: self.base_ts.saturating_add(taken.delta),
                ext_id: taken.ext_id,
                key: taken.key.map(|(from, to)| (self.pos + from, self.pos + to)),
                payload: (self.pos + taken.payload.0, self.pos + taken.payload.1),
            },
            Err(what) => return Some(Err(self.fail(what))),
        };
        self.pos = raw.payload.1;
        self.left -= 1;
        // The head was refused if base + count left 64 bits.
        self.next = Offset(self.next.0 + 1);
        Some(Ok(raw))
    }

    fn finish(&mut self) -> Option<Result<Raw, FrameFault>> {
        if self.done || self.pos == self.end {
            return None;
        }
        Some(Err(self.fail("there are bytes behind the last one")))
    }

    #[cold]
    fn fail(&mut self, what: &'static str) -> FrameFault {
        self.left = 0;
        self.done = true;
        FrameFault::Records(what)
    }

    fn skip_to(&mut self, frame: &[u8], offset: Offset) -> Option<FrameFault> {
        while self.left > 0 && self.next < offset {
            if let Some(Err(fault)) = self.step(frame) {
                return Some(fault);
            }
        }
        None
    }
}

/// The records of a checked frame; payloads and keys are slices of its shared bytes.
///
/// Ends after the first error.
#[derive(Debug, Clone)]
pub struct Records {
    frame: Bytes,
    cursor: Option<Cursor>,
    fault: Option<FrameFault>,
}

impl Records {
    /// The records of the frame at the start of `frame`, whose checksum was checked before.
    pub fn of(frame: Bytes) -> Result<Self, FrameFault> {
        let cursor = cursor_of(&frame)?;
        Ok(Self {
            frame,
            cursor: Some(cursor),
            fault: None,
        })
    }

    /// No records, only the reason why.
    pub(super) fn failed(fault: FrameFault) -> Self {
        Self {
            frame: Bytes::new(),
            cursor: None,
            fault: Some(fault),
        }
    }

    /// Goes on with the record at `offset`: those before it are passed over, and all of them when
    /// it lies behind the frame. Never goes back.
    pub fn skip_to(&mut self, offset: Offset) {
        if let Some(cursor) = &mut self.cursor {
            self.fault = cursor.skip_to(&self.frame, offset).or(self.fault);
        }
    }

    /// The next record, borrowed: for whoever is done with it before the one after it.
    #[inline]
    pub fn next_ref(&mut self) -> Option<Result<RecordRef<'_>, FrameFault>> {
        if let Some(fault) = self.fault.take() {
            return Some(Err(fault));
        }
        let frame = &self.frame;
        Some(
            self.cursor
                .as_mut()?
                .step(frame)?
                .map(|raw| RecordRef::of(frame, &raw)),
        )
    }
}

impl Iterator for Records {
    type Item = Result<Record, FrameFault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(fault) = self.fault.take() {
            return Some(Err(fault));
        }
        Some(self.cursor.as_mut()?.step(&self.frame)?.map(|raw| Record {
            offset: raw.offset,
            timestamp: raw.timestamp,
            ext_id: raw.ext_id,
            key: raw.key.map(|(from, to)| self.frame.slice(from..to)),
            payload: self.frame.slice(raw.payload.0..raw.payload.1),
        }))
    }
}

/// A record that borrows from its frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its place in the stream.
    pub offset: Offset,
    /// When it was appended, in nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// The app's own number for it.
    pub ext_id: Option<u64>,
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// The app's bytes.
    pub payload: &'a [u8],
}

impl<'a> RecordRef<'a> {
    #[inline]
    fn of(frame: &'a [u8], raw: &Raw) -> Self {
        Self {
            offset: raw.offset,
            timestamp: raw.timestamp,
            ext_id: raw.ext_id,
            key: raw.key.map(|(from, to)| &frame[from..to]),
            payload: &frame[raw.payload.0..raw.payload.1],
        }
    }
}

impl std::fmt::Debug for RecordRef<'_> {
    /// Lengths only: no payload and no key ever reaches a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordRef")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("ext_id", &self.ext_id)
            .field("key_len", &self.key.map(<[u8]>::len))
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// The same as [`Records`] without shared ownership, for whoever is done with each record before
/// the next: scans, checks, searches.
#[derive(Debug, Clone)]
pub struct RecordsRef<'a> {
    frame: &'a [u8],
    cursor: Cursor,
    fault: Option<FrameFault>,
}

impl<'a> RecordsRef<'a> {
    /// The records of the frame at the start of `frame`, whose checksum was checked before.
    pub fn of(frame: &'a [u8]) -> Result<Self, FrameFault> {
        Ok(Self {
            frame,
            cursor: cursor_of(frame)?,
            fault: None,
        })
    }

    /// Goes on with the record at `offset`, as [`Records::skip_to`].
    pub fn skip_to(&mut self, offset: Offset) {
        self.fault = self.cursor.skip_to(self.frame, offset).or(self.fault);
    }
}

impl<'a> Iterator for RecordsRef<'a> {
    type Item = Result<RecordRef<'a>, FrameFault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(fault) = self.fault.take() {
            return Some(Err(fault));
        }
        Some(
            self.cursor
                .step(self.frame)?
                .map(|raw| RecordRef::of(self.frame, &raw)),
        )
    }
}

fn cursor_of(frame: &[u8]) -> Result<Cursor, FrameFault> {
    let head = check_head(frame)?;
    if frame.len() < head.total_len() {
        return Err(FrameFault::Cut);
    }
    Ok(Cursor::new(&head))
}
