//! Deadlines, attempts and the breaker.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tierlog_cold::{
    client::{BreakerState, Client, Op, Phase, Policy, Watch},
    store::{MemoryStore, Store, StoreErrorKind, UploadId},
    unruly::{Misdeed, Unruly},
};
use tokio::time::{Instant, advance};

use super::rig::{client, is_pending, kind, noise};

#[derive(Debug, Default)]
struct Notes {
    called: Mutex<Vec<(Op, Result<(), StoreErrorKind>)>>,
    retried: Mutex<Vec<Op>>,
    phases: Mutex<Vec<Phase>>,
}

impl Watch for Notes {
    fn called(&self, op: Op, _: Duration, outcome: Result<(), StoreErrorKind>) {
        self.called.lock().unwrap().push((op, outcome));
    }

    fn retried(&self, op: Op) {
        self.retried.lock().unwrap().push(op);
    }

    fn breaker(&self, state: BreakerState) {
        self.phases.lock().unwrap().push(state.phase);
    }
}

async fn store() -> Arc<Unruly> {
    let memory = MemoryStore::new();
    memory.create("k", Arc::new(noise(1, 1_000))).await.unwrap();
    Arc::new(Unruly::new(Arc::new(memory), 3))
}

const DOWN: Misdeed = Misdeed::Answers(StoreErrorKind::Unknown);

