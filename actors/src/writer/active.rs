//! The segment that is written to.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tierlog_storage::{
    Incarnation, LogId, Offset, SegmentNo, StreamId,
    manifest::{SealedFacts, Seq},
    recovery::ActiveSegment,
    segment::{Digest, Footer, Frame, HEADER_LEN, Latched, SegmentHeader, SparseIndex},
};
use tokio::time::Instant;

use crate::{
    context::Generation,
    protocol::coordinator::{AdmissionGuard, Admitted},
    stream::{segments::Segment, shared::StreamShared},
    sync::RwLock,
    under_way::Hold,
};

/// Where frames go now. Blank until its first frame.
#[derive(Debug)]
pub struct Active {
    /// Its number.
    pub no: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// Its place in the hot budget until it has a frame: a blank segment that is given up, by
    /// whomever, or that ends with its writer, gives the place back by itself.
    guard: Option<AdmissionGuard>,
    /// Until the manifest names it, nobody may take its file for a leftover.
    pub hold: Option<Hold>,
    /// Its file.
    pub file: Arc<Latched>,
    /// Bytes allocated.
    pub allocated: u64,
    /// Where the next frame goes.
    pub pos: u64,
    /// The offset of its first record, once there is one.
    pub base: Option<Offset>,
    /// One past its last record.
    pub end: Offset,
    /// When its first frame was placed.
    pub begun: Option<Instant>,
    /// As readers see it, once something was written.
    shown: Option<Arc<Segment>>,
    capacity: u64,
    incarnation: Incarnation,
    /// The commit that named it.
    seq: Seq,
    index: Arc<RwLock<SparseIndex>>,
    digest: Option<Digest>,
    span: (u64, u64),
    ext: Option<(u64, u64)>,
}

/// Who owns a segment, for its header.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The log.
    pub log: LogId,
    /// The stream.
    pub stream: StreamId,
    /// The owner epoch.
    pub epoch: tierlog_storage::Epoch,
    /// The time, in nanoseconds since 1970.
    pub now_ns: u64,
}

impl Active {
    /// One that was just admitted: blank.
    pub fn blank(admitted: Admitted, incarnation: Incarnation) -> Self {
        let Admitted {
            file,
            no,
            salt,
            capacity,
            allocated,
            seq,
            guard,
            hold,
            ..
        } = admitted;
        Self {
            no,
            salt,
            guard: Some(guard),
            hold: Some(hold),
            file,
            allocated,
            pos: HEADER_LEN,
            base: None,
            end: Offset::ZERO,
            begun: None,
            shown: None,
            capacity,
            incarnation,
            seq,
            index: Arc::default(),
            digest: None,
            span: (0, 0),
            ext: None,
        }
    }

    /// One that was left at a clean close.
    pub fn reopened(found: ActiveSegment, incarnation: Incarnation, stream: &StreamShared) -> Self {
        let mut active = Self {
            no: found.no,
            salt: found.salt,
            guard: None,
            hold: None,
            file: Arc::new(found.file),
            allocated: found.allocated,
            pos: found.pos,
            base: found.header.as_ref().map(|header| header.base),
            end: found.end,
            begun: found.header.as_ref().map(|_| Instant::now()),
            shown: None,
            capacity: found.capacity,
            incarnation,
            seq: Seq(0),
            index: Arc::new(RwLock::new(found.index)),
            digest: found.digest,
            span: (found.first_ts, found.last_ts),
            ext: found.ext,
        };
        active.show(stream, active.end, active.pos);
        active
    }

    /// Whether nothing was placed in it yet.
    pub fn is_blank(&self) -> bool {
        self.base.is_none()
    }

    /// Whether a frame of so many bytes still fits. A blank segment takes any frame: one that is
    /// larger than a segment would otherwise wait for a place for ever.
    pub fn fits(&self, len: u64) -> bool {
        self.is_blank() || self.pos + len <= self.data_limit()
    }

