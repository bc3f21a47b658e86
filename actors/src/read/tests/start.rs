//! Where a reader begins.

use std::sync::Arc;

use proptest::prelude::*;
use tierlog_storage::{Offset, segment::NewRecord};

use super::kit::{Rig, Stepper, drain, following, small, time_of};
use crate::{
    error::Error,
    kind::Kind,
    read::{From, ReadLimits, ReaderOptions, TryRead},
    stream::marks::Level,
};

#[tokio::test]
async fn offsets_that_are_gone_or_not_there_yet_are_told_apart() {
    let rig = Rig::new(small());
    rig.put(rig.begin(0, 0).fill(10, 3).closed());
    rig.durable(10);
    rig.stream.advance_start(Offset(4));
    let open = |from, options| rig.try_reader(from, options);
    let trimmed = open(From::Offset(Offset(3)), following())
        .await
        .unwrap_err();
    assert!(matches!(
        trimmed,
        Error::Trimmed {
            asked: Offset(3),
            start: Offset(4)
        }
    ));
    let none = ReaderOptions::default();
    assert_eq!(
        open(From::Earliest, none.clone()).await.unwrap().position(),
        Offset(4)
    );
    assert_eq!(
        open(From::Latest, none.clone()).await.unwrap().position(),
        Offset(10)
    );
    assert_eq!(
        open(From::Offset(Offset(10)), none.clone())
            .await
            .unwrap()
            .position(),
        Offset(10)
    );
    let beyond = open(From::Offset(Offset(11)), none).await.unwrap_err();
    assert!(matches!(beyond, Error::InvalidInput { .. }));
    let archived = ReaderOptions {
        level: Level::Archived,
        ..ReaderOptions::default()
    };
    assert!(matches!(
        open(From::Earliest, archived).await,
        Err(Error::Unsupported { .. })
    ));
}

#[tokio::test]
async fn an_offset_that_is_not_there_yet_is_waited_for() {
    let rig = Rig::new(small());
    let mut reader = rig.reader(From::Offset(Offset(5)), following()).await;
    assert!(futures::poll!(std::pin::pin!(reader.next_batch(9))).is_pending());
    let mut active = rig.begin(0, 0);
    rig.put(active.fill(4, 2).active());
    rig.durable(4);
    assert!(futures::poll!(std::pin::pin!(reader.next_batch(9))).is_pending());
    rig.put(active.fill(9, 3).active());
    rig.durable(9);
    assert_eq!(reader.next_batch(9).await.unwrap()[0].offset, Offset(5));
}

/// Sealed 0..400, closed 400..600, active 600..800; ext_ids go up and down.
fn timed(rig: &Rig, frame: u64) {
    let write = |no, from: u64, to: u64| {
        let mut writing = rig.begin(no, from);
        while writing.end < to {
            let records = (writing.end..to.min(writing.end + frame))
                .map(|offset| (time_of(offset), NewRecord::new("x").ext_id(ext_of(offset))))
                .collect();
            writing.frame_of(records);
        }
        writing
    };
    rig.put(write(0, 0, 200).sealed());
    rig.put(write(1, 200, 400).sealed());
    rig.put(write(2, 400, 600).closed());
    rig.put(write(3, 600, 800).active());
    rig.durable(800);
}

fn ext_of(offset: u64) -> u64 {
    offset * 3 - offset % 7 * 10 % (offset + 1)
}

#[tokio::test]
async fn a_time_or_ext_id_is_found_wherever_it_lies() {
    for frame in [1, 9, 200] {
        let rig = Rig::new(ReadLimits::default());
        timed(&rig, frame);
        for wanted in (0..850).step_by(3) {
            let ts = time_of(wanted) - wanted % 3;
            let mut reader = rig
                .reader(From::Timestamp(ts), ReaderOptions::default())
                .await;
            let expect = (0..800).find(|offset| time_of(*offset) >= ts);
            assert_eq!(
                reader.position(),
                Offset(expect.unwrap_or(800)),
                "time {ts}"
            );
            let first = reader
                .next_batch(1)
                .await
                .unwrap()
                .first()
                .map(|r| r.offset.0);
            assert_eq!(first, expect);

            let mut reader = rig
                .reader(From::ExtId(wanted * 3), ReaderOptions::default())
                .await;
            let expect = (0..800).find(|offset| ext_of(*offset) >= wanted * 3);
            let first = reader
                .next_batch(1)
                .await
                .unwrap()
                .first()
                .map(|r| r.offset.0);
            assert_eq!(first, expect, "ext_id {}", wanted * 3);
            let left = drain(&mut reader).await.len() as u64;
            assert_eq!(left, expect.map_or(0, |expect| 799 - expect));
        }
    }
}

#[test]
fn a_time_that_has_not_come_yet_is_waited_for() {
    let stepper = Arc::new(Stepper::default());
    let rig = Rig::on(small(), Arc::clone(&stepper) as _, 0);
    let mut active = rig.begin(0, 0);
    let mut reader = rig.reader_now(From::Timestamp(time_of(17)), following());
    for end in [10, 12, 16, 20] {
        rig.put(active.fill(end, 2).active());
        rig.durable(end);
        let outcome = loop {
            match reader.try_next().now() {
                Err(TryRead::WouldBlock(Kind::Hydration)) => assert!(stepper.step()),
                outcome => break outcome,
            }
        };
        match outcome {
            Ok(Some(record)) => assert_eq!((record.offset, end), (Offset(16), 20)),
            outcome => {
                assert!(matches!(outcome, Err(TryRead::WouldBlock(Kind::Tail))) && end < 20);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_first_record_of_a_time_is_found_in_any_layout(
        cuts in prop::collection::vec((1_u64..120, 0_u8..2, 1_u64..40), 1..6), back in 0_u64..40,
    ) {
        let rig = Rig::new(small());
        let mut end = 0;
        for (no, (len, kind, frame)) in cuts.iter().enumerate() {
            let mut writing = rig.begin(no as u64, end);
            writing.fill(end + len, *frame);
            rig.put(if *kind == 0 { writing.sealed() } else { writing.closed() });
            end += len;
        }
        rig.durable(end);
        let wanted = end.saturating_sub(back);
        let reader = rig.reader(From::Timestamp(time_of(wanted)), ReaderOptions::default());
        let reader = futures::executor::block_on(reader);
        let expect = (0..end).find(|offset| time_of(*offset) >= time_of(wanted)).unwrap_or(end);
        prop_assert_eq!(reader.position(), Offset(expect));
    }
}
