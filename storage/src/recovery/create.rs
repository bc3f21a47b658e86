//! What a directory is, and how a log begins in it.
//!
//! ```text
//!   create the directory, sync its parent     missing or empty: new
//!   LOCK                                      LOCK alone: new
//!   manifest/, streams/, sync the directory   empty folders: new
//!   manifest 1, synced, its folder synced     only the first manifest, without a stream, or one whose
//!                                             streams are in Tier 2 alone, as a restore begins: new
//!   CURRENT.tmp, synced                       the same beside it: new
//!   rename to CURRENT, sync the directory     a log
//!   anything of a stream, claims, reserve     only from here on
//! ```
//!
//! So a creation that dies between any two steps leaves what the next open takes for new, and a
//! directory that has lost its `CURRENT` beside anything that could be somebody's data is never
//! taken for new.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    leftovers::{is_own, list, remove_all, sync_dir},
    open::{OpenOptions, OpenedLog},
    report::RecoveryReport,
};
use crate::{
    claims::ClaimsFile,
    disk::{Disk, DiskLock},
    error::{Result, StorageError},
    ids::{Epoch, LogId},
    layout::{Layout, parse_manifest_name, parse_stream_dir},
    manifest::{Current, Entry, ManifestLog, ManifestState, SegmentState, replay},
    segment::file::make_dir_anew,
};

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing, or what a creation that died has left.
    Nothing,
    /// A log.
    Log,
}

/// Looks at what a directory holds. One that holds other things, or a log without its pointer, is
/// an error. Nothing is touched.
pub(super) fn look(disk: &dyn Disk, layout: &Layout) -> Result<Holds> {
    let names = list(disk, layout.root())?;
    let has = |name: &str| names.iter().any(|entry| entry.name == name);
    if has("CURRENT") {
        return Ok(Holds::Log);
    }
    let manifests = list(disk, &layout.manifest_dir())?;
    let streams = list(disk, &layout.streams_dir())?;
    let is_later = |number: u64| number != FIRST;
    let lost = manifests
        .iter()
        .any(|e| parse_manifest_name(&e.name).is_some_and(is_later))
        || streams.iter().any(|e| parse_stream_dir(&e.name).is_some())
        || (!manifests.is_empty() && names_streams(disk, layout)?);
    if lost {
        return Err(StorageError::CorruptFile {
            path: layout.current(),
            what: "CURRENT is missing beside segments or manifests".to_owned(),
            range: None,
        });
    }
    let begun = ["LOCK", "CURRENT.tmp", "manifest", "streams"];
    let stranger = names
        .iter()
        .any(|e| !is_own(e) || !begun.iter().any(|own| e.name == *own))
        || manifests
            .iter()
            .any(|e| parse_manifest_name(&e.name).is_none())
        || !streams.is_empty();
    match stranger {
        true => Err(StorageError::NotALog {
            path: layout.root().to_path_buf(),
        }),
        false => Ok(Holds::Nothing),
    }
}

/// True when there is a first manifest that names streams. One that can't be read is the work of a
/// creation that died: had it counted, it would have been durable before.
fn names_streams(disk: &dyn Disk, layout: &Layout) -> Result<bool> {
    let mut pointer = Current {
        log: LogId::from_bytes([0; 16]),
        number: FIRST,
        clean: None,
        epoch: Epoch::ZERO,
    };
    // The pointer that would tell the log is what is missing; the file tells it too.
    if let Err(StorageError::ForeignLog { found, .. }) = replay(disk, layout, &pointer) {
        pointer.log = found;
    }
    match replay(disk, layout, &pointer) {
        Ok(replayed) => Ok(!replayed.state.streams.is_empty() && !is_restoring(&replayed.state)),
        Err(StorageError::CorruptFile { .. }) => Ok(false),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A restore that died: all that it names is in Tier 2, and no owner was ever at work here.
fn is_restoring(state: &ManifestState) -> bool {
    let mut segments = state.streams.values().flat_map(|s| s.segments.values());
    let is_remote =
        |s: &SegmentState| !s.residency.hot && s.residency.warm.is_none() && s.residency.is_cold();
    state.published.is_some() && state.claims.is_empty() && segments.all(is_remote)
}

/// The number of a log's first manifest.
const FIRST: u64 = 1;

/// Creates the directory where it is missing, and those above it.
pub(super) fn make_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    let parent = match root.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => return Ok(()),
    };
    match disk.create_dir(root) {
        Ok(()) => sync_or_remove(disk, &parent, root),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It may be the work of a creation that died before its sync. A parent that is not ours
            // to open was not ours to create in either.
            match disk.sync_dir(&parent) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                Err(e) => Err(StorageError::io("sync", parent, e)),
                Ok(()) => Ok(()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_root(disk, &parent)?;
            make_dir_anew(disk, root)?;
            sync_or_remove(disk, &parent, root)
        }
        Err(error) => Err(StorageError::io("create", root, error)),
    }
}

