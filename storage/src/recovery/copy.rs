//! Writing accepted but unclaimed frames to new segments.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    stream::RecoverCtx,
    tail::{Moved, Tail},
};
use crate::{
    crc::crc64,
    error::{Damage, Result, StorageError},
    ids::{Incarnation, Offset, SegmentNo},
    layout::parse_segment_name,
    manifest::{Entry, StreamState},
    segment::{Frame, FrameSeal, HEADER_LEN, Latched, SegmentHeader, create_segment},
};

/// How much is gathered before it is written.
const BATCH: usize = 1 << 20;

/// Copies frames, in order, to as many new segments as they need.
#[derive(Debug)]
pub(super) struct CopyWriter<'a> {
    ctx: &'a RecoverCtx<'a>,
    tail: &'a Tail,
    incarnation: Incarnation,
    capacity: u64,
    next_no: SegmentNo,
    /// Numbers of files that are there although nothing names them.
    taken: BTreeSet<SegmentNo>,
    /// Bytes that are still to come.
    left: u64,
    current: Option<Copy>,
    made: Vec<SegmentNo>,
    /// What says that the copies exist and where they end.
    pub(super) entries: Vec<Entry>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Copy {
    file: Latched,
    no: SegmentNo,
    salt: u64,
    base: Offset,
    end: Offset,
    /// Where the gathered bytes go.
    pos: u64,
    gathered: Vec<u8>,
}

impl Copy {
    fn end_byte(&self) -> u64 {
        self.pos + self.gathered.len() as u64
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_at(&self.gathered, self.pos)?;
        self.pos = self.end_byte();
        self.gathered.clear();
        Ok(())
    }
}

impl<'a> CopyWriter<'a> {
    pub(super) fn new(
        ctx: &'a RecoverCtx<'a>,
        tail: &'a Tail,
        state: &StreamState,
        incarnation: Incarnation,
    ) -> Result<Self> {
        Ok(Self {
            ctx,
            tail,
            incarnation,
            capacity: tail
                .files
                .values()
                .map(|file| file.capacity)
                .max()
                .unwrap_or(0),
            next_no: state.next_segment,
            taken: files_of(ctx, tail)?,
            left: 0,
            current: None,
            made: Vec::new(),
            entries: Vec::new(),
            records: 0,
            bytes: 0,
        })
    }

    /// Copies all of it; what was copied is durable then, with its names.
    pub(super) fn take_all(&mut self, moved: &[Moved]) -> Result<()> {
        self.left = moved.iter().map(|m| m.run.end_byte - m.run.start).sum();
        for Moved { no, run } in moved {
            let mut at = *run;
            while at.base < run.end {
                let block = self.tail.block(*no, &at)?;
                for (_, bytes) in block.frames() {
                    let frame = self.checked(*no, bytes, at.start)?;
                    self.take(&frame)?;
                }
                (at.base, at.start) = (block.end, block.next_pos);
            }
        }
        self.finish_current()
    }

