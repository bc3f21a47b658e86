//! Collecting what the catalog has left behind, beside everything else and in the way of nothing.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tierlog_cold::sequence::{Collected, Collection, PublishError};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::claim::Owned;
use crate::{cold::ColdLink, context::backoff};

/// Tombstones in a row. Each publication adds one object, so that a few keep step with it.
const AT_ONCE: u64 = 16;

/// Between one row and the next, unless there was a publication.
const PAUSE: Duration = Duration::from_secs(1);

/// Collects a few objects each time that `published` rings, and, as long as there are more, some every
/// now and then. It never comes to its end; whoever drops it may leave one tombstone on its way, which
/// does no harm however late it lands.
pub(super) fn tidy(
    link: Arc<ColdLink>,
    owned: Owned,
    published: Arc<Notify>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut failures = 0;
        loop {
            published.notified().await;
            while let Some(pause) = collect(&link, &owned, &mut failures).await {
                // Rung meanwhile, it goes on at once.
                let _ = timeout_at(Instant::now() + pause, published.notified()).await;
            }
        }
    })
}

/// Collects some; tells how long to wait before the next ones, if there are more.
async fn collect(link: &ColdLink, owned: &Owned, failures: &mut u32) -> Option<Duration> {
    match due(link, owned).await?.run(AT_ONCE).await {
        Ok(Collected { more, .. }) => {
            *failures = 0;
            more.then_some(PAUSE)
        }
        // The call was tried several times and is counted among those of the store that failed.
        Err(error) => {
            *failures = failures.saturating_add(1);
            tracing::debug!(target: "tierlog::uploader", %error, failures, "old catalog objects stay for now");
            Some(PAUSE.max(backoff(*failures)))
        }
    }
}

/// What there is to collect. The sequence is let go of before the first call is made.
async fn due(link: &ColdLink, owned: &Owned) -> Option<Collection> {
    let owned = owned.lock().await;
    let due: Result<_, PublishError> = owned.as_ref()?.collection(link.recorded());
    due.ok()
}
