//! A Tier 2 in memory, of which what it holds at a moment can be kept.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tierlog::testing::cold::store::{Answer, Listed, Source, Store, StoreError, StoreErrorKind};

/// What a bucket held at one moment, by keys, and which moment that was.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub by_key: Arc<BTreeMap<String, Bytes>>,
    pub changes: u64,
}

/// Cheap to clone; each clone is the same bucket. It answers at once.
#[derive(Clone, Default)]
pub struct Bucket {
    objects: Arc<Mutex<Objects>>,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

/// Told of a call that changes something, before it is made.
type Watcher = Arc<dyn Fn(&str) + Send + Sync>;

impl Bucket {
    /// One that holds this.
    pub fn of(objects: Objects) -> Self {
        Self {
            objects: Arc::new(Mutex::new(objects)),
            watcher: Arc::default(),
        }
    }

    /// What it holds now.
    pub fn objects(&self) -> Objects {
        self.lock().clone()
    }

    /// Has each change looked at before it is made.
    pub fn watch(&self, watcher: impl Fn(&str) + Send + Sync + 'static) {
        let mut place = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::new(watcher));
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, call: &str, change: impl FnOnce(&mut BTreeMap<String, Bytes>)) {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = watcher.clone();
        if let Some(watch) = watcher {
            watch(call);
        }
        let mut objects = self.lock();
        objects.changes += 1;
        change(Arc::make_mut(&mut objects.by_key));
    }

    fn object(&self, key: &str) -> Result<Bytes, StoreError> {
        let missing = || StoreError::new(StoreErrorKind::Missing, format!("no {key}"));
        self.lock().by_key.get(key).cloned().ok_or_else(missing)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

impl Store for Bucket {
    fn place(&self) -> &str {
        "states://bucket"
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            let read = source.read(0..source.len()).await;
            let bytes =
                read.map_err(|error| StoreError::new(StoreErrorKind::Source, error.to_string()))?;
            if self.lock().by_key.contains_key(key) {
                return Err(StoreError::new(StoreErrorKind::Exists, key));
            }
            self.change(&format!("create {key}"), |objects| {
                objects.insert(key.to_owned(), bytes);
            });
            Ok(())
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            self.change(&format!("replace {key}"), |objects| {
                objects.insert(key.to_owned(), bytes);
            });
            Ok(())
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let object = self.object(key)?;
            let at = |pos: u64| usize::try_from(pos).unwrap_or(usize::MAX);
            let (from, to) = (at(range.start), at(range.end.max(range.start)));
            if to > object.len() {
                return Err(StoreError::new(StoreErrorKind::Short, key));
            }
            Ok(object.slice(from..to))
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move { Ok(self.object(key)?.len() as u64) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.change(&format!("delete {key}"), |objects| {
                objects.remove(key);
            });
            Ok(())
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let objects = self.objects().by_key;
            let wanted = objects.iter().filter(|(key, _)| {
                key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
            });
            let listed = wanted.take(most).map(|(key, bytes)| Listed {
                key: key.clone(),
                len: bytes.len() as u64,
            });
            Ok(listed.collect())
        })
    }
}
