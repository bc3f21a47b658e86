//! Encoding records into a frame. The hot path of appending.

use super::{
    frame::{Encoded, FRAME_HEAD, Frame, FrameSeal, MAX_BODY, padded, widened},
    record::{MAX_VARINT, NewRecord, put_attrs, put_head, take_record},
};

/// Up to this share of a buffer may stay idle behind a frame that takes the buffer over.
const IDLE_SHARE: usize = 2;

/// Below this a buffer is handed over however little of it is used.
const SMALL_BUFFER: usize = 1024;

/// Collects records and encodes them on the way in, so that finishing is one checksum.
#[derive(Clone)]
pub struct FrameBuilder {
    /// Room for the head, then records.
    buf: Vec<u8>,
    facts: Encoded,
}

impl FrameBuilder {
    /// An empty one with room for about `capacity_hint` bytes of records.
    pub fn new(capacity_hint: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(padded(capacity_hint.min(MAX_BODY))))
    }

    /// An empty one that reuses a buffer; what was in it is forgotten.
    pub fn with_buffer(mut buf: Vec<u8>) -> Self {
        buf.clear();
        buf.resize(FRAME_HEAD, 0);
        Self {
            buf,
            facts: Encoded {
                count: 0,
                attrs: false,
                first_ts: 0,
                last_ts: 0,
                ext: None,
            },
        }
    }

    /// True before the first record.
    pub fn is_empty(&self) -> bool {
        self.facts.count == 0
    }

    /// How many records it has.
    pub fn count(&self) -> u32 {
        self.facts.count
    }

    /// How long the frame would be if it were finished now.
    pub fn len(&self) -> usize {
        padded(self.body())
    }

    /// True when the record may be added without the frame passing `target` bytes.
    ///
    /// An empty builder takes any record, so that a big one gets a frame of its own. Otherwise a
    /// record with attributes does not fit a frame without them, nor the other way round: it can
    /// be pushed, but costs the others a byte each.
    pub fn fits(&self, record: &NewRecord, target: usize) -> bool {
        if self.is_empty() {
            return true;
        }
        let body = self.body().saturating_add(record.encoded_len_max());
        self.facts.attrs == record.has_attrs() && body <= MAX_BODY && padded(body) <= target
    }

    /// Adds a record. A timestamp before that of the last record becomes the last one's.
    ///
    /// Attributes may be mixed, so that any batch can be one frame.
    ///
    /// # Panics
    /// When the records would take more than [`MAX_BODY`] bytes, which admission has to prevent.
    pub fn push(&mut self, timestamp: u64, record: &NewRecord) {
        if record.has_attrs() && !self.facts.attrs {
            self.add_attrs();
        }
        if !self.facts.attrs {
            return self.push_payload(timestamp, &record.payload);
        }
        self.make_room(record.encoded_len_max());
        let delta = self.stamp(timestamp);
        put_head(&mut self.buf, record.payload.len(), delta);
        put_attrs(&mut self.buf, record);
        self.buf.extend_from_slice(&record.payload);
        self.facts.count += 1;
        self.facts.ext = widened(self.facts.ext, record.ext_id);
    }

    /// Adds a record without attributes; otherwise as [`push`](Self::push).
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[inline]
    pub fn push_payload(&mut self, timestamp: u64, payload: &[u8]) {
        self.make_room(payload.len() + 2 * MAX_VARINT + 1);
        let delta = self.stamp(timestamp);
        put_head(&mut self.buf, payload.len(), delta);
        if self.facts.attrs {
            self.buf.push(0);
        }
        self.buf.extend_from_slice(payload);
        self.facts.count += 1;
    }

    /// The timestamp of the last record; 0 before the first one.
    pub fn last_timestamp(&self) -> u64 {
        self.facts.last_ts
    }

    /// The timestamp of the first record; 0 before it.
    pub fn base_timestamp(&self) -> u64 {
        self.facts.first_ts
    }

    /// Moves all timestamps up by as much as makes the first one at least `at_least`.
    ///
    /// For buffers that were filled elsewhere: when their turn comes, the stream may have seen a
    /// later clock.
    pub fn raise_base(&mut self, at_least: u64) {
        let shift = at_least.saturating_sub(self.facts.first_ts);
        self.facts.first_ts += shift;
        self.facts.last_ts = self.facts.last_ts.saturating_add(shift);
    }

    /// Closes the frame: head, padding and checksum.
    ///
    /// The buffer itself becomes the frame's bytes. Where most of it would stay idle the frame is
    /// copied out instead, or a cache that counts a frame of one record as 100 bytes would keep
    /// 64 KiB alive with it.
    ///
    /// # Panics
    /// When there is no record: no frame is empty, and the caller has nothing to write.
    pub fn finish(mut self, seal: &FrameSeal) -> Frame {
        assert!(!self.is_empty(), "a frame holds at least one record");
        let capacity = self.buf.capacity();
        if capacity > SMALL_BUFFER && self.len() < capacity / IDLE_SHARE {
            let mut exact = Vec::with_capacity(self.len());
            exact.extend_from_slice(&self.buf);
            self.buf = exact;
        }
        Frame::encoded(self.buf, self.facts, seal)
    }

    #[cfg(test)]
    pub(super) fn buffer_at(&self) -> *const u8 {
        self.buf.as_ptr()
    }

    fn body(&self) -> usize {
        self.buf.len() - FRAME_HEAD
    }

    /// Room for `more` bytes and the padding.
    #[inline]
    fn make_room(&mut self, more: usize) {
        assert!(
            more <= MAX_BODY - self.body(),
            "a frame holds at most {MAX_BODY} bytes of records"
        );
        self.buf.reserve(more + 8);
    }

    /// Takes note of the next record's timestamp and returns its distance from the base.
    #[inline]
    fn stamp(&mut self, timestamp: u64) -> u64 {
        if self.facts.count == 0 {
            self.facts.first_ts = timestamp;
            self.facts.last_ts = timestamp;
            return 0;
        }
        self.facts.last_ts = self.facts.last_ts.max(timestamp);
        self.facts.last_ts - self.facts.first_ts
    }

    /// Gives every record so far an attrs byte.
    #[cold]
    fn add_attrs(&mut self) {
        self.facts.attrs = true;
        let count = self.facts.count as usize;
        self.make_room(count);
        let old = std::mem::take(&mut self.buf);
        self.buf = Vec::with_capacity(old.capacity().max(old.len() + count));
        self.buf.extend_from_slice(&old[..FRAME_HEAD]);
        let mut body = &old[FRAME_HEAD..];
        while !body.is_empty() {
            let taken = take_record(body, false).expect("the record was encoded by push_payload");
            let (record, rest) = body.split_at(taken.payload.1);
            let (head, payload) = record.split_at(taken.payload.0);
            self.buf.extend_from_slice(head);
            self.buf.push(0);
            self.buf.extend_from_slice(payload);
            body = rest;
        }
    }
}

impl std::fmt::Debug for FrameBuilder {
    /// Without the bytes: no payload ever reaches a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameBuilder")
            .field("len", &self.len())
            .field("facts", &self.facts)
            .finish()
    }
}
