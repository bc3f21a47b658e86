//! A bucket that outlives the logs of a test, and can be out of reach.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tierlog::testing::cold::store::{
    Answer, Listed, MemoryStore, Parts, Source, Store, StoreError, StoreErrorKind, UploadId,
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::uploads::Uploads;

/// Makes another listing of one.
type Lie = Box<dyn FnMut(Vec<Listed>) -> Vec<Listed> + Send>;

/// Cheap to clone; each clone is the same bucket.
#[derive(Clone, Default)]
pub struct Bucket {
    objects: MemoryStore,
    down: Arc<AtomicBool>,
    /// Segments' reads that are answered with other bytes, from now on.
    spoiled: Arc<AtomicUsize>,
    /// Calls about segments: what a reader has to wait for.
    asked: Arc<AtomicUsize>,
    /// Replacements that get no answer, from now on, every other one of them done all the same.
    unanswered: Arc<AtomicUsize>,
    /// No object goes.
    keeps_all: Arc<AtomicBool>,
    /// No object of a segment is taken.
    refuses: Arc<AtomicBool>,
    /// How many were not.
    refused: Arc<AtomicUsize>,
    /// What listings are made of.
    lie: Arc<Mutex<Option<Lie>>>,
    /// Calls that were made and not answered.
    under_way: Arc<AtomicUsize>,
    /// Held by each call while it is under way.
    calls: Arc<RwLock<()>>,
    /// Held by each replacement besides.
    replacements: Arc<RwLock<()>>,
    /// What is made in parts.
    pub uploads: Uploads,
}

impl Bucket {
    /// Out of reach from now on, or back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Deletions are refused from now on, or done again.
    pub fn keep_all(&self, keeps: bool) {
        self.keeps_all.store(keeps, Ordering::SeqCst);
    }

    /// Objects of segments are refused from now on, or taken again.
    pub fn refuse_segments(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How many were refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Listings are what this makes of them, from now on.
    pub fn lie(&self, lie: impl FnMut(Vec<Listed>) -> Vec<Listed> + Send + 'static) {
        *self.lie.lock().expect("nobody panicked") = Some(Box::new(lie));
    }

    /// Puts an object there behind everybody's back.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        let put = self.objects.replace(key, bytes.into()).await;
        put.expect("there is room");
    }

    /// The next `count` reads of a segment are answered with bytes that are not there.
    pub fn spoil_reads(&self, count: usize) {
        self.spoiled.store(count, Ordering::SeqCst);
    }

    /// How many reads are still to be spoiled.
    pub fn to_spoil(&self) -> usize {
        self.spoiled.load(Ordering::SeqCst)
    }

    /// How often segments' objects were read or looked at.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Of the next `count` replacements nobody is told what came of them; half of them are done.
    pub fn lose_replacements(&self, count: usize) {
        self.unanswered.store(count, Ordering::SeqCst);
    }

    /// How many replacements are still to be lost.
    pub fn to_lose(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// The bytes of an object.
    pub async fn bytes(&self, key: &str) -> Bytes {
        loop {
            let len = self.objects.stat(key).await.expect("an object");
            // A tombstone that takes its place meanwhile is shorter.
            if let Ok(bytes) = self.objects.read(key, 0..len).await {
                return bytes;
            }
        }
    }

    /// How many calls wait for an answer.
    pub fn waiting(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// The keys of all objects below a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects.list(prefix, None, 100_000).await;
        let listed = listed.expect("a listing");
        listed.into_iter().map(|object| object.key).collect()
    }

    /// Changes the bytes of an object behind everybody's back.
    pub async fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(key).await.to_vec();
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

    /// Puts the objects of another bucket in the place of its own.
    pub async fn restore(&self, from: &Self) {
        for key in from.keys("").await {
            let len = from.objects.stat(&key).await.expect("an object");
            let bytes = from.objects.read(&key, 0..len).await.expect("its bytes");
            self.objects.replace(&key, bytes).await.expect("replaced");
        }
    }

    /// No replacement is under way, and none comes to its end before this is dropped.
    pub async fn hold_replacements(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.replacements).write_owned().await
    }

    /// Another bucket with the same objects.
    pub async fn copy(&self) -> Self {
        let copy = Self {
            uploads: self.uploads.copy(),
            ..Self::default()
        };
        for key in self.keys("").await {
            let bytes = self.bytes(&key).await;
            let created = copy.objects.create(&key, Arc::new(bytes)).await;
            created.expect("it is new");
        }
        copy
    }

