//! What a reader stands on stays for a while.

use std::time::Duration;

use tierlog::{
    Error, From, Kind, Offset, Reader, Stream, TryRead, testing::storage::disk::sim::SimDisk,
};

use super::{Hand, NOTHING, bytes, keep, rig, tens};
use crate::{
    faults::rig::{on_each_runtime, one_stream},
    support::{close, texts, within},
    tiers::{append, long},
};

/// A reader that has read so many records.
async fn reader(stream: &Stream, read: u64) -> Reader {
    let opened = stream.reader(From::Earliest).follow();
    let mut reader = within(opened.into_future()).await.expect("a reader");
    go_on(&mut reader, 0..read).await;
    reader
}

async fn go_on(reader: &mut Reader, ids: std::ops::Range<u64>) {
    for id in ids {
        let record = within(reader.try_next()).await.expect("it is there");
        let record = record.expect("it follows");
        assert_eq!(record.offset, Offset(id));
        assert_eq!(texts(&[record]), [long(id)]);
    }
}

#[test]
fn a_slow_reader_keeps_what_it_stands_on_until_its_time_is_over() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let (log, stream) = one_stream(&rig(&disk, &clock)).await;
        tens(&stream, 0..5).await;
        let mut slow = reader(&stream, 15).await;
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(10));
        clock.advance(Duration::from_secs(50));
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(10));
        // It goes on, and takes what is to be kept for it along.
        go_on(&mut slow, 15..35).await;
        clock.advance(Duration::from_secs(59));
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(30));
        clock.advance(Duration::from_secs(1));
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(50));
        let overtaken = within(slow.try_next()).await.expect_err("it is gone");
        assert!(
            matches!(
                overtaken,
                Error::Trimmed {
                    asked: Offset(35),
                    start: Offset(50)
                }
            ),
            "{overtaken}"
        );
        slow.seek(Offset(50));
        append(&stream, 50..51).await;
        go_on(&mut slow, 50..51).await;
        close(log).await;
    });
}

#[test]
fn readers_at_the_end_and_readers_that_are_gone_hold_nothing_back() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let (log, stream) = one_stream(&rig(&disk, &clock)).await;
        tens(&stream, 0..3).await;
        let mut at_end = reader(&stream, 30).await;
        let waits = at_end.try_next().now();
        assert!(matches!(waits, Err(TryRead::WouldBlock(Kind::Tail))));
        drop(reader(&stream, 5).await);
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(30));
        append(&stream, 30..32).await;
        go_on(&mut at_end, 30..32).await;
        close(log).await;
    });
}

#[test]
fn a_reader_does_not_hold_back_a_trim_nor_what_it_was_overtaken_by() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let (log, stream) = one_stream(&rig(&disk, &clock)).await;
        tens(&stream, 0..5).await;
        let mut slow = reader(&stream, 5).await;
        let start = within(stream.trim(Offset(25))).await.expect("trimmed");
        assert_eq!(start, Offset(25));
        within(slow.try_next()).await.expect_err("it is overtaken");
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(50));
        close(log).await;
    });
}

#[test]
fn without_leases_no_reader_holds_anything_back() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let rig = rig(&disk, &clock).with("reader_lease", "0s");
        let (log, stream) = one_stream(&rig).await;
        tens(&stream, 0..3).await;
        let mut slow = reader(&stream, 5).await;
        assert_eq!(keep(&stream, bytes(NOTHING)).await, Offset(30));
        within(slow.try_next()).await.expect_err("it is overtaken");
        close(log).await;
    });
}

#[test]
fn a_reader_that_goes_on_is_never_overtaken() {
    on_each_runtime(|_| async {
        let (disk, clock) = (SimDisk::new(), Hand::new());
        let (log, stream) = one_stream(&rig(&disk, &clock)).await;
        tens(&stream, 0..20).await;
        let mut steady = reader(&stream, 1).await;
        for id in 1..200 {
            let start = keep(&stream, bytes(NOTHING)).await.get();
            assert!(start <= id && id - start <= 10, "{start} at {id}");
            clock.advance(Duration::from_secs(5));
            go_on(&mut steady, id..id + 1).await;
        }
        close(log).await;
    });
}
