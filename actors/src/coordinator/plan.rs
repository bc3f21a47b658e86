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
//! longest ago first. Without a limit on the hot budget nothing moves.

use std::time::Duration;

use tokio::time::Instant;

use super::table::{Id, Known, Table};

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
    /// How long anybody is kept waiting for a move.
    pub patience: Duration,
}

/// What to do now.
pub fn plan(table: &Table, limits: &Limits, now: Instant) -> Vec<Move> {
    let mut moves = warm(table, limits, now);
    moves.extend(drop_hot(table, limits, limits.hot_wanted, now));
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
    let waits = table.iter().filter(|(_, known)| known.moving.is_none());
    let times = waits.filter_map(|(_, known)| known.not_before);
    times.filter(|at| *at > now).min()
}

/// Whether room will come in the hot budget by itself: something is on its way, or can go.
pub fn will_free(table: &Table, limits: &Limits, now: Instant) -> bool {
    // One that takes longer may never end.
    let is_young =
        |known: &Known| (known.moving).is_some_and(|since| since + limits.patience > now);
    let is_warming =
        |known: &Known| known.moving.is_some() && known.residency.warm.is_none() && is_young(known);
    // What waits for a worker whose segment never ends waits for ever itself.
    let has_worker = limits.workers > 0 || table.iter().any(|(_, known)| is_warming(known));
    let fits_warm = |known: &Known| {
        let used = table.warm_bytes().saturating_add(limits.warm_under_way);
        let with = used.saturating_add(known.hot_bytes(limits.segment_size));
        limits.warm.is_none_or(|limit| with <= limit)
    };
    let is_filled = |known: &Known| known.status.range().is_some_and(|(base, end)| base < end);
    let can_go = |known: &Known| {
        known.residency.warm.is_some() || (has_worker && is_filled(known) && fits_warm(known))
    };
    // One that has just failed is tried again soon, unless it always fails.
    let soon = |known: &Known| {
        let again = known
            .not_before
            .is_none_or(|at| at <= now + limits.patience);
        known.moving.is_none() && again && known.failures < MANY_FAILURES
    };
    let will_go = |known: &Known| is_young(known) || (soon(known) && can_go(known));
    table
        .iter()
        .any(|(_, known)| known.residency.hot && will_go(known))
}

/// The oldest first. What a compressed file will take is not known before it is there: it is taken to
/// be as long as the segment, so that the budget is never passed.
fn warm(table: &Table, limits: &Limits, now: Instant) -> Vec<Move> {
    if limits.hot.is_none() || limits.workers == 0 || limits.warm == Some(0) {
        return Vec::new();
    }
    let is_due = |known: &Known| {
        let range = known.status.range();
        known.residency.hot
            && known.residency.warm.is_none()
            && known.is_free(now)
            && range.is_some_and(|(base, end)| base < end)
    };
    let mut due: Vec<_> = table.iter().filter(|(_, known)| is_due(known)).collect();
    due.sort_by_key(|(_, known)| known.facts().map_or(0, |facts| facts.last_ts));
    let mut used = table.warm_bytes().saturating_add(limits.warm_under_way);
    let mut moves = Vec::new();
    for (&id, known) in due.into_iter().take(limits.workers) {
        used = used.saturating_add(known.hot_bytes(limits.segment_size));
        if limits.warm.is_some_and(|limit| used > limit) {
            break;
        }
        moves.push(Move::Warm(id));
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
    let leaving = |known: &Known| {
        known.moving.is_some() && known.residency.hot && known.residency.warm.is_some()
    };
    for (_, known) in table.iter().filter(|(_, known)| leaving(known)) {
        over = over.saturating_sub(known.hot_bytes(limits.segment_size));
    }
    let can_go =
        |known: &Known| known.residency.hot && known.residency.warm.is_some() && known.is_free(now);
    let mut candidates: Vec<_> = table.iter().filter(|(_, known)| can_go(known)).collect();
    candidates.sort_by_key(|(_, known)| {
        let last_ts = known.facts().map_or(0, |facts| facts.last_ts);
        (known.used.last(), last_ts)
    });
    let mut moves = Vec::new();
    for (&id, known) in candidates {
        if over == 0 {
            break;
        }
        over = over.saturating_sub(known.hot_bytes(limits.segment_size));
        moves.push(Move::DropHot(id));
    }
    moves
}

#[cfg(test)]
mod tests;
