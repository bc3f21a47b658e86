//! The store in a local folder on a disk that forgets at a power cut what was never synced.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tierlog_cold::{
    client::{Client, Created, Large, Policy, Unwatched},
    store::{Store, StoreErrorKind},
};
use tierlog_storage::disk::{
    Disk,
    fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
    sim::{Cut, SimDisk},
};

use super::rig::{Inline, content, crc, dir_store, noise};

const ROOT: &str = "/var/cold/log";

/// What was said of each object, and what it may be made of.
#[derive(Default)]
struct Said {
    /// The bytes that it must have; none if it must not be there.
    acked: BTreeMap<&'static str, Option<Bytes>>,
    /// What it may have as well, or be absent.
    open: BTreeMap<&'static str, Option<Bytes>>,
}

impl Said {
    fn begin(&mut self, key: &'static str, bytes: Option<&Bytes>) {
        self.open.insert(key, bytes.cloned());
    }

    fn done(&mut self, key: &'static str) {
        let bytes = self.open.remove(key).unwrap();
        self.acked.insert(key, bytes);
    }
}

fn steps() -> [(&'static str, Step); 8] {
    [
        ("s/1/a", Step::Create(noise(1, 5_000))),
        ("catalog/1", Step::Create(noise(2, 100))),
        ("s/1/large", Step::Create(noise(3, 1_100_000))),
        ("catalog/1", Step::Replace(noise(4, 50))),
        ("s/2/b", Step::Create(noise(5, 0))),
        ("s/1/a", Step::Delete),
        ("catalog/2", Step::Create(noise(6, 9_000))),
        ("s/1/c", Step::Create(noise(7, 4_097))),
    ]
}

enum Step {
    Create(Bytes),
    Replace(Bytes),
    Delete,
}

/// Does all that there is to do; stops at what fails.
async fn story(store: &dyn Store, said: &mut Said) -> bool {
    for (key, step) in steps() {
        let done = match step {
            Step::Create(bytes) => {
                said.begin(key, Some(&bytes));
                store.create(key, Arc::new(bytes)).await
            }
            Step::Replace(bytes) => {
                said.begin(key, Some(&bytes));
                store.replace(key, bytes).await
            }
            Step::Delete => {
                said.begin(key, None);
                store.delete(key).await
            }
        };
        if done.is_err() {
            return false;
        }
        said.done(key);
    }
    true
}

/// Looks at the disk as the next life finds it.
async fn check(disk: SimDisk, said: &Said, how: &str) {
    let store = dir_store(Arc::new(disk.clone()), Path::new(ROOT), Inline);
    let keys = steps().map(|(key, _)| key);
    for key in keys {
        let there = match content(&*store, key).await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind == StoreErrorKind::Missing => None,
            Err(error) => panic!("{how}: {key}: {error}"),
        };
        let (acked, open) = (said.acked.get(key), said.open.get(key));
        let before = acked.cloned().flatten();
        let fine = there == before || open.is_some_and(|open| there == *open);
        let [there, acked, open] = [Some(&there), acked, open]
            .map(|bytes| bytes.map(|bytes| bytes.as_ref().map(Bytes::len)));
        assert!(
            fine,
            "{how}: {key}: {there:?}, said was {acked:?}, perhaps {open:?}"
        );
    }
    // It goes on, and what was left half-way is gone.
    let source = Arc::new(Bytes::from_static(b"later"));
    store.create("later/x", source).await.unwrap();
    let left = disk.list(&Path::new(ROOT).join("~tmp")).unwrap();
    assert_eq!(left.len(), 1, "{how}: {left:?}");
    let listed = store.list("", None, 100).await.unwrap();
    assert!(listed.iter().all(|listed| !listed.key.contains('~')));
}

fn cuts() -> impl Iterator<Item = Cut> {
    [Cut::AllLost, Cut::AllKept]
        .into_iter()
        .chain((0..6).map(Cut::Seeded))
}

#[tokio::test]
async fn a_power_cut_at_any_call_leaves_each_object_absent_or_whole() {
    for nth in 1.. {
        let (sim, plan) = (SimDisk::new(), FaultPlan::new());
        let calls = Calls::of_kinds(&CallKind::CHANGING).nth(nth).forever();
        plan.fail(calls, Fault::Halt);
        let disk = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan));
        let store = dir_store(disk, Path::new(ROOT), Inline);
        let mut said = Said::default();
        let done = story(&*store, &mut said).await;
        for cut in cuts() {
            let how = format!("stopped at call {nth}, {cut:?}");
            check(sim.preview_cut(cut), &said, &how).await;
        }
        // A process that is killed leaves all that it wrote.
        check(sim.crash_process(), &said, &format!("killed at call {nth}")).await;
        if done {
            assert!(nth > 50, "only {nth} calls change anything");
            return;
        }
    }
}

