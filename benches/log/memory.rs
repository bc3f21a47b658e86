//! Resident memory while 2 GB are ingested: the sum of the budgets and no more than 64 MiB beside.

use std::time::Duration;

use tierlog::{FlushPolicy, Settings, Supervisor};

use tierlog_benches::{place, usage::peak_resident};

const TOTAL: u64 = 2 << 30;

pub fn run() {
    let folder = place::folder();
    let settings = Settings {
        flush: FlushPolicy::Every(Duration::from_millis(20)),
        ..place::settings(&folder)
    };
    let budgets =
        settings.unsynced_bytes.bytes() + settings.tail_cache.bytes() + settings.read_cache.bytes();
    let payload = [b'x'; 1000];
    let records = TOTAL / payload.len() as u64;
    place::runtime().block_on(async {
        let log = Supervisor::open(settings).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        let mut appender = stream.appender();
        for _ in 0..records {
            appender.push(&payload).await.expect("room");
        }
        appender.send().await.expect("room");
        assert_eq!(stream.flush().await.expect("durable").get(), records);
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
    });
    let peak = peak_resident();
    println!(
        "\nmemory: {} MiB resident at the peak of a 2 GiB ingest; budgets are {} MiB",
        peak >> 20,
        budgets >> 20
    );
    assert!(
        peak < budgets + (64 << 20),
        "resident memory is bounded by the budgets"
    );
}
