//! What a store enforces.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tierlog_cold::{
    probe::{Enforces, probe},
    store::{Answer, Listed, MemoryStore, Source, Store, StoreErrorKind},
    unruly::{Misdeed, Unruly},
};

use super::rig::{client, kind};

/// A store that ignores conditions in silence, as some servers do.
#[derive(Debug)]
struct Careless(MemoryStore);

impl Store for Careless {
    fn place(&self) -> &str {
        "careless://"
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            let bytes = source.read(0..source.len()).await.unwrap();
            self.0.replace(key, bytes).await
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        self.0.replace(key, bytes)
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.0.read(key, range)
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        self.0.stat(key)
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.0.delete(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        self.0.list(prefix, after, most)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_conditions_is_found_out_whatever_goes_wrong_once() {
    let memory = MemoryStore::new();
    let stores: [(Arc<dyn Store>, Enforces); 2] = [
        (Arc::new(memory.clone()), Enforces::CreateIfAbsent),
        (Arc::new(Careless(memory.clone())), Enforces::Nothing),
    ];
    for (store, enforces) in stores {
        for misdeed in [
            Misdeed::LosesAnswer,
            Misdeed::Hangs,
            Misdeed::HangsWhenDone,
            Misdeed::Answers(StoreErrorKind::Busy),
            Misdeed::Answers(StoreErrorKind::Unknown),
            Misdeed::Alters,
            Misdeed::Shortens,
        ] {
            for nth in 1..=8 {
                let unruly = Arc::new(Unruly::new(Arc::clone(&store), nth));
                unruly.nth(nth, misdeed);
                let found = probe(&client(unruly)).await.unwrap();
                assert_eq!(found, enforces, "{misdeed:?} at call {nth}");
                assert_eq!(memory.list("", None, 10).await.unwrap(), []);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_when_it_fails_half_way() {
    for nth in 1..=4 {
        let memory = MemoryStore::new();
        let unruly = Arc::new(Unruly::new(Arc::new(memory.clone()), 1));
        unruly.nth(nth, Misdeed::Answers(StoreErrorKind::Denied));
        let probed = probe(&client(unruly)).await;
        let kinds = [StoreErrorKind::Denied, StoreErrorKind::Unknown];
        assert!(kinds.contains(&kind(probed)), "call {nth}");
        assert_eq!(memory.list("", None, 10).await.unwrap(), [], "call {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_enforces_nothing_that_is_known() {
    let unruly = Arc::new(Unruly::new(Arc::new(MemoryStore::new()), 1));
    unruly.always(Misdeed::Delays(Duration::from_secs(60)));
    let probed = probe(&client(unruly)).await;
    assert_eq!(kind(probed), StoreErrorKind::Unknown);
}
