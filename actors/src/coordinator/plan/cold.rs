//! What moves to Tier 2 and back: a pure decision.
//!
//! ```text
//!   hot and/or warm ──Upload──▶ … and cold ──(publish, in order)──▶ archived ──DropWarm──▶ cold
//!                                    │                                  ▲                  │
//!                          trimmed ──┴─DropCold─▶ gone                  └──────Fetch───────┘
//! ```
//!
//! Uploads take the oldest first and end in any order; what is published of a stream is always one
//! stretch, so that its end alone says what a restored log holds.

use tierlog_storage::{
    Offset, StreamId,
    catalog::{ArchivedSegment, Change, SegmentKey},
    manifest::SegmentStatus,
};
use tokio::time::Instant;

use super::{
    super::table::{Id, Known, Table},
    Limits, MANY_FAILURES, Move, least_used,
};

/// Uploads and deletions that can begin.
pub(super) fn transfers(table: &Table, limits: &Limits, now: Instant) -> Vec<Move> {
    let is_due = |(id, known): &(&Id, &Known)| {
        let gone = known.trimmed && known.is_free(now) && !known.upload.is_under_way;
        known.may_upload(now) || (gone && table.is_unpublished(**id, known))
    };
    let mut due: Vec<_> = table.iter().filter(is_due).collect();
    // What is to go comes first: it is little work, and a full bucket waits for it.
    due.sort_by_key(|(_, known)| {
        let last_ts = known.facts().map_or(0, |facts| facts.last_ts);
        (!known.trimmed, last_ts)
    });
    let moves = due.into_iter().map(|(&id, known)| match known.trimmed {
        true => Move::DropCold(id),
        false => Move::Upload(id),
    });
    moves.take(limits.transfers).collect()
}

/// Whether something is on its way to be archived that does not fail again and again.
pub(super) fn goes_on(table: &Table) -> bool {
    let is_waiting = |(id, known): (&Id, &Known)| {
        let copies = &known.residency;
        copies.warm.is_some()
            && !known.trimmed
            && !table.can_leave_warm(*id, known)
            && known.upload.failures < MANY_FAILURES
    };
    table.outlives && table.iter().any(is_waiting)
}

/// Compressed files that an archived object stands for, the least recently used first, until there
/// is room for `wanted`.
pub(super) fn drop_warm(table: &Table, limits: &Limits, wanted: u64, now: Instant) -> Vec<Move> {
    let Some(limit) = limits.warm else {
        return Vec::new();
    };
    let taken = table.warm_bytes().saturating_add(limits.warm_under_way);
    let mut over = taken.saturating_add(wanted).saturating_sub(limit);
    for (_, known) in table.iter().filter(|(_, known)| known.is_leaving_warm()) {
        over = over.saturating_sub(known.warm_bytes());
    }
    if over == 0 {
        return Vec::new();
    }
    let can_go = |id, known: &Known| table.can_leave_warm(id, known) && known.is_free(now);
    let dropped = least_used(table, over, can_go, Known::warm_bytes);
    dropped.into_iter().map(Move::DropWarm).collect()
}

/// What a wish for a copy on this machine comes to: first room, by dropping what was used before it.
pub fn fetch(table: &Table, limits: &Limits, id: Id, now: Instant) -> Vec<Move> {
    let Some(known) = table.get(&id).filter(|known| known.is_free(now)) else {
        return Vec::new();
    };
    let Some(cold) = known.residency.cold.as_ref().filter(|cold| !cold.dropped) else {
        return Vec::new();
    };
    let taken = table.warm_bytes().saturating_add(limits.warm_under_way);
    let fits = |limit: u64| taken.saturating_add(cold.len) <= limit;
    if limits.warm.is_none_or(fits) {
        return vec![Move::Fetch(id)];
    }
    let is_colder = |step: &Move| match step {
        Move::DropWarm(other) => table
            .get(other)
            .is_some_and(|other| other.used.last() < known.used.last()),
        _ => false,
    };
    let colder = drop_warm(table, limits, cold.len, now);
    colder.into_iter().filter(is_colder).collect()
}

/// What could be published now: of each stream what follows what is published, without a hole, and
/// its start where that has moved.
pub fn publication(table: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    for (stream, archive) in table.archives() {
        let next: Vec<_> = next_segments(table, stream).collect();
        let is_new = archive.published.is_none();
        let published = archive.published.unwrap_or_default();
        // Of a stream that was never published, its start matters once an object of it is to go.
        let is_told = !is_new || is_left_behind(table, stream);
        let moved = archive.start > published && is_told;
        if next.is_empty() && !moved {
            continue;
        }
        if is_new {
            changes.push(Change::Stream {
                stream,
                name: archive.name.to_string(),
                created_ns: archive.created_ns,
            });
        }
        if archive.start > published {
            changes.push(Change::Trimmed {
                stream,
                start: archive.start,
            });
        }
        changes.extend(next);
    }
    changes
}

/// Whether something of what was trimmed is still to be deleted.
fn is_left_behind(table: &Table, stream: StreamId) -> bool {
    table.of_stream(stream).any(|(_, known)| known.trimmed)
}

fn next_segments(table: &Table, stream: StreamId) -> impl Iterator<Item = Change> {
    let archive = table.archive(stream);
    let mut at = archive.map_or(Offset::ZERO, |archive| archive.archived.max(archive.start));
    let filled = table.of_stream(stream).filter_map(move |(id, known)| {
        let (base, end) = known.status.range()?;
        (base < end && end > at && !known.trimmed).then_some((id.1, known))
    });
    filled.map_while(move |(segment, known)| {
        let SegmentStatus::Sealed(facts) = known.status else {
            return None;
        };
        let cold = known.residency.cold.as_ref().filter(|cold| !cold.dropped)?;
        if facts.base > at {
            return None;
        }
        at = facts.end;
        let archived = ArchivedSegment {
            salt: known.salt,
            facts,
            epoch: SegmentKey::parse(&cold.key)?.epoch,
            len: cold.len,
            crc: cold.crc,
        };
        Some(Change::Segment {
            stream,
            segment,
            archived,
        })
    })
}

#[cfg(test)]
pub(super) mod tests;
