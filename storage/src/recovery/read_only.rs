//! Reading a log without owning it: no lock, no write, beside a live writer or without one.
//!
//! The order of reading matters beside a writer. Claims first: what they say was written, and the
//! segments that hold it were committed, before the manifest is read. Then the manifest, then each
//! tail, its last segment first, for the same reason. What a writer can still do is to move on
//! while a segment is read, so that a later frame is seen without an earlier one; that looks like
//! damage, but the next look finds the place elsewhere or not at all. Only damage that two looks in
//! a row find in the same place is believed.

use std::time::Instant;

use super::{
    create::{self, Holds},
    leftovers::Leftovers,
    open::{counting, read_manifest, report_missing, segments_of},
    report::{RecoveryReport, StreamReport},
    tail::{Place, Tail},
};
use crate::{
    claims::read_claims,
    disk::Disk,
    error::{Damage, Result, StorageError},
    ids::{LogId, Offset, StreamId},
    layout::Layout,
    manifest::{ManifestState, SegmentState, SegmentStatus, StreamState},
};

/// How often a log is read again before what was found is believed. What is really damaged is found
/// twice in the same way, which ends this at once; what differs each time is a writer that is faster
/// than a look, and only patience helps: with 10 looks, one that rolled 2,000 small segments over a
/// second was now and then called damaged.
const LOOKS: usize = 100;

/// What a reader knows of a log.
#[derive(Debug)]
pub struct ReadOnlyLog {
    /// Which one.
    pub log: LogId,
    /// What the manifest says, with every tail closed where it is durable as far as anybody says.
    pub state: ManifestState,
    /// What was found. Nothing was cut or copied: it says where a recovery would.
    pub report: RecoveryReport,
}

/// Reads what a log holds and how far it is durable. Nothing is written, locked or created.
pub fn read_only(disk: &dyn Disk, layout: &Layout) -> Result<ReadOnlyLog> {
    let mut before: Option<Vec<Damage>> = None;
    let mut last_error = None;
    for look in 1..=LOOKS {
        match attempt(disk, layout) {
            Ok(log) => {
                let damage: Vec<Damage> = log.report.damage().cloned().collect();
                if damage.is_empty() || before.as_ref() == Some(&damage) || look == LOOKS {
                    return Ok(log);
                }
                (before, last_error) = (Some(damage), None);
            }
            Err(error) => {
                // The writer may have changed to another manifest and removed this one meanwhile,
                // or committed what was missing. What fails twice in the same way fails for good.
                let same = last_error
                    .take()
                    .is_some_and(|last: StorageError| last.to_string() == error.to_string());
                if same {
                    return Err(error);
                }
                (before, last_error) = (None, Some(error));
            }
        }
    }
    Err(last_error.unwrap_or_else(|| StorageError::Invalid {
        what: format!("the log changed {LOOKS} times while it was being read"),
    }))
}

fn attempt(disk: &dyn Disk, layout: &Layout) -> Result<ReadOnlyLog> {
    let begun = Instant::now();
    if create::look(disk, layout)? == Holds::Nothing {
        return Err(StorageError::NotALog {
            path: layout.root().to_path_buf(),
        });
    }
    let claims = read_claims(disk, layout)?;
    let (current, replayed) = read_manifest(disk, layout)?;
    let mut state = replayed.state;
    let place = Place {
        disk,
        layout,
        log: state.log,
    };
    let claims = counting(&claims, &state);
    let mut reports = Vec::new();
    for (&id, stream) in &mut state.streams {
        if stream.segments.values().any(|s| s.status.is_open()) {
            let report = close_in_memory(&place, id, stream, claims.get(&id).copied())?;
            if report.is_notable() {
                reports.push(report);
            }
        }
    }
    let leftovers = Leftovers::find(&place, &state, replayed.report.end)?;
    report_missing(&state, &mut reports, leftovers.missing);
    Ok(ReadOnlyLog {
        log: state.log,
        report: RecoveryReport {
            clean: current.clean.is_some(),
            created: false,
            duration: begun.elapsed(),
            epoch: state.epoch,
            manifest: Some(replayed.report),
            streams: reports,
            streams_total: state.streams.len() as u64,
            segments_total: segments_of(&state),
            quarantined: Vec::new(),
            removed: Vec::new(),
            foreign: leftovers.foreign,
        },
        state,
    })
}

/// Closes a stream's tail where it is claimed to be durable, for this reader alone.
fn close_in_memory(
    place: &Place<'_>,
    id: StreamId,
    stream: &mut StreamState,
    claim: Option<Offset>,
) -> Result<StreamReport> {
    let tail = Tail::read(place, id, stream, claim)?;
    let divided = tail.divided()?;
    for stay in &divided.stay {
        let status = SegmentStatus::Closed {
            base: stay.base,
            end: stay.end,
            end_byte: stay.end_byte,
        };
        let close = |segment: &mut SegmentState| segment.status = status;
        stream.segments.change(stay.no, close);
    }
    stream.segments.remove_open();
    let first_moved = divided.moved.first().map(|moved| moved.run.base);
    stream.next = first_moved.unwrap_or(tail.decision.end);
    Ok(StreamReport {
        stream: id,
        name: stream.name.clone(),
        end: stream.next,
        claimed: tail.decision.claimed,
        copied_records: 0,
        copied_bytes: 0,
        in_place: false,
        cut: tail.decision.cut,
        damage: tail.damage(),
    })
}
