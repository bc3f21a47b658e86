//! The process that is killed: tasks that append as fast as they are acked, and tell of each ack.

use std::sync::Arc;

use crate::support::say;
use tierlog::{Ack, NewRecord, Settings, Stream};

/// Each is written by two tasks.
pub const STREAMS: [&str; 3] = ["orders", "events", "raft"];

/// The `n`th record of a task in a round.
pub fn payload(round: u64, task: usize, n: u64) -> String {
    let filler = (n * 131 + round * 17) % 900;
    format!("{round} {task} {n} {}", "x".repeat(filler as usize))
}

/// Tells the parent.
fn tell(line: &str) {
    say(&format!("@@{line}"));
}

fn tell_ack(stream: &Stream, ack: &Ack, round: u64, task: usize, first: u64) {
    let (name, offset, count) = (stream.name(), ack.offset, ack.count);
    tell(&format!(
        "acked {name} {offset} {count} {task} {first} {round}"
    ));
}

pub fn write_until_killed(settings: &Settings, round: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tell("begins");
        // A log that was dropped without a shutdown lets go of its directory a moment later.
        let log = crate::support::open_when_free(settings).await;
        let mut tasks = tokio::task::JoinSet::new();
        for (at, name) in STREAMS.into_iter().enumerate() {
            let stream = Arc::new(log.log().stream(name).await.expect("a stream"));
            for task in [2 * at, 2 * at + 1] {
                tasks.spawn(write(Arc::clone(&stream), round, task));
            }
        }
        let ended = tasks.join_next().await;
        panic!("a task ended before it was killed: {ended:?}");
    });
}

async fn write(stream: Arc<Stream>, round: u64, task: usize) {
    let mut n = 0;
    loop {
        n += match task {
            0 | 2 => one(&stream, round, task, n).await,
            1 | 4 => batch(&stream, round, task, n).await,
            3 => window(&stream, round, task, n).await,
            _ => packed(&stream, round, task, n).await,
        };
        if n % 97 == 96 && task == 4 {
            stream.seal().await.expect("sealed");
        }
    }
}

/// One record, acked before the next one.
async fn one(stream: &Stream, round: u64, task: usize, n: u64) -> u64 {
    let ack = stream
        .append(payload(round, task, n))
        .await
        .expect("an ack");
    tell_ack(stream, &ack, round, task, n);
    1
}

async fn batch(stream: &Stream, round: u64, task: usize, n: u64) -> u64 {
    let size = n % 7 + 1;
    let records = (n..n + size).map(|n| NewRecord::from(payload(round, task, n)));
    let ack = stream
        .append_batch(records.collect())
        .await
        .expect("an ack");
    tell_ack(stream, &ack, round, task, n);
    size
}

/// Several in flight.
async fn window(stream: &Stream, round: u64, task: usize, n: u64) -> u64 {
    let mut tickets = Vec::new();
    for at in n..n + 16 {
        let mut record = NewRecord::from(payload(round, task, at));
        let ticket = loop {
            match stream.try_append(record) {
                Ok(ticket) => break ticket,
                Err(tierlog::TryAppend::WouldBlock { kind, payload }) => {
                    record = payload;
                    stream.ready(kind).await;
                }
                Err(failed) => panic!("{failed}"),
            }
        };
        tickets.push((at, ticket));
    }
    for (at, ticket) in tickets {
        let ack = ticket.await.expect("an ack");
        tell_ack(stream, &ack, round, task, at);
    }
    16
}

/// By an appender, whose buffers hold many.
async fn packed(stream: &Stream, round: u64, task: usize, n: u64) -> u64 {
    let mut appender = stream.appender();
    let mut tickets = Vec::new();
    for at in n..n + 40 {
        tickets.extend(
            appender
                .push(payload(round, task, at).as_bytes())
                .await
                .expect("room"),
        );
    }
    tickets.extend(appender.send().await.expect("room"));
    let mut at = n;
    for ticket in tickets {
        let ack = ticket.await.expect("an ack");
        tell_ack(stream, &ack, round, task, at);
        at += u64::from(ack.count);
    }
    40
}