fn policy() -> Policy {
    Policy {
        attempts: 3,
        failures: 4,
        open_for: Duration::from_secs(8),
        most_open: Duration::from_secs(8),
        ..Policy::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let unruly = store().await;
    let policy = Policy {
        attempts: 1,
        deadline: Duration::from_secs(10),
        slowest: 1_000,
        ..Policy::default()
    };
    let client = Client::new(unruly.clone(), policy, Arc::new(Notes::default()));
    unruly.always(Misdeed::Hangs);
    for (len, seconds) in [(0, 10), (5_000, 15)] {
        let begun = Instant::now();
        assert_eq!(
            kind(client.read("k", 0..len).await),
            StoreErrorKind::Unknown
        );
        assert_eq!(begun.elapsed().as_secs(), seconds, "{len} bytes");
    }
    let begun = Instant::now();
    let bytes = noise(1, 60_000);
    assert_eq!(
        kind(client.replace("x", bytes).await),
        StoreErrorKind::Unknown
    );
    assert_eq!(begun.elapsed().as_secs(), 70);
}

#[tokio::test(start_paused = true)]
async fn failures_that_may_pass_are_tried_again_and_told_of() {
    for misdeed in [
        DOWN,
        Misdeed::Hangs,
        Misdeed::LosesAnswer,
        Misdeed::Answers(StoreErrorKind::Busy),
    ] {
        let unruly = store().await;
        let notes = Arc::new(Notes::default());
        let client = Client::new(unruly.clone(), policy(), notes.clone());
        unruly.nth(1, misdeed);
        unruly.nth(2, misdeed);
        assert_eq!(client.stat("k").await.unwrap(), 1_000, "{misdeed:?}");
        assert_eq!(unruly.calls(), 3);
        let called = notes.called.lock().unwrap();
        let failed = called
            .iter()
            .filter(|(op, out)| *op == Op::Stat && out.is_err());
        assert_eq!((called.len(), failed.count()), (3, 2));
        assert_eq!(*notes.retried.lock().unwrap(), [Op::Stat, Op::Stat]);
        assert_eq!(*notes.phases.lock().unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_do_not_pass_are_told_at_once() {
    let unruly = store().await;
    let client = client(unruly.clone());
    for kind_of in [
        StoreErrorKind::Missing,
        StoreErrorKind::Denied,
        StoreErrorKind::Unsupported,
    ] {
        let calls = unruly.calls();
        unruly.nth(1, Misdeed::Answers(kind_of));
        assert_eq!(kind(client.stat("k").await), kind_of);
        assert_eq!(unruly.calls(), calls + 1);
    }
    unruly.always(DOWN);
    let calls = unruly.calls();
    assert_eq!(kind(client.delete("k").await), StoreErrorKind::Unknown);
    assert_eq!(unruly.calls(), calls + 5, "all attempts");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_too_short_is_told_and_an_answer_that_is_is_asked_for_again() {
    let unruly = store().await;
    let client = client(unruly.clone());
    assert_eq!(
        kind(client.read("k", 0..1_001).await),
        StoreErrorKind::Short
    );
    for misdeed in [Misdeed::Shortens, Misdeed::Answers(StoreErrorKind::Short)] {
        unruly.nth(1, misdeed);
        let read = client.read("k", 10..900).await.unwrap();
        assert_eq!(read, noise(1, 1_000).slice(10..900), "{misdeed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_failing_is_left_alone_until_a_probe_is_answered() {
    let unruly = store().await;
    let notes = Arc::new(Notes::default());
    let client = Client::new(unruly.clone(), policy(), notes.clone());
    unruly.always(DOWN);
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Unknown);
    assert_eq!(client.state().phase, Phase::Closed);
    // The fourth failure opens it, and ends this call with its own failure.
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Unknown);
    assert_eq!(unruly.calls(), 4);
    let refused = client.stat("k").await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Busy);
    assert!(refused.what.contains("no, says the store"), "{refused}");
    assert_eq!(unruly.calls(), 4);
    advance(Duration::from_secs(2)).await;
    let state = client.state();
    assert_eq!(state.phase, Phase::Open);
    assert!((2_000..3_000).contains(&state.for_millis), "{state:?}");
    assert!(state.last_error.is_some());

    client.ready().await;
    assert_eq!(client.state().phase, Phase::HalfOpen);
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Unknown);
    assert_eq!(unruly.calls(), 5, "one probe");
    assert_eq!(client.state().phase, Phase::Open);

    client.ready().await;
    unruly.behave();
    assert_eq!(client.stat("k").await.unwrap(), 1_000);
    let state = client.state();
    assert_eq!((state.phase, state.last_error), (Phase::Closed, None));
    let phases = notes.phases.lock().unwrap();
    use Phase::*;
    assert_eq!(*phases, [Open, HalfOpen, Open, HalfOpen, Closed]);
}

#[tokio::test(start_paused = true)]
async fn one_probe_is_made_at_a_time_and_whoever_waits_is_woken_by_its_end() {
    let unruly = store().await;
    let client = Client::new(unruly.clone(), policy(), Arc::new(Notes::default()));
    unruly.always(DOWN);
    for _ in 0..2 {
        assert!(client.stat("k").await.is_err());
    }
    unruly.behave();
    unruly.hold();
    client.ready().await;
    let mut probe = Box::pin(client.stat("k"));
    assert!(is_pending(&mut probe).await);
    assert_eq!(unruly.waiting(), 1);
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Busy);
    let mut waiting = Box::pin(client.ready());
    assert!(is_pending(&mut waiting).await);
    // Given up, it makes room for another one.
    drop(probe);
    waiting.await;
    let mut probe = Box::pin(client.stat("k"));
    assert!(is_pending(&mut probe).await);
    let mut waiting = Box::pin(client.ready());
    assert!(is_pending(&mut waiting).await);
    unruly.release();
    assert_eq!(probe.await.unwrap(), 1_000);
    waiting.await;
    assert_eq!(client.state().phase, Phase::Closed);
}

/// An upload that takes minutes was the probe, and nobody else was let through meanwhile.
#[tokio::test(start_paused = true)]
async fn a_large_object_is_no_probe() {
    let unruly = store().await;
    let client = Client::new(unruly.clone(), policy(), Arc::new(Notes::default()));
    unruly.always(DOWN);
    for _ in 0..2 {
        assert!(client.stat("k").await.is_err());
    }
    unruly.behave();
    client.ready().await;
    // The stat is answered; the create hangs.
    unruly.nth(2, Misdeed::Hangs);
    let source = Arc::new(noise(2, 100_000));
    let mut upload = Box::pin(client.create_large("large", source, 0, false));
    assert!(is_pending(&mut upload).await);
    assert_eq!(client.state().phase, Phase::Closed);
    assert_eq!(client.stat("k").await.unwrap(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lets_us_no_longer_in_is_left_alone_as_well() {
    let unruly = store().await;
    let client = Client::new(unruly.clone(), policy(), Arc::new(Notes::default()));
    unruly.always(Misdeed::Answers(StoreErrorKind::Denied));
    for _ in 0..4 {
        assert_eq!(kind(client.stat("k").await), StoreErrorKind::Denied);
    }
    assert_eq!(client.state().phase, Phase::Open);
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Busy);
}

#[test]
fn the_state_of_the_breaker_is_told_as_json() {
    let state = BreakerState {
        phase: Phase::HalfOpen,
        for_millis: 1_500,
        last_error: Some("no answer".to_owned()),
    };
    let json = serde_json::to_string(&state).unwrap();
    let expected = r#"{"phase":"half_open","for_millis":1500,"last_error":"no answer"}"#;
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn a_listing_and_a_replacement_go_through_the_same_gate() {
    let unruly = store().await;
    let client = Client::new(unruly.clone(), policy(), Arc::new(Notes::default()));
    unruly.nth(1, DOWN);
    assert_eq!(client.list("", None, 10).await.unwrap().len(), 1);
    unruly.nth(1, Misdeed::LosesAnswer);
    let bytes = Bytes::from_static(b"new");
    client.replace("k", bytes.clone()).await.unwrap();
    assert_eq!(client.get("k", 10).await.unwrap(), bytes);
    unruly.nth(1, Misdeed::LosesAnswer);
    client.delete("k").await.unwrap();
    assert_eq!(kind(client.stat("k").await), StoreErrorKind::Missing);
    // A listing that is from before tells of both.
    unruly.nth(1, Misdeed::IsStale);
    assert_eq!(client.list("", None, 10).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_abortion_of_an_upload_is_made_until_it_is_answered() {
    let id = UploadId::new("7").unwrap();
    for misdeed in [
        Misdeed::LosesAnswer,
        Misdeed::Hangs,
        Misdeed::Answers(StoreErrorKind::Missing),
    ] {
        let unruly = store().await;
        let client = client(unruly.clone());
        let before = unruly.calls();
        unruly.nth(1, misdeed);
        client.abort("k", &id).await.unwrap();
        assert_eq!(unruly.calls(), before + 2, "{misdeed:?}");
        unruly.always(Misdeed::Answers(StoreErrorKind::Denied));
        let denied = client.abort("k", &id).await;
        assert_eq!(kind(denied), StoreErrorKind::Denied);
        assert_eq!(unruly.calls(), before + 3, "somebody must act");
    }
}
