//! A log from its bucket alone.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tierlog_cold::{
    client::Client,
    sequence::{FindError, Found, find},
    store::{StoreError, StoreErrorKind},
};
use tierlog_storage::{
    Epoch, LogId,
    catalog::{Catalog, SegmentKey},
    layout::Layout,
    manifest::{Entry, ManifestOptions, ManifestState},
    recovery::{OpenOptions, restore as write},
};

use crate::{
    cold,
    error::Error,
    exec::{Running, Work, run},
    options::Options,
    place,
    supervisor::Injected,
};

/// Objects that are looked at at once.
const AT_ONCE: usize = 16;

/// What was restored.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// Which log it is.
    pub log: LogId,
    /// The number of the catalog object that it goes on from.
    pub number: u64,
    /// The epoch of its last owner; the next open takes a greater one.
    pub epoch: Epoch,
    /// Its streams.
    pub streams: usize,
    /// Their segments.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// Makes a log of what its Tier 2 holds, in a directory that is missing or empty. Every archived record
/// is there when this returns; its segments are in Tier 2 and come here as they are read. `progress` is
/// told how many objects were looked at, of how many.
///
/// # Errors
/// `Settings` without Tier 2; `Tier2` when there is no log, or an object of it is missing; `Unavailable` when the store does not
/// answer; `Storage` when the directory holds anything, or can't be written. Nothing counts as a log
/// then.
pub async fn restore(
    mut options: Options,
    injected: Injected,
    mut progress: impl FnMut(u64, u64),
) -> Result<Restored, Error> {
    let Some(store) = injected.store else {
        let what = "`cold` is not set: it says where the log is to be restored from".into();
        return Err(Error::Settings { what });
    };
    options.data = place::resolve(&injected.disk, &injected.executor, options.data).await?;
    let client = cold::client(store);
    let found = look(&client).await?;
    let objects = objects(&found.catalog);
    let total = objects.len() as u64;
    let mut looked = stream::iter(objects)
        .map(|(key, len)| check(&client, key, len))
        .buffered(AT_ONCE);
    let mut done = 0;
    while looked.try_next().await?.is_some() {
        done += 1;
        progress(done, total);
    }
    drop(looked);
    let restored = sum(&found);
    let state = state(&found, &options)?;
    let layout = Layout::new(options.data.clone());
    let open = OpenOptions {
        manifest: ManifestOptions {
            chunk_size: options.manifest_chunk,
            rotate_bytes: options.manifest_rotate,
        },
        create: true,
        now_ns: injected.clock.now_ns(),
        claim_slots: u32::try_from(options.max_streams).unwrap_or(u32::MAX),
    };
    let disk = Arc::clone(&injected.disk);
    let job = run(
        &injected.executor,
        Work::Write,
        &Running::default(),
        move || write(&disk, &layout, &open, &state),
    );
    job.await.map_err(|died| Error::indeterminate(&died))??;
    Ok(restored)
}

async fn look(client: &Client) -> Result<Found, Error> {
    let place = client.place();
    let found = find(client).await.map_err(|error| match error {
        FindError::Store(error) => unreachable_store(place, &error),
        error => tier2(format!("{place}: {error}")),
    })?;
    found.ok_or_else(|| tier2(format!("{place} holds no log")))
}

fn tier2(what: String) -> Error {
    Error::Tier2 { what: what.into() }
}

fn unreachable_store(place: &str, error: &StoreError) -> Error {
    Error::Unavailable {
        why: cold::unreachable(place, &error.to_string()).into(),
    }
}

fn objects(catalog: &Catalog) -> Vec<(SegmentKey, u64)> {
    let streams = catalog.streams.iter();
    let segments = streams.flat_map(|(stream, known)| {
        let segments = known.segments.iter();
        segments.map(|(segment, archived)| (archived.key(*stream, *segment), archived.len))
    });
    segments.collect()
}

/// Whether an object is there, with the length that the catalog has of it. What it holds is checked when
/// it is read, and by `verify`.
async fn check(client: &Client, key: SegmentKey, len: u64) -> Result<(), Error> {
    let damaged = |what| tier2(format!("{}: {what}; nothing was restored", client.place()));
    match client.stat(&key.to_string()).await {
        Ok(found) if found == len => Ok(()),
        Ok(found) => Err(damaged(format!("{key} has {found} bytes, and not {len}"))),
        Err(error) if error.kind == StoreErrorKind::Missing => {
            Err(damaged(format!("{key} is missing")))
        }
        Err(error) => Err(unreachable_store(client.place(), &error)),
    }
}

/// What the first manifest says: all of it is in Tier 2, and the bucket is known up to its last object.
fn state(found: &Found, options: &Options) -> Result<ManifestState, Error> {
    let mut state = ManifestState::new(found.log);
    let mut entries = found.catalog.entries(found.epoch, options.segment_size);
    entries.push(Entry::Published { number: found.head });
    for (&stream, known) in &found.catalog.streams {
        let end = known.end();
        if end > known.start {
            entries.push(Entry::Archived { stream, end });
        }
    }
    state.apply_all(&entries)?;
    Ok(state)
}

fn sum(found: &Found) -> Restored {
    let mut restored = Restored {
        log: found.log,
        number: found.head,
        epoch: found.epoch,
        streams: found.catalog.streams.len(),
        segments: 0,
        records: 0,
        bytes: 0,
    };
    for known in found.catalog.streams.values() {
        restored.segments += known.segments.len();
        restored.records += known.end().since(known.start);
        restored.bytes += known.segments.values().map(|s| s.len).sum::<u64>();
    }
    restored
}
