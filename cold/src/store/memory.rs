//! A store in memory.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    Answer, Listed, Source, Store, StoreError, StoreErrorKind, key::checked, range_of, whole,
};

/// A store in the memory of this process, for tests and demonstrations. A clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, key: &str) -> Result<Bytes, StoreError> {
        checked(key)?;
        let missing = || StoreError::new(StoreErrorKind::Missing, format!("there is no {key}"));
        self.objects().get(key).cloned().ok_or_else(missing)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("objects", &self.objects().len())
            .finish()
    }
}

impl Store for MemoryStore {
    fn place(&self) -> &str {
        "memory://"
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            // A copy: what the source shares may be a map of a file that goes.
            let bytes = Bytes::copy_from_slice(&whole(&*source, 0..source.len()).await?);
            let mut objects = self.objects();
            if objects.contains_key(key) {
                let what = format!("{key} exists already");
                return Err(StoreError::new(StoreErrorKind::Exists, what));
            }
            objects.insert(key.to_owned(), bytes);
            Ok(())
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            self.objects().insert(key.to_owned(), bytes);
            Ok(())
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let object = self.object(key)?;
            let wanted = range_of(key, &range, object.len() as u64)?;
            Ok(object.slice(wanted))
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move { Ok(self.object(key)?.len() as u64) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            self.objects().remove(key);
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
            // From whichever comes later; the keys with one prefix stand beside each other.
            let from = after.map_or(prefix, |after| after.max(prefix));
            let objects = self.objects();
            let found = objects.range(from.to_owned()..);
            let found = found.take_while(|(key, _)| key.starts_with(prefix));
            let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
            let listed = found.take(most).map(|(key, bytes)| Listed {
                key: key.clone(),
                len: bytes.len() as u64,
            });
            Ok(listed.collect())
        })
    }
}