/// Makes the name of a folder durable that was created just now. Where that fails the kernel has forgotten
/// it, and the next sync would succeed without: so that it is created anew then, it goes.
fn sync_or_remove(disk: &dyn Disk, parent: &Path, made: &Path) -> Result<()> {
    let synced = sync_dir(disk, parent);
    if synced.is_err() {
        let _ = disk.remove_dir(made);
    }
    synced
}

/// Writes the first manifest of a log into a directory that holds nothing, and makes it count.
fn first_manifest(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    state: &ManifestState,
) -> Result<ManifestLog> {
    // Of a creation that died: it holds nothing, for nobody could open the log.
    remove_all(&**disk, vec![layout.manifest(FIRST), layout.current_tmp()])?;
    let folders = [layout.manifest_dir(), layout.streams_dir()];
    for folder in &folders {
        make_dir_anew(&**disk, folder)?;
    }
    sync_dir(&**disk, layout.root())?;
    let mut manifest =
        ManifestLog::create(disk, layout, FIRST, state, &opts.manifest, opts.now_ns)?;
    manifest.publish()?;
    Ok(manifest)
}

/// Makes a log whose manifest says this, in a directory that is missing or empty: one that is in Tier 2
/// alone. When this returns it is durable, and the next open goes on from there.
///
/// # Errors
/// When the directory holds anything, is in use, or can't be written. What a restore that died has left
/// behind is in nobody's way.
pub fn restore(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    state: &ManifestState,
) -> Result<()> {
    let is_empty = |disk: &dyn Disk| match look(disk, layout)? {
        Holds::Nothing => Ok(()),
        Holds::Log => Err(StorageError::Invalid {
            what: format!("{} holds a log already", layout.root().display()),
        }),
    };
    is_empty(&**disk)?;
    make_root(&**disk, layout.root())?;
    let path = layout.lock();
    let _lock = disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StorageError::Locked { path },
        _ => StorageError::io("lock", path, error),
    })?;
    is_empty(&**disk)?;
    first_manifest(disk, layout, opts, state).map(drop)
}

/// Begins a log. The directory holds nothing, and the lock is held.
pub(super) fn begin(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    lock: Box<dyn DiskLock>,
) -> Result<OpenedLog> {
    let begun = std::time::Instant::now();
    let log = LogId::generate();
    let epoch = Epoch(1);
    let mut state = ManifestState::new(log);
    state.apply(&Entry::Epoch {
        epoch,
        opened_ns: opts.now_ns,
    })?;
    let manifest = first_manifest(disk, layout, opts, &state)?;
    let claims = ClaimsFile::create(&**disk, layout, opts.claim_slots)?;
    crate::manifest::ensure_reserve(&**disk, layout)?;
    Ok(OpenedLog {
        log,
        lock,
        state,
        manifest,
        claims,
        report: RecoveryReport {
            clean: true,
            created: true,
            duration: begun.elapsed(),
            epoch,
            manifest: None,
            streams: Vec::new(),
            streams_total: 0,
            segments_total: 0,
            quarantined: Vec::new(),
            removed: Vec::new(),
            foreign: Vec::new(),
        },
    })
}
