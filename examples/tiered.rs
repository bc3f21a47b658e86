//! A log that is larger than the disk it may take: its segments go from segment files to compressed ones and
//! on to a bucket, and one reader crosses them all.
//!
//! `cargo run --example tiered`

use std::time::Duration;

use tierlog::{ColdUri, Error, From, Level, SegmentInfo, Settings, Size, Stream, Supervisor};

/// Records of about 1 KiB; with these budgets, many times what fits here.
const RECORDS: u64 = 2_000;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A folder stands for the bucket. `s3://bucket/prefix` is another word in the same place.
    let bucket = ColdUri::folder(directory.path().join("bucket")).expect("an absolute path");
    let settings = Settings {
        segment_size: Size::kib(128),
        max_record: Size::kib(16),
        hot_budget: Some(Size::kib(3 * 128)),
        warm_budget: Some(Size::kib(4 * 128)),
        cold: Some(bucket),
        // No `Archived` ack waits longer than this for its segment to be full.
        archive_after: Duration::from_millis(50),
        ..Settings::new(directory.path().join("log"))
    };
    let supervisor = Supervisor::open(settings).await?;
    let readings = supervisor.log().stream("readings").await?;

    let mut appender = readings.appender();
    for n in 0..RECORDS {
        // Waits where the budgets are used up, until something has moved on.
        drop(appender.push(reading(n).as_bytes()).await?);
    }
    appender.send().await?;
    // One more, of which the ack waits until an object holds it, was read back, and is named by a published
    // catalog. What stands before it is archived then as well.
    let ack = readings
        .append_at(reading(RECORDS), Level::Archived)
        .await?;
    assert_eq!(ack.offset.get(), RECORDS);
    assert!(readings.watermarks().archived > ack.offset);
    println!("record {} is archived", ack.offset);

    let segments = in_all_tiers(&readings).await?;
    for (tier, what) in ["segment files", "compressed files", "objects"]
        .iter()
        .enumerate()
    {
        let here = segments
            .iter()
            .filter(|segment| usize::from(segment.tier) == tier);
        let records: u64 = here.clone().map(|s| s.end.get() - s.base.get()).sum();
        println!(
            "tier {tier}: {} {what} hold {records} records",
            here.count()
        );
    }

    // Readers need not know any of this.
    let mut reader = readings.reader(From::Earliest).await?;
    let mut read = 0;
    while let Some(record) = reader.try_next().await? {
        assert_eq!(record.offset.get(), read, "no gap, no repeat");
        assert_eq!(&record.payload[..], reading(read).as_bytes());
        read += 1;
    }
    assert_eq!(read, RECORDS + 1);
    println!("one reader read all {read} from three tiers");

    let report = supervisor.shutdown(Duration::from_secs(10)).await?;
    assert!(report.clean, "{report:?}");
    Ok(())
}

/// Some digits that do not compress to nothing.
fn reading(n: u64) -> String {
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = format!("reading {n}:");
    while text.len() < 1_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += &format!(" {state:x}");
    }
    text
}

/// Segments move in the background. Waits until each tier has some.
async fn in_all_tiers(stream: &Stream) -> Result<Vec<SegmentInfo>, Error> {
    loop {
        let segments = stream.segments().await?;
        let has = |tier| segments.iter().any(|segment| segment.tier == tier);
        if has(0) && has(1) && has(2) {
            return Ok(segments);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
