//! Opening a log for writing.
//!
//! ```text
//!   look ─▶ lock ─▶ CURRENT ─▶ replay ─▶ look for proofs of lost commits ─▶ read claims
//!        ─▶ each stream with a tail: decide, copy, sync          nothing that exists was changed yet
//!        ─▶ a new manifest with a snapshot: epoch + 1, closed tails, copies; synced
//!        ─▶ CURRENT names it, durably                            from here on the new state counts
//!        ─▶ claims begin anew; what nothing names any more is removed or quarantined
//! ```
//!
//! A crash before the switch leaves the old state and files that nobody names; one behind it leaves
//! the new state and the same. Either way the next open begins from a whole one.

use std::{collections::BTreeMap, mem::take, path::PathBuf, sync::Arc, time::Instant};

use super::{
    create::{self, Holds},
    leftovers::{Leftovers, list, quarantine, remove_all},
    report::{RecoveryReport, StreamReport},
    stream::{RecoverCtx, discard, recover_stream},
    tail::Place,
};
use crate::{
    claims::{ClaimsFile, read_claims},
    disk::{Disk, DiskLock},
    error::{Damage, Result, StorageError},
    ids::{LogId, Offset, StreamId},
    layout::{Layout, parse_manifest_name},
    manifest::{
        Current, Entry, ManifestLog, ManifestOptions, ManifestState, Replayed, StreamState,
        ensure_reserve, replay,
    },
};

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How the manifest is written.
    pub manifest: ManifestOptions,
    /// Whether a log is made where there is none.
    pub create: bool,
    /// The time, in nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// How many streams can be open at once, for the claims file.
    pub claim_slots: u32,
}

/// A log that this process owns.
#[derive(Debug)]
pub struct OpenedLog {
    /// Which one.
    pub log: LogId,
    /// Keeps others out. It is dropped last.
    pub lock: Box<dyn DiskLock>,
    /// What the manifest says.
    pub state: ManifestState,
    /// The manifest, for writing.
    pub manifest: ManifestLog,
    /// The claims file, empty.
    pub claims: ClaimsFile,
    /// What had to be done.
    pub report: RecoveryReport,
}

/// Opens a log for writing, or makes one where the directory is missing or empty.
///
/// After an error the directory holds what it held, apart from files that the next open removes.
pub fn open_log(disk: &Arc<dyn Disk>, layout: &Layout, opts: &OpenOptions) -> Result<OpenedLog> {
    // Before the lock file is created: another's directory stays untouched.
    if create::look(&**disk, layout)? == Holds::Nothing {
        if !opts.create {
            return Err(not_a_log(layout));
        }
        create::make_root(&**disk, layout.root())?;
    }
    let path = layout.lock();
    let lock = disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StorageError::Locked { path },
        _ => StorageError::io("lock", path, error),
    })?;
    open_log_with_lock(disk, layout, opts, lock)
}

/// Opens a log whose lock is held already: when the actors of an owner are started again, nobody
/// else gets in between.
pub fn open_log_with_lock(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    lock: Box<dyn DiskLock>,
) -> Result<OpenedLog> {
    // Again, now that nobody else changes it: somebody may have made the log a moment ago.
    match create::look(&**disk, layout)? {
        Holds::Log => recover(disk, layout, opts, lock),
        Holds::Nothing if opts.create => create::begin(disk, layout, opts, lock),
        Holds::Nothing => Err(not_a_log(layout)),
    }
}

fn not_a_log(layout: &Layout) -> StorageError {
    StorageError::NotALog {
        path: layout.root().to_path_buf(),
    }
}

/// Reads the pointer and the manifest that it names.
pub(super) fn read_manifest(disk: &dyn Disk, layout: &Layout) -> Result<(Current, Replayed)> {
    let Some(current) = Current::read(disk, layout)? else {
        return Err(not_a_log(layout));
    };
    let replayed = replay(disk, layout, &current).map_err(|error| match error.is_missing() {
        true => StorageError::CorruptFile {
            path: layout.current(),
            what: format!("it names manifest {}, which is not there", current.number),
            range: None,
        },
        false => error,
    })?;
    Ok((current, replayed))
}

/// The claims that count for the last life of each stream.
pub(super) fn counting(
    claims: &[crate::claims::Claim],
    state: &ManifestState,
) -> BTreeMap<StreamId, Offset> {
    let mut counting = BTreeMap::new();
    for claim in claims {
        let stream = state.streams.get(&claim.stream);
        if claim.epoch == state.epoch && stream.is_some_and(|s| s.incarnation == claim.incarnation)
        {
            let best: &mut Offset = counting.entry(claim.stream).or_default();
            *best = claim.durable.max(*best);
        }
    }
    counting
}

/// True when the manifest knows where the stream ends: it has no tail, or the writer has said on
/// closing which segment it was in, and nothing is unsealed before that one.
pub(super) fn was_closed_in_order(stream: &StreamState) -> bool {
    let mut open = stream
        .segments
        .iter()
        .filter(|(_, s)| s.status.is_open())
        .map(|(no, _)| *no);
    let Some(first) = open.next() else {
        return true;
    };
    let Some(mark) = stream.mark.filter(|mark| mark.clean) else {
        return false;
    };
    mark.segment.is_none_or(|active| active <= first)
}

/// What a recovery has prepared and what is left to do once it counts.
#[derive(Debug, Default)]
struct Prepared {
    copies: Vec<PathBuf>,
    reports: Vec<StreamReport>,
    remove: Vec<PathBuf>,
    set_aside: Vec<PathBuf>,
}

