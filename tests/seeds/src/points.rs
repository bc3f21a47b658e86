//! What was come by, counted by name.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts by name. A clone is the same.
#[derive(Clone, Default)]
pub struct Points(Arc<Mutex<BTreeMap<String, u64>>>);

impl Points {
    /// Something was come by.
    pub fn pass(&self, name: impl Into<String>) {
        self.add(name, 1);
    }

    /// Several times.
    pub fn add(&self, name: impl Into<String>, count: u64) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *points.entry(name.into()).or_default() += count;
    }

    /// All counts so far.
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Points").finish_non_exhaustive()
    }
}
