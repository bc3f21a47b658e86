//! Which segments move between tiers: a pure decision.
//!
//! ```text
//!            sealed, hot alone ──Warm──▶ hot and warm ──DropHot──▶ warm alone
//!   closed ──Warm (sealed first)──▶           ▲                        │
//!                                             └────────Hydrate─────────┘
//! ```
//!
//! A segment is compressed as soon as it has ended, oldest first, as far as workers and the warm
//! budget reach. Its segment file goes when room is needed in the hot budget, the one that was used
//! longest ago first. Without a limit on the hot budget and without Tier 2 nothing moves. What moves to
//! Tier 2 and back is in [`cold`].

use std::{collections::BTreeMap, time::Duration};

use tierlog_storage::StreamId;
use tokio::time::Instant;

use super::table::{Id, Known, Table};

pub mod cold;

/// Failures in a row after which nobody waits for a segment to move.
pub const MANY_FAILURES: u32 = 8;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Compress it, sealing it before where it is only closed.
    Warm(Id),
    /// Remove its segment file.
    DropHot(Id),
    /// Make its segment file again.
    Hydrate(Id),
    /// Make an object of its compressed file.
    Upload(Id),
    /// Remove its compressed file.
    DropWarm(Id),
    /// Make its compressed file again from the object.
    Fetch(Id),
    /// Delete its object, since it was trimmed.
    DropCold(Id),
}

impl Move {
    /// What it is about.
    pub const fn id(self) -> Id {
        match self {
            Self::Warm(id)
            | Self::DropHot(id)
            | Self::Hydrate(id)
            | Self::Upload(id)
            | Self::DropWarm(id)
            | Self::Fetch(id)
            | Self::DropCold(id) => id,
        }
    }
}

/// What limits it. Sizes are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What hot segments may take; `None` for as much as the disk has.
    pub hot: Option<u64>,
    /// What they take.
    pub hot_used: u64,
    /// Room that is wanted besides.
    pub hot_wanted: u64,
    /// What compressed files may take; `None` for as much as the disk has.
    pub warm: Option<u64>,
    /// What those under way may come to.
    pub warm_under_way: u64,
    /// The size of a full segment.
    pub segment_size: u64,
    /// How many more can be compressed at once.
    pub workers: usize,
    /// There is a Tier 2, and it may have to take what is here.
    pub archives: bool,
    /// And what it holds outlives the process: compressed files leave again.
    pub outlives: bool,
    /// It does: it is claimed, and the store answers.
    pub archives_now: bool,
    /// How many more uploads and deletions there can be at once; none while Tier 2 is not claimed.
    pub transfers: usize,
    /// Whether a segment is being sealed, which is not in the table before that is done.
    pub sealing: bool,
    /// How long anybody is kept waiting for a move.
    pub patience: Duration,
}

/// What to do now.
pub fn plan(table: &Table, limits: &Limits, now: Instant) -> Vec<Move> {
    let due = due_for_warm(table, limits, now);
    let next = due.iter().take(limits.workers);
    let wanted = next.map(|(_, known)| warm_need(known, limits));
    let mut moves = cold::drop_warm(table, limits, wanted.sum(), now);
    moves.extend(warm(table, limits, due));
    // One that gives its compressed file up now rests on two copies until that has happened.
    let busy: Vec<Id> = moves.iter().map(|step| step.id()).collect();
    let dropped = drop_hot(table, limits, limits.hot_wanted, now);
    moves.extend(
        dropped
            .into_iter()
            .filter(|step| !busy.contains(&step.id())),
    );
    moves.extend(cold::transfers(table, limits, now));
    moves
}

/// What a wish for a segment file comes to: first room, by dropping what was used before it.
pub fn hydrate(table: &Table, limits: &Limits, id: Id, now: Instant) -> Vec<Move> {
    let Some(known) = table.get(&id).filter(|known| known.is_free(now)) else {
        return Vec::new();
    };
    let (Some(facts), false) = (known.facts(), known.residency.hot) else {
        return Vec::new();
    };
    let fits = |limit: u64| {
        let reserve = limits.hot_wanted.max(limits.segment_size);
        limits.hot_used.saturating_add(reserve) + facts.file_len <= limit
    };
    if limits.hot.is_none_or(fits) {
        return vec![Move::Hydrate(id)];
    }
    let wanted = limits.hot_wanted.max(limits.segment_size) + facts.file_len;
    let colder = drop_hot(table, limits, wanted, now);
    let is_colder = |step: &Move| match step {
        Move::DropHot(other) => table
            .get(other)
            .is_some_and(|other| other.used.last() < known.used.last()),
        _ => false,
    };
    colder.into_iter().filter(is_colder).collect()
}

/// When something that failed may be tried again. What could be tried already is not waited for: what
/// keeps it from being tried is something else, and its end is an event of its own.
pub fn again_at(table: &Table, now: Instant) -> Option<Instant> {
    let times = table.iter().flat_map(|(_, known)| {
        let here = known.not_before.filter(|_| known.moving.is_none());
        let far = known
            .upload
            .not_before
            .filter(|_| !known.upload.is_under_way);
        here.into_iter().chain(far)
    });
    times.filter(|at| *at > now).min()
}

