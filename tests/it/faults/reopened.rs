//! Doors that were shut for want of a segment, and of which somebody else takes the segment that comes.

use std::time::Duration;

use tierlog::{
    Error, Kind, NewRecord, Offset, Size, Supervisor, TryAppend,
    testing::{
        Action,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
    },
};

use super::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle};
use crate::{
    sim,
    support::{close, within},
};

/// The segment that appends waited for came to a truncation, which waited for another one, was refused that,
/// and opened the door no further than it had found it. There was a place from then on, and nobody said so:
/// appends waited for ever.
#[test]
fn a_truncation_that_finds_no_room_leaves_appends_the_segment_that_they_waited_for() {
    let mut settings = sim::tiny();
    settings.warm_budget = Some(Size::new(0));
    settings.hot_budget = Some(Size::new(2 * settings.segment_size.bytes()));
    let injected = sim::on(SimDisk::new());
    let faults = injected.faults.clone();
    sim::run(async {
        let opened = Supervisor::open_with(settings, injected).await;
        let log = opened.expect("it opens");
        let stream = within(log.log().stream("s")).await.expect("a stream");
        let other = within(log.log().stream("other")).await.expect("a stream");
        let three = ["a", "b", "c"].map(NewRecord::from).to_vec();
        within(stream.append_batch(three)).await.expect("an ack");
        within(stream.seal()).await.expect("sealed");
        // Beside what is sealed there is room for one segment, and this one has it.
        within(other.append("x")).await.expect("an ack");
        let ticket = stream.try_append("more").expect("room");
        let failed = within(ticket).await.expect_err("there is no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed}");

        // There is, and the segment is made; but not told of yet.
        let seen = faults.passed("coordinator.after_commit");
        faults.arm("coordinator.after_commit", Action::Park, 1);
        within(other.seal()).await.expect("sealed");
        within(faults.reached("coordinator.after_commit", seen)).await;
        // The writer has looked for room by itself for the last time: its segment is on its way.
        tokio::time::advance(Duration::from_secs(1)).await;
        settle().await;
        // It is told while it takes the command, in the midst of what stands in one frame.
        let seen = faults.passed("writer.drain");
        faults.arm("writer.drain", Action::Park, 1);
        let cut = tokio::spawn({
            let stream = stream.clone();
            async move { stream.truncate_after(Some(Offset(1))).await }
        });
        within(faults.reached("writer.drain", seen)).await;
        faults.release("coordinator.after_commit");
        settle().await;
        faults.release("writer.drain");
        let refused = within(cut).await.expect("no panic").expect_err("no room");
        assert!(matches!(refused, Error::WouldBlock { .. }), "{refused}");

        let ack = within(stream.append("more")).await.expect("an ack");
        assert_eq!(ack.offset, Offset(3));
        close(log).await;
    });
}

/// A repair writes to a segment of its own, also where appends had been refused because none came. Nobody
/// opened the door for them: they waited until that segment was half full, by which only they could fill it.
#[test]
fn appends_that_were_refused_for_want_of_a_segment_go_on_in_that_of_a_repair() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("coordinator_queue", "1")
            .with("idle_mark", "1h")
            .with("max_record", "2KiB")
            .with("unsynced_bytes", "8KiB");
        let (log, stream) = one_stream(&rig).await;
        let other = within(log.log().stream("other")).await.expect("a stream");
        for stream in [&stream, &other] {
            let three = ["a", "b", "c"].map(NewRecord::from).to_vec();
            within(stream.append_batch(three)).await.expect("an ack");
        }
        // The coordinator takes no more.
        rig.faults.arm("coordinator.trim", Action::Park, 1);
        let trim = |before| {
            let other = other.clone();
            tokio::spawn(async move { other.trim(Offset(before)).await })
        };
        let first = trim(1);
        within(rig.faults.reached("coordinator.trim", 0)).await;
        let second = trim(2);
        let generation = log.context().generation().expect("at work");
        eventually("a full mailbox", || !generation.coordinator.has_room()).await;
        let held = rig.plan.hold(Calls::of(CallKind::SetLen).at(segment));
        let seal = tokio::spawn({
            let stream = stream.clone();
            async move { stream.seal().await }
        });
        eventually("it is being sealed", || held.parked() > 0).await;
        eventually("there is no segment", || {
            let refused = stream.try_append(vec![7; 1_000]);
            let kind = Kind::Rollover;
            matches!(refused, Err(TryAppend::WouldBlock { kind: short, .. }) if short == kind)
        })
        .await;

        held.release_failing(Fault::Io);
        settle().await;
        rig.faults.release("coordinator.trim");
        let sealed = within(seal).await.expect("no panic");
        assert_eq!(sealed.expect("sealed"), Offset(3));
        within(stream.append("more")).await.expect("an ack");
        assert_eq!(log.counters().repairs, 1);
        for trim in [first, second] {
            within(trim).await.expect("no panic").expect("trimmed");
        }
        close(log).await;
    });
}
