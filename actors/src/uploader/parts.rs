//! Uploads in parts: the manifest tells of each before its first part is sent, and what is left of one is
//! taken back.
//!
//! ```text
//!   the store names it ─▶ PartsBegun ─▶ parts ─▶ completed ─────────────────────────▶ PartsGone
//!                                         └ given up, or a life ago ─▶ abort, once ──▶ PartsGone
//!                                                                      Tier 2 is claimed
//! ```
//!
//! Nobody waits for what is taken back: neither an open, nor the next upload of the same segment.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tierlog_cold::store::{Parts, StoreError, StoreErrorKind};
use tierlog_storage::manifest::{Entry, PARTS_MAX, PartsState, UploadId};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    cold::{ColdLink, LinkState},
    context::LogContext,
    error::Error,
    manifest::ManifestHandle,
};

/// How long after an upload was given up it is aborted: a part that was on its way has landed by then, or
/// it would land behind the abortion and stay.
const LANDED: Duration = Duration::from_secs(1);

/// The longest time between two attempts to take back what the store does not let go of.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// Uploads in parts of which something may be left in the store. One for each generation of actors;
/// uploaders that take the place of one another go on with it.
#[derive(Clone)]
pub(super) struct Unfinished(Arc<Shared>);

struct Shared {
    manifest: ManifestHandle,
    known: Mutex<Known>,
    /// Rung when there may be something to take back, or to note.
    changed: Notify,
    senders: AtomicU64,
}

/// What is known of them, without the manifest and without the store.
#[derive(Debug, Default)]
struct Known(Vec<Upload>);

#[derive(Debug)]
struct Upload {
    parts: PartsState,
    now: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// This sender may still send parts.
    Sending(u64),
    /// Nobody does; it is aborted then.
    Left(Instant),
    /// Nothing is left of it, and the manifest is to say so.
    Over,
}

/// What is to be done next about uploads that nobody is sending any more.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Say in the manifest that nothing is left.
    Note(PartsState),
    /// Take it back.
    Abort(PartsState),
    /// There will be something by then.
    At(Instant),
    Nothing,
}

impl Known {
    /// Takes one in; gives the one that has to go for it, if there are too many. `None`: there is no room.
    fn begin(&mut self, parts: PartsState, sender: u64) -> Option<Option<PartsState>> {
        let mut left = self.0.iter();
        let left = left.find(|upload| !matches!(upload.now, Standing::Sending(_)));
        let in_place_of = match self.0.len() {
            // Commits that fail take nothing out of the list again.
            len if len >= 2 * PARTS_MAX => return None,
            len if len >= PARTS_MAX => Some(left?.parts.clone()),
            _ => None,
        };
        let now = Standing::Sending(sender);
        self.0.push(Upload { parts, now });
        Some(in_place_of)
    }

    /// Nothing is left of one.
    fn over(&mut self, parts: &PartsState) {
        let upload = self.0.iter_mut().find(|upload| upload.parts == *parts);
        if let Some(upload) = upload {
            upload.now = Standing::Over;
        }
    }

    fn forget(&mut self, parts: &PartsState) {
        self.0.retain(|upload| upload.parts != *parts);
    }

