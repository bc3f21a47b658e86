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

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use super::{
    create::{self, Holds},
    leftovers::{Leftovers, list, quarantine, remove_all},
    report::{RecoveryReport, StreamReport},
    stream::{RecoverCtx, discard, recover_stream_with},
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
    planted,
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
    /// What the manifest says.
    pub state: ManifestState,
    /// The manifest, for writing.
    pub manifest: ManifestLog,
    /// The claims file, empty.
    pub claims: ClaimsFile,
    /// What had to be done.
    pub report: RecoveryReport,
    /// Keeps others out. Dropped last, when nothing here can touch a file any more.
    pub lock: Box<dyn DiskLock>,
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
        let any = planted::is("claim_of_any_life_believed");
        if any
            || claim.epoch == state.epoch
                && stream.is_some_and(|s| s.incarnation == claim.incarnation)
        {
            let best: &mut Offset = counting.entry(claim.stream).or_default();
            *best = claim.durable.max(*best);
        }
    }
    counting
}

/// True when the manifest knows where the stream ends: it has no tail, or the writer has said on
/// closing which segment it was in, and nothing is unsealed before that one. What is unsealed behind
/// it was created ahead.
pub(super) fn was_closed_in_order(stream: &StreamState) -> bool {
    let mut open = stream.segments.iter().filter(|(_, s)| s.status.is_open());
    let Some((first, _)) = open.next() else {
        return true;
    };
    let mark = stream.mark.filter(|mark| mark.clean);
    mark.is_some_and(|mark| mark.segment == Some(*first))
}

/// What a recovery has prepared and what is left to do once it counts.
#[derive(Debug, Default)]
struct Prepared {
    copies: Vec<PathBuf>,
    reports: Vec<StreamReport>,
    remove: Vec<PathBuf>,
    set_aside: Vec<PathBuf>,
}

/// What stands when a recovery starts; nothing of it is changed.
struct Before<'a> {
    disk: &'a Arc<dyn Disk>,
    layout: &'a Layout,
    opts: &'a OpenOptions,
    current: Current,
    state: ManifestState,
    leftovers: Leftovers,
}

fn recover(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    opts: &OpenOptions,
    lock: Box<dyn DiskLock>,
) -> Result<OpenedLog> {
    let begun = Instant::now();
    let (current, Replayed { state, report }) = read_manifest(&**disk, layout)?;
    let place = Place {
        disk: &**disk,
        layout,
        log: state.log,
    };
    let leftovers = Leftovers::find(&place, &state, report.end)?;
    if planted::is("manifest_acted_on_before_it_is_rewritten") {
        remove_all(&**disk, leftovers.remove.clone())?;
    }
    let before = Before {
        disk,
        layout,
        opts,
        current,
        state,
        leftovers,
    };
    // The room that the copies took may be what the manifest was short of.
    let taken = before.take_over(false).or_else(|(error, copied)| {
        let retry = error.is_storage_full() && copied > 0;
        if retry {
            before.take_over(true)
        } else {
            Err((error, copied))
        }
    });
    let (state, mut prepared, mut manifest) = taken.map_err(|(error, _)| error)?;
    // From here on an error leaves it open which manifest counts: both are whole, and nothing that
    // either names may go.
    manifest.publish()?;

    let claims = ClaimsFile::create(&**disk, layout, opts.claim_slots)?;
    let leftovers = before.leftovers;
    prepared.remove.extend(leftovers.remove);
    prepared.set_aside.extend(leftovers.set_aside);
    let removed = remove_all(&**disk, prepared.remove)?;
    let quarantined = quarantine_if_room(&**disk, layout, &prepared.set_aside)?;
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
            epoch: state.epoch,
            manifest: Some(report),
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

impl Before<'_> {
    /// Makes everything that the next owner begins with, up to a manifest to which nothing points
    /// yet. After an error the copies are gone again; it tells how many there were.
    fn take_over(
        &self,
        in_place: bool,
    ) -> Result<(ManifestState, Prepared, ManifestLog), (StorageError, usize)> {
        let disk = &**self.disk;
        let ctx = RecoverCtx {
            disk,
            layout: self.layout,
            log: self.state.log,
            epoch: self.state.epoch.plus(1),
            now_ns: self.opts.now_ns,
        };
        let mut state = self.state.clone();
        let mut prepared = Prepared::default();
        let clean = self.current.clean.is_some();
        let made = prepare(&ctx, &mut state, clean, in_place, &mut prepared).and_then(|()| {
            self.leftovers.step_over(&mut state);
            let number = next_manifest(disk, self.layout, self.current.number)?;
            let (options, now) = (&self.opts.manifest, self.opts.now_ns);
            ManifestLog::create(self.disk, self.layout, number, &state, options, now)
        });
        match made {
            Ok(manifest) => Ok((state, prepared, manifest)),
            Err(error) => Err((error, discard(disk, prepared.copies))),
        }
    }
}

/// A new folder needs room. What is not moved now is found again by the next open.
fn quarantine_if_room(disk: &dyn Disk, layout: &Layout, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    match quarantine(disk, layout, paths) {
        Ok(moved) => Ok(moved.into_iter().map(|(_, to)| to).collect()),
        Err(error) if error.is_storage_full() => {
            tracing::warn!(target: "tierlog::recovery", %error, "not everything was quarantined");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Recovers the streams that need it, and makes `state` what the new owner begins with. Changes
/// nothing that exists on the disk.
fn prepare(
    ctx: &RecoverCtx<'_>,
    state: &mut ManifestState,
    clean: bool,
    in_place: bool,
    prepared: &mut Prepared,
) -> Result<()> {
    let claims = counting(&read_claims(ctx.disk, ctx.layout)?, state);
    let mut commits = Vec::new();
    for (id, stream) in &state.streams {
        let has_tail = stream.segments.values().any(|s| s.status.is_open());
        if !has_tail || (clean && was_closed_in_order(stream)) {
            continue;
        }
        let claim = claims.get(id).copied();
        let recovery = recover_stream_with(ctx, *id, stream, claim, in_place)?;
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
                    in_place: false,
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
