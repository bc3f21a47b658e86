//! A scan of compressed segments has the next two blocks read before it comes to them.

use metrics::set_default_local_recorder;
use tierlog::{From, Supervisor, testing::storage::disk::sim::SimDisk};

use super::{append, long, rig, settled};
use crate::{
    observed::recorder::Recording,
    sim,
    support::{close, within},
};

/// Records of about 2 KiB, of which some 120 lie in one zstd frame.
const RECORDS: u64 = 1_500;

#[test]
fn a_scan_of_a_compressed_segment_is_two_blocks_ahead_and_no_more() {
    let recording = Recording::default();
    let guard = set_default_local_recorder(&recording);
    let disk = SimDisk::new();
    let rig = rig(&disk)
        .with("segment_size", "2MiB")
        .with("hot_budget", "4MiB")
        .with("read_cache", "8MiB");
    sim::run(async {
        let log = Supervisor::open_with(rig.settings.clone(), sim::on(disk.clone()));
        let log = within(log).await.expect("the log opens");
        let stream = log.log().stream("s").await.expect("a stream");
        append(&stream, 0..RECORDS).await;
        within(stream.seal()).await.expect("sealed");
        settled(&disk, &stream, 1).await;
        let read = || recording.value("tierlog_read_cache_misses_total");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let mut seen = Vec::new();
        for id in 0..RECORDS {
            let record = within(reader.try_next()).await.expect("read");
            assert_eq!(record.expect("a record").payload, long(id));
            if seen.last() != Some(&read()) {
                seen.push(read());
            }
        }
        // The first one alone; with the second the two behind it; then one for each that is used up.
        assert_eq!(seen[..4], [1.0, 4.0, 5.0, 6.0]);
        close(log).await;
    });
    drop(guard);
}
