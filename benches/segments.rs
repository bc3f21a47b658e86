//! Logs of many sealed segments.

use std::{path::Path, time::Duration};

use tierlog::{FlushPolicy, NewRecord, Settings, Size, Supervisor};

/// With segments that are as small as they may be.
pub fn settings(folder: &Path) -> Settings {
    Settings {
        flush: FlushPolicy::Manual,
        segment_size: Size::kib(68),
        max_record: Size::kib(16),
        ..Settings::new(folder.join("log"))
    }
}

/// Makes a log with a stream of so many sealed segments, of one record each, and closes it.
pub async fn fill(folder: &Path, count: usize) {
    let log = Supervisor::open(settings(folder)).await.expect("a log");
    let stream = log.log().stream("bench").await.expect("a stream");
    for n in 0..count {
        let ticket = loop {
            match stream.try_append(NewRecord::from(format!("record {n}"))) {
                Ok(ticket) => break ticket,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        stream.seal().await.expect("sealed");
        ticket.await.expect("durable");
    }
    assert_eq!(stream.segments().await.expect("segments").len(), count);
    log.shutdown(Duration::from_secs(60)).await.expect("closed");
}
