//! Trims, truncations, restarts and rewrites under a reader.

use std::sync::Arc;

use tierlog_storage::{Incarnation, Offset, SegmentNo, manifest::WarmCopy, segment::NewRecord};

use super::kit::{Rig, Stepper, assert_usual, drain, following, small, written_level};
use crate::{
    error::Error,
    exec::ThreadPool,
    kind::Kind,
    read::{From, ReadLimits, ReaderOptions, TryRead},
    stream::{segments::Copies, shared::LifeChange},
};

#[tokio::test]
async fn a_trim_under_a_reader_is_told_and_moves_nothing() {
    let rig = Rig::new(ReadLimits::default());
    rig.put(rig.begin(0, 0).fill(50, 10).sealed());
    rig.put(rig.begin(1, 50).fill(100, 10).sealed());
    rig.durable(100);
    let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
    assert_eq!(reader.next_batch(5).await.unwrap().len(), 5);
    // Its chunk still has the next record; what was trimmed is not given out all the same.
    rig.stream.advance_start(Offset(60));
    let below = rig.stream.segments.ended_below(Offset(60));
    rig.stream.segments.remove(&below);
    for _ in 0..2 {
        let error = reader.next_batch(5).await.unwrap_err();
        assert!(matches!(
            error,
            Error::Trimmed {
                asked: Offset(5),
                start: Offset(60)
            }
        ));
        assert_eq!(reader.position(), Offset(5));
    }
    reader.seek(Offset(60));
    let rest = drain(&mut reader).await;
    assert_eq!(rest.len(), 40);
    assert_usual(&rest, 60);
}

#[tokio::test]
async fn a_trim_wakes_a_follower_at_the_end_of_what_is_gone() {
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(10, 10).sealed());
    rig.durable(10);
    let mut reader = rig.reader(From::Offset(Offset(10)), following()).await;
    {
        let mut waiting = std::pin::pin!(reader.next_batch(1));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        rig.stream.advance_start(Offset(10));
        assert!(
            futures::poll!(waiting.as_mut()).is_pending(),
            "10 was not trimmed"
        );
    }
}

/// Records 0..100, then a truncation at 60 and other records in their place.
fn truncate_at_60(rig: &Rig) {
    let mut kept = rig.begin(7, 0);
    kept.fill(60, 12);
    let mut fresh = rig.begin(8, 60);
    rig.stream
        .begin_life_with(Incarnation(2), Offset(60), LifeChange::Truncated, || {
            rig.stream.tail.clear();
            rig.stream.segments.update(|map| {
                map.clear();
                map.insert(0, Arc::new(kept.closed()));
            });
        });
    let others = (0..20)
        .map(|n| (9_000, NewRecord::new(format!("other {n}"))))
        .collect();
    let frame = fresh.frame_of(others);
    rig.put(fresh.active());
    rig.stream.tail.push(&frame);
    rig.durable(80);
}

#[tokio::test]
async fn a_reader_beyond_a_cut_is_told_until_it_seeks() {
    let rig = Rig::new(ReadLimits::default());
    rig.put(rig.begin(0, 0).fill(100, 30).active());
    rig.durable(100);
    let mut reader = rig.reader(From::Offset(Offset(61)), following()).await;
    truncate_at_60(&rig);
    for _ in 0..3 {
        let error = reader.try_next().await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Truncated {
                    end: Offset(60),
                    position: Offset(61)
                }
            ),
            "{error}"
        );
    }
    reader.seek(Offset(60));
    assert_eq!(reader.try_next().await.unwrap().unwrap().payload, "other 0");
}

#[tokio::test]
async fn a_reader_before_a_cut_never_gives_out_what_was_cut_off() {
    for first in [1, 59, 60] {
        let rig = Rig::new(ReadLimits::default());
        rig.put(rig.begin(0, 0).fill(100, 100).active());
        rig.durable(100);
        let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
        // The one frame of all hundred records is in the reader's hands when it is cut.
        assert_eq!(reader.next_batch(first).await.unwrap().len(), first);
        truncate_at_60(&rig);
        let rest = drain(&mut reader).await;
        assert_eq!(rest.len(), 80 - first);
        assert_usual(&rest[..60 - first], first as u64);
        let payloads: Vec<_> = rest[60 - first..]
            .iter()
            .map(|r| r.payload.clone())
            .collect();
        assert_eq!(payloads[0], "other 0");
        assert_eq!(payloads[19], "other 19");
    }
}

