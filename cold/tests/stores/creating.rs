//! Whose an object is that was created, when answers are lost, late or wrong.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tierlog_cold::{
    client::{Client, Created, Large, Policy, Unwatched},
    store::{MemoryStore, Store, StoreErrorKind},
    unruly::{Misdeed, Unruly},
};

use super::rig::{Break, Breaking, client, content, crc, kind, noise};

struct Setup {
    memory: MemoryStore,
    unruly: Arc<Unruly>,
    client: Client,
}

impl Setup {
    fn new() -> Self {
        let memory = MemoryStore::new();
        let unruly = Arc::new(Unruly::new(Arc::new(memory.clone()), 7));
        Self {
            client: client(unruly.clone()),
            memory,
            unruly,
        }
    }

    async fn there(&self) -> Bytes {
        content(&self.memory, "k").await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_is_found_to_be_ours() {
    for misdeed in [Misdeed::LosesAnswer, Misdeed::HangsWhenDone] {
        let setup = Setup::new();
        setup.unruly.nth(1, misdeed);
        let made = setup.client.create_small("k", noise(1, 100)).await;
        assert_eq!(made.unwrap(), Created::Ours, "{misdeed:?}");
        assert_eq!(setup.there().await, noise(1, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_not_done_is_made_again() {
    for misdeed in [
        Misdeed::Hangs,
        Misdeed::Answers(StoreErrorKind::Unknown),
        Misdeed::Answers(StoreErrorKind::Busy),
        // A lie: nobody made it.
        Misdeed::Answers(StoreErrorKind::Exists),
    ] {
        let setup = Setup::new();
        setup.unruly.nth(1, misdeed);
        let made = setup.client.create_small("k", noise(1, 100)).await;
        assert_eq!(made.unwrap(), Created::New, "{misdeed:?}");
        assert_eq!(setup.there().await, noise(1, 100));
    }
}

/// The first request was still on its way when the object was not found; it arrived before the second.
#[tokio::test(start_paused = true)]
async fn a_create_that_comes_late_is_ours_when_the_next_one_meets_it() {
    let setup = Setup::new();
    setup
        .unruly
        .nth(1, Misdeed::ComesLate(Duration::from_millis(10)));
    let made = setup.client.create_small("k", noise(1, 100)).await;
    assert_eq!(made.unwrap(), Created::Ours);
    assert_eq!(setup.there().await, noise(1, 100));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_made_is_brought_whole() {
    for len in [0, 5, 100_000] {
        let setup = Setup::new();
        let theirs = noise(9, len);
        let source = Arc::new(theirs.clone());
        setup.memory.create("k", source).await.unwrap();
        let made = setup.client.create_small("k", noise(1, 100)).await;
        assert_eq!(made.unwrap(), Created::Taken(theirs.clone()));
        assert_eq!(setup.there().await, theirs);
    }
}

/// One altered byte on the way back, and an owner took its own claim for somebody else's.
#[tokio::test(start_paused = true)]
async fn bytes_that_were_altered_on_their_way_do_not_make_it_somebody_elses() {
    for misdeed in [Misdeed::Alters, Misdeed::Shortens] {
        // The answer is lost, the length asked for, the bytes read.
        for nth in [2, 3] {
            let setup = Setup::new();
            setup.unruly.nth(1, Misdeed::LosesAnswer);
            setup.unruly.nth(nth, misdeed);
            let made = setup.client.create_small("k", noise(1, 100)).await;
            assert_eq!(made.unwrap(), Created::Ours, "{misdeed:?} of call {nth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_to_be_taken_in_is_refused_before_it_is_read() {
    let setup = Setup::new();
    let policy = Policy {
        most_taken: 1_000,
        ..Policy::default()
    };
    let client = Client::new(setup.unruly.clone(), policy, Arc::new(Unwatched));
    let source = Arc::new(noise(9, 1_001));
    setup.memory.create("k", source).await.unwrap();
    let error = client.create_small("k", noise(1, 100)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    assert!(error.what.contains("1001 bytes"), "{error}");
    assert_eq!(setup.unruly.calls(), 2, "a create and a stat");
    assert_eq!(
        kind(client.get("k", 1_000).await),
        StoreErrorKind::Unsupported
    );
    assert_eq!(client.get("k", 1_001).await.unwrap(), noise(9, 1_001));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_nobody_knows_is_told_as_unknown() {
    // It may have been made by the first attempt; that the last one was refused says nothing.
    let setup = Setup::new();
    setup
        .unruly
        .always(Misdeed::Answers(StoreErrorKind::Denied));
    setup
        .unruly
        .nth(1, Misdeed::ComesLate(Duration::from_secs(60)));
    setup
        .unruly
        .nth(2, Misdeed::Answers(StoreErrorKind::Missing));
    let made = setup.client.create_small("k", noise(1, 100)).await;
    assert_eq!(kind(made), StoreErrorKind::Unknown);

    let setup = Setup::new();
    setup
        .unruly
        .nth(1, Misdeed::Answers(StoreErrorKind::Denied));
    let made = setup.client.create_small("k", noise(1, 100)).await;
    assert_eq!(kind(made), StoreErrorKind::Denied, "nothing was done");

    let setup = Setup::new();
    setup.unruly.always(Misdeed::LosesAnswer);
    let made = setup.client.create_small("k", noise(1, 100)).await;
    assert_eq!(kind(made), StoreErrorKind::Unknown);
    setup.unruly.behave();
    setup.client.ready().await;
    let made = setup.client.create_small("k", noise(1, 100)).await;
    assert_eq!(made.unwrap(), Created::Ours, "asked again, it is settled");
}

async fn large(setup: &Setup, bytes: &Bytes, verify: bool) -> Large {
    let source = Arc::new(bytes.clone());
    let made = setup.client.create_large("k", source, crc(bytes), verify);
    made.await.unwrap()
}

const LEN: usize = 9_000_000;

#[tokio::test(start_paused = true)]
async fn a_large_object_is_done_when_all_of_its_bytes_are_there() {
    let bytes = noise(2, LEN);
    for (verify, calls) in [(false, 1), (true, 5)] {
        let setup = Setup::new();
        assert_eq!(large(&setup, &bytes, verify).await, Large::Done);
        assert_eq!(setup.unruly.calls(), calls, "three parts are read back");
        assert!(setup.there().await == bytes);
        // Again, after a restart: it is found to be there.
        assert_eq!(large(&setup, &bytes, verify).await, Large::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_of_other_bytes_or_of_another_length_is_taken() {
    let bytes = noise(2, LEN);
    let mut flipped = bytes.to_vec();
    flipped[LEN - 1] ^= 1;
    for other in [Bytes::from(flipped), bytes.slice(1..), Bytes::new()] {
        let setup = Setup::new();
        let source = Arc::new(other.clone());
        setup.memory.create("k", source).await.unwrap();
        assert_eq!(large(&setup, &bytes, false).await, Large::Taken);
        assert!(setup.there().await == other);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_that_was_stored_with_another_byte_is_not_called_done() {
    let bytes = noise(2, LEN);
    let setup = Setup::new();
    // The checksum is of what should have been read.
    let source = Arc::new(noise(3, LEN));
    let made = setup.client.create_large("k", source, crc(&bytes), true);
    assert_eq!(made.await.unwrap(), Large::Taken);
}

#[tokio::test(start_paused = true)]
async fn any_one_misdeed_while_a_large_object_is_made_is_made_good() {
    let bytes = noise(2, LEN);
    for misdeed in Misdeed::ALL {
        if misdeed == Misdeed::Answers(StoreErrorKind::Denied) {
            continue;
        }
        for verify in [false, true] {
            for nth in 1..=6 {
                let setup = Setup::new();
                setup.unruly.nth(nth, misdeed);
                let how = format!("{misdeed:?} at call {nth}, verified: {verify}");
                assert_eq!(large(&setup, &bytes, verify).await, Large::Done, "{how}");
                assert!(setup.there().await == bytes, "{how}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_no_fault_of_the_store() {
    let setup = Setup::new();
    for _ in 0..20 {
        let source = Breaking::new(noise(1, 100), 50, Break::Fails);
        let made = setup.client.create_large("k", source, 0, true).await;
        assert_eq!(kind(made), StoreErrorKind::Source);
    }
    assert_eq!(setup.client.state().last_error, None);
    assert_eq!(large(&setup, &noise(1, 100), true).await, Large::Done);
}
