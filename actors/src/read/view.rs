//! What is known of a log that another process may be writing.
//!
//! ```text
//!   claims file ── durable ends, at once ──▶ grow: walk the open segments up to the claim
//!   CURRENT, manifest ── streams, segments, lives ──▶ merge: segments anew, then grow
//!   read_only ── a tail decided as recovery would ──▶ at first, and where a claim can't be met
//! ```

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tierlog_storage::{
    Incarnation, LogId, Offset, Result, StorageError, StreamId,
    claims::{Claim, read_claims},
    manifest::{Current, Entry, ManifestState, inspect::visit_entries, replay::replay},
    recovery::{ReadOnlyLog, read_only},
};

use super::{growth::Known, source::ReadContext};
use crate::stream::shared::StreamShared;

/// Looks in a row that a claim may stay unmet before the tail is decided as a recovery would, which
/// tells damage from a writer that is just moving on. At 50 looks a second it is about two seconds.
const MAX_UNMET: u32 = 100;

/// How often the manifest is read again while what it says is not there. An owner would have to cut a
/// stream between any two of these looks.
const MAX_LOOKS: u32 = 10;

/// A view of somebody else's log. Its methods block.
#[derive(Debug)]
pub(super) struct View {
    ctx: Arc<ReadContext>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The manifest as it was last read, and the pointer that led to it.
    manifest: ManifestState,
    current: Option<Current>,
    claims: Vec<Claim>,
    streams: BTreeMap<StreamId, Known>,
    unmet: u32,
}

impl View {
    /// Where the log is.
    pub(super) fn root(&self) -> &Path {
        self.ctx.layout.root()
    }

    /// What was found by reading the whole log.
    pub(super) fn new(ctx: Arc<ReadContext>, found: &ReadOnlyLog) -> Self {
        let streams = found
            .state
            .streams
            .iter()
            .map(|(&id, state)| (id, Known::found(id, state)))
            .collect();
        let (manifest, claims) = (found.state.clone(), Vec::new());
        let inner = Mutex::new(Inner {
            manifest,
            current: None,
            claims,
            streams,
            unmet: 0,
        });
        Self { ctx, inner }
    }

    pub(super) fn context(&self) -> &Arc<ReadContext> {
        &self.ctx
    }

    pub(super) fn log(&self) -> LogId {
        self.lock().manifest.log
    }

    pub(super) fn manifest(&self) -> ManifestState {
        self.lock().manifest.clone()
    }

    pub(super) fn streams(&self) -> Vec<Arc<StreamShared>> {
        self.lock()
            .streams
            .values()
            .map(|known| Arc::clone(&known.shared))
            .collect()
    }

    /// Wakes all readers at the end.
    pub(super) fn wake_all(&self) {
        for stream in self.streams() {
            stream.notify();
        }
    }

    /// Reads the claims, and the manifest only where they can't be met without.
    pub(super) fn look_at_claims(&self) -> Result<()> {
        let mut inner = self.lock();
        let claims = read_claims(&*self.ctx.disk, &self.ctx.layout)?;
        if claims == inner.claims {
            return Ok(());
        }
        if inner.grow(&self.ctx, &claims)? {
            (inner.claims, inner.unmet) = (claims, 0);
            return Ok(());
        }
        self.read_anew(&mut inner)
    }

    /// Reads the claims and the manifest.
    pub(super) fn refresh(&self) -> Result<()> {
        self.read_anew(&mut self.lock())
    }

