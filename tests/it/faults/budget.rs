//! The account of the hot budget, whatever becomes of segments that it was booked for.

use std::time::Duration;

use tierlog::{
    Error, ErrorKind, Kind, Level, Offset, Size, Stream, Supervisor, TryAppend,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::rig::{Rig, on_each_runtime, one_stream, segment, settle, until};
use crate::support::{close, within};

/// More than half of a segment, so that the next one is made.
const MANY: usize = 6;

/// Segments that were made ahead and never written to are given up by repairs, truncations and
/// writers that end. Some of them gave their place back twice, and some never.
#[test]
fn no_place_in_the_hot_budget_is_lost_nor_given_back_twice() {
    on_each_runtime(|_| async {
        let mut rig = Rig::sim(&SimDisk::new());
        rig.settings.restart_limit = 1000;
        rig.settings.restart_window = Duration::from_millis(1);
        let (log, stream) = one_stream(&rig).await;
        let kept = within(log.log().stream("kept")).await.expect("a stream");
        for _ in 0..40 {
            within(kept.append(vec![7; 14_000])).await.expect("an ack");
        }
        within(kept.seal()).await.expect("sealed");
        let sealed = kept.segments().await.expect("segments");
        let base: u64 = sealed.iter().map(|segment| segment.file_len).sum();
        for round in 0..12 {
            for _ in 0..MANY {
                within(stream.append(vec![7; 7_000])).await.expect("an ack");
            }
            match round % 4 {
                0 => {
                    let armed = rig
                        .plan
                        .fail(Calls::of(CallKind::WriteAt).at(segment), Fault::Io);
                    within(stream.append("repaired")).await.expect("an ack");
                    armed.disarm();
                }
                1 => {
                    within(stream.seal()).await.expect("sealed");
                    rig.faults.arm("writer.before_write", Action::Kill, 1);
                    within(stream.append("killed"))
                        .await
                        .expect_err("the writer was killed");
                }
                2 => {
                    within(stream.seal()).await.expect("sealed");
                    within(stream.append("cut")).await.expect("an ack");
                }
                _ => {}
            }
            let next = stream.watermarks().durable.get();
            within(stream.truncate_after(Some(Offset(next - 3))))
                .await
                .expect("cut");
        }
        within(stream.seal()).await.expect("sealed");
        let durable = stream.watermarks().durable;
        within(stream.trim(durable)).await.expect("trimmed");
        assert!(stream.segments().await.expect("segments").is_empty());
        let size = rig.settings.segment_size.bytes();
        // Each stream may have a segment ready.
        let held = until(&log, |health| health.hot_bytes <= base + 2 * size).await;
        assert!(held.hot_bytes >= base, "{held:?} for {base}");
        assert!(held.ok, "{held:?}");
        close(log).await;
    });
}

/// A trim that met another one was told to wait for room; in a log whose budget is used up, that is
/// room which nothing but a trim can make. Whoever trimmed from two tasks waited for ever, and so did
/// all who append.
#[test]
fn a_trim_that_meets_another_one_does_not_wait_for_the_room_that_it_is_to_make() {
    on_each_runtime(|_| async {
        let mut rig = Rig::sim(&SimDisk::new()).with("warm_budget", "0B");
        let size = rig.settings.segment_size;
        rig.settings.hot_budget = Some(Size::new(2 * size.bytes()));
        let (log, stream) = one_stream(&rig).await;
        let full = loop {
            match stream.try_append(vec![7; 15_000]) {
                Ok(ticket) => match within(ticket).await {
                    Ok(_) => {}
                    Err(failed) => break failed.error,
                },
                // Nothing is under way, so that it is neither the lane nor the window of bytes.
                Err(TryAppend::WouldBlock {
                    kind: kind @ Kind::Admission,
                    ..
                }) => break Error::WouldBlock { kind },
                Err(TryAppend::WouldBlock { kind, .. }) => within(stream.ready(kind)).await,
                Err(TryAppend::Failed { error, .. }) => panic!("{error}"),
            }
        };
        assert_eq!(full.kind(), ErrorKind::BackOff, "{full}");
        let durable = stream.watermarks().durable;
        // The first one frees nothing, and stands still while the second one comes.
        let seen = rig.faults.passed("coordinator.after_trim_commit");
        rig.faults
            .arm("coordinator.after_trim_commit", Action::Park, 1);
        let first = tokio::spawn({
            let stream = stream.clone();
            async move { stream.trim(Offset(1)).await }
        });
        within(rig.faults.reached("coordinator.after_trim_commit", seen)).await;
        let taken = rig.faults.passed("coordinator.trim");
        let second = tokio::spawn({
            let stream = stream.clone();
            async move { stream.trim(durable).await }
        });
        within(rig.faults.reached("coordinator.trim", taken)).await;
        settle().await;
        rig.faults.release("coordinator.after_trim_commit");
        let first = within(first).await.expect("no panic");
        assert_eq!(first.expect("trimmed"), Offset(1));
        let second = within(second).await.expect("no panic");
        assert_eq!(second.expect("trimmed"), durable);
        // And that has made room.
        within(stream.append(vec![7; 15_000]))
            .await
            .expect("an ack");
        close(log).await;
    });
}

/// What the segments of a stream take of the hot budget, by what is told of them.
async fn taken(stream: &Stream, segment_size: u64) -> u64 {
    let segments = stream.segments().await.expect("segments");
    let hot = segments.iter().filter(|segment| segment.tier == 0);
    hot.map(|segment| match segment.state {
        "sealed" => segment.file_len,
        _ => segment_size,
    })
    .sum()
}

/// Waits until the account says what is there: a writer that has just begun has made nothing ahead.
async fn is_booked(log: &Supervisor, stream: &Stream, segment_size: u64, when: &str) {
    let mut last = (0, 0);
    for _ in 0..100_000 {
        last = (
            log.health().await.hot_bytes,
            taken(stream, segment_size).await,
        );
        if last.0 == last.1 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{when}: {} are booked, and {} are there", last.0, last.1);
}

/// A writer's recovery leaves copies beside what it copied, and ends and removes segments that its
/// predecessor was booked for. None of that was booked until all actors were restarted, so that a log
/// whose writer died again and again grew past its budget.
#[test]
fn what_the_recovery_of_a_writer_leaves_is_booked() {
    const POINTS: [&str; 7] = [
        "writer.before_write",
        "writer.after_write",
        "writer.before_ack",
        "writer.before_seal",
        "writer.after_seal",
        "writer.before_truncate_commit",
        "writer.after_truncate_commit",
    ];
    on_each_runtime(|_| async {
        for budget in ["unlimited", "4MiB"] {
            let mut rig = Rig::sim(&SimDisk::new())
                .with("flush", "manual")
                .with("hot_budget", budget);
            rig.settings.restart_limit = 1000;
            rig.settings.restart_window = Duration::from_millis(1);
            let size = rig.settings.segment_size.bytes();
            let (log, stream) = one_stream(&rig).await;
            for round in 0..3 {
                for (nth, point) in POINTS.into_iter().enumerate() {
                    // Of what is written, a part is durable; the rest will be copied.
                    for part in 0..2 {
                        for _ in 0..MANY {
                            let ticket = stream.try_append(vec![7; 2_000]).expect("room");
                            within(ticket.at(Level::Written)).await.expect("an ack");
                        }
                        if part == 0 && nth % 2 == round % 2 {
                            within(stream.flush()).await.expect("flushed");
                        }
                    }
                    let before = log.health().await.restarts.len();
                    rig.faults.arm(point, Action::Kill, 1);
                    let end = stream.watermarks().written.get() - 3;
                    if point.contains("truncate") {
                        let _ = within(stream.truncate_after(Some(Offset(end)))).await;
                    } else {
                        let _ = stream.try_append("last");
                        let _ = within(stream.seal()).await;
                    }
                    until(&log, |health| health.restarts.len() > before && health.ok).await;
                    let when = format!("{budget}, round {round}, after {point}");
                    is_booked(&log, &stream, size, &when).await;
                }
            }
            let durable = stream.watermarks().durable;
            within(stream.trim(durable)).await.expect("trimmed");
            is_booked(&log, &stream, size, "after a trim of all").await;
            close(log).await;
        }
    });
}
