//! tierlog, set up for each use.

use std::{path::Path, time::Instant};

use bytes::Bytes;
use tierlog::{FlushPolicy, Settings, Size, Stream};
use tierlog_benches::records;

use crate::{logs::Use, threads::Waits};

/// With a window and segments that hold a whole run where nobody waits for the disk, as the others have, and
/// the defaults elsewhere.
pub fn settings(folder: &Path, used: Use) -> Settings {
    let defaults = Settings::new(folder.join("log"));
    match used {
        Use::Append => Settings {
            flush: FlushPolicy::Manual,
            unsynced_bytes: Size::mib(256),
            segment_size: Size::mib(256),
            ..defaults
        },
        _ => defaults,
    }
}

/// Durable appends by so many tasks until the time is over.
pub async fn again(stream: &Stream, tasks: usize, size: usize, time: std::time::Duration) -> Waits {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let stream = stream.clone();
            tokio::spawn(async move {
                let mut record = records::filling(size);
                let (mut micros, mut before) = (Vec::new(), Instant::now());
                while before - begun < time {
                    records::stamp(&mut record, task, micros.len());
                    let payload = Bytes::copy_from_slice(&record);
                    stream.append(payload).await.expect("durable");
                    let after = Instant::now();
                    micros.push((after - before).as_secs_f64() * 1e6);
                    before = after;
                }
                micros
            })
        })
        .collect();
    let mut micros = Vec::new();
    for task in tasks {
        micros.push(task.await.expect("it ends"));
    }
    let time = begun.elapsed();
    Waits { micros, time }
}
