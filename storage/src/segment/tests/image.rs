//! A segment file in memory, to be damaged at will.

use std::{
    io,
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    LogId, SegmentNo, StreamId,
    disk::DiskFile,
    segment::{
        Digest, Footer, FrameHead, Latched, ScanExpect, SegmentHeader, SegmentScan, SparseIndex,
        header::header_crc, scan,
    },
};

/// Bytes that read like a file and remember the longest read.
#[derive(Debug, Default)]
pub(crate) struct MemFile {
    bytes: RwLock<Vec<u8>>,
    longest_read: AtomicUsize,
}

impl MemFile {
    pub(crate) fn longest_read(&self) -> usize {
        self.longest_read.load(Ordering::Relaxed)
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.longest_read.fetch_max(buf.len(), Ordering::Relaxed);
        let bytes = self.bytes.read().unwrap();
        let rest = bytes.get(pos as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let end = pos as usize + buf.len();
        let mut bytes = self.bytes.write().unwrap();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[pos as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.write().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().unwrap().len() as u64)
    }

    fn map_read_only(&self, _: u64) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) fn file_of(bytes: &[u8]) -> (Arc<MemFile>, Latched) {
    let file = Arc::new(MemFile {
        bytes: RwLock::new(bytes.to_vec()),
        longest_read: AtomicUsize::new(0),
    });
    let latched = Latched::new(file.clone(), "/mem/segment.tls".into());
    (file, latched)
}

pub(crate) fn latched(bytes: &[u8]) -> Latched {
    file_of(bytes).1
}

pub(crate) fn expect() -> ScanExpect {
    ScanExpect {
        log: LogId::from_bytes([0x11; 16]),
        stream: StreamId::from_bytes([0x22; 16]),
        segment: SegmentNo(3),
        salt: SALT,
    }
}

/// What a writer would have put into a segment.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: SegmentHeader,
    pub(crate) frames: Vec<Frame>,
    /// Where each frame begins.
    pub(crate) starts: Vec<usize>,
    digest: Digest,
    index: SparseIndex,
}

impl Image {
    pub(crate) fn new(base: u64) -> Self {
        let header = SegmentHeader {
            base: Offset(base),
            ..super::header::some_header()
        };
        let encoded = header.encode();
        Self {
            bytes: encoded.to_vec(),
            header,
            frames: Vec::new(),
            starts: Vec::new(),
            digest: Digest::new(header_crc(&encoded)),
            index: SparseIndex::default(),
        }
    }

    /// One with a frame of as many records as each count says, which name their offsets.
    pub(crate) fn counted(base: u64, counts: &[u64]) -> Self {
        let mut image = Self::new(base);
        for count in counts {
            image.push(&numbered(image.end().0, *count));
        }
        image
    }

    pub(crate) fn end(&self) -> Offset {
        self.frames.last().map_or(self.header.base, Frame::end)
    }

    pub(crate) fn data_end(&self) -> usize {
        self.frames
            .iter()
            .zip(&self.starts)
            .last()
            .map_or(128, |(frame, start)| start + frame.bytes.len())
    }

    /// Appends records as the next frame; it claims what came before it.
    pub(crate) fn push(&mut self, frame: &Frame) -> &mut Self {
        let frame = frame.resealed(&seal_at(self.end().0));
        self.index
            .note(frame.base, self.bytes.len() as u64, frame.first_ts);
        self.digest.push(frame.crc);
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&frame.bytes);
        self.frames.push(frame);
        self
    }

    pub(crate) fn payload(&mut self, payload: impl Into<Bytes>) -> &mut Self {
        let timestamp = 1_000 + self.end().0;
        let frame = frame_of(0, &[(timestamp, NewRecord::new(payload))]);
        self.push(&frame)
    }

    pub(crate) fn zeros(&mut self, len: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len() + len, 0);
        self
    }

    pub(crate) fn footer(&self) -> Footer {
        let ext = self.frames.iter().filter_map(|frame| frame.ext);
        Footer {
            log: self.header.log,
            segment: self.header.segment,
            base: self.header.base,
            end: self.end(),
            data_end: self.data_end() as u64,
            first_ts: self.frames.first().map_or(0, |frame| frame.first_ts),
            last_ts: self.frames.last().map_or(0, |frame| frame.last_ts),
            ext: ext.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            digest: self.digest.value(),
            watermark: self.end(),
            flush_failed: false,
            index: self.index.clone(),
        }
    }

    pub(crate) fn seal(&mut self) -> &mut Self {
        let footer = self.footer().encode(SALT);
        self.bytes.extend_from_slice(&footer);
        self
    }

    /// Flips a bit of frame `nth`, `at` bytes into it.
    pub(crate) fn damage(&mut self, nth: usize, at: usize) -> &mut Self {
        let at = self.starts[nth] + at;
        self.bytes[at] ^= 0x10;
        self
    }

    pub(crate) fn scan(&self) -> Seen {
        scan_bytes(&self.bytes)
    }
}

/// A scan and the frames that it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) scan: SegmentScan,
    pub(crate) frames: Vec<(FrameHead, u64, Bytes)>,
}

impl Seen {
    /// The offset ranges of the runs.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        self.scan
            .runs
            .iter()
            .map(|run| (run.base.0, run.end.0))
            .collect()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let frames = self.frames.iter();
        frames
            .flat_map(|(_, _, bytes)| crate::segment::Records::of(bytes.clone()).unwrap())
            .map(|record| record.unwrap())
            .collect()
    }
}

pub(crate) fn scan_bytes(bytes: &[u8]) -> Seen {
    scan_file(&latched(bytes))
}

pub(crate) fn scan_file(file: &Latched) -> Seen {
    let mut frames = Vec::new();
    let mut note = |head: &FrameHead, pos, bytes: &Bytes| frames.push((*head, pos, bytes.clone()));
    let scan = scan(file, &expect(), 128, &mut note).unwrap();
    Seen { scan, frames }
}
