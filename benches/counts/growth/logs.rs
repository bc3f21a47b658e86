//! Logs that hold more: segments, streams, records that nobody closed.

use std::path::Path;

use tierlog::{Offset, Settings, Size};
use tierlog_counts::alone;
use tierlog_storage::{
    disk::RealDisk,
    layout::Layout,
    manifest::{Current, replay},
};

use crate::{
    appends,
    figures::{MANIFEST, region, tell},
};

/// How often what is done once for a segment is done.
const TIMES: usize = 20;

/// So many sealed segments of one record each.
pub fn fill_segments(count: usize, folder: &Path) {
    alone::runtime().block_on(async {
        let (log, stream) = alone::open_stream(appends::settings(folder)).await;
        for n in 0..count {
            let ticket = stream.try_append(format!("record {n}"));
            stream.seal().await.expect("sealed");
            ticket.expect("room").await.expect("durable");
        }
        assert_eq!(stream.segments().await.expect("segments").len(), count);
        alone::close(log).await;
    });
}

/// So many streams of one record each.
pub fn fill_streams(count: usize, folder: &Path) {
    alone::runtime().block_on(async {
        let log = alone::open(appends::settings(folder)).await;
        for stream in appends::streams(&log, count).await {
            let ticket = stream.try_append("a record").expect("room");
            stream.flush().await.expect("durable");
            ticket.await.expect("durable");
        }
        alone::close(log).await;
    });
}

/// Room for all records, and so much more that no other segment is made ahead.
fn roomy(folder: &Path) -> Settings {
    Settings {
        segment_size: Size::mib(512),
        ..appends::settings(folder)
    }
}

/// Room for so many records, and for few more. An open reads what is allocated, which is up to four times
/// what is written where a segment can have that much.
fn nearly_full(records: usize, folder: &Path) -> Settings {
    Settings {
        segment_size: Size::new(records as u64 * 108 + 128 * 1024),
        ..appends::settings(folder)
    }
}

/// One segment of so many records, closed in order.
pub fn fill_closed(count: usize, folder: &Path) {
    fill_records(count, roomy(folder), true);
}

/// The same, nearly full, so that another one has been made ahead.
pub fn fill_spare(count: usize, folder: &Path) {
    fill_records(count, nearly_full(count, folder), true);
}

/// Nearly full, and left as a process leaves it that is killed.
pub fn fill_unclosed(count: usize, folder: &Path) {
    fill_records(count, nearly_full(count, folder), false);
}

fn fill_records(count: usize, settings: Settings, closed: bool) {
    alone::runtime().block_on(async {
        let (log, stream) = alone::open_stream(settings).await;
        let mut appender = stream.appender();
        for n in 0..count {
            appender.push(&[b'x'; 100]).await.expect("room");
            if n % 10_000 == 0 {
                appender.send().await.expect("room");
                stream.flush().await.expect("durable");
            }
        }
        appender.send().await.expect("room");
        assert_eq!(stream.flush().await.expect("durable").get(), count as u64);
        if closed {
            alone::close(log).await;
        }
    });
}

/// Opens what segments or streams fill.
pub fn open(_: usize, folder: &Path) {
    opened(appends::settings(folder), folder, true);
}

/// Opens what was closed in order.
pub fn open_closed(_: usize, folder: &Path) {
    opened(roomy(folder), folder, true);
}

/// Opens what was closed in order, nearly full.
pub fn open_spare(count: usize, folder: &Path) {
    opened(nearly_full(count, folder), folder, true);
}

/// Opens what was not closed.
pub fn open_unclosed(count: usize, folder: &Path) {
    opened(nearly_full(count, folder), folder, false);
}

fn opened(settings: Settings, folder: &Path, clean: bool) {
    let runtime = alone::runtime();
    let log = region(1, || runtime.block_on(alone::open(settings)));
    assert_eq!(log.recovery().clean, clean);
    runtime.block_on(alone::close(log));
    tell(MANIFEST, manifest(folder));
}

/// Where the last commit of the manifest ends.
fn manifest(folder: &Path) -> f64 {
    let layout = Layout::new(folder.join("log"));
    let current = Current::read(&RealDisk, &layout).expect("read");
    let replayed = replay(&RealDisk, &layout, &current.expect("there")).expect("good");
    replayed.report.end_byte as f64
}

/// Seals a segment, a few times, in a log with so many.
pub fn seal(_: usize, folder: &Path) {
    of_segments(folder, async |stream| {
        for _ in 0..TIMES {
            let ticket = stream.try_append("a record").expect("room");
            stream.seal().await.expect("sealed");
            ticket.await.expect("durable");
        }
    });
}

/// Trims a segment, a few times, of a log with so many.
pub fn trim(_: usize, folder: &Path) {
    of_segments(folder, async |stream| {
        let start = stream.watermarks().start.get();
        for n in 1..=TIMES as u64 {
            let trimmed = stream.trim(Offset(start + n)).await.expect("trimmed");
            assert_eq!(trimmed, Offset(start + n), "each record has its segment");
        }
    });
}

/// Makes a reader and reads a record in the middle, a few times.
pub fn read(_: usize, folder: &Path) {
    of_segments(folder, async |stream| {
        let marks = stream.watermarks();
        let middle = Offset(u64::midpoint(marks.start.get(), marks.next.get()));
        for n in 0..TIMES as u64 {
            let at = Offset(middle.get() + n % 5);
            let reader = stream.reader(tierlog::From::Offset(at)).await;
            let record = reader.expect("a reader").try_next().await.expect("read");
            assert_eq!(record.expect("there").offset, at);
        }
    });
}

fn of_segments(folder: &Path, work: impl AsyncFn(&tierlog::Stream)) {
    let runtime = alone::runtime();
    let (log, stream) = runtime.block_on(alone::open_stream(appends::settings(folder)));
    runtime.block_on(async {
        // The first segment of an opened log is made at the first append.
        let ticket = stream.try_append("a record").expect("room");
        stream.seal().await.expect("sealed");
        ticket.await.expect("durable");
        alone::rest().await;
    });
    region(TIMES, || runtime.block_on(work(&stream)));
    runtime.block_on(alone::close(log));
}