    fn read_anew(&self, inner: &mut Inner) -> Result<()> {
        // Claims first: what they claim stood in segments that the manifest named by then.
        let claims = read_claims(&*self.ctx.disk, &self.ctx.layout)?;
        inner.read_manifest(&self.ctx)?;
        if inner.grow(&self.ctx, &claims)? {
            (inner.claims, inner.unmet) = (claims, 0);
            return Ok(());
        }
        inner.unmet += 1;
        if inner.unmet < MAX_UNMET {
            return Ok(());
        }
        inner.unmet = 0;
        let found = read_only(&*self.ctx.disk, &self.ctx.layout)?;
        inner.check_log(found.log, &self.ctx)?;
        for (id, state) in &found.state.streams {
            if let Some(known) = inner.streams.get_mut(id) {
                known.adopt(&self.ctx, state);
            }
        }
        inner.claims = claims;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock leaves streams as they were or as they are to be.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads the manifest until what it says is there. The owner names files once they are there, and
    /// removes them once they are named no more: what is not there while the manifest says the same twice,
    /// or however often it is read, is missing.
    fn read_manifest(&mut self, ctx: &ReadContext) -> Result<()> {
        let mut last = None;
        for look in 1.. {
            let (current, state) = self.what_is_said(ctx)?;
            let said = Some((current, state.seq));
            if said == self.current.map(|current| (current, self.manifest.seq)) {
                break;
            }
            let believe = said == last || look == MAX_LOOKS;
            let taken = self.take(ctx, &current, &state, believe);
            if matches!(taken, Ok(true)) {
                (self.manifest, self.current) = (state, Some(current));
                break;
            }
            // Some streams may be as this manifest says: what equals the one before is not unchanged.
            self.current = None;
            taken?;
            last = said;
        }
        Ok(())
    }

    fn what_is_said(&self, ctx: &ReadContext) -> Result<(Current, ManifestState)> {
        let (disk, layout) = (&*ctx.disk, &ctx.layout);
        let Some(current) = Current::read(disk, layout)? else {
            return Err(StorageError::NotALog {
                path: layout.root().to_path_buf(),
            });
        };
        self.check_log(current.log, ctx)?;
        let state = replay(disk, layout, &current)?.state;
        Ok((current, state))
    }

    /// Takes what the manifest says of the streams; false where something of it is not there, but for
    /// what is to be believed.
    fn take(
        &mut self,
        ctx: &ReadContext,
        current: &Current,
        state: &ManifestState,
        believe: bool,
    ) -> Result<bool> {
        for (&id, stream) in &state.streams {
            let Some(known) = self.streams.get_mut(&id) else {
                let mut known = Known::new(id, stream);
                known.merge(ctx, state, stream, None, true)?;
                self.streams.insert(id, known);
                continue;
            };
            let unchanged = self.manifest.streams.get(&id) == Some(stream);
            if unchanged && self.current.is_some() {
                continue;
            }
            let seen = known.shared.incarnation();
            let cut = if stream.incarnation > seen {
                lowest_cut(ctx, current.number, id, seen)?
            } else {
                None
            };
            if !known.merge(ctx, state, stream, cut, believe)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Walks open segments up to what is claimed; false where a claim can't be met.
    fn grow(&mut self, ctx: &ReadContext, claims: &[Claim]) -> Result<bool> {
        let mut met = true;
        for claim in claims
            .iter()
            .filter(|claim| claim.epoch == self.manifest.epoch)
        {
            let Some(state) = self.manifest.streams.get(&claim.stream) else {
                // A stream that the manifest did not have when we read it.
                met = false;
                continue;
            };
            if let Some(known) = self.streams.get_mut(&claim.stream)
                && state.incarnation == claim.incarnation
            {
                met &= known.grow(ctx, &self.manifest, state, claim.durable)?;
            } else if state.incarnation < claim.incarnation {
                met = false;
            }
        }
        let newer = claims.iter().any(|claim| claim.epoch > self.manifest.epoch);
        Ok(met && !newer)
    }

    fn check_log(&self, found: LogId, ctx: &ReadContext) -> Result<()> {
        let expected = self.manifest.log;
        if found == expected {
            return Ok(());
        }
        Err(StorageError::ForeignLog {
            path: ctx.layout.root().to_path_buf(),
            expected,
            found,
        })
    }
}

/// The lowest end of a stream's truncations since a life, as far as the manifest still tells.
fn lowest_cut(
    ctx: &ReadContext,
    number: u64,
    of: StreamId,
    seen: Incarnation,
) -> Result<Option<Offset>> {
    let mut lowest: Option<Offset> = None;
    visit_entries(&*ctx.disk, &ctx.layout, number, &mut |_, entry| {
        if let Entry::TruncatedAfter {
            stream,
            end,
            incarnation,
        } = entry
            && (*stream, *incarnation > seen) == (of, true)
        {
            lowest = Some(lowest.map_or(*end, |low| low.min(*end)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(lowest)
}
