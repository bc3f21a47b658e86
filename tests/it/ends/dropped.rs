//! Each public future, dropped at each place where it waits: budgets, locks and offsets are right.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use tierlog::{Error, From, Supervisor};
use tokio::time::timeout;

use super::{
    futures::{CASES, Case},
    world::{LIMIT, World, run},
};

/// No future here waits so often.
const MOST: usize = 400;

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Polls a future so many times, each time after everybody else had his turn and a moment has passed, then
/// drops it; true if it was ready by then.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Nobody));
    for _ in 0..polls {
        if Pin::as_mut(&mut future)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            return true;
        }
        tokio::time::advance(Duration::from_micros(200)).await;
    }
    false
}

/// A follower at the end waits for its caller: for what he appends.
fn waits_for_its_caller(name: &str) -> bool {
    [
        "Reader::next_batch",
        "Reader::next_batch_into",
        "Reader::visit",
        "TryNext: Future",
        "Reader: Stream",
    ]
    .contains(&name)
}

async fn check(world: &World, what: &str) {
    let log = match world.take_log() {
        Some(log) => log,
        // It was dropped with its shutdown: as in a crash.
        None => reopened(world).await,
    };
    let stream = log.log().existing("s").await.expect("a stream");
    let end = timeout(LIMIT, stream.flush()).await;
    let end = end.unwrap_or_else(|_| panic!("{what}: a flush never ends"));
    let end = end.unwrap_or_else(|error| panic!("{what}: {error}"));
    let marks = stream.watermarks();
    assert_eq!((marks.written, marks.durable), (end, end), "{what}");
    let next = timeout(LIMIT, stream.append("after")).await;
    let ack = next.unwrap_or_else(|_| panic!("{what}: an append never ends"));
    let ack = ack.unwrap_or_else(|failed| panic!("{what}: {failed}"));
    assert!(ack.offset >= end, "{what}");
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    let mut at = marks.start;
    loop {
        let batch = reader.next_batch(100).await.expect("all is read");
        for record in &batch {
            assert_eq!(record.offset, at, "{what}: offsets are dense");
            at = at.plus(1);
        }
        if batch.is_empty() {
            break;
        }
    }
    assert_eq!(at, stream.watermarks().next, "{what}");
    let free = timeout(LIMIT, async {
        while log.health().await.held_bytes > 0 {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    });
    free.await
        .unwrap_or_else(|_| panic!("{what}: bytes stay held"));
    let report = timeout(LIMIT, log.shutdown(Duration::from_secs(60))).await;
    let report = report.unwrap_or_else(|_| panic!("{what}: no shutdown"));
    assert!(report.expect("a report").clean, "{what}");
    drop(reopened(world).await);
}

/// The directory is free.
async fn reopened(world: &World) -> Supervisor {
    let (_, injected) = world.restored();
    let opening = async {
        loop {
            match Supervisor::open_with(world.settings.clone(), injected.clone()).await {
                Err(error) if crate::support::is_locked(&error) => {
                    tokio::time::advance(Duration::from_millis(1)).await;
                }
                opened => return opened,
            }
        }
    };
    let opened: Result<Supervisor, Error> = timeout(LIMIT, opening).await.expect("it is free");
    opened.expect("the log opens")
}

fn every_place(case: &Case) -> usize {
    let most = if waits_for_its_caller(case.name) {
        12
    } else {
        MOST
    };
    for polls in 0..most {
        let ready = run(async {
            let world = World::new().await;
            let ready = drop_after(polls, (case.begin)(world.clone())).await;
            check(&world, &format!("{} after {polls} polls", case.name)).await;
            ready
        });
        if ready {
            return polls;
        }
    }
    assert!(
        waits_for_its_caller(case.name),
        "{} is never ready",
        case.name
    );
    most
}

#[test]
fn futures_that_are_dropped_wherever_they_wait_leave_budgets_locks_and_offsets_right() {
    let places: Vec<_> = CASES
        .iter()
        .map(|case| (case.name, every_place(case)))
        .collect();
    let waited: usize = places
        .iter()
        .map(|(_, places)| places.saturating_sub(1))
        .sum();
    assert!(waited > CASES.len(), "hardly one of them waits: {places:?}");
}