/// The same, of a client that tries again; answers how many calls failed all the same.
async fn patient_story(client: &Client, said: &mut Said) -> usize {
    let mut failed = 0;
    for (key, step) in steps() {
        let done = match step {
            Step::Create(bytes) if bytes.len() > 10_000 => {
                said.begin(key, Some(&bytes));
                let sum = crc(&bytes);
                let made = client.create_large(key, Arc::new(bytes), sum, true).await;
                made.map(|made| assert_eq!(made, Large::Done, "{key}"))
            }
            Step::Create(bytes) => {
                said.begin(key, Some(&bytes));
                let made = client.create_small(key, bytes).await;
                made.map(|made| assert!(!matches!(made, Created::Taken(_)), "{key}"))
            }
            Step::Replace(bytes) => {
                said.begin(key, Some(&bytes));
                client.replace(key, bytes).await
            }
            // A removal that was forgotten may come back; nothing is said of it.
            Step::Delete => continue,
        };
        match done {
            Ok(()) => said.done(key),
            Err(error) => {
                // Or the breaker is open.
                let kinds = [StoreErrorKind::Unknown, StoreErrorKind::Busy];
                assert!(kinds.contains(&error.kind), "{error}");
                failed += 1;
            }
        }
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_anywhere_is_made_good_and_survives_any_power_cut() {
    let faults = [
        Fault::Io,
        Fault::DoneButReported,
        Fault::Full,
        Fault::Short(3),
    ];
    for fault in faults {
        let mut spoilt = 0;
        for nth in 1.. {
            let (sim, plan) = (SimDisk::new(), FaultPlan::new());
            let armed = plan.fail(Calls::of_kinds(&CallKind::CHANGING).nth(nth), fault);
            let disk = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan));
            let store = dir_store(disk, Path::new(ROOT), Inline);
            let client = Client::new(store, Policy::default(), Arc::new(Unwatched));
            let mut said = Said::default();
            let failed = patient_story(&client, &mut said).await;
            for cut in cuts() {
                let how = format!("{fault:?} at call {nth}, {cut:?}");
                check(sim.preview_cut(cut), &said, &how).await;
            }
            spoilt += u32::from(failed > 0);
            if armed.struck() == 0 {
                // A new folder whose name could not be synced; there are eight, and one sync each.
                assert!(spoilt <= 8, "{fault:?}: {spoilt} runs failed");
                assert!(nth > 40, "only {nth} calls change anything");
                break;
            }
        }
    }
}

/// Two syncs of one folder, and the kernel told one of them only of what both had lost.
#[tokio::test(start_paused = true)]
async fn several_failing_syncs_in_a_row_lose_nothing_that_was_called_stored() {
    for first in 1..30 {
        let (sim, plan) = (SimDisk::new(), FaultPlan::new());
        let calls = Calls::of(CallKind::SyncDir).nth(first).times(3);
        plan.fail(calls, Fault::Io);
        let disk = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan));
        let store = dir_store(disk, Path::new(ROOT), Inline);
        let policy = Policy {
            first_delay: Duration::from_secs(2),
            ..Policy::default()
        };
        let client = Client::new(store, policy, Arc::new(Unwatched));
        let mut said = Said::default();
        patient_story(&client, &mut said).await;
        for cut in cuts() {
            let how = format!("three syncs fail from {first}, {cut:?}");
            check(sim.preview_cut(cut), &said, &how).await;
        }
    }
}

/// The sync of a folder's name failed, and the kernel forgot the name. Only the process that had made the
/// folder knew: the next one found it there, synced it with success, and called objects in it stored that went
/// with it at a power cut.
#[tokio::test(start_paused = true)]
async fn a_folder_whose_name_could_not_be_synced_is_not_trusted_by_the_next_process() {
    let mut stopped = 0;
    for nth in 1..30 {
        let (sim, plan) = (SimDisk::new(), FaultPlan::new());
        let armed = plan.fail(Calls::of(CallKind::SyncDir).nth(nth), Fault::Io);
        let disk = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan));
        let store = dir_store(disk, Path::new(ROOT), Inline);
        let mut said = Said::default();
        if story(&*store, &mut said).await {
            continue;
        }
        assert_eq!(armed.struck(), 1);
        stopped += 1;
        drop(store);
        let sim = sim.crash_process();
        let store = dir_store(Arc::new(sim.clone()), Path::new(ROOT), Inline);
        for (key, bytes) in [("s/1/z", noise(8, 300)), ("catalog/9", noise(9, 20))] {
            store.create(key, Arc::new(bytes.clone())).await.unwrap();
            for cut in cuts() {
                let left = Arc::new(sim.preview_cut(cut));
                let left = dir_store(left, Path::new(ROOT), Inline);
                let read = content(&*left, key).await;
                assert_eq!(read.ok(), Some(bytes.clone()), "sync {nth}, {key}, {cut:?}");
            }
        }
    }
    assert!(stopped > 5, "{stopped}");
}
