//! The ways of asking, and giving up while asking.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use tierlog_storage::Offset;

use super::kit::{Rig, Stepper, assert_usual, drain, following, small};
use crate::{
    kind::Kind,
    read::{From, ReadLimits, ReaderOptions, TryRead},
};

fn stepped(limits: ReadLimits) -> (Arc<Stepper>, Rig) {
    let stepper = Arc::new(Stepper::default());
    let rig = Rig::on(limits, Arc::clone(&stepper) as _, 2_000);
    (stepper, rig)
}

#[test]
fn asking_now_names_what_is_short_and_begins_the_read() {
    let (stepper, rig) = stepped(ReadLimits::default());
    let mut writing = rig.begin(0, 0);
    writing.in_memory(false);
    rig.put(writing.fill(20, 10).active());
    rig.durable(20);
    let mut reader = rig.reader_now(From::Earliest, following());
    for _ in 0..3 {
        let refused = reader.try_next().now().unwrap_err();
        assert!(matches!(refused, TryRead::WouldBlock(Kind::Hydration)));
    }
    assert_eq!(stepper.waiting(), 1, "one read was begun, once");
    stepper.step();
    for offset in 0..20 {
        assert_eq!(
            reader.try_next().now().unwrap().unwrap().offset,
            Offset(offset)
        );
    }
    let refused = reader.try_next().now().unwrap_err();
    assert!(matches!(refused, TryRead::WouldBlock(Kind::Tail)));
    let mut writing = rig.begin(1, 20);
    writing.in_memory(false);
    rig.put(writing.fill(21, 1).active());
    rig.durable(21);
    assert!(matches!(
        reader.try_next().now(),
        Err(TryRead::WouldBlock(Kind::Hydration))
    ));
    let mut ends = rig.reader_now(From::Latest, ReaderOptions::default());
    assert!(
        ends.try_next().now().unwrap().is_none(),
        "who does not follow is at the end"
    );
}

#[test]
fn waiting_on_a_thread_needs_no_runtime() {
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(2000, 10).sealed());
    rig.durable(2000);
    let mut reader =
        futures::executor::block_on(rig.reader(From::Earliest, ReaderOptions::default()));
    let mut records = Vec::new();
    while let Some(record) = reader.try_next().wait().unwrap() {
        records.push(record);
    }
    assert_usual(&records, 0);
    assert_eq!(records.len(), 2000);
}

/// Each future is polled once and dropped, of every kind in turn; jobs finish in between, or don't.
#[test]
fn futures_that_are_dropped_at_any_point_lose_and_repeat_nothing() {
    for pattern in 1..40_usize {
        let (stepper, rig) = stepped(ReadLimits {
            cache: 200_000,
            jobs: 1 + pattern % 3,
            ..small()
        });
        rig.put(rig.begin(0, 0).fill(700, 20).sealed());
        rig.put(rig.begin(1, 700).fill(1000, 20).closed());
        let mut active = rig.begin(2, 1000);
        let segment = rig.put(active.active());
        rig.durable(1000);
        let mut reader = rig.reader_now(From::Earliest, following());
        let (mut records, mut round) = (Vec::new(), 0_usize);
        while records.len() < 1500 {
            round += 1;
            assert!(round < 100_000, "no progress at {}", records.len());
            match round % 4 {
                0 => records.extend(reader.next().now_or_never().flatten().map(Result::unwrap)),
                1 => records.extend(
                    reader
                        .next_batch(pattern)
                        .now_or_never()
                        .into_iter()
                        .flat_map(Result::unwrap),
                ),
                2 => records.extend(reader.try_next().now_or_never().and_then(Result::unwrap)),
                _ => records.extend(reader.try_next().now().ok().flatten()),
            }
            if round.is_multiple_of(pattern) {
                stepper.step();
            }
            if round.is_multiple_of(5) && active.end < 1500 {
                let frame = active.frame(20.min(1500 - active.end));
                segment.advance(Offset(active.end), active.pos);
                rig.stream.tail.push(&frame);
                rig.durable(active.end);
            }
        }
        assert_usual(&records, 0);
        assert_eq!(records.len(), 1500);
    }
}

#[test]
fn a_reader_that_goes_away_gives_its_turn_back() {
    let (stepper, rig) = stepped(ReadLimits {
        jobs: 1,
        ..ReadLimits::default()
    });
    let mut writing = rig.begin(0, 0);
    writing.in_memory(false);
    rig.put(writing.fill(20, 10).active());
    rig.durable(20);
    let mut first = rig.reader_now(From::Earliest, ReaderOptions::default());
    assert!(first.try_next().now().is_err());
    let mut second = rig.reader_now(From::Offset(Offset(10)), ReaderOptions::default());
    assert!(second.try_next().now().is_err());
    assert_eq!(stepper.waiting(), 1, "one job at a time");
    drop(first);
    assert!(
        second.try_next().now().is_err(),
        "the job of the first still runs"
    );
    stepper.step();
    assert!(second.try_next().now().is_err());
    stepper.step();
    assert_eq!(second.try_next().now().unwrap().unwrap().offset, Offset(10));
}

#[tokio::test]
async fn readers_of_the_same_block_share_one_read() {
    let rig = Rig::new(ReadLimits::default());
    rig.put(rig.begin(0, 0).fill(1000, 20).sealed());
    rig.durable(1000);
    let readers = (0..8).map(|_| async {
        let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
        drain(&mut reader).await.len()
    });
    assert_eq!(futures::future::join_all(readers).await, [1000; 8]);
    let once = rig.ctx.blocks.used();
    let mut again = rig.reader(From::Earliest, ReaderOptions::default()).await;
    // All of it is in memory: nothing has to be waited for.
    assert_eq!(
        drain(&mut again).now_or_never().map(|all| all.len()),
        Some(1000)
    );
    assert_eq!(rig.ctx.blocks.used(), once);
}
