//! Scanning compressed segments, beside zstd alone with the same frames of the same files.

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tierlog::{From, Offset, SegmentInfo, Settings, Size, Supervisor};
use tierlog_benches::{
    place,
    table::{Contestant, compete, print},
    usage, work,
};
use zstd::{bulk::Decompressor, zstd_safe};

use crate::made::{self, fill, line, until};

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;

/// Compressed segments that have no other copy here, one after the other.
struct Scanned {
    folder: TempDir,
    files: Vec<PathBuf>,
    range: Range,
}

/// The first records of a stream.
pub struct Range {
    /// Bytes of a record.
    pub size: usize,
    /// The bytes of the segments.
    pub bytes: u64,
    pub end: Offset,
}

impl Range {
    /// Of these segments.
    pub fn of(segments: &[SegmentInfo], size: usize) -> Self {
        Self {
            size,
            bytes: segments.iter().map(|segment| segment.file_len).sum(),
            end: segments.last().expect("a segment").end,
        }
    }
}

/// Bytes of segments that a scan read in a second.
pub struct Pace {
    pub bytes: f64,
    /// Processors that were busy meanwhile.
    pub busy: f64,
}

/// Counts from when it was made.
struct Watch {
    begun: Instant,
    busy: Duration,
}

impl Watch {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            busy: usage::processor_time(),
        }
    }

    fn end(self, bytes: u64) -> Pace {
        let busy = usage::processor_time().saturating_sub(self.busy);
        let elapsed = self.begun.elapsed().as_secs_f64();
        Pace {
            bytes: bytes as f64 / elapsed,
            busy: busy.as_secs_f64() / elapsed,
        }
    }
}

pub fn run() {
    for size in [100, 1_000] {
        let made = make(size);
        let mut scans: Vec<(&str, Scan<'_>)> = vec![
            (
                "zstd alone, one thread, nothing checked",
                Box::new(|| alone(&made, 1)),
            ),
            ("zstd alone, two threads", Box::new(|| alone(&made, 2))),
            (
                "tierlog visit",
                Box::new(|| visiting(settings(&made.folder), &made.range)),
            ),
            (
                "tierlog next_batch",
                Box::new(|| batching(settings(&made.folder), &made.range)),
            ),
        ];
        let title = format!(
            "scan of {} compressed segments, records of {size} B",
            made.files.len()
        );
        both(&title, &mut scans);
    }
}

type Scan<'a> = Box<dyn FnMut() -> Pace + 'a>;

