//! With each actor killed, or standing still, at each point, each public future ends.

use std::{collections::BTreeMap, time::Duration};

use tierlog::testing::{Action, COLD_POINTS, MOVE_POINTS, POINTS, SWEEP_POINTS};
use tokio::time::timeout;

use super::{
    futures::{CASES, Case},
    world::{LIMIT, World, run},
};

/// What becomes of the actor, and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is killed, and the log begins again where it can.
    Killed,
    /// It stands still for a while, and goes on.
    GoesOn,
    /// It stands still for good, and the log is shut down.
    ShutDown,
    /// It stands still for good, and the log is dropped.
    Dropped,
}

fn points() -> impl Iterator<Item = &'static str> {
    [POINTS, MOVE_POINTS, COLD_POINTS, SWEEP_POINTS]
        .into_iter()
        .flatten()
        .copied()
}

/// True if an actor came by the point while the future waited, or before.
async fn ends(point: &'static str, then: Then, case: &Case) -> bool {
    let world = World::new().await;
    let before = world.faults.passed(point);
    let action = match then {
        Then::Killed => Action::Kill,
        Then::GoesOn | Then::ShutDown | Then::Dropped => Action::Park,
    };
    world.faults.arm(point, action, 1);
    let waiting = tokio::task::spawn_local((case.begin)(world.clone()));
    tokio::task::yield_now().await;
    let (faults, of) = (world.faults.clone(), point);
    world.stir(point, move || faults.passed(of) > before).await;
    let reached = world.faults.passed(point) > before;
    match then {
        Then::Killed => world.go_on().await,
        Then::GoesOn => {
            world.faults.release(point);
            world.go_on().await;
        }
        Then::ShutDown => {
            if let Some(log) = world.take_log() {
                let report = timeout(LIMIT, log.shutdown(Duration::from_secs(1))).await;
                let report = report.expect("a shutdown keeps its deadline");
                assert!(report.is_ok() || !reached, "{point}: {report:?}");
            }
        }
        Then::Dropped => drop(world.take_log()),
    }
    let ended = timeout(LIMIT, waiting).await;
    let ended = ended.unwrap_or_else(|_| panic!("{point}, {then:?}: {} never ends", case.name));
    if let Err(error) = ended.expect("it does not panic") {
        let kind = error.kind();
        let lies = kind == tierlog::ErrorKind::Restore;
        assert!(
            !lies,
            "{point}, {then:?}: {} ends with {error:?}",
            case.name
        );
    }
    reached
}

/// Puts every future to every point; each point has to be come by.
fn all(then: Then) {
    let mut reached: BTreeMap<&str, usize> = points().map(|point| (point, 0)).collect();
    for point in points() {
        for case in CASES {
            let came = run(ends(point, then, case));
            *reached.entry(point).or_default() += usize::from(came);
        }
    }
    let missed: Vec<_> = reached
        .iter()
        .filter(|(_, times)| **times < CASES.len() / 2)
        .collect();
    assert!(missed.is_empty(), "of {} futures: {missed:?}", CASES.len());
}

#[test]
fn every_wait_ends_wherever_an_actor_is_killed() {
    all(Then::Killed);
}

#[test]
fn every_wait_ends_when_an_actor_that_stood_still_goes_on() {
    all(Then::GoesOn);
}

#[test]
fn every_wait_ends_with_the_log_wherever_an_actor_stands_still() {
    all(Then::ShutDown);
    all(Then::Dropped);
}
