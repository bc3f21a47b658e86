//! Segments on a disk in memory.

use std::{path::PathBuf, sync::Arc};

use shuttle::{sync::RwLock, thread};
use tierlog_actors::{
    exec::{Executor, Job, Work},
    read::{ReadContext, ReadLimits},
    stream::{segments::Segment, shared::StreamShared},
};
use tierlog_storage::{
    Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId,
    disk::{Disk, sim::SimDisk},
    layout::Layout,
    manifest::{SealedFacts, SegmentStatus},
    segment::{
        Digest, Footer, Frame, HEADER_LEN, Latched, SegmentHeader, SparseIndex, create_segment,
        header::header_crc,
    },
};

/// The log of these tests.
const LOG: LogId = LogId::from_bytes([3; 16]);

/// Each reading job has a thread of its own.
#[derive(Debug)]
struct Threads;

impl Executor for Threads {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        thread::spawn(job);
        Ok(())
    }
}

/// Where the segments of a stream lie.
#[derive(Clone)]
pub(crate) struct Place {
    disk: Arc<dyn Disk>,
    layout: Layout,
    stream: StreamId,
}

impl Place {
    pub(crate) fn new(stream: StreamId) -> Self {
        let (disk, layout) = (SimDisk::new(), Layout::new(PathBuf::from("/log")));
        for folder in [layout.root().to_path_buf(), layout.streams_dir()] {
            disk.create_dir(&folder).expect("a folder");
        }
        let disk = Arc::new(disk);
        Self {
            disk,
            layout,
            stream,
        }
    }

    /// Each reader has caches of its own: where two of them wait for one block they wait on a thread of the
    /// system, and all of shuttle's threads share one.
    pub(crate) fn reading(&self) -> Arc<ReadContext> {
        let (disk, layout) = (Arc::clone(&self.disk), self.layout.clone());
        let limits = ReadLimits {
            stall_after: None,
            ..ReadLimits::default()
        };
        let ctx = ReadContext::new(disk, layout, Arc::new(Threads), &limits);
        ctx.is_of(LOG);
        ctx
    }

    /// A segment that begins here.
    pub(crate) fn begin(&self, no: u64, base: u64) -> Active {
        let (no, salt) = (SegmentNo(no), 0x5a17_0000 + no);
        let file = create_segment(&*self.disk, &self.layout, self.stream, no, 1 << 12);
        let file = Arc::new(file.expect("a file"));
        let header = SegmentHeader {
            log: LOG,
            stream: self.stream,
            segment: no,
            base: Offset(base),
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            created_ns: 1,
            capacity: 1 << 20,
            first_ext_id: None,
            salt,
            manifest_seq: 1,
        };
        let bytes = header.encode();
        file.write_at(&bytes, 0).expect("a write");
        let index = Arc::<RwLock<SparseIndex>>::default();
        let (of, known) = (Arc::clone(&file), Arc::clone(&index));
        Active {
            segment: Arc::new(Segment::active(no, salt, Offset(base), of, known)),
            file,
            index,
            digest: Digest::new(header_crc(&bytes)),
            pos: HEADER_LEN,
            frames: 0,
            times: None,
        }
    }
}

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<Latched>,
    pub(crate) frames: usize,
    index: Arc<RwLock<SparseIndex>>,
    digest: Digest,
    pos: u64,
    times: Option<(u64, u64)>,
}

impl Active {
    pub(crate) fn write(&mut self, frame: &Frame) {
        self.file.write_at(&frame.bytes, self.pos).expect("a write");
        let mut index = self.index.write().expect("whole");
        index.note(frame.base, self.pos, frame.first_ts);
        drop(index);
        self.digest.push(frame.crc);
        self.pos += frame.len();
        self.frames += 1;
        let first = self.times.map_or(frame.first_ts, |(first, _)| first);
        self.times = Some((first, frame.last_ts));
    }

    /// Shows readers what was written.
    pub(crate) fn show(&self, stream: &StreamShared, end: Offset) {
        self.segment.advance(end, self.pos);
        stream.segments.put(Arc::clone(&self.segment));
    }

    /// Writes the footer; gives the segment as it is shown once that is synced.
    pub(crate) fn seal(&self) -> Segment {
        let (base, end) = (self.segment.base, self.segment.end());
        let (first_ts, last_ts) = self.times.expect("a segment with frames");
        let footer = Footer {
            log: LOG,
            segment: self.segment.no,
            base,
            end,
            data_end: self.pos,
            first_ts,
            last_ts,
            ext: None,
            digest: self.digest.value(),
            watermark: Offset(0),
            flush_failed: false,
            index: self.index.read().expect("whole").clone(),
        };
        let bytes = footer.encode(self.segment.salt);
        self.file.write_at(&bytes, self.pos).expect("a write");
        let file_len = self.pos + bytes.len() as u64;
        self.file.set_len(file_len).expect("a cut");
        let facts = SealedFacts {
            base,
            end,
            data_end: self.pos,
            file_len,
            first_ts,
            last_ts,
            ext: None,
            digest: self.digest.value(),
            flush_failed: false,
        };
        let status = SegmentStatus::Sealed(facts);
        Segment::ended(self.segment.no, self.segment.salt, &status).expect("it has ended")
    }
}
