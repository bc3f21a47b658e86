//! Making a tail durable where it stands, when the disk has no room for a copy of it.
//!
//! What makes the page cache a liar is a sync that failed: the kernel has marked the pages clean, so
//! that the next sync leaves them out. Writing the same bytes once more makes the pages dirty again,
//! and a sync after that covers them or fails. So this gives what a copy gives, in space that is
//! allocated already. It is the second choice, because it goes to the same blocks: where these are
//! what failed, it fails too, and the log is not opened.
//!
//! A cut in the midst of it leaves in each sector the old bytes or the same ones. In pages that also
//! hold claimed frames, these are the same in both.

use std::collections::BTreeMap;

use super::{
    leftovers::sync_dir,
    stream::RecoverCtx,
    tail::{Moved, Tail},
};
use crate::{
    disk::Access,
    error::{Result, StorageError},
    ids::SegmentNo,
    segment::{HEADER_LEN, Latched, Run},
};

/// What was written again.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Writes the stretches again where they are, and syncs them.
pub(super) fn rewrite_in_place(
    ctx: &RecoverCtx<'_>,
    tail: &Tail,
    moved: &[Moved],
) -> Result<Rewritten> {
    let mut done = Rewritten::default();
    let mut segments: BTreeMap<SegmentNo, Vec<Run>> = BTreeMap::new();
    for Moved { no, run } in moved {
        segments.entry(*no).or_default().push(*run);
    }
    for (no, runs) in segments {
        let path = ctx.layout.segment(tail.stream, no);
        let file = match ctx.disk.open(&path, Access::ReadWrite) {
            Ok(file) => Latched::new(file, path),
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        // It was written with the first frame, and nobody knows more of the one than of the other.
        let mut header = [0; HEADER_LEN as usize];
        let read = file.read_at(&mut header, 0)?;
        file.write_at(&header[..read], 0)?;
        for run in runs {
            let mut at = run;
            while at.base < run.end {
                let block = tail.block(no, &at)?;
                file.write_at(&block.bytes, at.start)?;
                done.records += block.end.since(block.first);
                done.bytes += block.bytes.len() as u64;
                (at.base, at.start) = (block.end, block.next_pos);
            }
        }
        file.sync()?;
    }
    sync_dir(ctx.disk, &ctx.layout.stream_dir(tail.stream))?;
    Ok(done)
}