fn recover(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    lock: Box<dyn DiskLock>,
) -> Result<OpenedLog> {
    let begun = Instant::now();
    let (current, replayed) = read_manifest(&**disk, layout)?;
    let mut state = replayed.state;
    let place = Place {
        disk: &**disk,
        layout,
        log: state.log,
    };
    let leftovers = Leftovers::find(&place, &state, replayed.report.end)?;
    let epoch = state.epoch.plus(1);
    let ctx = RecoverCtx {
        disk: &**disk,
        layout,
        log: state.log,
        epoch,
        now_ns: opts.now_ns,
    };
    let mut prepared = Prepared::default();
    let made = prepare(&ctx, &mut state, current.clean.is_some(), &mut prepared).and_then(|()| {
        leftovers.step_over(&mut state);
        let number = next_manifest(&**disk, layout, current.number)?;
        ManifestLog::create(disk, layout, number, &state, &opts.manifest, opts.now_ns)
    });
    let mut manifest = made.inspect_err(|_| discard(&**disk, take(&mut prepared.copies)))?;
    // From here on an error leaves it open which manifest counts: both are whole, and nothing that
    // either names may go.
    manifest.publish()?;

    let claims = ClaimsFile::create(&**disk, layout, opts.claim_slots)?;
    prepared.remove.extend(leftovers.remove);
    prepared.set_aside.extend(leftovers.set_aside);
    let removed = remove_all(&**disk, prepared.remove)?;
    let quarantined = quarantine(&**disk, layout, &prepared.set_aside)?;
    ManifestLog::delete_older(&**disk, layout, manifest.number())?;
    ensure_reserve(&**disk, layout)?;
    report_missing(&state, &mut prepared.reports, leftovers.missing);
    Ok(OpenedLog {
        log: state.log,
        lock,
        report: RecoveryReport {
            clean: current.clean.is_some(),
            created: false,
            duration: begun.elapsed(),
            epoch,
            manifest: Some(replayed.report),
            streams: prepared.reports,
            streams_total: state.streams.len() as u64,
            segments_total: segments_of(&state),
            quarantined,
            removed,
            foreign: leftovers.foreign,
        },
        state,
        manifest,
        claims,
    })
}

/// Recovers the streams that need it, and makes `state` what the new owner begins with. Changes
/// nothing that exists on the disk.
fn prepare(
    ctx: &RecoverCtx<'_>,
    state: &mut ManifestState,
    clean: bool,
    prepared: &mut Prepared,
) -> Result<()> {
    let claims = counting(&read_claims(ctx.disk, ctx.layout)?, state);
    let mut commits = Vec::new();
    for (id, stream) in &state.streams {
        let has_tail = stream.segments.values().any(|s| s.status.is_open());
        if !has_tail || (clean && was_closed_in_order(stream)) {
            continue;
        }
        let recovery = recover_stream(ctx, *id, stream, claims.get(id).copied())?;
        commits.push(recovery.entries);
        prepared.copies.extend(recovery.copies);
        prepared.remove.extend(recovery.remove_after_commit);
        prepared.set_aside.extend(recovery.set_aside_after_commit);
        if recovery.report.is_notable() {
            prepared.reports.push(recovery.report);
        }
    }
    let lives: Vec<_> = state
        .streams
        .iter()
        .map(|(id, s)| (*id, s.incarnation.plus(1)))
        .collect();
    state.apply(&Entry::Epoch {
        epoch: ctx.epoch,
        opened_ns: ctx.now_ns,
    })?;
    for entries in &commits {
        state.apply_all(entries)?;
    }
    for (id, incarnation) in lives {
        if let Some(stream) = state.streams.get_mut(&id) {
            stream.incarnation = incarnation;
        }
    }
    Ok(())
}

/// A number that no file has: a recovery that died may have left a manifest that never counted.
fn next_manifest(disk: &dyn Disk, layout: &Layout, current: u64) -> Result<u64> {
    let names = list(disk, &layout.manifest_dir())?;
    let greatest = names
        .iter()
        .filter_map(|e| parse_manifest_name(&e.name))
        .max();
    let last = greatest.map_or(current, |greatest| greatest.max(current));
    last.checked_add(1).ok_or_else(|| StorageError::Invalid {
        what: format!("manifest {last} is the last number there is"),
    })
}

pub(super) fn segments_of(state: &ManifestState) -> u64 {
    state
        .streams
        .values()
        .map(|stream| stream.segments.len() as u64)
        .sum()
}

/// Adds the final segments whose files are gone to the reports of their streams.
pub(super) fn report_missing(
    state: &ManifestState,
    reports: &mut Vec<StreamReport>,
    missing: Vec<Damage>,
) {
    for damage in missing {
        let Some(stream) = state.streams.get(&damage.stream) else {
            continue;
        };
        let at = match reports
            .iter()
            .position(|report| report.stream == damage.stream)
        {
            Some(at) => at,
            None => {
                reports.push(StreamReport {
                    stream: damage.stream,
                    name: stream.name.clone(),
                    end: stream.next,
                    claimed: stream.next,
                    copied_records: 0,
                    copied_bytes: 0,
                    cut: None,
                    damage: Vec::new(),
                });
                reports.len() - 1
            }
        };
        reports[at].damage.push(damage);
        reports[at].damage.sort_by_key(|damage| damage.from);
    }
    reports.sort_by(|a, b| a.name.cmp(&b.name));
}
