//! What somebody waits to see archived is archived, whatever happens to the seal that it needs.

use std::sync::Arc;

use tierlog::{
    ClaimHealth, Level, LogState, Offset, Stream,
    testing::{
        Action,
        cold::store::MemoryStore,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::{Cut, SimDisk},
        },
    },
};

use super::{bucket::Bucket, rig};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream, segment, settle, until},
    support::{close, within},
    tiers::{append, holds, long},
};

/// Has the coordinator killed, by asking it for something.
async fn kill_the_coordinator(rig: &Rig, stream: &Stream) {
    rig.faults.arm("coordinator.trim", Action::Kill, 1);
    let died = within(stream.trim(Offset(1))).await;
    assert!(died.is_err(), "it is dead");
}

#[test]
fn what_a_ticket_waits_for_is_archived_though_the_coordinator_dies_before_the_seal() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("archive_after", "1h");
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..2).await;
        let ticket = stream.try_append(long(2)).expect("room");
        let mut ticket = Box::pin(ticket.at(Level::Archived));
        eventually("it is durable", || stream.watermarks().durable == Offset(3)).await;
        assert!(futures::poll!(&mut ticket).is_pending());
        settle().await;
        kill_the_coordinator(&rig, &stream).await;
        let ack = within(ticket).await.expect("archived");
        assert_eq!((ack.offset, ack.level), (Offset(2), Level::Archived));
        assert_eq!(bucket.keys("streams/").await.len(), 1);
        close(log).await;
    });
}

#[test]
fn a_seal_whose_sync_fails_is_made_up_for_where_the_record_went() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = rig(&disk, &bucket).with("flush", "manual");
        let (log, stream) = one_stream(&rig).await;
        let ack = within(stream.append_at(long(0), Level::Written)).await;
        ack.expect("written");
        let first = within(stream.segments()).await.expect("segments")[0]
            .path
            .clone();
        let failing = Calls::of(CallKind::SyncData).at(segment);
        let failed = rig.plan.fail(failing, Fault::Io);
        let ticket = stream.try_append(long(1)).expect("room");
        // Nobody asks for a flush: the seal alone syncs it.
        let ack = within(ticket.at(Level::Archived)).await.expect("archived");
        assert!(failed.struck() > 0, "archived without a sync");
        assert_eq!(ack.offset, Offset(1));
        let segments = within(stream.segments()).await.expect("segments");
        assert!(segments.iter().all(|segment| segment.path != first));
        holds(&stream, 0..2).await;
        close(log).await;
    });
}

#[test]
fn a_log_whose_tier_2_is_memory_goes_on_archiving_after_a_restart() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let mut rig = crate::tiers::rig(&disk).with("archive_after", "1ms");
        rig.store = Some(Arc::new(MemoryStore::default()));
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..300).await;
        let uploaded = async |log: &tierlog::Supervisor| {
            until(log, |health| {
                let claim = health.cold.as_ref().map(|cold| &cold.claim);
                matches!(claim, Some(ClaimHealth::Claimed))
            })
            .await
        };
        uploaded(&log).await;
        kill_the_coordinator(&rig, &stream).await;
        until(&log, |health| {
            health.state == LogState::Running && !health.restarts.is_empty()
        })
        .await;
        let health = uploaded(&log).await;
        assert_eq!(health.state, LogState::Running, "{health:?}");
        append(&stream, 300..600).await;
        holds(&stream, 0..600).await;
        close(log).await;
    });
}

/// The claim of the next life finds what was published, before any stream is open.
#[test]
fn what_was_published_and_not_noted_shows_as_archived_when_the_stream_is_opened() {
    on_each_runtime(|_| async {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let with = rig(&disk, &bucket);
        let (log, stream) = one_stream(&with).await;
        let (point, seen) = ("coordinator.after_publish", 0);
        with.faults.arm(point, Action::Park, 1);
        let ticket = stream.try_append(long(0)).expect("room");
        let mut ticket = Box::pin(ticket.at(Level::Archived));
        assert!(futures::poll!(&mut ticket).is_pending());
        within(with.faults.reached(point, seen)).await;
        // The process dies here.
        let copy = rig(&disk.preview_cut(Cut::AllKept), &bucket);
        drop((log, stream, ticket));
        let (log, stream) = one_stream(&copy).await;
        assert_eq!(stream.watermarks().archived, Offset(1));
        holds(&stream, 0..1).await;
        close(log).await;
    });
}

/// The coordinator that comes after hears of the publication before it knows of most of the streams.
#[test]
fn what_was_published_when_the_coordinator_died_is_told_to_who_waits_for_it() {
    on_each_runtime(|_| async {
        for _ in 0..4 {
            let (disk, bucket) = (SimDisk::new(), Bucket::default());
            let rig = rig(&disk, &bucket).with("max_streams", "128");
            let (log, stream) = one_stream(&rig).await;
            let mut others = Vec::new();
            for n in 0..80 {
                let other = within(log.log().stream(&format!("other {n}"))).await;
                others.push(other.expect("a stream"));
            }
            rig.faults.arm("coordinator.after_publish", Action::Kill, 1);
            let ack = within(stream.append_at(long(0), Level::Archived)).await;
            assert_eq!(ack.expect("archived").offset, Offset(0));
            assert_eq!(stream.watermarks().archived, Offset(1));
            close(log).await;
        }
    });
}
