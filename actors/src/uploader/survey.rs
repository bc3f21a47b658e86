//! Looking for objects that nothing names, and removing those that were found to be leftovers.
//!
//! A listing says what to look at and nothing else: what is missing in it means nothing, and what it has is
//! judged by the object's own head and by the catalog, read anew for each page.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tierlog_cold::{
    sequence::{FindError, Sequence, find},
    store::{Listed, StoreErrorKind},
};
use tierlog_storage::{
    LogId,
    catalog::{Catalog, SegmentKey, catalog_number},
    warm::{HEAD_LEN, WarmFault, WarmHead},
};

use super::{actor::lost, claim::Owned};
use crate::{
    cold::ColdLink,
    protocol::{
        sweep::{Page, Unnamed},
        uploader::TransferFault,
    },
};

/// Objects listed at once.
const PAGE: usize = 1_000;

/// Heads read at once.
const AT_ONCE: usize = 8;

/// The objects behind `after`, held against the catalog.
pub(super) async fn survey(
    link: Arc<ColdLink>,
    owned: Owned,
    after: Option<String>,
) -> Result<Page, TransferFault> {
    let (log, owner, epoch) = {
        let mut owned = owned.lock().await;
        let sequence = confirmed(&link, &mut owned).await?;
        (sequence.log(), sequence.owner(), sequence.epoch())
    };
    let found = find(&link.client).await.map_err(not_found)?;
    let found = found.ok_or_else(|| TransferFault::Damaged("there is no catalog".into()))?;
    if (found.log, found.owner) != (log, owner) {
        // It was overtaken since, or the store contradicts itself.
        confirmed(&link, &mut *owned.lock().await).await?;
        let what = format!("object {} of the catalog is not this owner's", found.head);
        return Err(TransferFault::Damaged(what));
    }
    let mut listed = link.client.list("", after.as_deref(), PAGE).await?;
    let is_full = listed.len() >= PAGE;
    // Whatever it says, the next page begins behind this one, and none is larger than was asked for.
    listed.retain(|object| after.as_ref().is_none_or(|after| object.key > *after));
    listed.sort_unstable();
    listed.dedup_by(|a, b| a.key == b.key);
    listed.truncate(PAGE);
    let mut page = Page {
        next: listed
            .last()
            .map(|object| object.key.clone())
            .filter(|_| is_full),
        ..Page::default()
    };
    let mut unknown = Vec::new();
    for object in listed {
        page.objects += 1;
        page.bytes = page.bytes.saturating_add(object.len);
        let parsed = SegmentKey::parse(&object.key);
        match parsed {
            _ if catalog_number(&object.key).is_some() => page.catalog += 1,
            _ if object.key.starts_with("probe/") => page.not_ours_yet += 1,
            Some(key) if names(&found.catalog, &key) => page.named += 1,
            Some(key) if key.epoch > epoch => page.not_ours_yet += 1,
            _ => unknown.push((object, parsed)),
        }
    }
    let looks = unknown
        .into_iter()
        .map(|(object, parsed)| look(&link, log, object, parsed));
    let mut looked = stream::iter(looks).buffered(AT_ONCE);
    while let Some(seen) = looked.try_next().await? {
        match seen {
            Seen::Ours(unnamed) => page.unnamed.push(unnamed),
            Seen::Foreign => page.foreign += 1,
            Seen::Gone => {}
        }
    }
    Ok(page)
}

/// What an object says of itself.
enum Seen {
    Ours(Unnamed),
    Foreign,
    Gone,
}

async fn look(
    link: &ColdLink,
    log: LogId,
    object: Listed,
    parsed: Option<SegmentKey>,
) -> Result<Seen, TransferFault> {
    let head = match link.client.read(&object.key, 0..HEAD_LEN as u64).await {
        Ok(bytes) => WarmHead::decode(&bytes),
        // The listing was stale.
        Err(error) if error.kind == StoreErrorKind::Missing => return Ok(Seen::Gone),
        Err(error) if error.kind == StoreErrorKind::Short => return Ok(Seen::Foreign),
        Err(error) => return Err(error.into()),
    };
    let head = match head {
        Ok(head) if head.log == log => Some(head),
        Err(WarmFault::NewerVersion(_)) => None,
        Ok(_) | Err(_) => return Ok(Seen::Foreign),
    };
    let Listed { key, len } = object;
    Ok(Seen::Ours(Unnamed {
        key,
        parsed,
        len,
        head,
    }))
}

/// Deletes an object, if this is still the owner and its catalog does not name it.
///
/// Should this owner be overtaken between the look and the deletion, however long that takes: the later one
/// names what the catalog named when it took over, which this is not, and what it uploads itself, under a
/// greater epoch.
pub(super) async fn discard(
    link: Arc<ColdLink>,
    owned: Owned,
    key: SegmentKey,
) -> Result<(), TransferFault> {
    {
        let mut owned = owned.lock().await;
        let sequence = confirmed(&link, &mut owned).await?;
        if key.epoch > sequence.epoch() || names(sequence.catalog(), &key) {
            let what = format!("{key} is in use; it stays");
            return Err(TransferFault::Damaged(what));
        }
    }
    link.client.delete(&key.to_string()).await?;
    link.remote.forget(&key);
    Ok(())
}

/// The sequence, if nobody has taken it over by now.
async fn confirmed<'a>(
    link: &ColdLink,
    owned: &'a mut Option<Sequence>,
) -> Result<&'a mut Sequence, TransferFault> {
    let sequence = owned.as_mut().ok_or(TransferFault::Stopped)?;
    match sequence.confirm().await {
        Ok(()) => Ok(sequence),
        Err(error) => Err(lost(link, error)),
    }
}

fn names(catalog: &Catalog, key: &SegmentKey) -> bool {
    let stream = catalog.streams.get(&key.stream);
    let segment = stream.and_then(|known| known.segments.get(&key.segment));
    segment.is_some_and(|archived| archived.key(key.stream, key.segment) == *key)
}

fn not_found(error: FindError) -> TransferFault {
    match error {
        FindError::Store(error) => TransferFault::Store(error),
        error => TransferFault::Damaged(error.to_string()),
    }
}
