//! Uploads in parts, as a bucket keeps them: invisible, and there until they are completed or aborted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tierlog::testing::cold::store::UploadId;
use tokio::sync::Notify;

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What it is to make.
    pub key: String,
    /// What has come of it.
    pub bytes: Vec<u8>,
}

/// Cheap to clone; each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Uploads(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// How long a part is; 0: objects are made in one piece.
    part: u64,
    next: u64,
    open: BTreeMap<String, Upload>,
    /// Nothing comes behind the first part of an upload.
    held: bool,
    aborted: usize,
    /// Abortions are refused.
    keeps: bool,
}

impl Uploads {
    /// Objects longer than this are made in parts of this length from now on.
    pub fn in_parts_of(&self, bytes: u64) {
        self.state().part = bytes;
    }

    /// How long a part is.
    pub fn part(&self) -> u64 {
        self.state().part
    }

    /// Uploads stop behind their first part, and never go on.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Uploads go on to their end again.
    pub fn release(&self) {
        self.state().held = false;
        self.0.released.notify_waiters();
    }

    /// Abortions are refused from now on, or done again.
    pub fn keep_all(&self, keeps: bool) {
        self.state().keeps = keeps;
    }

    /// Those that are neither completed nor aborted, by what they are called.
    pub fn open(&self) -> BTreeMap<String, Upload> {
        self.state().open.clone()
    }

    /// Those of them that have a part.
    pub fn with_parts(&self) -> usize {
        let state = self.state();
        let open = state.open.values();
        open.filter(|upload| !upload.bytes.is_empty()).count()
    }

    /// How many were aborted.
    pub fn aborted(&self) -> usize {
        self.state().aborted
    }

    /// The same uploads in another bucket, where nothing is held.
    pub fn copy(&self) -> Self {
        let state = State {
            held: false,
            ..self.state().clone()
        };
        let copy = Self::default();
        *copy.state() = state;
        copy
    }

    pub(super) fn begin(&self, key: &str) -> UploadId {
        let mut state = self.state();
        state.next += 1;
        let id = format!("upload {}", state.next);
        let upload = Upload {
            key: key.to_owned(),
            bytes: Vec::new(),
        };
        state.open.insert(id.clone(), upload);
        UploadId::new(id).expect("a name")
    }

    /// Takes a part in, if the upload is still known.
    pub(super) fn add(&self, id: &UploadId, part: &[u8]) -> Option<()> {
        let mut state = self.state();
        let upload = state.open.get_mut(id.as_str())?;
        upload.bytes.extend_from_slice(part);
        Some(())
    }

    pub(super) fn complete(&self, id: &UploadId) -> Option<Vec<u8>> {
        self.state().open.remove(id.as_str()).map(|u| u.bytes)
    }

    /// Whether it was done.
    pub(super) fn abort(&self, id: &UploadId) -> bool {
        let mut state = self.state();
        if state.keeps {
            return false;
        }
        if state.open.remove(id.as_str()).is_some() {
            state.aborted += 1;
        }
        true
    }

    /// Waits while uploads are held.
    pub(super) async fn pass(&self) {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if !self.state().held {
                return;
            }
            released.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panicked")
    }
}
