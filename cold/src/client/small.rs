//! Creating small objects, such that it is known whose they are.

use std::sync::Arc;

use bytes::Bytes;

use super::{Client, Created, Failed, Op, Tries};
use crate::store::{Source, StoreError, StoreErrorKind};

impl Client {
    /// Makes a small object that must not be there. What is there already is read back and compared
    /// byte for byte, and so is what an attempt with an unknown outcome may have left.
    ///
    /// An error is `Unknown` if it may have been made all the same, perhaps only later.
    pub async fn create_small(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let source: Arc<dyn Source> = Arc::new(bytes.clone());
        let mut tries = Tries::new(self, Op::Create);
        loop {
            let failed = match self.create_once(key, &source).await {
                Ok(()) => return Ok(Created::New),
                Err(failed) => failed,
            };
            let failed = match failed {
                Failed::Made(error) if is_unsettled(&error) => {
                    match self.whose(key, &bytes).await {
                        Ok(Some(created)) => return Ok(created),
                        // Nothing is there, or nothing yet.
                        Ok(None) => Failed::Made(unsettled(key, &error)),
                        Err(back) => return Err(not_read_back(key, &error, &back)),
                    }
                }
                failed => failed,
            };
            tries.after(failed).await?;
        }
    }

    /// What is there; none if there is nothing.
    async fn whose(&self, key: &str, ours: &Bytes) -> Result<Option<Created>, StoreError> {
        let mut seen: Option<Bytes> = None;
        for _ in 0..self.shared.policy.attempts.max(2) {
            let found = match self.get(key, self.shared.policy.most_taken).await {
                Err(error) if error.kind == StoreErrorKind::Missing => return Ok(None),
                found => found?,
            };
            if found == ours {
                return Ok(Some(Created::Ours));
            }
            // Bytes can be altered on their way. To be called overtaken costs a log its life, so that
            // they have to come twice.
            if seen.as_ref() == Some(&found) {
                return Ok(Some(Created::Taken(found)));
            }
            seen = Some(found);
        }
        let what = format!("{key} is another one each time that it is read");
        Err(StoreError::new(StoreErrorKind::Unknown, what))
    }
}

/// Whether an error leaves open what is there, and with whose bytes.
pub(super) fn is_unsettled(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Exists | StoreErrorKind::Unknown)
}

/// An attempt after which nothing was there. What it asked for may still come.
pub(super) fn unsettled(key: &str, error: &StoreError) -> StoreError {
    let what = format!("create of {key}: nothing is there, after: {error}");
    StoreError::new(StoreErrorKind::Unknown, what)
}

pub(super) fn not_read_back(key: &str, error: &StoreError, back: &StoreError) -> StoreError {
    let what = format!("{key} can't be read back ({back}), after: {error}");
    StoreError::new(StoreErrorKind::Unknown, what)
}