/// What keeps room from coming in the hot budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: something is on its way, or can go.
    Time,
    /// Tier 2: what could go has to be there first.
    Upload,
    /// Nothing here can go.
    Room,
}

/// Whether room will come in the hot budget by itself.
pub fn will_free(table: &Table, limits: &Limits, now: Instant) -> Wait {
    // What waits for a worker whose segment never ends waits for ever itself.
    let is_warming = |known: &Known| known.is_warming() && is_young(known, limits, now);
    let has_worker = limits.workers > 0 || table.iter().any(|(_, known)| is_warming(known));
    let mut room = warm_room(table, limits, now);
    if is_waited_for(table, limits, &room, now) {
        room.now = Some(0);
    }
    let is_filled = |known: &Known| known.status.range().is_some_and(|(base, end)| base < end);
    let before = before(table, limits);
    let fits = |id: Id, known: &Known, room: Option<u64>| {
        let before = before.get(&id).copied().unwrap_or_default();
        room.is_none_or(|room| warm_need(known, limits) + before <= room)
    };
    let seals = |room: Option<u64>| {
        let fits = room.is_none_or(|room| within_warm(limits.segment_size, limits) <= room);
        limits.sealing && has_worker && fits
    };
    let could_go = |id: Id, known: &Known, room| {
        table.can_leave_hot(id, known) || (has_worker && is_filled(known) && fits(id, known, room))
    };
    // One that has just failed is tried again soon, unless it always fails.
    let soon = |known: &Known| {
        let again = known
            .not_before
            .is_none_or(|at| at <= now + limits.patience);
        known.moving.is_none() && again && known.failures < MANY_FAILURES
    };
    // One that is being made again takes its room already, and can go once it is there.
    let hot = || {
        let takes_room = |known: &Known| known.residency.hot || known.is_hydrating();
        table.iter().filter(move |(_, known)| takes_room(known))
    };
    let leaves = |(id, known): (&Id, &Known)| {
        is_young(known, limits, now) || (soon(known) && could_go(*id, known, room.now))
    };
    if seals(room.now) || hot().any(leaves) {
        return Wait::Time;
    }
    let could = |(id, known): (&Id, &Known)| soon(known) && could_go(*id, known, room.later);
    match seals(room.later) || hot().any(could) {
        true if limits.archives_now && cold::goes_on(table) => Wait::Time,
        true => Wait::Upload,
        false => Wait::Room,
    }
}

/// One that takes longer may never end.
fn is_young(known: &Known, limits: &Limits, now: Instant) -> bool {
    let since = known.moving.map(|moving| moving.since);
    since.is_some_and(|since| since + limits.patience > now)
}

/// Room in the warm budget; `None` for as much as the disk has.
struct WarmRoom {
    /// What is there, and what will be by itself.
    now: Option<u64>,
    /// What will be once everything that can be archived is.
    later: Option<u64>,
}

fn warm_room(table: &Table, limits: &Limits, now: Instant) -> WarmRoom {
    let Some(limit) = limits.warm else {
        return WarmRoom {
            now: None,
            later: None,
        };
    };
    let taken = table.warm_bytes().saturating_add(limits.warm_under_way);
    let sum = |can_go: &dyn Fn(Id, &Known) -> bool| -> u64 {
        let going = table.iter().filter(|(id, known)| can_go(**id, known));
        going.map(|(_, known)| known.warm_bytes()).sum()
    };
    let leaves = sum(&|id, known| {
        table.can_leave_warm(id, known) && (known.moving.is_none() || is_young(known, limits, now))
    });
    let could = match limits.archives {
        true => sum(&|_, known| known.residency.warm.is_some() && !known.trimmed),
        false => 0,
    };
    let room = |going: u64| Some(limit.saturating_sub(taken.saturating_sub(going)));
    WarmRoom {
        now: room(leaves),
        later: room(could.max(leaves)),
    }
}

/// What one needs of the warm budget to be compressed. What a compressed file will take is not known before
/// it is there: it is taken to be as long as the segment, so that the budget is not passed. But one that is
/// longer than the whole budget would never be archived, nor anything behind it: with Tier 2, from where its
/// compressed file leaves again, all of the budget is enough for it.
fn warm_need(known: &Known, limits: &Limits) -> u64 {
    within_warm(known.hot_bytes(limits.segment_size), limits)
}

fn within_warm(bytes: u64, limits: &Limits) -> u64 {
    match limits.warm {
        Some(limit) if limits.outlives && limit > 0 => bytes.min(limit),
        _ => bytes,
    }
}

/// Whether it is longer than the whole warm budget, and first in its stream. Nothing is compressed behind one
/// that is, as long as it waits for the others to leave: they would keep the budget filled for ever.
fn needs_all(known: &Known, before: u64, limits: &Limits) -> bool {
    let bytes = known.hot_bytes(limits.segment_size);
    limits.outlives && before == 0 && limits.warm.is_some_and(|limit| bytes > limit)
}

