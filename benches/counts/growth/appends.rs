//! Appending more records, and to more streams.

use std::path::Path;

use bytes::Bytes;
use tierlog::{Level, NewRecord, Settings, Size, Stream};
use tierlog_counts::alone;

use crate::figures::region;

const PAYLOAD: [u8; 100] = [b'x'; 100];
/// As many as are held in memory until they are synced.
const ROUND: usize = 10_000;
/// As many as are offered before the first of their tickets is awaited.
const BURST: usize = 100;

pub fn appender(records: usize, folder: &Path) {
    through(records, folder, async |stream, count| {
        let mut appender = stream.appender();
        for _ in 0..count {
            appender.push(&PAYLOAD).await.expect("room");
        }
        appender.send().await.expect("room");
    });
}

pub fn try_append(records: usize, folder: &Path) {
    through(records, folder, async |stream, count| {
        for _ in 0..count / BURST {
            burst(stream).await;
        }
    });
}

async fn burst(stream: &Stream) {
    let mut last = None;
    for _ in 0..BURST {
        let record = NewRecord::new(Bytes::from_static(&PAYLOAD));
        last = Some(stream.try_append(record).expect("room"));
    }
    let last = last.expect("there is one");
    last.at(Level::Written).await.expect("written");
}

/// In rounds, each of which ends once it is durable.
fn through(records: usize, folder: &Path, work: impl AsyncFn(&Stream, usize)) {
    let runtime = alone::runtime();
    let settings = Settings {
        segment_size: Size::mib(64),
        ..settings(folder)
    };
    let (log, stream) = runtime.block_on(async {
        let (log, stream) = alone::open_stream(settings).await;
        work(&stream, ROUND).await;
        stream.flush().await.expect("durable");
        alone::rest().await;
        (log, stream)
    });
    let rounds = records.div_ceil(ROUND);
    region(rounds * ROUND, || {
        runtime.block_on(async {
            for _ in 0..rounds {
                work(&stream, ROUND).await;
                stream.flush().await.expect("durable");
            }
        });
    });
    let next = stream.watermarks().durable.get();
    assert_eq!(next as usize, (rounds + 1) * ROUND, "all of it is there");
    runtime.block_on(alone::close(log));
}

/// Small segments, since a stream has one from its first record on, and caches that are full before the least
/// of the work is done.
pub fn settings(folder: &Path) -> Settings {
    Settings {
        segment_size: Size::kib(128),
        max_record: Size::kib(16),
        tail_cache: Size::kib(256),
        read_cache: Size::kib(256),
        ..alone::settings(folder)
    }
}

/// A hundred records to each stream; the units are records.
pub fn to_streams(count: usize, folder: &Path) {
    let runtime = alone::runtime();
    let (log, streams) = runtime.block_on(async {
        let log = alone::open(settings(folder)).await;
        let streams = streams(&log, count).await;
        for stream in &streams {
            burst(stream).await;
        }
        alone::rest().await;
        (log, streams)
    });
    region(count * BURST, || {
        runtime.block_on(async {
            for stream in &streams {
                burst(stream).await;
            }
        });
    });
    runtime.block_on(alone::close(log));
}

/// Makes so many streams, each with its first record; the units are streams.
pub fn make_streams(count: usize, folder: &Path) {
    let runtime = alone::runtime();
    let log = runtime.block_on(async {
        let (log, stream) = alone::open_stream(settings(folder)).await;
        burst(&stream).await;
        log
    });
    region(count, || {
        runtime.block_on(async {
            for stream in streams(&log, count).await {
                burst(&stream).await;
            }
        });
    });
    runtime.block_on(alone::close(log));
}

/// So many streams of this log.
pub async fn streams(log: &tierlog::Supervisor, count: usize) -> Vec<Stream> {
    let mut streams = Vec::with_capacity(count);
    for n in 0..count {
        let stream = log.log().stream(&format!("stream {n}")).await;
        streams.push(stream.expect("a stream"));
    }
    streams
}