    /// A sender sends no more.
    fn leave(&mut self, sender: u64, now: Instant) {
        for upload in &mut self.0 {
            if upload.now == Standing::Sending(sender) {
                upload.now = Standing::Left(now + LANDED);
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        let over = self.0.iter().find(|upload| upload.now == Standing::Over);
        if let Some(upload) = over {
            return Next::Note(upload.parts.clone());
        }
        let left = self.0.iter().filter_map(|upload| match upload.now {
            Standing::Left(due) => Some((due, &upload.parts)),
            _ => None,
        });
        match left.min_by_key(|(due, _)| *due) {
            Some((due, parts)) if due <= now => Next::Abort(parts.clone()),
            Some((due, _)) => Next::At(due),
            None => Next::Nothing,
        }
    }

    /// One could not be taken back: it is the last one to be tried again.
    fn postpone(&mut self, parts: &PartsState, to: Instant) {
        let upload = self.0.iter_mut().find(|upload| upload.parts == *parts);
        if let Some(upload) = upload {
            upload.now = Standing::Left(to);
        }
    }
}

impl Unfinished {
    /// Those that the manifest tells of, as it was when this generation began.
    pub(super) fn new(manifest: ManifestHandle, recorded: &[PartsState]) -> Self {
        let now = Instant::now();
        let known = recorded.iter().map(|parts| Upload {
            parts: parts.clone(),
            now: Standing::Left(now),
        });
        Self(Arc::new(Shared {
            manifest,
            known: Mutex::new(Known(known.collect())),
            changed: Notify::new(),
            senders: AtomicU64::new(0),
        }))
    }

    /// Keeps account of the uploads that the making of one object begins.
    pub(super) fn sender(&self, log: Arc<LogContext>, link: Arc<ColdLink>, key: String) -> Sender {
        Sender {
            number: self.0.senders.fetch_add(1, Ordering::Relaxed),
            unfinished: self.clone(),
            log,
            link,
            key,
        }
    }

    async fn begin(&self, parts: PartsState, sender: u64) -> Result<(), Error> {
        // Known here first: should this be given up while the commit is under way, the manifest may have
        // it all the same, and what nobody knew of would never be aborted.
        let in_place_of = self.known().begin(parts.clone(), sender);
        let Some(in_place_of) = in_place_of else {
            let what = format!("{PARTS_MAX} uploads in parts are under way");
            return Err(Error::InvalidInput { what });
        };
        let PartsState { key, id } = parts;
        let mut entries: Vec<_> = in_place_of.iter().cloned().map(gone).collect();
        entries.push(Entry::PartsBegun { key, id });
        self.0.manifest.commit(entries).await?;
        if let Some(parts) = in_place_of {
            tracing::error!(target: "tierlog::uploader", key = parts.key, "parts of an upload can't be taken back, and are not known of any more: the bucket's own rules must remove them");
            self.known().forget(&parts);
        }
        Ok(())
    }

    /// Says in the manifest that nothing is left of one.
    async fn note(&self, parts: PartsState) -> Result<(), Error> {
        match self.0.manifest.commit(vec![gone(parts.clone())]).await {
            // Refused: it never came to tell of it.
            Ok(_) | Err(Error::InvalidInput { .. }) => {
                self.known().forget(&parts);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let known = self.0.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(parts: PartsState) -> Entry {
    let PartsState { key, id } = parts;
    Entry::PartsGone { key, id }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unfinished").field(&*self.known()).finish()
    }
}

/// Who makes one object. When it is dropped, what it began and did not complete is left.
pub(super) struct Sender {
    number: u64,
    unfinished: Unfinished,
    log: Arc<LogContext>,
    link: Arc<ColdLink>,
    key: String,
}

impl Sender {
    fn parts(&self, id: &UploadId) -> PartsState {
        PartsState {
            key: self.key.clone(),
            id: id.clone(),
        }
    }
}

impl Parts for Sender {
    fn begun<'a>(&'a self, id: &'a UploadId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let refused = |why: String| {
                let what = format!("an upload of {} is not gone on with: {why}", self.key);
                StoreError::new(StoreErrorKind::Source, what)
            };
            self.log.faults.at("uploader.before_parts").await;
            // Nobody would take back what an owner leaves that was overtaken.
            if let LinkState::Ended(error) = self.link.state() {
                return Err(refused(error.to_string()));
            }
            let begun = self.unfinished.begin(self.parts(id), self.number).await;
            begun.map_err(|error| refused(error.to_string()))?;
            self.log.faults.at("uploader.after_parts").await;
            Ok(())
        })
    }

    fn done(&self, id: &UploadId) {
        self.unfinished.known().over(&self.parts(id));
        self.unfinished.0.changed.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.unfinished.known().leave(self.number, Instant::now());
        self.unfinished.0.changed.notify_one();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("number", &self.number)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Takes back what is left, one upload after the other, once Tier 2 is this owner's and as long as it is.
/// It never comes to its end; whoever drops it may leave an abortion on its way, which is done or is made
/// again.
pub(super) fn take_back(link: Arc<ColdLink>, unfinished: Unfinished) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut failures = 0_u32;
        loop {
            // An upload that the manifest tells of may be another owner's, who has a copy of it: only
            // who owns the sequence knows that nobody goes on with it.
            if link.settled().await.is_err() {
                std::future::pending::<()>().await;
            }
            let next = unfinished.known().next(Instant::now());
            let outcome = match next {
                Next::Nothing => {
                    unfinished.0.changed.notified().await;
                    continue;
                }
                Next::At(due) => {
                    // Rung meanwhile, it looks again.
                    let _ = timeout_at(due, unfinished.0.changed.notified()).await;
                    continue;
                }
                Next::Note(parts) => {
                    let noted = unfinished.note(parts).await;
                    noted.map_err(|error| error.to_string())
                }
                Next::Abort(parts) => abort(&link, &unfinished, parts, failures).await,
            };
            match outcome {
                Ok(()) => failures = 0,
                Err(why) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(target: "tierlog::uploader", why, failures, "parts of an upload stay in the store for now");
                    sleep(pause(failures)).await;
                }
            }
        }
    })
}

