//! Every fault at every call: what the client says is so, or it says that it does not know.

use std::sync::Arc;

use bytes::Bytes;
use tierlog_cold::{
    client::{Client, Created, Large},
    store::{MemoryStore, Store, StoreError, StoreErrorKind},
    unruly::{Misdeed, Unruly},
};

use super::rig::{client, content, crc, noise};

struct Scene {
    memory: MemoryStore,
    client: Client,
    misdeed: Misdeed,
}

impl Scene {
    /// Whether what came of a call may be told, in view of what goes wrong; without a word it is right.
    fn may_fail(&self, error: &StoreError) -> bool {
        match self.misdeed {
            // The store says so, once, and nobody can tell that it is not so.
            Misdeed::Answers(StoreErrorKind::Denied) => {
                matches!(error.kind, StoreErrorKind::Denied | StoreErrorKind::Unknown)
            }
            Misdeed::Answers(StoreErrorKind::Missing) => error.kind == StoreErrorKind::Missing,
            _ => false,
        }
    }

    async fn there(&self, key: &str) -> Option<Bytes> {
        content(&self.memory, key).await.ok()
    }

    #[track_caller]
    fn fine<T: std::fmt::Debug>(&self, done: Result<T, StoreError>, how: &str) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                assert!(self.may_fail(&error), "{how}: {error}");
                None
            }
        }
    }

    /// What is read may be altered by this misdeed; whoever reads has checksums.
    fn reads_lie(&self) -> bool {
        self.misdeed == Misdeed::Alters
    }

    async fn create(&self, how: &str) {
        let (ours, theirs) = (noise(1, 300), noise(2, 200));
        let made = self.client.create_small("new", ours.clone()).await;
        if let Some(made) = self.fine(made, how) {
            assert!(!matches!(made, Created::Taken(_)), "{how}: {made:?}");
            assert_eq!(self.there("new").await.as_ref(), Some(&ours), "{how}");
        }
        let source = Arc::new(theirs.clone());
        self.memory.create("taken", source).await.unwrap();
        let made = self.client.create_small("taken", ours).await;
        if let Some(made) = self.fine(made, how) {
            assert_eq!(made, Created::Taken(theirs), "{how}");
        }
    }

    async fn create_large(&self, how: &str) {
        let (ours, theirs) = (noise(3, 30_000), noise(4, 30_000));
        let source = Arc::new(theirs.clone());
        self.memory.create("theirs", source).await.unwrap();
        for (key, outcome) in [("large", Large::Done), ("theirs", Large::Taken)] {
            let source = Arc::new(ours.clone());
            let made = self.client.create_large(key, source, crc(&ours), true);
            if let Some(made) = self.fine(made.await, how) {
                assert_eq!(made, outcome, "{how}");
                let there = [&ours, &theirs][usize::from(outcome == Large::Taken)];
                assert!(self.there(key).await.as_ref() == Some(there), "{how}");
            }
        }
    }

    async fn look(&self, how: &str) {
        let bytes = noise(5, 5_000);
        let source = Arc::new(bytes.clone());
        self.memory.create("look", source).await.unwrap();
        let part = self.client.read("look", 100..4_000).await;
        if let Some(part) = self.fine(part, how) {
            assert!(self.reads_lie() || part == bytes[100..4_000], "{how}");
            assert_eq!(part.len(), 3_900, "{how}");
        }
        let whole = self.client.get("look", 5_000).await;
        if let Some(whole) = self.fine(whole, how) {
            assert!(self.reads_lie() || whole == bytes, "{how}");
        }
        let len = self.client.stat("look").await;
        if let Some(len) = self.fine(len, how) {
            assert!(self.reads_lie() || len == 5_000, "{how}");
        }
    }

    async fn change(&self, how: &str) {
        for bytes in [noise(6, 100), noise(7, 50)] {
            let replaced = self.client.replace("change", bytes.clone()).await;
            if self.fine(replaced, how).is_some() {
                assert_eq!(self.there("change").await, Some(bytes), "{how}");
            }
        }
        let deleted = self.client.delete("change").await;
        if self.fine(deleted, how).is_some() {
            assert_eq!(self.there("change").await, None, "{how}");
        }
        let listed = self.client.list("", None, 1_000).await;
        if let Some(listed) = self.fine(listed, how) {
            let known = ["change", "large", "look", "new", "taken", "theirs"];
            assert!(listed.iter().all(|listed| known.contains(&&*listed.key)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_misdeed_at_any_call_is_made_good_or_told() {
    for misdeed in Misdeed::ALL {
        for nth in 1.. {
            let memory = MemoryStore::new();
            let unruly = Arc::new(Unruly::new(Arc::new(memory.clone()), nth));
            unruly.nth(nth, misdeed);
            let scene = Scene {
                memory,
                client: client(unruly.clone()),
                misdeed,
            };
            let how = format!("{misdeed:?} at call {nth}");
            scene.create(&how).await;
            scene.create_large(&how).await;
            scene.look(&how).await;
            scene.change(&how).await;
            if unruly.calls() < nth {
                assert!(nth > 20, "only {nth} calls were made");
                break;
            }
        }
    }
}
