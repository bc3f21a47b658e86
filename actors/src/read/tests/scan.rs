//! Every record once, in order, wherever it lies.

use std::sync::Arc;

use futures::StreamExt;
use tierlog_storage::{Offset, SegmentNo};

use super::kit::{Rig, Writing, assert_usual, drain, following, small, written_level};
use crate::{
    error::Error,
    options::ReadMode,
    read::{From, ReadLimits, ReaderOptions},
};

/// sealed 0..3000, closed 3000..5000, active 5000..7000, the last 500 of it in the tail cache too.
fn everywhere(rig: &Rig) -> Writing {
    let mut sealed = rig.begin(0, 0);
    rig.put(sealed.fill(3000, 37).sealed());
    let mut closed = rig.begin(1, 3000);
    rig.put(closed.fill(5000, 41).closed());
    let mut active = rig.begin(2, 5000);
    active.fill(6500, 50);
    while active.end < 7000 {
        let frame = active.frame(25);
        rig.stream.tail.push(&frame);
    }
    rig.put(active.active());
    rig.durable(7000);
    active
}

#[tokio::test]
async fn a_reader_crosses_sealed_closed_active_and_tail_and_sees_each_offset_once() {
    for (mode, cache) in [
        (ReadMode::Pread, 0),
        (ReadMode::Pread, 64 << 20),
        (ReadMode::Map, 0),
        (ReadMode::Map, 1 << 20),
    ] {
        let rig = Rig::new(ReadLimits {
            mode,
            cache,
            ..small()
        });
        everywhere(&rig);
        for from in [0, 1, 2999, 3000, 4321, 5000, 6499, 6500, 6999, 7000] {
            let mut reader = rig
                .reader(From::Offset(Offset(from)), ReaderOptions::default())
                .await;
            let records = drain(&mut reader).await;
            assert_eq!(records.len() as u64, 7000 - from, "{mode:?} from {from}");
            assert_usual(&records, from);
            assert_eq!(reader.position(), Offset(7000));
        }
    }
}

#[tokio::test]
async fn batches_visits_and_the_stream_agree_whatever_their_size() {
    let rig = Rig::new(ReadLimits::default());
    everywhere(&rig);
    for max in [1, 7, 64, 10_000] {
        let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
        let mut next = 0;
        loop {
            let batch = reader.next_batch(max).await.unwrap();
            assert!(batch.len() <= max);
            assert_usual(&batch, next);
            next += batch.len() as u64;
            if batch.is_empty() {
                break;
            }
        }
        assert_eq!(next, 7000);
        let mut visitor = rig.reader(From::Earliest, ReaderOptions::default()).await;
        let mut seen = 0;
        let see = |record: tierlog_storage::segment::RecordRef<'_>| {
            assert_eq!(record.offset, Offset(seen));
            assert_eq!(record.payload, super::kit::payload_of(seen).as_bytes());
            seen += 1;
        };
        let mut see = see;
        while visitor.visit(max, &mut see).await.unwrap() > 0 {}
        assert_eq!(seen, 7000);
    }
    let reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
    let records: Vec<_> = reader.map(Result::unwrap).collect().await;
    assert_eq!(records.len(), 7000);
    assert_usual(&records, 0);
}

#[tokio::test]
async fn a_frame_longer_than_a_block_is_read_whole() {
    for mode in [ReadMode::Pread, ReadMode::Map] {
        let rig = Rig::new(ReadLimits { mode, ..small() });
        let mut writing = rig.begin(0, 0);
        writing.frame(3);
        let large = vec![7_u8; 3 << 20];
        writing.frame_of(vec![(2_000, large.clone().into())]);
        writing.frame_of(vec![(3_000, "small".into())]);
        rig.put(writing.sealed());
        rig.durable(5);
        let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
        let records = drain(&mut reader).await;
        assert_eq!(records[3].payload, large);
        assert_eq!(records[4].payload, "small");
    }
}

#[tokio::test]
async fn nothing_at_or_beyond_the_watermark_is_given_out_even_within_a_frame() {
    let rig = Rig::new(ReadLimits::default());
    let mut active = rig.begin(0, 0);
    let frame = active.frame(10);
    rig.put(active.active());
    rig.written(10);
    rig.stream.life().marks.advance_durable(4);
    let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
    assert_eq!(drain(&mut reader).await.len(), 4);
    let mut ahead = rig.reader(From::Earliest, written_level()).await;
    assert_eq!(drain(&mut ahead).await.len(), 10);
    rig.stream.tail.push(&frame);
    assert_eq!(drain(&mut reader).await.len(), 0);
    rig.durable(10);
    let rest = drain(&mut reader).await;
    assert_usual(&rest, 4);
    assert_eq!(rest.len(), 6);
}