async fn abort(
    link: &ColdLink,
    unfinished: &Unfinished,
    parts: PartsState,
    failures: u32,
) -> Result<(), String> {
    link.client.ready().await;
    match link.client.abort(&parts.key, &parts.id).await {
        Ok(()) => {
            tracing::debug!(target: "tierlog::uploader", key = parts.key, "parts of an upload are taken back");
        }
        // The log has moved to a store that knows no such uploads.
        Err(error) if error.kind == StoreErrorKind::Unsupported => {
            tracing::warn!(target: "tierlog::uploader", %error, "parts of an upload are not of this store");
        }
        Err(error) => {
            let again = Instant::now() + pause(failures.saturating_add(1));
            unfinished.known().postpone(&parts, again);
            return Err(error.to_string());
        }
    }
    unfinished.known().over(&parts);
    Ok(())
}

/// From one second, doubled each time, with jitter.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_secs(1 << failures.saturating_sub(1).min(6));
    let half = longest.min(MOST_PAUSE) / 2;
    half + half.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(n: usize) -> PartsState {
        PartsState {
            key: "k".into(),
            id: UploadId::new(n.to_string()).unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_sender_leaves_is_aborted_when_its_last_part_has_landed() {
        let (mut known, now) = (Known::default(), Instant::now());
        for (n, sender) in [(0, 7), (1, 7), (2, 8)] {
            assert_eq!(known.begin(parts(n), sender), Some(None));
        }
        assert_eq!(known.next(now), Next::Nothing);
        known.over(&parts(1));
        known.leave(7, now);
        assert_eq!(known.next(now), Next::Note(parts(1)));
        known.forget(&parts(1));
        assert_eq!(known.next(now), Next::At(now + LANDED));
        assert_eq!(known.next(now + LANDED), Next::Abort(parts(0)));
        known.postpone(&parts(0), now + 2 * LANDED);
        assert_eq!(known.next(now + LANDED), Next::At(now + 2 * LANDED));
        known.over(&parts(0));
        assert_eq!(known.next(now), Next::Note(parts(0)));
        known.forget(&parts(0));
        assert_eq!(known.next(now + 9 * LANDED), Next::Nothing, "8 sends");
    }

    #[tokio::test(start_paused = true)]
    async fn where_too_many_are_left_the_oldest_one_makes_room() {
        let (mut known, now) = (Known::default(), Instant::now());
        for n in 0..PARTS_MAX {
            assert_eq!(known.begin(parts(n), n as u64), Some(None));
        }
        assert_eq!(known.begin(parts(PARTS_MAX), 0), None, "all are being sent");
        known.leave(5, now);
        known.leave(4, now);
        let freed = known.begin(parts(PARTS_MAX), 0);
        assert_eq!(freed, Some(Some(parts(4))));
        known.forget(&parts(4));
        assert_eq!(known.0.len(), PARTS_MAX);
        // Commits that fail: none of these takes the place of another one.
        for n in 1..=PARTS_MAX {
            assert!(known.begin(parts(PARTS_MAX + n), 0).is_some(), "{n}");
        }
        assert_eq!(known.begin(parts(0), 0), None);
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        for failures in 0..100 {
            let pause = pause(failures);
            assert!(pause >= Duration::from_millis(500) && pause <= MOST_PAUSE);
        }
        assert!(pause(20) >= MOST_PAUSE / 2);
    }
}