    /// The files that were made.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let made = self.made.iter();
        made.map(|&no| self.ctx.layout.segment(self.tail.stream, no))
            .collect()
    }

    fn checked(&self, no: SegmentNo, bytes: bytes::Bytes, pos: u64) -> Result<Frame> {
        let salt = self.tail.files.get(&no).map_or(0, |file| file.salt);
        let len = bytes.len() as u64;
        Frame::checked(bytes, salt).map_err(|fault| {
            // The checksum holds and the records make no sense: no disk does that. Whoever wrote
            // it must be asked, and until then nothing may be lost by going on.
            StorageError::Corrupt(Damage {
                stream: self.tail.stream,
                segment: no,
                from: self.tail.decision.claimed,
                to: self.tail.decision.end,
                bytes: (pos, pos + len),
                what: format!("a frame with a good checksum: {fault}"),
            })
        })
    }

    fn take(&mut self, frame: &Frame) -> Result<()> {
        let full = |copy: &Copy| copy.end_byte() + frame.len() > self.capacity;
        if self.current.as_ref().is_some_and(full) {
            self.finish_current()?;
        }
        let mut copy = match self.current.take() {
            Some(copy) => copy,
            None => self.begin(frame)?,
        };
        let sealed = frame.resealed(&FrameSeal {
            base: frame.base,
            durable: self.tail.decision.claimed.min(frame.base),
            salt: copy.salt,
        });
        copy.gathered.extend_from_slice(&sealed.bytes);
        copy.end = frame.end();
        self.left = self.left.saturating_sub(frame.len());
        self.records += u64::from(frame.count);
        self.bytes += frame.len();
        if copy.gathered.len() >= BATCH {
            copy.write()?;
        }
        self.current = Some(copy);
        Ok(())
    }

    fn begin(&mut self, first: &Frame) -> Result<Copy> {
        while self.taken.contains(&self.next_no) {
            self.next_no = self.next_no.plus(1);
        }
        let no = self.next_no;
        self.next_no = no.plus(1);
        let ctx = self.ctx;
        let room = HEADER_LEN + self.left.min(self.capacity).max(first.len());
        let file = create_segment(ctx.disk, ctx.layout, self.tail.stream, no, room)?;
        self.made.push(no);
        let salt = self.salt_of(no);
        let first_ext_id = first
            .records()
            .next()
            .and_then(|r| r.ok())
            .and_then(|r| r.ext_id);
        let header = SegmentHeader {
            log: ctx.log,
            stream: self.tail.stream,
            segment: no,
            base: first.base,
            epoch: ctx.epoch,
            incarnation: self.incarnation,
            created_ns: ctx.now_ns,
            capacity: self.capacity,
            first_ext_id,
            salt,
            // A copy is written before any commit names it. Claiming one would make the copy of a
            // recovery that died look like the proof of a commit that was lost.
            manifest_seq: 0,
        };
        Ok(Copy {
            file,
            no,
            salt,
            base: first.base,
            end: first.base,
            pos: 0,
            gathered: header.encode().to_vec(),
        })
    }

    /// Unlike that of any other file: what makes it up is never the same twice, except in the
    /// second try of a recovery within one nanosecond, and that writes the same frames.
    fn salt_of(&self, no: SegmentNo) -> u64 {
        crc64(&[
            b"recovery copy",
            self.ctx.log.as_bytes(),
            self.tail.stream.as_bytes(),
            &no.get().to_le_bytes(),
            &self.ctx.epoch.get().to_le_bytes(),
            &self.incarnation.get().to_le_bytes(),
            &self.ctx.now_ns.to_le_bytes(),
        ])
    }

    fn finish_current(&mut self) -> Result<()> {
        let Some(mut copy) = self.current.take() else {
            return Ok(());
        };
        copy.write()?;
        // The name was made durable when the file was created.
        copy.file.sync()?;
        let (stream, segment) = (self.tail.stream, copy.no);
        self.entries.push(Entry::SegmentCreated {
            stream,
            segment,
            salt: copy.salt,
            capacity: self.capacity,
            epoch: self.ctx.epoch,
            incarnation: self.incarnation,
        });
        self.entries.push(Entry::Closed {
            stream,
            segment,
            base: copy.base,
            end: copy.end,
            end_byte: copy.pos,
        });
        Ok(())
    }
}

/// The numbers of the files in the stream's folder. A recovery that died may have left some beyond
/// the last one used; they stay until this one's manifest counts.
fn files_of(ctx: &RecoverCtx<'_>, tail: &Tail) -> Result<BTreeSet<SegmentNo>> {
    let dir = ctx.layout.stream_dir(tail.stream);
    match ctx.disk.list(&dir) {
        Ok(names) => Ok(names
            .iter()
            .filter_map(|e| parse_segment_name(&e.name))
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(StorageError::io("list", dir, error)),
    }
}