/// Between two looks of a reader the writer appends, seals, rolls over and drops old frames from
/// the tail cache, and of all these events the reader gets at most one. It was found in an earlier
/// system that such a reader skipped 10 of 30 durable records.
#[tokio::test]
async fn events_that_coalesce_skip_nothing() {
    let rig = Rig::on(small(), Rig::new(small()).ctx.executor.clone(), 4 << 10);
    let mut reader = rig.reader(From::Earliest, following()).await;
    let (mut next, mut no) = (0, 0);
    let mut active = rig.begin(0, 0);
    let mut segment = rig.put(active.active());
    for round in 0..40_u64 {
        for step in 0..=round % 7 {
            let frame = active.frame(1 + step * 3);
            segment.advance(Offset(active.end), active.pos);
            rig.stream.tail.push(&frame);
            rig.durable(active.end);
            if (round + step) % 3 == 0 {
                rig.put(if step % 2 == 0 {
                    active.sealed()
                } else {
                    active.closed()
                });
                no += 1;
                active = rig.begin(no, active.end);
                segment = rig.put(active.active());
            }
        }
        while next < active.end {
            let batch = reader.next_batch(5).await.unwrap();
            assert_usual(&batch, next);
            next += batch.len() as u64;
        }
        assert!(futures::poll!(std::pin::pin!(reader.next_batch(1))).is_pending());
    }
    assert_eq!(reader.position(), Offset(active.end));
}

/// More records than any cache holds lie between the file's end as the reader knew it and the first
/// frame in memory. An earlier system called that a gap.
#[tokio::test]
async fn more_records_than_any_cache_between_file_and_tail_are_read_from_the_file() {
    let executor = Rig::new(small()).ctx.executor.clone();
    let rig = Rig::on(small(), executor, 600);
    let mut active = rig.begin(0, 0);
    let segment = rig.put(active.active());
    let mut reader = rig.reader(From::Earliest, following()).await;
    for _ in 0..3000 {
        let frame = active.frame(2);
        rig.stream.tail.push(&frame);
    }
    segment.advance(Offset(active.end), active.pos);
    rig.durable(active.end);
    assert!(rig.stream.tail.find(Offset(5000)).is_none());
    let mut records = Vec::new();
    while records.len() < 6000 {
        reader.next_batch_into(&mut records, 100).await.unwrap();
    }
    assert_usual(&records, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_beside_a_busy_writer_sees_each_record_once() {
    let rig = Arc::new(Rig::new(ReadLimits {
        cache: 1 << 20,
        ..small()
    }));
    let writer = {
        let rig = Arc::clone(&rig);
        tokio::task::spawn_blocking(move || {
            let mut active = rig.begin(0, 0);
            let mut segment = rig.put(active.active());
            for no in 1..60 {
                for _ in 0..50 {
                    let frame = active.frame(3);
                    segment.advance(Offset(active.end), active.pos);
                    rig.stream.tail.push(&frame);
                    rig.durable(active.end);
                }
                rig.put(active.sealed());
                active = rig.begin(no, active.end);
                segment = rig.put(active.active());
            }
            rig.stream.shut(Error::Closed);
            active.end
        })
    };
    let mut readers = Vec::new();
    for max in [1, 10, 1000] {
        let rig = Arc::clone(&rig);
        readers.push(tokio::spawn(async move {
            let mut reader = rig.reader(From::Earliest, following()).await;
            let mut next = 0;
            loop {
                let batch = reader.next_batch(max).await.unwrap();
                if batch.is_empty() {
                    return next;
                }
                assert_usual(&batch, next);
                next += batch.len() as u64;
            }
        }));
    }
    let end = writer.await.unwrap();
    // `next` of the door is what was accepted; this test accepts nothing through it, so a reader
    // may end at any durable end, and goes on from there.
    for reader in readers {
        assert!(reader.await.unwrap() <= end);
    }
    let mut late = rig.reader(From::Earliest, following()).await;
    assert_eq!(drain(&mut late).await.len() as u64, end);
}

#[tokio::test]
async fn open_files_and_cached_blocks_stay_within_their_budgets() {
    let limits = ReadLimits {
        cache: 64 << 10,
        descriptors: 4,
        ..ReadLimits::default()
    };
    let rig = Rig::new(limits);
    for no in 0..20 {
        rig.put(rig.begin(no, no * 100).fill(no * 100 + 100, 10).sealed());
    }
    rig.durable(2000);
    let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
    assert_eq!(drain(&mut reader).await.len(), 2000);
    assert!(
        rig.ctx.files.len() <= 4,
        "{} files are open",
        rig.ctx.files.len()
    );
    assert!(rig.ctx.blocks.used() <= 64 << 10);
    let all: Vec<_> = (0..20).map(SegmentNo).collect();
    rig.ctx.forget(rig.stream.id, &all);
    assert!(rig.ctx.files.is_empty());
    assert_eq!(rig.ctx.blocks.used(), 0);
}
