//! A bucket that outlives the logs of a test, and can be out of reach.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tierlog::testing::cold::store::{
    Answer, Listed, MemoryStore, Source, Store, StoreError, StoreErrorKind,
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Cheap to clone; each clone is the same bucket.
#[derive(Clone, Default)]
pub struct Bucket {
    objects: MemoryStore,
    down: Arc<AtomicBool>,
    /// Held by each call while it is under way.
    calls: Arc<RwLock<()>>,
}

impl Bucket {
    /// Out of reach from now on, or back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// The keys of all objects below a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects.list(prefix, None, 100_000).await;
        let listed = listed.expect("a listing");
        listed.into_iter().map(|object| object.key).collect()
    }

    /// Changes the bytes of an object behind everybody's back.
    pub async fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let len = self.objects.stat(key).await.expect("an object");
        let bytes = self.objects.read(key, 0..len).await.expect("its bytes");
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        self.objects
            .replace(key, bytes.into())
            .await
            .expect("replaced");
    }

    /// Removes an object behind everybody's back.
    pub async fn lose(&self, key: &str) {
        self.objects.delete(key).await.expect("deleted");
    }

    /// No call is under way, and none begins before this is dropped.
    pub async fn freeze(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.calls).write_owned().await
    }

    /// Another bucket with the same objects.
    pub async fn copy(&self) -> Self {
        let copy = Self::default();
        for key in self.keys("").await {
            let len = self.objects.stat(&key).await.expect("an object");
            let bytes = self.objects.read(&key, 0..len).await.expect("its bytes");
            let created = copy.objects.create(&key, Arc::new(bytes)).await;
            created.expect("it is new");
        }
        copy
    }

    async fn reach(&self) -> Result<OwnedRwLockReadGuard<()>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            let what = "the bucket is out of reach";
            return Err(StoreError::new(StoreErrorKind::Unknown, what));
        }
        Ok(Arc::clone(&self.calls).read_owned().await)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

impl Store for Bucket {
    fn place(&self) -> &str {
        "test://bucket"
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.create(key, source).await
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.replace(key, bytes).await
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.read(key, range).await
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.stat(key).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.delete(key).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            self.objects.list(prefix, after, most).await
        })
    }
}
