//! What going through the states has found, each by itself.

use tierlog::{FlushPolicy, Level, Settings, Supervisor, testing::storage::disk::sim::SimDisk};

use crate::sim;

/// A seal whose sync failed was repaired, and whoever had asked for it was told that the stream was
/// restarting, which it was not: the segment that was given up took the answers with it.
#[test]
fn a_seal_whose_sync_fails_once_is_carried_out_all_the_same() {
    for flush in [FlushPolicy::Always, FlushPolicy::Manual] {
        let disk = SimDisk::new();
        let settings = Settings {
            flush,
            ..sim::tiny()
        };
        sim::run(async {
            let opened = Supervisor::open_with(settings, sim::on(disk.clone())).await;
            let log = opened.expect("a log");
            let stream = log.log().stream("s").await.expect("a stream");
            let ack = stream.append_at("first", Level::Written).await;
            assert_eq!(ack.expect("an ack").offset.get(), 0);
            if flush == FlushPolicy::Always {
                stream.flush().await.expect("flushed");
            }
            disk.fail_next_sync(|path| path.extension().is_some_and(|end| end == "tls"));
            let sealed = stream.seal().await;
            assert_eq!(sealed.expect("sealed").get(), 1, "{flush:?}");
            assert_eq!(log.counters().repairs, 1, "{flush:?}");
            assert_eq!(stream.watermarks().durable.get(), 1);
            let segments = stream.segments().await.expect("segments");
            assert!(segments.iter().all(|it| it.state != "open"), "{segments:?}");
            let ack = stream.append_at("second", Level::Written).await;
            assert_eq!(ack.expect("an ack").offset.get(), 1);
            let report = log.shutdown(std::time::Duration::from_secs(10)).await;
            assert!(report.expect("closed").clean);
        });
    }
}