/// The kept part stays where it is, in a segment that ends earlier now. Blocks of it that were cached
/// before the cut reach beyond that end.
#[tokio::test]
async fn blocks_cached_before_a_cut_are_read_up_to_the_new_end_only() {
    let rig = Rig::new(ReadLimits::default());
    let mut cut = rig.begin(0, 0);
    rig.put(cut.fill(100, 10).active());
    rig.durable(100);
    let mut before = rig.reader(From::Earliest, ReaderOptions::default()).await;
    assert_eq!(drain(&mut before).await.len(), 100);
    rig.stream
        .begin_life_with(Incarnation(2), Offset(60), LifeChange::Truncated, || {
            rig.put(cut.closed_at(60, cut.frames[6].0));
        });
    let mut fresh = rig.begin(1, 60);
    fresh.frame_of((0..40).map(|_| (9_000, NewRecord::new("other"))).collect());
    rig.put(fresh.active());
    rig.durable(100);
    let mut after = rig.reader(From::Earliest, ReaderOptions::default()).await;
    let records = drain(&mut after).await;
    assert_usual(&records[..60], 0);
    assert_eq!(records.len(), 100);
    assert!(records[60..].iter().all(|record| record.payload == "other"));
}

#[tokio::test]
async fn a_waiting_follower_learns_of_a_cut() {
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(100, 30).active());
    rig.durable(100);
    let mut reader = rig.reader(From::Latest, following()).await;
    let mut waiting = std::pin::pin!(reader.try_next());
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    rig.stream
        .begin_life(Incarnation(2), Offset(60), LifeChange::Truncated);
    let error = waiting.await.unwrap_err();
    assert!(matches!(
        error,
        Error::Truncated {
            end: Offset(60),
            position: Offset(100)
        }
    ));
}

#[tokio::test]
async fn a_restart_that_lost_nothing_is_not_noticed_and_one_that_lost_is() {
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(50, 10).active());
    rig.durable(40);
    rig.written(50);
    let mut durable = rig.reader(From::Earliest, following()).await;
    let mut written = rig
        .reader(
            From::Earliest,
            ReaderOptions {
                follow: true,
                ..written_level()
            },
        )
        .await;
    let mut seen = (Vec::new(), Vec::new());
    while seen.0.len() < 40 {
        durable.next_batch_into(&mut seen.0, 100).await.unwrap();
    }
    while seen.1.len() < 50 {
        written.next_batch_into(&mut seen.1, 100).await.unwrap();
    }
    let change = LifeChange::Recovered {
        lost: true,
        why: "a test",
    };
    rig.stream.begin_life(Incarnation(2), Offset(40), change);
    let error = written.next_batch(1).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Truncated {
            end: Offset(40),
            position: Offset(50)
        }
    ));
    assert!(futures::poll!(std::pin::pin!(durable.next_batch(1))).is_pending());
    let change = LifeChange::Recovered {
        lost: false,
        why: "a test",
    };
    rig.stream.begin_life(Incarnation(3), Offset(40), change);
    assert!(futures::poll!(std::pin::pin!(durable.next_batch(1))).is_pending());
}

/// A sync failed; what the reader finds in the poisoned segment is bad. While it reads, the writer
/// closes that segment and writes the same records to a new one: that is no damage.
#[test]
fn a_bad_frame_that_a_rewrite_has_moved_is_found_again() {
    let stepper = Arc::new(Stepper::default());
    let rig = Rig::on(ReadLimits::default(), Arc::clone(&stepper) as _, 0);
    let mut poisoned = rig.begin(0, 0);
    poisoned.fill(40, 10);
    poisoned.break_frame(2);
    rig.put(poisoned.active());
    rig.durable(40);
    let mut reader = rig.reader_now(From::Offset(Offset(20)), ReaderOptions::default());
    let blocked = |outcome| matches!(outcome, Err(TryRead::WouldBlock(Kind::Hydration)));
    assert!(blocked(reader.try_next().now()));
    assert!(stepper.step());
    // The job has met the bad frame; before the reader looks again, the writer rewrites.
    rig.put(poisoned.closed_at(20, poisoned.frames[2].0));
    rig.put(rig.begin(1, 20).fill(40, 10).active());
    let mut records = Vec::new();
    for _ in 0..200 {
        match reader.try_next().now() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            outcome => {
                assert!(blocked(outcome));
                stepper.step();
            }
        }
    }
    assert_usual(&records, 20);
    assert_eq!(records.len(), 20);
}

