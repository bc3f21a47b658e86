//! The recovery of one stream after an unclean stop: P6 decides, P7 is done.
//!
//! ```text
//!   before      segment 4 (unsealed)                       5 (unsealed)       6 (ahead)
//!               ├── claimed to be durable ──┼─ good ─┤     ├─ good ─┼ torn    blank
//!
//!   after       segment 4 (closed)          ┌────────┬────────┐
//!               ├───────────────────────────┤   7 (closed)    │    5, 6 removed
//! ```
//!
//! What is good and not claimed may stand in the page cache alone, after a sync that failed and
//! that the kernel forgot. So it is written again, to a new file that is synced with its folder
//! before the manifest names it. Nothing old is touched before that manifest counts: a recovery that
//! dies half-way leaves files that nobody names, and the next one begins from the same bytes.

use std::path::PathBuf;

use super::{
    copy::CopyWriter,
    report::StreamReport,
    rewrite::rewrite_in_place,
    tail::{Divided, Place, Tail},
};
use crate::{
    disk::Disk,
    error::Result,
    ids::{Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId},
    layout::Layout,
    manifest::{Entry, StreamState},
    planted,
};

/// Under which circumstances streams are recovered.
#[derive(Debug, Clone, Copy)]
pub struct RecoverCtx<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Where the log lies.
    pub layout: &'a Layout,
    /// The log.
    pub log: LogId,
    /// The epoch of the owner who recovers it, to be committed with the entries or before them.
    pub epoch: Epoch,
    /// The time, in nanoseconds since the Unix epoch.
    pub now_ns: u64,
}

/// What has to be committed for a recovered stream, and what may be done then.
#[derive(Debug)]
pub struct StreamRecovery {
    /// One commit. Until it is durable, the stream is as it was.
    pub entries: Vec<Entry>,
    /// The offset of the next record.
    pub next: Offset,
    /// The new life of the tail.
    pub incarnation: Incarnation,
    /// What happened.
    pub report: StreamReport,
    /// The copies. Should the entries never be committed, nobody will ever name them.
    pub copies: Vec<PathBuf>,
    /// Files that hold nothing that counts, once the entries are durable.
    pub remove_after_commit: Vec<PathBuf>,
    /// Files that nothing names once the entries are durable, but in which there are bytes that
    /// nobody can explain.
    pub set_aside_after_commit: Vec<PathBuf>,
}

/// Removes copies that will never be named. They are in nobody's way, but they take room, and a disk
/// without room may be why they are not needed. Returns how many there were.
pub(super) fn discard(disk: &dyn Disk, copies: Vec<PathBuf>) -> usize {
    let count = copies.len();
    for path in copies {
        if let Err(error) = disk.remove(&path) {
            // The next recovery finds it unnamed and tries again.
            tracing::warn!(
                target: "tierlog::recovery", path = %path.display(), %error,
                "an unfinished copy was left behind"
            );
        }
    }
    count
}

/// Recovers one stream: scans its unsealed segments, decides where it ends, and copies what is good
/// but not known to be durable. Changes nothing that exists.
///
/// `claim` is what the claims file says of this life of the stream. After an error the files that
/// were made are gone again, or nobody will ever name them.
pub fn recover_stream(
    ctx: &RecoverCtx<'_>,
    stream: StreamId,
    state: &StreamState,
    claim: Option<Offset>,
) -> Result<StreamRecovery> {
    recover_stream_with(ctx, stream, state, claim, false)
}

/// The same; `in_place` says that there is no room for copies.
pub(super) fn recover_stream_with(
    ctx: &RecoverCtx<'_>,
    stream: StreamId,
    state: &StreamState,
    claim: Option<Offset>,
    in_place: bool,
) -> Result<StreamRecovery> {
    let place = Place {
        disk: ctx.disk,
        layout: ctx.layout,
        log: ctx.log,
    };
    let tail = Tail::read(&place, stream, state, claim)?;
    let incarnation = state.incarnation.plus(1);
    let made = make_durable(ctx, &tail, state, incarnation, in_place)?;
    let report = StreamReport {
        stream,
        name: state.name.clone(),
        end: tail.decision.end,
        claimed: tail.decision.claimed,
        copied_records: made.records,
        copied_bytes: made.bytes,
        in_place: made.in_place,
        cut: tail.decision.cut,
        damage: tail.damage(),
    };
    let (remove, set_aside) = afterwards(ctx, &tail, &made.divided);
    Ok(StreamRecovery {
        copies: made.copies,
        entries: entries(&tail, &made.divided, state, incarnation, made.entries),
        next: tail.decision.end,
        incarnation,
        report,
        remove_after_commit: remove,
        set_aside_after_commit: set_aside,
    })
}

