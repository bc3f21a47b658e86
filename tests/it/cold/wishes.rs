//! What somebody waits to see archived is archived, whatever happens to the seal that it needs.

use std::sync::Arc;

use tierlog::{
    ClaimHealth, Level, LogState, Offset, Stream,
    testing::{
        Action,
        cold::store::MemoryStore,
        storage::disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
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
        let mut ticket = Box::pin(ticket.at(Level::Archived));
        // Nobody asks for a flush: the seal alone syncs it.
        within(async {
            while futures::poll!(&mut ticket).is_pending() {
                if failed.struck() > 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("archived without a sync");
        })
        .await;
        let ack = within(ticket).await.expect("archived");
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