/// Each time that a job came to read it, the segment had gone to the other tier; the second file that was not
/// there was called damage.
#[tokio::test]
async fn a_segment_that_moves_whenever_it_is_read_is_not_missing() {
    let stepper = Arc::new(Stepper::default());
    let rig = Rig::on(ReadLimits::default(), Arc::clone(&stepper) as _, 0);
    let mut builder = rig.begin(0, 0);
    builder.fill(20, 10);
    rig.put(builder.sealed());
    rig.durable(20);
    let path = rig.layout.segment(rig.stream.id, SegmentNo(0));
    let aside = path.with_extension("aside");
    let mut is_hot = true;
    let mut moves = |rig: &Rig| {
        let (from, to) = if is_hot {
            (&path, &aside)
        } else {
            (&aside, &path)
        };
        rig.ctx.disk.rename(from, to).unwrap();
        is_hot = !is_hot;
        let file_len = 1;
        let warm = (!is_hot).then_some(WarmCopy { file_len, crc: 0 });
        let (hot, cold) = (is_hot, None);
        rig.put(builder.sealed().with_copies(Copies { hot, warm, cold }));
    };
    let mut reader = rig.reader_now(From::Earliest, ReaderOptions::default());
    let mut records = Vec::new();
    for round in 0..200 {
        match reader.try_next().now() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            Err(TryRead::WouldBlock(_)) => {
                if round < 8 {
                    moves(&rig);
                }
                stepper.step();
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_usual(&records, 0);
    assert_eq!(records.len(), 20);
}

/// The sync of written records failed: for a moment no segment holds them, until they are in the
/// fresh one. Who reads what is written waits for that; it is neither damage nor an end.
#[tokio::test]
async fn written_records_that_are_being_rewritten_are_waited_for() {
    let rig = Rig::new(small());
    let mut poisoned = rig.begin(0, 0);
    poisoned.fill(40, 10);
    rig.put(poisoned.closed_at(20, poisoned.frames[2].0));
    rig.durable(20);
    rig.written(40);
    let mut reader = rig.reader(From::Offset(Offset(20)), written_level()).await;
    {
        let mut waiting = std::pin::pin!(reader.next_batch(100));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        rig.put(rig.begin(1, 20).fill(40, 10).active());
        rig.durable(40);
        assert_usual(&waiting.await.unwrap(), 20);
    }
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(20, 10).closed());
    rig.durable(20);
    rig.written(40);
    let mut reader = rig.reader(From::Offset(Offset(20)), written_level()).await;
    let mut waiting = std::pin::pin!(reader.next_batch(100));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    rig.stream.shut(Error::StreamFailed {
        why: "the repair failed, too".into(),
    });
    assert!(matches!(waiting.await, Err(Error::StreamFailed { .. })));
}

/// Truncations and appends as fast as they go, in another thread: what a reader gets are records of
/// one life up to a cut, or `Truncated`; never damage, never a record of an older life behind one
/// of a newer.
#[test]
fn readers_beside_many_truncations_see_prefixes_and_no_damage() {
    let executor = Arc::new(ThreadPool::start(2, 1, 64).unwrap());
    let rig = Rig::on(
        ReadLimits {
            cache: 1 << 20,
            ..small()
        },
        executor,
        4_000,
    );
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut end = 0;
            for life in 2..400_u64 {
                let mut writing = rig.begin(life, end);
                for _ in 0..4 {
                    let records = (0..5).map(|_| (life, NewRecord::new("x").ext_id(life)));
                    let frame = writing.frame_of(records.collect());
                    rig.stream.tail.push(&frame);
                }
                let segment = rig.put(writing.active());
                rig.durable(writing.end);
                let keep = life as usize % 4;
                let (end_byte, cut) = writing.frames[keep];
                end = cut;
                let change = LifeChange::Truncated;
                rig.stream
                    .begin_life_with(Incarnation(life), Offset(cut), change, || {
                        rig.stream.tail.clear();
                        rig.stream.segments.update(|map| {
                            map.remove(&segment.base.get());
                            if segment.base < Offset(cut) {
                                let closed = writing.closed_at(cut, end_byte);
                                map.insert(segment.base.get(), Arc::new(closed));
                            }
                        });
                    });
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        for batch in [1, 3, 100] {
            let (rig, done) = (&rig, &done);
            scope.spawn(move || {
                let options = ReaderOptions::default();
                let mut reader = futures::executor::block_on(rig.reader(From::Earliest, options));
                let mut last = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    match futures::executor::block_on(reader.next_batch(batch)) {
                        Ok(records) => {
                            for record in records {
                                let life = record.ext_id.unwrap();
                                assert!(life >= last, "life {life} behind {last}");
                                last = life;
                            }
                        }
                        Err(Error::Truncated { end, position }) => {
                            assert!(end < position);
                            (last, _) = (0, reader.seek(end));
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn a_follower_drains_what_was_accepted_and_ends_when_the_log_is_closed() {
    let rig = Rig::new(small());
    let ticket = rig.stream.submit_one("a".into()).unwrap();
    drop(ticket);
    rig.stream.shut(Error::Closed);
    let mut reader = rig.reader(From::Earliest, following()).await;
    {
        let mut waiting = std::pin::pin!(reader.next_batch(1));
        assert!(
            futures::poll!(waiting.as_mut()).is_pending(),
            "the record is on its way"
        );
        rig.put(rig.begin(0, 0).fill(1, 1).active());
        rig.durable(1);
        assert_eq!(waiting.await.unwrap().len(), 1);
    }
    assert!(reader.next_batch(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_waiting_follower_is_woken_by_a_close_that_moves_no_mark() {
    for error in [
        Error::Closed,
        Error::StreamFailed {
            why: "a test".into(),
        },
    ] {
        let rig = Rig::new(small());
        let mut reader = rig.reader(From::Earliest, following()).await;
        let mut waiting = std::pin::pin!(reader.next_batch(1));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        rig.stream.shut(error.clone());
        match (error, waiting.await) {
            (Error::Closed, Ok(none)) => assert!(none.is_empty()),
            (_, Err(Error::StreamFailed { .. })) => {}
            (error, outcome) => panic!("{error} gave {outcome:?}"),
        }
    }
}
