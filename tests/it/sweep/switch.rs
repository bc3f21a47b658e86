//! A sweep right behind a switch of `CURRENT` that failed.

use std::path::Path;

use tierlog::testing::storage::disk::{
    fault::{CallKind, Calls, Fault},
    sim::{Cut, SimDisk},
};

use crate::{
    faults::{
        rig::{Rig, eventually, manifest, on_each_runtime, one_stream, settle, until},
        workload::payload,
    },
    support::{close, read_all, texts, within},
};

/// `CURRENT` named another manifest file in the cache alone, where the sync that was to make that durable had
/// failed: a sweep took its word, and removed the file that it still named on the disk.
#[test]
fn no_manifest_goes_on_the_word_of_a_current_whose_sync_failed() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = Rig::sim(&disk).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        for id in 0..3 {
            within(stream.append(payload(id))).await.expect("an ack");
        }
        // The manifest goes on in another file, and the switch to that is what fails.
        let sync = Calls::of(CallKind::SyncData).at(manifest);
        let _failing = rig.plan.fail(sync, Fault::Io);
        let root = Calls::of(CallKind::SyncDir).at(|dir| dir == Path::new("/log"));
        let switch = rig.plan.hold(root);
        let seal = tokio::spawn({
            let stream = stream.clone();
            async move { stream.seal().await }
        });
        eventually("CURRENT is switched", || switch.parked() == 1).await;
        let listed = rig.plan.count(CallKind::List);
        let sweep = tokio::spawn({
            let log = log.log();
            async move { log.sweep().await }
        });
        eventually("it looks around", || {
            rig.plan.count(CallKind::List) > listed + 1
        })
        .await;
        settle().await;
        let recovery = rig.plan.hold(Calls::of(CallKind::CreateNew).at(manifest));
        switch.release_failing(Fault::Io);
        eventually("the log is recovered", || recovery.parked() == 1).await;
        let cut = rig.on(&disk.preview_cut(Cut::AllLost));
        let (left, found) = one_stream(&cut).await;
        let expected: Vec<_> = (0..3).map(payload).collect();
        assert_eq!(texts(&read_all(&found).await), expected);
        close(left).await;
        recovery.release();
        within(seal)
            .await
            .expect("it ends")
            .expect_err("not sealed");
        // It may have come to its end before the log was begun anew.
        let _ = within(sweep).await.expect("it ends");
        until(&log, |health| health.ok && !health.restarts.is_empty()).await;
        close(log).await;
    });
}
