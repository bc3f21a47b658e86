//! The log's side, through what any app calls.

use std::time::Instant;

use bytes::Bytes;
use tierlog::{From, Stream};
use tokio::task::JoinSet;

use crate::exit::Ending;
use crate::output::counted;

use super::Load;
use super::report::Measured;

/// How often the clock is asked.
const LOOK_EACH: u64 = 256;
/// Records asked for at once.
const BATCH: usize = 4096;

/// Appends through an [`Appender`](tierlog::Appender), until all is durable; then reads it back.
pub(super) async fn append(stream: Stream, load: &Load) -> Result<(Measured, Measured), Ending> {
    let payload = load.payload();
    let mut appender = stream.appender();
    let begun = Instant::now();
    let mut records = 0;
    while records < load.most() {
        drop(appender.push(&payload).await?);
        records += 1;
        if records % LOOK_EACH == 0 && begun.elapsed() >= load.time {
            break;
        }
    }
    drop(appender.send().await?);
    let end = stream.flush().await?;
    let appended = Measured::of(records, load.size, begun.elapsed());
    let begun = Instant::now();
    let mut reader = stream.reader(From::Earliest).await?;
    let (mut seen, mut bytes) = (0, 0);
    let mut batch = Vec::new();
    while reader.next_batch_into(&mut batch, BATCH).await? > 0 {
        seen += batch.len() as u64;
        bytes += batch
            .iter()
            .map(|record| record.payload.len())
            .sum::<usize>();
        batch.clear();
    }
    let scanned = Measured::of(seen, load.size, begun.elapsed());
    let all = seen == records && end.get() == records && bytes as u64 == records * load.size as u64;
    match all {
        true => Ok((appended, scanned)),
        false => Err(Ending::Failed {
            what: format!(
                "of {} that came in, {seen} came back",
                counted(records, "record")
            ),
            kind: "restore",
            advice: "please report it".into(),
        }),
    }
}

/// So many tasks, each of which waits until its record is durable before it appends the next one.
pub(super) async fn durable(stream: Stream, load: &Load) -> Result<Measured, Ending> {
    // The first one makes the segment.
    stream.append("").await?;
    let payload = Bytes::from(load.payload());
    let most = load.most() / load.tasks as u64 + 1;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..load.tasks {
        let (stream, payload, time) = (stream.clone(), payload.clone(), load.time);
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < time && (waits.len() as u64) < most {
                let sent = Instant::now();
                stream.append(payload.clone()).await?;
                waits.push(sent.elapsed());
            }
            Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended: Result<_, tierlog::AppendError> = ended.map_err(|error| {
            Ending::failed(format!("a task of the bench ended: {error}"), "try again")
        })?;
        waits.extend(ended?);
    }
    Ok(Measured::of(waits.len() as u64, load.size, begun.elapsed()).waiting(waits))
}
