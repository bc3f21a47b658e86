//! Appending without waiting for a sync: the run fits the window, and ends when every record has
//! been handed to the operating system.

use std::{
    fs::File,
    io::{BufWriter, Write},
    time::Instant,
};

use tierlog::{FlushPolicy, From, Level, Settings, Size, Stream, Supervisor, TryAppend};

use tierlog_benches::{
    place,
    table::{Contestant, compete},
    work,
};

const ROUNDS: usize = 7;

pub fn run() {
    for (size, count) in [(100, 400_000), (1024, 60_000), (16 * 1024, 4_000)] {
        let (payload, count) = (vec![b'x'; size], work::count(count));
        let title = format!("append, not waiting for sync, {size} B, {count} records, one task");
        let contestants: Vec<Contestant<'_>> = vec![
            (
                "std BufWriter, no checksum (page cache)".into(),
                Box::new(|| plain(&payload, count)),
            ),
            (
                "Appender (written)".into(),
                Box::new(|| through(&payload, count, appender)),
            ),
            (
                "try_append, all tickets awaited (written)".into(),
                Box::new(|| through(&payload, count, tickets)),
            ),
            (
                "append, awaited one by one (written)".into(),
                Box::new(|| through(&payload, count / 40, awaited)),
            ),
        ];
        compete(&title, "records/s", ROUNDS, contestants);
    }
}

fn plain(payload: &[u8], count: usize) -> f64 {
    let folder = place::folder();
    let path = folder.path().join("plain");
    let mut file = BufWriter::new(File::create_new(&path).expect("a file"));
    let begun = Instant::now();
    for _ in 0..count {
        let len = u32::try_from(payload.len()).expect("small");
        file.write_all(&len.to_le_bytes()).expect("written");
        file.write_all(payload).expect("written");
    }
    file.flush().expect("written");
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let len = std::fs::metadata(&path).expect("there").len();
    assert_eq!(len as usize, count * (payload.len() + 4));
    rate
}

/// The window is large enough for the whole run, and nothing is synced until its end.
fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        flush: FlushPolicy::Manual,
        unsynced_bytes: Size::mib(256),
        segment_size: Size::mib(256),
        ..place::settings(folder)
    }
}

fn through(payload: &[u8], count: usize, work: impl AsyncFn(&Stream, &[u8], usize)) -> f64 {
    let folder = place::folder();
    place::runtime().block_on(async {
        let log = Supervisor::open(settings(&folder)).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        stream
            .append_at("warm", Level::Written)
            .await
            .expect("written");
        let begun = Instant::now();
        work(&stream, payload, count).await;
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        stream.flush().await.expect("durable");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let (mut seen, mut bytes) = (0, 0);
        loop {
            let batch = reader.next_batch(10_000).await.expect("a batch");
            if batch.is_empty() {
                break;
            }
            seen += batch.len();
            bytes += batch
                .iter()
                .map(|record| record.payload.len())
                .sum::<usize>();
        }
        assert_eq!(
            (seen, bytes),
            (count + 1, count * payload.len() + 4),
            "all of it is there"
        );
        log.shutdown(std::time::Duration::from_secs(60))
            .await
            .expect("closed");
        rate
    })
}

async fn appender(stream: &Stream, payload: &[u8], count: usize) {
    let mut appender = stream.appender();
    let mut last = None;
    for _ in 0..count {
        if let Some(ticket) = appender.push(payload).await.expect("room") {
            last = Some(ticket);
        }
    }
    let rest = appender.send().await.expect("room");
    rest.or(last)
        .expect("something was sent")
        .at(Level::Written)
        .await
        .expect("written");
}

async fn tickets(stream: &Stream, payload: &[u8], count: usize) {
    let payload = bytes::Bytes::copy_from_slice(payload);
    let mut tickets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut record = tierlog::NewRecord::new(payload.clone());
        loop {
            match stream.try_append(record) {
                Ok(ticket) => break tickets.push(ticket.at(Level::Written)),
                Err(TryAppend::WouldBlock { kind, payload }) => {
                    record = payload;
                    stream.ready_for(kind, 16 * 1024).await;
                }
                Err(TryAppend::Failed { error, .. }) => panic!("{error}"),
            }
        }
    }
    for ticket in tickets {
        ticket.await.expect("written");
    }
}

async fn awaited(stream: &Stream, payload: &[u8], count: usize) {
    let payload = bytes::Bytes::copy_from_slice(payload);
    for _ in 0..count {
        stream
            .append_at(payload.clone(), Level::Written)
            .await
            .expect("written");
    }
}
