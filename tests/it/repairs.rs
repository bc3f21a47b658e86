//! Writes and syncs that fail once, on a disk that forgets what a failed sync did not write.

use std::{sync::Arc, time::Duration};

use tierlog::{
    Supervisor,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
};

use crate::{
    sim,
    track::{Found, read},
};

/// Appends and seals with one failing call; then everything is there without a restart of any
/// actor, even after a power cut. Gives how often something was written again; none where no call
/// failed any more.
fn survives(kind: CallKind, nth: u64) -> Option<u64> {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let faulty = FaultDisk::new(Arc::new(disk.clone()), plan.clone());
    let settings = sim::tiny();
    let expected: Vec<String> = (0..20)
        .map(|n| format!("{n} {}", "x".repeat(10_000)))
        .collect();
    let failed = sim::run(async {
        let log = Supervisor::open_with(settings.clone(), sim::on(faulty))
            .await
            .expect("it opens");
        let stream = log.log().stream("s").await.expect("a stream");
        let armed = plan.fail(Calls::of(kind).ending(".tls").nth(nth), Fault::Io);
        for (n, payload) in expected.iter().enumerate() {
            stream
                .append(payload.clone())
                .await
                .expect("it is written elsewhere");
            if n == 6 {
                stream.seal().await.ok();
            }
        }
        let failed = armed.struck() > 0;
        let health = log.health().await;
        assert!(
            health.ok && health.restarts.is_empty(),
            "{kind:?} {nth}: {health:?}"
        );
        let repairs = log.counters().repairs;
        log.shutdown(Duration::from_secs(10)).await.expect("closed");
        failed.then_some(repairs)
    });
    let left = disk.power_cut_with(Cut::AllLost);
    let found = sim::run(async {
        let log = Supervisor::open_with(settings, sim::on(left))
            .await
            .expect("it opens");
        assert_eq!(log.recovery().damage().count(), 0);
        read(&log.log().existing("s").await.expect("there"))
            .await
            .expect("it is whole")
    });
    assert_eq!(
        found,
        Found {
            start: 0,
            payloads: expected
        },
        "{kind:?} {nth}"
    );
    failed
}

/// A seal's sync failed, and the repair that followed waited for that sync once more: the writer
/// died of it, and what would have been written again from memory was looked for on the disk.
#[test]
fn any_one_failed_write_or_sync_of_a_segment_is_repaired_without_a_restart() {
    for kind in [CallKind::WriteAt, CallKind::SyncData] {
        let repairs: Vec<_> = (1..100).map_while(|nth| survives(kind, nth)).collect();
        // The sync of a segment that is being created is tried again with another one.
        let repaired = repairs.iter().filter(|n| **n > 0).count();
        assert!(repaired > 20, "{kind:?}: {repairs:?}");
    }
}
