//! A stream that a test writes by hand, segment by segment and frame by frame.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, RwLock},
};

use futures::FutureExt;
use tempfile::TempDir;
use tierlog_storage::{
    Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId,
    disk::{Disk, RealDisk},
    layout::Layout,
    manifest::{SealedFacts, SegmentStatus},
    segment::{
        Digest, FRAME_TARGET, Footer, Frame, FrameBuilder, FrameSeal, HEADER_LEN, Latched,
        NewRecord, Record, SegmentHeader, SparseIndex, create_segment, header::header_crc,
    },
};

use crate::{
    error::Error,
    exec::{Executor, Job, ThreadPool, Work},
    meters::Share,
    read::{From, ReadContext, ReadLimits, Reader, ReaderOptions},
    stream::{
        budget::Budget,
        marks::Level,
        segments::Segment,
        shared::{Begin, DoorLimits, StreamShared},
        tail::TailBudget,
    },
};

/// The salt of a test's segment.
pub(super) fn salt(no: u64) -> u64 {
    0x5a17_0000 + no
}

/// The timestamp of a test's record: two neighbours share each.
pub(super) fn time_of(offset: u64) -> u64 {
    1_000 + offset / 2 * 10
}

/// The payload of a test's record.
pub(super) fn payload_of(offset: u64) -> String {
    format!("record {offset:08} {}", "x".repeat((offset % 90) as usize))
}

/// Runs jobs when the test says so.
#[derive(Default)]
pub(super) struct Stepper(Mutex<VecDeque<Job>>);

impl std::fmt::Debug for Stepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stepper")
    }
}

impl Executor for Stepper {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        self.0.lock().unwrap().push_back(job);
        Ok(())
    }
}

