//! Records of 100 B through each way in, from the call until they are written, or durable where that is said.

use bytes::Bytes;
use tierlog::{FlushPolicy, Level, NewRecord, Settings, Stream};
use tierlog_counts::{alone, counted};

/// What a record is made of.
pub const PAYLOAD: [u8; 100] = [b'x'; 100];
/// How many are offered before the first of their tickets is awaited.
const BURST: usize = 100;

pub fn appender(count: usize) -> usize {
    through(count, FlushPolicy::Manual, async |stream, count| {
        let mut appender = stream.appender();
        let mut last = None;
        for _ in 0..count {
            if let Some(ticket) = appender.push(&PAYLOAD).await.expect("room") {
                last = Some(ticket);
            }
        }
        let rest = appender.send().await.expect("room").or(last);
        let ticket = rest.expect("something was sent");
        ticket.at(Level::Written).await.expect("written");
    })
}

pub fn try_append(count: usize) -> usize {
    through(count, FlushPolicy::Manual, async |stream, count| {
        let payload = Bytes::from_static(&PAYLOAD);
        let mut tickets = Vec::with_capacity(BURST);
        for at in 0..count {
            let ticket = stream.try_append(NewRecord::new(payload.clone()));
            tickets.push(ticket.expect("room").at(Level::Written));
            if tickets.len() == BURST || at + 1 == count {
                for ticket in tickets.drain(..) {
                    ticket.await.expect("written");
                }
            }
        }
    })
}

pub fn written(count: usize) -> usize {
    through(count, FlushPolicy::Manual, async |stream, count| {
        let payload = Bytes::from_static(&PAYLOAD);
        for _ in 0..count {
            let ack = stream.append_at(payload.clone(), Level::Written).await;
            ack.expect("written");
        }
    })
}

pub fn durable(count: usize) -> usize {
    through(count, FlushPolicy::Always, async |stream, count| {
        let payload = Bytes::from_static(&PAYLOAD);
        for _ in 0..count {
            stream.append(payload.clone()).await.expect("durable");
        }
    })
}

pub fn batch(count: usize) -> usize {
    let batches = count.div_ceil(BURST);
    let made = through(batches, FlushPolicy::Manual, async |stream, batches| {
        let record = NewRecord::new(Bytes::from_static(&PAYLOAD));
        for _ in 0..batches {
            let ticket = stream.try_append_batch(vec![record.clone(); BURST]);
            let ticket = ticket.expect("room").at(Level::Written);
            assert_eq!(ticket.await.expect("written").count as usize, BURST);
        }
    });
    made * BURST
}

/// Does the work once with a few, so that nothing is counted that happens at a first time alone, and then
/// once with `count`, counted.
fn through(count: usize, flush: FlushPolicy, work: impl AsyncFn(&Stream, usize)) -> usize {
    let folder = alone::folder();
    let settings = Settings {
        flush,
        ..alone::settings(folder.path())
    };
    let runtime = alone::runtime();
    let (log, stream) = runtime.block_on(async {
        let (log, stream) = alone::open_stream(settings).await;
        work(&stream, count.min(BURST)).await;
        stream.flush().await.expect("durable");
        alone::rest().await;
        (log, stream)
    });
    let before = stream.watermarks().next;
    counted(|| runtime.block_on(work(&stream, count)));
    let appended = stream.watermarks().next.get() - before.get();
    assert!(appended as usize >= count, "all of it is there");
    runtime.block_on(alone::close(log));
    count
}