/// Whether nothing can be compressed before the warm budget is empty.
fn is_waited_for(table: &Table, limits: &Limits, room: &WarmRoom, now: Instant) -> bool {
    if limits.warm.is_none() || room.now == limits.warm {
        return false;
    }
    let before = before(table, limits);
    let before = |id| before.get(id).copied().unwrap_or_default();
    let due = due_for_warm(table, limits, now);
    due.iter()
        .any(|(id, known)| needs_all(known, before(id), limits))
}

/// Those that are to be compressed, the oldest first.
fn due_for_warm<'a>(table: &'a Table, limits: &Limits, now: Instant) -> Vec<(Id, &'a Known)> {
    let is_wanted = limits.hot.is_some() || limits.archives;
    if !is_wanted || limits.workers == 0 || limits.warm == Some(0) {
        return Vec::new();
    }
    let is_due = |(id, known): &(&Id, &Known)| {
        let range = known.status.range();
        known.residency.hot
            && known.residency.warm.is_none()
            && known.is_free(now)
            && range.is_some_and(|(base, end)| base < end)
            // What gave its compressed file up for room has another copy, and would be the first to give
            // it up again.
            && !table.can_leave_hot(**id, known)
    };
    let all = table.iter().filter(is_due);
    let mut due: Vec<_> = all.map(|(id, known)| (*id, known)).collect();
    due.sort_by_key(|(_, known)| known.facts().map_or(0, |facts| facts.last_ts));
    due
}

/// Of each segment what those before it in its stream will take of the warm budget. With Tier 2 it leaves
/// them that room: nothing of a stream is published before what stands before it, so that compressed files
/// which had taken the room would never leave.
fn before(table: &Table, limits: &Limits) -> BTreeMap<Id, u64> {
    let mut before = BTreeMap::new();
    if limits.warm.is_none() || !limits.archives {
        return before;
    }
    let mut sum: (Option<StreamId>, u64) = (None, 0);
    for (&id, known) in table.iter() {
        if sum.0 != Some(id.0) {
            sum = (Some(id.0), 0);
        }
        before.insert(id, sum.1);
        let range = known.status.range();
        let has_room = known.residency.warm.is_some() || known.is_warming();
        let waits = range.is_some_and(|(base, end)| base < end) && !has_room && !known.trimmed;
        if waits && !table.can_leave_hot(id, known) {
            sum.1 += warm_need(known, limits);
        }
    }
    before
}

/// One that is too long for what is left stands in the way of no shorter one, but for those behind it in its
/// stream: those who wait for room have been told that it will come. One that needs all of it does.
fn warm(table: &Table, limits: &Limits, due: Vec<(Id, &Known)>) -> Vec<Move> {
    let mut used = table.warm_bytes().saturating_add(limits.warm_under_way);
    let before = before(table, limits);
    let mut chosen: BTreeMap<StreamId, u64> = BTreeMap::new();
    let mut moves = Vec::new();
    for (id, known) in due {
        if moves.len() == limits.workers {
            break;
        }
        let bytes = warm_need(known, limits);
        let with = used.saturating_add(bytes);
        let chosen = chosen.entry(id.0).or_default();
        let before = before.get(&id).copied().unwrap_or_default();
        let before = before.saturating_sub(*chosen);
        if limits
            .warm
            .is_none_or(|limit| with.saturating_add(before) <= limit)
        {
            used = with;
            *chosen += bytes;
            moves.push(Move::Warm(id));
        } else if needs_all(known, before, limits) {
            break;
        }
    }
    moves
}

/// Those that have another copy, least recently used first, until there is room for `wanted`.
fn drop_hot(table: &Table, limits: &Limits, wanted: u64, now: Instant) -> Vec<Move> {
    let Some(limit) = limits.hot else {
        return Vec::new();
    };
    let mut over = limits.hot_used.saturating_add(wanted).saturating_sub(limit);
    if over == 0 {
        return Vec::new();
    }
    let leaving = |known: &Known| matches!(known.moving, Some(moving) if matches!(moving.step, Move::DropHot(_)));
    for (_, known) in table.iter().filter(|(_, known)| leaving(known)) {
        over = over.saturating_sub(known.hot_bytes(limits.segment_size));
    }
    let can_go = |id, known: &Known| table.can_leave_hot(id, known) && known.is_free(now);
    let size = |known: &Known| known.hot_bytes(limits.segment_size);
    let dropped = least_used(table, over, can_go, size);
    dropped.into_iter().map(Move::DropHot).collect()
}

/// Of those that can go, the ones that were used longest ago, as many as hold `over` bytes.
fn least_used(
    table: &Table,
    mut over: u64,
    can_go: impl Fn(Id, &Known) -> bool,
    size: impl Fn(&Known) -> u64,
) -> Vec<Id> {
    let candidates = table.iter().filter(|(id, known)| can_go(**id, known));
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|(_, known)| {
        let last_ts = known.facts().map_or(0, |facts| facts.last_ts);
        (known.used.last(), last_ts)
    });
    let mut chosen = Vec::new();
    for (&id, known) in candidates {
        if over == 0 {
            break;
        }
        over = over.saturating_sub(size(known));
        chosen.push(id);
    }
    chosen
}

#[cfg(test)]
mod tests;
