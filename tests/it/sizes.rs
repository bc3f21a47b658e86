//! Records of every size beside one another: each finds a place.

use tierlog::{NewRecord, Settings, Size, Stream};

use crate::support::{close, open, read_all, small, within};

/// A segment that is hardly larger than the largest record.
fn tight(dir: &std::path::Path) -> Settings {
    Settings {
        max_record: Size::kib(64),
        segment_size: Size::kib(68),
        ..small(dir)
    }
}

fn record(n: usize, len: usize) -> Vec<u8> {
    vec![b'a' + (n % 26) as u8; len]
}

/// Appends records of these sizes one after the other and expects to read them back.
async fn append_all(stream: &Stream, sizes: &[usize]) {
    let before = read_all(stream).await.len();
    for (n, len) in sizes.iter().enumerate() {
        within(stream.append(record(n, *len)))
            .await
            .expect("an ack");
    }
    let records = read_all(stream).await;
    assert_eq!(records.len(), before + sizes.len());
    for (n, len) in sizes.iter().enumerate() {
        let payload = &records[before + n].payload;
        assert!(payload == &record(n, *len), "record {n} of {len} bytes");
    }
}

/// The next segment was made when the one in use was half full. A record that was larger than what
/// was left of one that was not, waited for a segment that nobody had asked for: with a
/// `segment_size` of less than twice `max_record`, 30 kB and then 60 kB were enough.
#[tokio::test]
async fn a_record_that_fits_no_more_into_a_segment_less_than_half_full_gets_the_next_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = tight(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    append_all(&stream, &[30_000, 60_000, 1, 65_536, 65_536, 0, 65_536]).await;
    // As a batch, and from an appender's buffer.
    append_all(&stream, &[20_000]).await;
    let batch = (0..6).map(|n| NewRecord::new(record(n, 10_000))).collect();
    within(stream.append_batch(batch)).await.expect("an ack");
    append_all(&stream, &[20_000]).await;
    let mut appender = stream.appender();
    for n in 0..6 {
        within(appender.push(&record(n, 10_000)))
            .await
            .expect("room");
    }
    within(appender.send()).await.expect("sent");
    within(stream.flush()).await.expect("durable");
    close(log).await;
}

#[tokio::test]
async fn records_of_random_sizes_go_through_segments_hardly_larger_than_one_of_them() {
    let mut random = fastrand::Rng::with_seed(7);
    let sizes: Vec<usize> = (0..300)
        .map(|_| match random.u8(0..3) {
            0 => random.usize(0..200),
            1 => random.usize(0..40_000),
            _ => random.usize(60_000..=65_536),
        })
        .collect();
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(&tight(dir.path())).await;
    let stream = log.log().stream("s").await.expect("a stream");
    append_all(&stream, &sizes).await;
    close(log).await;
}

/// The open segment of a log that is opened with larger limits is as small as it was made.
#[tokio::test]
async fn a_log_that_is_opened_with_a_larger_limit_takes_larger_records_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(&small(dir.path())).await;
    let stream = log.log().stream("s").await.expect("a stream");
    append_all(&stream, &[10_000]).await;
    close(log).await;
    let larger = Settings {
        max_record: Size::mib(1),
        segment_size: Size::mib(4),
        unsynced_bytes: Size::mib(4),
        ..small(dir.path())
    };
    let log = open(&larger).await;
    let stream = log.log().stream("s").await.expect("a stream");
    append_all(&stream, &[1 << 20, 5, 1 << 20]).await;
    close(log).await;
}
