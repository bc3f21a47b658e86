//! Several who create the same object, each behind answers of its own that go wrong.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tierlog_cold::{
    client::{Client, Created, Policy, Unwatched},
    store::{MemoryStore, Store, StoreErrorKind},
    unruly::{Misdeed, Unruly},
};
use tokio::{task::JoinSet, time::advance};

use super::rig::{content, noise};

const MISDEEDS: [Misdeed; 8] = [
    Misdeed::LosesAnswer,
    Misdeed::ComesLate(Duration::from_millis(400)),
    Misdeed::Delays(Duration::from_millis(150)),
    Misdeed::Hangs,
    Misdeed::HangsWhenDone,
    Misdeed::Answers(StoreErrorKind::Busy),
    Misdeed::Answers(StoreErrorKind::Unknown),
    Misdeed::Answers(StoreErrorKind::Exists),
];

/// What each rival was told.
async fn race(rivals: u64, seed: u64, per_mille: u32) -> (MemoryStore, Vec<(u64, Told)>) {
    let memory = MemoryStore::new();
    let mut racing = JoinSet::new();
    for rival in 0..rivals {
        let unruly = Arc::new(Unruly::new(Arc::new(memory.clone()), seed ^ rival << 32));
        unruly.sometimes(per_mille, &MISDEEDS);
        let client = Client::new(unruly, Policy::default(), Arc::new(Unwatched));
        racing.spawn(async move {
            let made = client.create_small("k", noise(rival, 50)).await;
            (rival, made.map_err(|error| error.kind))
        });
    }
    let mut told = Vec::new();
    while let Some(ended) = racing.join_next().await {
        told.push(ended.unwrap());
    }
    // What is late comes, too late.
    advance(Duration::from_secs(600)).await;
    (memory, told)
}

type Told = Result<Created, StoreErrorKind>;

async fn check(rivals: u64, seed: u64, per_mille: u32) {
    let (memory, told) = race(rivals, seed, per_mille).await;
    let there: Option<Bytes> = content(&memory, "k").await.ok();
    for (rival, told) in told {
        let ours = noise(rival, 50);
        match told {
            Ok(Created::New | Created::Ours) => assert_eq!(there.as_ref(), Some(&ours)),
            Ok(Created::Taken(theirs)) => {
                assert_ne!(theirs, ours);
                assert_eq!(there.as_ref(), Some(&theirs));
            }
            Err(StoreErrorKind::Unknown) => {}
            // Refused before anything was done.
            Err(kind) => {
                assert_eq!(kind, StoreErrorKind::Busy);
                assert_ne!(there.as_ref(), Some(&ours), "it was done all the same");
            }
        }
    }
    if per_mille == 0 {
        assert!(there.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn of_sixteen_rivals_behind_good_answers_one_is_told_that_it_won() {
    let (memory, told) = race(16, 1, 0).await;
    let won = told.iter().filter(|(_, told)| *told == Ok(Created::New));
    assert_eq!(won.count(), 1);
    let taken = |told: &Told| matches!(told, Ok(Created::Taken(_)));
    assert_eq!(told.iter().filter(|(_, told)| taken(told)).count(), 15);
    assert_eq!(memory.list("", None, 10).await.unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_two_rivals_believe_that_it_is_theirs(rivals in 2_u64..6, seed: u64, per_mille in 0_u32..800) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(check(rivals, seed, per_mille));
    }
}