    fn ask(&self, key: &str) {
        if key.starts_with("streams/") {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Makes an object as a client of S3 does that dies: of what somebody keeps account of it aborts nothing.
    async fn create_in_parts(&self, key: &str, source: &dyn Source, parts: &dyn Parts) -> Made {
        let id = {
            let _reached = self.reach().await?;
            self.uploads.begin(key)
        };
        let unknown_to_others = Unkept(&self.uploads, Some(&id));
        parts.begun(&id).await?;
        unknown_to_others.keep();
        let unknown = || StoreError::new(StoreErrorKind::Unknown, "no such upload");
        let (len, part) = (source.len(), self.uploads.part());
        for from in (0..len).step_by(usize::try_from(part).expect("it is small")) {
            if from > 0 {
                self.uploads.pass().await;
            }
            let bytes = source.read(from..(from + part).min(len)).await;
            let bytes = bytes
                .map_err(|error| StoreError::new(StoreErrorKind::Source, error.to_string()))?;
            let _reached = self.reach().await?;
            self.uploads.add(&id, &bytes).ok_or_else(unknown)?;
        }
        let _reached = self.reach().await?;
        if self.objects.stat(key).await.is_ok() {
            return Err(StoreError::new(StoreErrorKind::Exists, "it is there"));
        }
        let bytes = self.uploads.complete(&id).ok_or_else(unknown)?;
        self.objects
            .create(key, Arc::new(Bytes::from(bytes)))
            .await?;
        parts.done(&id);
        Ok(())
    }

    async fn reach(&self) -> Result<(UnderWay, OwnedRwLockReadGuard<()>), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            let what = "the bucket is out of reach";
            return Err(StoreError::new(StoreErrorKind::Unknown, what));
        }
        let under_way = UnderWay::begin(&self.under_way);
        Ok((under_way, Arc::clone(&self.calls).read_owned().await))
    }
}

/// An upload that is aborted when this is dropped, since nobody keeps account of it.
struct Unkept<'a>(&'a Uploads, Option<&'a UploadId>);

impl Unkept<'_> {
    fn keep(mut self) {
        self.1 = None;
    }
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.1 {
            self.0.abort(id);
        }
    }
}

type Made = Result<(), StoreError>;

/// A call that was made and not answered.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
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
            let part = self.uploads.part();
            if part > 0
                && source.len() > part
                && let Some(parts) = source.parts()
            {
                return self.create_in_parts(key, &*source, parts).await;
            }
            let _reached = self.reach().await?;
            if self.refuses.load(Ordering::SeqCst) && key.starts_with("streams/") {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Err(StoreError::new(StoreErrorKind::Denied, "no more of these"));
            }
            self.objects.create(key, source).await
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            let _held = self.replacements.read().await;
            let left = |n: usize| n.checked_sub(1);
            let lost = self
                .unanswered
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
            if lost.is_err() || lost.is_ok_and(|n| n.is_multiple_of(2)) {
                self.objects.replace(key, bytes).await?;
            }
            match lost {
                Ok(_) => Err(StoreError::new(StoreErrorKind::Unknown, "no answer")),
                Err(_) => Ok(()),
            }
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            self.ask(key);
            let _reached = self.reach().await?;
            let bytes = self.objects.read(key, range).await?;
            let left = |n: usize| n.checked_sub(1);
            let spoils = key.starts_with("streams/")
                && self
                    .spoiled
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                    .is_ok();
            if !spoils {
                return Ok(bytes);
            }
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Ok(bytes.into())
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            self.ask(key);
            let _reached = self.reach().await?;
            self.objects.stat(key).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            if self.keeps_all.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Denied, "it stays"));
            }
            self.objects.delete(key).await
        })
    }

    fn abort<'a>(&'a self, _: &'a str, id: &'a UploadId) -> Answer<'a, ()> {
        Box::pin(async move {
            let _reached = self.reach().await?;
            match self.uploads.abort(id) {
                true => Ok(()),
                false => Err(StoreError::new(StoreErrorKind::Denied, "it stays")),
            }
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
            let listed = self.objects.list(prefix, after, most).await?;
            Ok(match &mut *self.lie.lock().expect("nobody panicked") {
                Some(lie) => lie(listed),
                None => listed,
            })
        })
    }
}