impl Stepper {
    /// Runs the job that waits longest; false if none does.
    pub(super) fn step(&self) -> bool {
        let job = self.0.lock().unwrap().pop_front();
        job.map(|job| job()).is_some()
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

pub(super) struct Rig {
    /// Removed with the rig.
    _dir: TempDir,
    pub(super) layout: Layout,
    pub(super) log: LogId,
    pub(super) ctx: Arc<ReadContext>,
    pub(super) stream: Arc<StreamShared>,
}

impl Rig {
    pub(super) fn new(limits: ReadLimits) -> Self {
        let pool = Arc::new(ThreadPool::start(2, 1, 256).unwrap());
        Self::on(limits, pool, 1 << 20)
    }

    pub(super) fn on(limits: ReadLimits, executor: Arc<dyn Executor>, tail: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let layout = Layout::new(dir.path());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        disk.create_dir(&layout.streams_dir()).unwrap();
        let begin = Begin {
            start: Offset(0),
            end: Offset(0),
            incarnation: Incarnation(1),
            archive: None,
        };
        let stream = StreamShared::new(
            StreamId::generate(),
            "s",
            DoorLimits {
                lane: 16,
                max_record: 1 << 20,
            },
            Budget::new(1 << 20, None),
            TailBudget::new(tail, Share::default()),
            begin,
        );
        let ctx = ReadContext::new(disk, layout.clone(), executor, &limits);
        let log = LogId::generate();
        ctx.is_of(log);
        Self {
            _dir: dir,
            layout,
            log,
            ctx,
            stream,
        }
    }

    pub(super) fn begin(&self, no: u64, base: u64) -> Writing {
        Writing::begin(&self.layout, self.log, self.stream.id, no, base, 1)
    }

    /// Says that everything below `end` is written and durable.
    pub(super) fn durable(&self, end: u64) {
        self.written(end);
        self.stream.life().marks.advance_durable(end);
        self.stream.publish();
    }

    pub(super) fn written(&self, end: u64) {
        self.stream.life().marks.advance_written(end);
        self.stream.publish();
    }

    pub(super) fn put(&self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        self.stream.segments.put(Arc::clone(&segment));
        segment
    }

    pub(super) async fn reader(&self, from: From, options: ReaderOptions) -> Reader {
        self.try_reader(from, options).await.unwrap()
    }

    pub(super) async fn try_reader(
        &self,
        from: From,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        Reader::open(
            Arc::clone(&self.ctx),
            Arc::clone(&self.stream),
            from,
            options,
        )
        .await
    }

    /// A reader where opening needs no reading.
    pub(super) fn reader_now(&self, from: From, options: ReaderOptions) -> Reader {
        self.reader(from, options).now_or_never().unwrap()
    }
}

pub(super) fn small() -> ReadLimits {
    ReadLimits {
        cache: 0,
        descriptors: 2,
        jobs: 2,
        ..ReadLimits::default()
    }
}

pub(super) fn following() -> ReaderOptions {
    ReaderOptions {
        follow: true,
        ..ReaderOptions::default()
    }
}

pub(super) fn skipping() -> ReaderOptions {
    ReaderOptions {
        skip_damage: true,
        ..ReaderOptions::default()
    }
}

pub(super) fn written_level() -> ReaderOptions {
    ReaderOptions {
        level: Level::Written,
        ..ReaderOptions::default()
    }
}

/// A segment that is being written.
pub(super) struct Writing {
    pub(super) file: Arc<Latched>,
    pub(super) log: LogId,
    pub(super) no: SegmentNo,
    pub(super) base: Offset,
    pub(super) end: u64,
    pub(super) pos: u64,
    pub(super) index: Arc<RwLock<SparseIndex>>,
    /// Where each frame begins: its byte and its first offset.
    pub(super) frames: Vec<(u64, u64)>,
    digest: Digest,
    last_ts: u64,
    ext: Option<(u64, u64)>,
}

impl Writing {
    pub(super) fn begin(
        layout: &Layout,
        log: LogId,
        stream: StreamId,
        no: u64,
        base: u64,
        seq: u64,
    ) -> Self {
        let file = create_segment(&RealDisk, layout, stream, SegmentNo(no), 64 << 10).unwrap();
        Self::in_file(file, log, stream, no, base, seq)
    }

    pub(super) fn in_file(
        file: Latched,
        log: LogId,
        stream: StreamId,
        no: u64,
        base: u64,
        seq: u64,
    ) -> Self {
        let header = SegmentHeader {
            log,
            stream,
            segment: SegmentNo(no),
            base: Offset(base),
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            created_ns: 1,
            capacity: 1 << 20,
            first_ext_id: None,
            salt: salt(no),
            manifest_seq: seq,
        };
        let bytes = header.encode();
        file.write_at(&bytes, 0).unwrap();
        Self {
            file: Arc::new(file),
            log,
            no: SegmentNo(no),
            base: Offset(base),
            end: base,
            pos: HEADER_LEN,
            index: Arc::default(),
            frames: Vec::new(),
            digest: Digest::new(header_crc(&bytes)),
            last_ts: 0,
            ext: None,
        }
    }

    /// One frame of records with the usual payloads.
    pub(super) fn frame(&mut self, count: u64) -> Frame {
        let records = (self.end..self.end + count)
            .map(|offset| (time_of(offset), NewRecord::new(payload_of(offset))));
        self.frame_of(records.collect())
    }

    pub(super) fn frame_of(&mut self, records: Vec<(u64, NewRecord)>) -> Frame {
        let mut builder = FrameBuilder::new(FRAME_TARGET);
        for (ts, record) in &records {
            builder.push(*ts, record);
        }
        let seal = FrameSeal {
            base: Offset(self.end),
            durable: Offset(0),
            salt: salt(self.no.0),
        };
        let frame = builder.finish(&seal);
        self.file.write_at(&frame.bytes, self.pos).unwrap();
        self.index
            .write()
            .unwrap()
            .note(frame.base, self.pos, frame.first_ts);
        self.frames.push((self.pos, self.end));
        self.digest.push(frame.crc);
        self.pos += frame.len();
        self.end = frame.end().get();
        self.last_ts = frame.last_ts;
        if let Some((low, high)) = frame.ext {
            let (least, most) = self.ext.unwrap_or((low, high));
            self.ext = Some((least.min(low), most.max(high)));
        }
        frame
    }

    /// Frames of `each` records up to an offset.
    pub(super) fn fill(&mut self, to: u64, each: u64) -> &mut Self {
        while self.end < to {
            self.frame(each.min(to - self.end));
        }
        self
    }

    pub(super) fn closed(&self) -> Segment {
        self.closed_at(self.end, self.pos)
    }

    pub(super) fn closed_at(&self, end: u64, end_byte: u64) -> Segment {
        let status = SegmentStatus::Closed {
            base: self.base,
            end: Offset(end),
            end_byte,
        };
        Segment::ended(self.no, salt(self.no.0), &status).unwrap()
    }

    /// Writes the footer.
    pub(super) fn seal(&self) -> SealedFacts {
        let index = self.index.read().unwrap().clone();
        let first_ts = index.entries().first().map_or(0, |entry| entry.ts);
        let footer = Footer {
            log: self.log,
            segment: self.no,
            base: self.base,
            end: Offset(self.end),
            data_end: self.pos,
            first_ts,
            last_ts: self.last_ts,
            ext: self.ext,
            digest: self.digest.value(),
            watermark: Offset(0),
            flush_failed: false,
            index,
        };
        let bytes = footer.encode(salt(self.no.0));
        self.file.write_at(&bytes, self.pos).unwrap();
        let file_len = self.pos + bytes.len() as u64;
        self.file.set_len(file_len).unwrap();
        SealedFacts {
            base: self.base,
            end: Offset(self.end),
            data_end: self.pos,
            file_len,
            first_ts,
            last_ts: self.last_ts,
            ext: self.ext,
            digest: self.digest.value(),
            flush_failed: false,
        }
    }

    pub(super) fn sealed(&self) -> Segment {
        let status = SegmentStatus::Sealed(self.seal());
        Segment::ended(self.no, salt(self.no.0), &status).unwrap()
    }

    pub(super) fn active(&self) -> Segment {
        let (file, index) = (Arc::clone(&self.file), Arc::clone(&self.index));
        let segment = Segment::active(self.no, salt(self.no.0), self.base, file, index);
        segment.advance(Offset(self.end), self.pos);
        segment
    }

    /// Flips a byte of the nth frame's body.
    pub(super) fn break_frame(&self, nth: usize) {
        let at = self.frames[nth].0 + 60;
        let mut byte = [0];
        self.file.read_at(&mut byte, at).unwrap();
        self.file.write_at(&[byte[0] ^ 0x40], at).unwrap();
    }
}

/// Asserts that these are the usual records, from `first` on.
pub(super) fn assert_usual(records: &[Record], first: u64) {
    for (record, offset) in records.iter().zip(first..) {
        assert_eq!(record.offset, Offset(offset));
        assert_eq!(record.timestamp, time_of(offset), "time of {offset}");
        assert_eq!(
            record.payload,
            payload_of(offset).as_bytes(),
            "payload of {offset}"
        );
    }
}

/// Reads to the end.
pub(super) async fn drain(reader: &mut Reader) -> Vec<Record> {
    let mut all = Vec::new();
    while reader.next_batch_into(&mut all, 1000).await.unwrap() > 0 {}
    all
}
