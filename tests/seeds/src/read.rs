//! Those who read: from anywhere, durable or written, following or not, and those who watch marks.

use std::{sync::Arc, time::Duration};

use tierlog::{
    Error, ErrorKind, From, Health, Level, Offset, Reader, Record, Stream, TryRead, testing::Clock,
};
use tokio::time::{sleep, timeout};

use crate::world::Life;

/// Reads for as long as the process lives.
pub async fn read(life: Arc<Life>, who: String, streams: Vec<Stream>) {
    let mut rng = life.world.rng(&format!("{}/{who}", life.name));
    loop {
        let at = rng.usize(0..streams.len());
        let stream = &streams[at];
        let marks = stream.watermarks();
        let next = marks.next.get();
        let from = match rng.u32(0..6) {
            0 => From::Latest,
            1 => From::Offset(Offset(rng.u64(0..=next))),
            2 => From::Timestamp(life.world.time.now_ns() - rng.u64(0..5_000_000_000)),
            _ => From::Earliest,
        };
        let level = if rng.u32(0..3) == 0 {
            Level::Written
        } else {
            Level::Durable
        };
        let (follows, many) = (rng.bool(), rng.u32(1..60));
        let builder = stream.reader(from).level(level);
        let builder = if follows { builder.follow() } else { builder };
        let opened = life.ends(
            "opening a reader",
            std::future::IntoFuture::into_future(builder),
        );
        let reader = match opened.await {
            Ok(reader) => reader,
            Err(error) => {
                refused(&life, "opening a reader", &error);
                sleep(Duration::from_millis(rng.u64(1..20))).await;
                continue;
            }
        };
        if let From::Offset(asked) = from {
            assert!(
                reader.position() >= asked,
                "{:?} for {asked}",
                reader.position()
            );
        }
        let mut reading = Reading {
            life: &life,
            reader,
            stream: at,
            durable: level == Level::Durable,
            follows,
        };
        for _ in 0..many {
            if !reading.step(rng.u32(0..8), rng.u64(0..50_000)).await {
                break;
            }
        }
        drop(reading);
        sleep(Duration::from_micros(rng.u64(1..30_000))).await;
    }
}

fn refused(life: &Life, what: &str, error: &Error) {
    if matches!(error, Error::Trimmed { .. } | Error::Truncated { .. }) {
        assert_eq!(error.kind(), ErrorKind::Moved);
    }
    life.excused(what, error);
}

struct Reading<'a> {
    life: &'a Life,
    reader: Reader,
    stream: usize,
    durable: bool,
    follows: bool,
}

impl Reading<'_> {
    /// Takes something; false when there is nothing more to be had.
    async fn step(&mut self, how: u32, patience: u64) -> bool {
        let position = self.reader.position();
        let outcome = match how {
            0 => match self.reader.try_next().now() {
                Ok(record) => Ok(record.into_iter().collect()),
                Err(TryRead::WouldBlock(kind)) => {
                    self.life.world.points.pass(format!("refused: {kind}"));
                    return true;
                }
                Err(TryRead::Failed(error)) => Err(error),
            },
            1..=2 => {
                // Dropped in the midst of it, nothing is skipped.
                let batch = self.reader.next_batch(7);
                match timeout(Duration::from_micros(patience), batch).await {
                    Ok(outcome) => outcome,
                    Err(_) => return true,
                }
            }
            _ if self.follows => {
                let one = self.reader.try_next();
                match timeout(Duration::from_micros(patience), one).await {
                    Ok(outcome) => outcome.map(|record| record.into_iter().collect()),
                    Err(_) => return true,
                }
            }
            _ => {
                let life = self.life;
                let one = life.ends("a read", self.reader.try_next()).await;
                one.map(|record| record.into_iter().collect::<Vec<Record>>())
            }
        };
        match outcome {
            Ok(records) => {
                self.take(position, &records);
                !records.is_empty()
            }
            Err(error) => {
                refused(self.life, "a read", &error);
                false
            }
        }
    }

    fn take(&self, position: Offset, records: &[Record]) {
        let mut model = self.life.world.model(self.stream);
        for (record, offset) in records.iter().zip(position.get()..) {
            if offset == position.get() {
                // A reader by time begins where the first such record is.
                assert!(
                    record.offset >= position,
                    "{} behind {position}",
                    record.offset
                );
            }
            let first = records[0].offset.get();
            assert_eq!(
                record.offset.get() - first,
                offset - position.get(),
                "dense"
            );
            model.seen(record, self.durable);
        }
    }
}

/// Everything that is durable, from the start on.
pub async fn read_all(stream: &Stream) -> Result<(u64, Vec<Record>), Error> {
    let start = stream.watermarks().start;
    let mut reader = stream.reader(From::Offset(start)).await?;
    let mut records = Vec::new();
    loop {
        let batch = reader.next_batch(64).await?;
        if batch.is_empty() {
            return Ok((start.get(), records));
        }
        records.extend(batch);
    }
}

/// Holds each advance of the marks against the one before.
pub async fn watch(life: Arc<Life>, stream: Stream) {
    let mut watch = stream.watch();
    let mut last = *watch.borrow_and_update();
    while watch.changed().await.is_ok() {
        let now = *watch.borrow_and_update();
        life.say(format_args!(
            "{}: {}, {} durable, {} written, life {}",
            stream.name(),
            now.start,
            now.durable,
            now.written,
            now.incarnation
        ));
        assert!(
            now.start <= now.durable && now.durable <= now.written && now.archived <= now.durable,
            "{now:?}"
        );
        assert!(
            now.start >= last.start && now.incarnation >= last.incarnation,
            "{now:?}, {last:?}"
        );
        if now.incarnation == last.incarnation {
            assert!(now.durable >= last.durable, "{now:?} behind {last:?}");
        }
        last = now;
    }
}

/// Looks at the log's health now and then: it answers whatever the actors do.
pub async fn look_at_health(life: Arc<Life>, health: impl Fn() -> Health) {
    let mut rng = life.world.rng(&format!("{}/health", life.name));
    loop {
        sleep(Duration::from_micros(rng.u64(1_000..120_000))).await;
        let health = health();
        let points = &life.world.points;
        points.pass(format!("health: {:?}", health.state));
        if let Some(cold) = &health.cold {
            points.pass(format!("breaker: {:?}", cold.breaker.phase));
        }
        // Windows are of 640 KiB at most, and something larger passes when nothing else is held.
        assert!(health.held_bytes < 1 << 20, "budgets are met: {health:?}");
    }
}
