//! Following a log that another process writes: a thread that looks at its claims.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::view::View;
use crate::error::Error;

/// How often the claims are read. They are in memory, one slot of 64 bytes a stream.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often the manifest is read, even where the claims do not ask for it: for new streams, trims
/// and truncations.
const MANIFEST_EVERY: Duration = Duration::from_secs(1);

/// How long looks may fail. Beside a live writer a file can vanish while it is being read; what
/// fails for so long does not come back.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);

/// Follows somebody else's log, from the first reader that follows to the last.
pub struct Follower {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    failed: Option<Error>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("failed", &self.failure())
            .finish()
    }
}

impl Follower {
    /// Starts to follow.
    pub(super) fn start(view: &Arc<View>) -> Result<Arc<Self>, Error> {
        let shared = Arc::new(Shared::default());
        let (of_thread, view) = (Arc::clone(&shared), Arc::clone(view));
        let path = view.root().to_path_buf();
        thread::Builder::new()
            .name("tierlog-follow".into())
            .spawn(move || of_thread.run(&view))
            .map_err(|error| Error::Io {
                op: "start the threads for",
                path,
                source: Arc::new(error),
            })?;
        Ok(Arc::new(Self { shared }))
    }

    /// Why nothing more will come, if it failed.
    pub fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.stopped.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, view: &View) {
        let mut last_manifest = Instant::now();
        let mut failing: Option<Instant> = None;
        while !self.pause() {
            // After a failure the manifest has to be read: a log that is gone has no claims, which
            // is no failure.
            let looked = if failing.is_some() || last_manifest.elapsed() >= MANIFEST_EVERY {
                last_manifest = Instant::now();
                view.refresh()
            } else {
                view.look_at_claims()
            };
            let Err(error) = looked else {
                failing = None;
                continue;
            };
            if failing.get_or_insert_with(Instant::now).elapsed() >= GIVE_UP_AFTER {
                self.lock().failed = Some(error.into());
                view.wake_all();
                return;
            }
        }
    }

    /// Waits for the next look; true when there is none.
    fn pause(&self) -> bool {
        let waited = self
            .stopped
            .wait_timeout_while(self.lock(), LOOK_EVERY, |state| !state.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}