    /// Whether it is more than half full, so that the next one should be made.
    pub fn is_half_full(&self) -> bool {
        self.pos > self.data_limit() / 2
    }

    /// Its size when full.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Room is kept for the footer, so that a segment on a full disk can still be sealed.
    fn data_limit(&self) -> u64 {
        self.capacity.saturating_sub(footer_room(self.capacity))
    }

    /// Allocation needed for frames that end at `end`: their footer comes with them.
    pub fn allocation_for(&self, end: u64) -> u64 {
        end + footer_room(end)
    }

    /// Gives the frame its place; gives what to write where. The first one brings the header.
    pub fn place(&mut self, frame: &Frame, owner: &Owner) -> Vec<(u64, Bytes)> {
        let mut writes = Vec::with_capacity(2);
        if self.base.is_none() {
            let header = SegmentHeader {
                log: owner.log,
                stream: owner.stream,
                segment: self.no,
                base: frame.base,
                epoch: owner.epoch,
                incarnation: self.incarnation,
                created_ns: owner.now_ns,
                capacity: self.capacity,
                first_ext_id: frame.ext.map(|(min, _)| min),
                salt: self.salt,
                manifest_seq: self.seq.0,
            };
            let bytes = header.encode();
            self.digest = Some(Digest::new(tierlog_storage::segment::header::header_crc(
                &bytes,
            )));
            self.base = Some(frame.base);
            if let Some(guard) = self.guard.take() {
                guard.keep();
            }
            self.span = (frame.first_ts, frame.last_ts);
            self.begun = Some(Instant::now());
            writes.push((0, Bytes::copy_from_slice(&bytes)));
        } else {
            assert_eq!(
                self.end, frame.base,
                "frames of a segment follow one another"
            );
        }
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .note(frame.base, self.pos, frame.first_ts);
        if let Some(digest) = &mut self.digest {
            digest.push(frame.crc);
        }
        self.span.1 = frame.last_ts;
        self.ext = match (self.ext, frame.ext) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        writes.push((self.pos, frame.bytes.clone()));
        self.pos += frame.len();
        self.end = frame.end();
        writes
    }

    /// Shows readers that everything up to here is written.
    pub fn show(&mut self, stream: &StreamShared, end: Offset, end_byte: u64) {
        let Some(base) = self.base else { return };
        let shown = self.shown.get_or_insert_with(|| {
            let segment = Segment::active(
                self.no,
                self.salt,
                base,
                Arc::clone(&self.file),
                Arc::clone(&self.index),
            );
            Arc::new(segment)
        });
        shown.advance(end, end_byte);
        // Put in after its end is known: a reader never finds it empty.
        stream.segments.put(Arc::clone(shown));
    }

    /// The footer, and what the manifest will keep. `None` while it is blank.
    pub fn seal(
        &self,
        generation: &Generation,
        watermark: Offset,
    ) -> Option<(Vec<u8>, SealedFacts)> {
        let base = self.base?;
        let digest = self.digest.as_ref()?.value();
        let footer = Footer {
            log: generation.id,
            segment: self.no,
            base,
            end: self.end,
            data_end: self.pos,
            first_ts: self.span.0,
            last_ts: self.span.1,
            ext: self.ext,
            digest,
            watermark,
            flush_failed: false,
            index: self
                .index
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        };
        let bytes = footer.encode(self.salt);
        let facts = SealedFacts {
            base,
            end: self.end,
            data_end: self.pos,
            file_len: self.pos + bytes.len() as u64,
            first_ts: self.span.0,
            last_ts: self.span.1,
            ext: self.ext,
            digest,
            flush_failed: false,
        };
        Some((bytes, facts))
    }
}

/// Bytes that the footer of a segment of this size takes at most.
fn footer_room(size: u64) -> u64 {
    128 + 24 * (size / tierlog_storage::segment::index::INDEX_EVERY + 2)
}