/// Compares them by the clock, and by the time of processors that they took.
fn both(title: &str, scans: &mut [(&str, Scan<'_>)]) {
    let busy: Vec<RefCell<Vec<f64>>> = scans.iter().map(|_| RefCell::default()).collect();
    let taken = scans.iter_mut().zip(&busy).map(|((name, scan), busy)| {
        let run = move || {
            let pace = scan();
            busy.borrow_mut().push(pace.bytes / pace.busy);
            pace.bytes
        };
        let contestant: Contestant<'_> = ((*name).into(), Box::new(run));
        contestant
    });
    let mut rows = compete(title, "bytes of the segments/s", ROUNDS, taken.collect());
    for (row, busy) in rows.iter_mut().zip(&busy) {
        row.figures = busy.take();
    }
    let unit = "bytes of the segments for a second of a processor";
    print(title, unit, &rows);
}

fn settings(folder: &TempDir) -> Settings {
    Settings {
        hot_budget: Some(Size::mib(40)),
        read_cache: Size::mib(16),
        ..made::settings(folder)
    }
}

fn make(size: usize) -> Scanned {
    let folder = place::folder();
    let count = work::count(BYTES / size).max((80 << 20) / size) as u64;
    let warm = place::runtime().block_on(async {
        let log = Supervisor::open(settings(&folder)).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        fill(&stream, count, |n| line(n, size)).await;
        let is_settled = |all: &[SegmentInfo]| {
            let ended = all.iter().filter(|segment| segment.state != "open");
            ended
                .clone()
                .all(|segment| segment.compressed_len.is_some())
                && ended.filter(|segment| segment.tier == 0).count() < 3
        };
        let segments = until(&stream, is_settled).await;
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        let warm = segments.into_iter().take_while(|segment| segment.tier == 1);
        warm.collect::<Vec<_>>()
    });
    assert!(!warm.is_empty(), "some are compressed alone");
    Scanned {
        folder,
        range: Range::of(&warm, size),
        files: warm.into_iter().map(|segment| segment.path).collect(),
    }
}

/// The frames of the files, decoded into a buffer that is used again.
fn alone(made: &Scanned, threads: usize) -> Pace {
    let watch = Watch::begin();
    let parts = made.files.chunks(made.files.len().div_ceil(threads));
    let bytes: u64 = thread::scope(|scope| {
        let running: Vec<_> = parts
            .map(|files| {
                scope.spawn(|| {
                    files
                        .iter()
                        .map(|path| decode(&fs::read(path).expect("read")))
                        .sum::<u64>()
                })
            })
            .collect();
        let done = running.into_iter().map(|thread| thread.join());
        done.map(|bytes| bytes.expect("decoded")).sum()
    });
    assert_eq!(bytes, made.range.bytes, "all of them");
    watch.end(bytes)
}

/// Decodes the frames of a compressed file, one after the other; gives the bytes of its segment.
pub fn decode(stored: &[u8]) -> u64 {
    let mut decompressor = Decompressor::new().expect("zstd");
    let mut plain = vec![0; 8 << 20];
    let (mut at, mut sum) = (0, 0);
    while at < stored.len() {
        let len = zstd_safe::find_frame_compressed_size(&stored[at..]).expect("a frame");
        // Skippable frames begin with this.
        if stored[at + 1..at + 4] != [0x2a, 0x4d, 0x18] {
            let frame = &stored[at..at + len];
            let decoded = decompressor.decompress_to_buffer(frame, &mut plain);
            sum += decoded.expect("decoded") as u64;
        }
        at += len;
    }
    sum
}

/// Scans these records of the log with these settings by `visit`; gives its pace.
pub fn visiting(settings: Settings, range: &Range) -> Pace {
    scan(settings, range, async |reader, end| {
        visit(reader, end).await
    })
}

/// The same by `next_batch`.
pub fn batching(settings: Settings, range: &Range) -> Pace {
    scan(settings, range, async |reader, end| {
        batches(reader, end).await
    })
}

fn scan(
    settings: Settings,
    range: &Range,
    work: impl AsyncFn(&mut tierlog::Reader, u64) -> (u64, u64),
) -> Pace {
    place::runtime().block_on(async {
        let log = Supervisor::open(settings).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        let watch = Watch::begin();
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let (seen, bytes) = work(&mut reader, range.end.get()).await;
        let pace = watch.end(range.bytes);
        assert_eq!(bytes, seen * range.size as u64, "whole records");
        assert!(seen >= range.end.get(), "all of them");
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        pace
    })
}

async fn visit(reader: &mut tierlog::Reader, end: u64) -> (u64, u64) {
    let (mut seen, mut bytes) = (0, 0);
    while seen < end {
        let most = usize::try_from(end - seen).expect("records in memory");
        let count = reader
            .visit(most, |record| bytes += record.payload.len() as u64)
            .await;
        seen += count.expect("read") as u64;
    }
    (seen, bytes)
}

async fn batches(reader: &mut tierlog::Reader, end: u64) -> (u64, u64) {
    let (mut seen, mut bytes) = (0, 0);
    while seen < end {
        let batch = reader.next_batch(4_096).await.expect("read");
        seen += batch.len() as u64;
        bytes += batch
            .iter()
            .map(|record| record.payload.len() as u64)
            .sum::<u64>();
    }
    (seen, bytes)
}