/// What P7 took.
#[derive(Debug)]
struct Made {
    divided: Divided,
    entries: Vec<Entry>,
    copies: Vec<PathBuf>,
    records: u64,
    bytes: u64,
    in_place: bool,
}

/// Makes durable what is good and not known to be: by a copy, or in place where there is no room.
fn make_durable(
    ctx: &RecoverCtx<'_>,
    tail: &Tail,
    state: &StreamState,
    incarnation: Incarnation,
    in_place: bool,
) -> Result<Made> {
    if planted::is("no_copy_of_the_tail") {
        return Ok(Made {
            divided: tail.undivided(),
            entries: Vec::new(),
            copies: Vec::new(),
            records: 0,
            bytes: 0,
            in_place: false,
        });
    }
    let divided = tail.divided()?;
    if !in_place || divided.moved.is_empty() {
        let mut copy = CopyWriter::new(ctx, tail, state, incarnation)?;
        let Err(error) = copy.take_all(&divided.moved) else {
            return Ok(Made {
                copies: copy.paths(),
                records: copy.records,
                bytes: copy.bytes,
                entries: copy.entries,
                in_place: false,
                divided,
            });
        };
        discard(ctx.disk, copy.paths());
        if !error.is_storage_full() {
            return Err(error);
        }
    }
    // Where nobody can open the log, nobody can trim it to make room.
    let done = rewrite_in_place(ctx, tail, &divided.moved)?;
    Ok(Made {
        divided: tail.undivided(),
        entries: Vec::new(),
        copies: Vec::new(),
        records: done.records,
        bytes: done.bytes,
        in_place: true,
    })
}

fn entries(
    tail: &Tail,
    divided: &Divided,
    state: &StreamState,
    incarnation: Incarnation,
    copied: Vec<Entry>,
) -> Vec<Entry> {
    let stream = tail.stream;
    let end = tail.decision.end;
    let mut entries = Vec::new();
    if end < state.next {
        // Only the end of a segment that was closed without a durable record can lie beyond:
        // everything else that raises `next` is a claim, and the end is never before a claim.
        entries.push(Entry::TruncatedAfter {
            stream,
            end,
            incarnation,
        });
    }
    let gone = tail
        .decision
        .blank
        .iter()
        .chain(&divided.emptied)
        .chain(&tail.hollow);
    entries.extend(gone.map(|&segment| Entry::Removed { stream, segment }));
    entries.extend(divided.stay.iter().map(|stay| Entry::Closed {
        stream,
        segment: stay.no,
        base: stay.base,
        end: stay.end,
        end_byte: stay.end_byte,
    }));
    entries.extend(copied);
    entries.push(Entry::Mark {
        stream,
        durable: end,
        segment: None,
        end_byte: 0,
        incarnation,
        clean: false,
    });
    entries
}

fn afterwards(
    ctx: &RecoverCtx<'_>,
    tail: &Tail,
    divided: &Divided,
) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let decision = &tail.decision;
    let exists = |no: &&SegmentNo| tail.files.get(no).is_none_or(|file| file.file.is_some());
    let gone = decision
        .blank
        .iter()
        .chain(&divided.emptied)
        .chain(&tail.hollow);
    let (set_aside, remove): (Vec<_>, Vec<_>) = gone
        .filter(exists)
        .partition(|&no| decision.set_aside.contains(no));
    let path = |no: SegmentNo| ctx.layout.segment(tail.stream, no);
    let paths = |numbers: Vec<&SegmentNo>| numbers.into_iter().map(|&no| path(no)).collect();
    (paths(remove), paths(set_aside))
}
