//! Every point at which an actor can die, stand still or panic, in the midst of all kinds of work.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::join_all};
use tierlog::{
    FlushPolicy, Offset, Supervisor,
    testing::{Action, POINTS, storage::disk::sim::SimDisk},
};

use super::{
    rig::{Rig, on_each_runtime, settle, until},
    workload::{Account, open_stream},
};
use crate::support::{close, within};

/// One fault.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: &'static str,
    action: Action,
    nth: u32,
}

/// The fault strikes while the log is being closed.
fn at_close(point: &str) -> bool {
    point == "writer.retire"
}

/// Nobody restarts the supervisor: the log ends with it, as in a crash.
fn ends_the_log(case: Case) -> bool {
    case.point.starts_with("supervisor.") && case.action != Action::Park
}

fn rig_for(disk: &SimDisk, point: &str, real: Option<&std::path::Path>) -> Rig {
    let mut rig = match real {
        Some(dir) => Rig::real(dir),
        None => Rig::sim(disk),
    };
    if point.starts_with("flusher.") || point == "writer.flush_done" {
        // Where the writer syncs by itself, the flusher has nothing to do.
        rig.settings.flush = FlushPolicy::Every(Duration::from_millis(1));
    }
    rig
}

/// Releases what is parked, once it is.
async fn release(rig: &Rig, case: Case, log: &Supervisor, seen: u64) {
    within(
        rig.faults
            .reached(case.point, seen + u64::from(case.nth) - 1),
    )
    .await;
    settle().await;
    let health = log.health().await;
    assert!(health.ok, "standing still is no failure: {health:?}");
    rig.faults.release(case.point);
}

async fn work(rig: &Rig, case: Case, log: &Supervisor) -> Vec<Account> {
    let repairs = case.point == "writer.before_repair_commit";
    let seen = rig.faults.passed(case.point);
    rig.faults.arm(case.point, case.action, case.nth);
    let streams = join_all(["a", "b", "c"].map(|name| async move {
        let mut account = Account::default();
        match open_stream(log, name).await {
            Ok(stream) => account.work(&stream, repairs.then_some(&rig.plan)).await,
            Err(_) => account.closed = true,
        }
        account
    }));
    if case.action == Action::Park && !at_close(case.point) {
        let (accounts, ()) = tokio::join!(streams, release(rig, case, log, seen));
        accounts
    } else {
        streams.await
    }
}

/// What the health must tell after a restart.
async fn check_health(case: Case, log: &Supervisor) {
    // The doors open a moment before the restart is noted as done.
    let restarted = case.action != Action::Park;
    let health = until(log, |health| {
        health.ok && health.held_bytes == 0 && health.restarts.is_empty() != restarted
    })
    .await;
    if case.action == Action::Park {
        return;
    }
    let (actor, _) = case.point.split_once('.').expect("actor.step");
    let restart = health.restarts.first().expect("a restart");
    assert!(restart.actor.starts_with(actor), "{case:?}: {restart:?}");
    let why = match case.action {
        Action::Panic => case.point,
        _ => "killed",
    };
    assert!(restart.reason.contains(why), "{case:?}: {restart:?}");
}

async fn finish(rig: &Rig, case: Case, log: Supervisor, accounts: &[Account]) {
    if ends_the_log(case) {
        assert!(accounts.iter().any(|account| account.closed), "{case:?}");
        drop(log);
    } else if at_close(case.point) {
        let deadline = Duration::from_millis(if case.action == Action::Park {
            100
        } else {
            60_000
        });
        let report = within(log.shutdown(deadline)).await.expect("a report");
        assert!(!report.clean, "{case:?}: {report:?}");
        let told = report.undrained.len() + report.problems.len();
        assert!(told > 0, "{case:?}: {report:?}");
        rig.faults.release(case.point);
    } else {
        assert!(accounts.iter().all(|account| !account.closed), "{case:?}");
        check_health(case, &log).await;
        close(log).await;
    }
}

async fn run(case: Case, real: Option<&std::path::Path>) {
    let disk = SimDisk::new();
    let rig = rig_for(&disk, case.point, real);
    let log = rig.open().await;
    let before = rig.faults.passed(case.point);
    let accounts = work(&rig, case, &log).await;
    // Every second one ends with the machine, not with a close.
    let (rig, crashed) = if case.nth == 2 && real.is_none() && !at_close(case.point) {
        drop(log);
        (rig.on(&disk.power_cut(7)), true)
    } else {
        finish(&rig, case, log, &accounts).await;
        (rig, false)
    };
    let reached = rig.faults.passed(case.point) - before;
    assert!(
        crashed || reached >= u64::from(case.nth),
        "{case:?}: the work never comes to this point"
    );
    let log = rig.reopen().await;
    for (name, account) in ["a", "b", "c"].iter().zip(&accounts) {
        let stream = within(log.log().stream(name)).await.expect("a stream");
        if !ends_the_log(case) {
            assert!(account.acked() > 0);
        }
        account.check_settled(&stream).await;
        let next = stream.watermarks().next;
        let ack = within(stream.append("00000000:")).await.expect("an ack");
        assert_eq!(ack.offset, next);
        assert!(next >= Offset(account.acked() as u64));
    }
    close(log).await;
}

/// Runs all of them before it fails, so that one run tells what is wrong where.
fn all(cases: impl Fn() -> Vec<Case>, real: bool) {
    on_each_runtime(|name| {
        let cases = cases();
        async move {
            let mut failed = Vec::new();
            for case in cases {
                let dir = real.then(|| tempfile::tempdir().expect("a folder"));
                let run = run(case, dir.as_ref().map(|dir| dir.path()));
                if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                    failed.push(case);
                }
            }
            assert!(failed.is_empty(), "{name}: {failed:#?}");
        }
    });
}

fn every_point(action: Action) -> Vec<Case> {
    let nths = 1..=3;
    let cases = nths.flat_map(|nth| POINTS.iter().map(move |point| Case { point, action, nth }));
    cases.collect()
}

#[test]
fn nothing_acked_is_lost_wherever_an_actor_is_killed() {
    all(|| every_point(Action::Kill), false);
}

#[test]
fn nothing_acked_is_lost_wherever_an_actor_panics() {
    all(|| every_point(Action::Panic), false);
}

#[test]
fn nothing_is_lost_nor_restarted_wherever_an_actor_stands_still() {
    all(|| every_point(Action::Park), false);
}

#[test]
fn real_files_survive_a_kill_at_every_point() {
    let first = || {
        every_point(Action::Kill)
            .into_iter()
            .filter(|case| case.nth == 1)
    };
    all(|| first().collect(), true);
}
