//! Checking the compressed copy of a segment.

use std::{path::Path, sync::Arc};

use super::{Bounds, Check, SegmentVerdict};
use crate::{
    Damage, LogId, SegmentNo, StreamId,
    disk::Disk,
    error::{Result, StorageError},
    layout::Layout,
    manifest::{SegmentState, SegmentStatus},
    segment::ScanExpect,
    warm::{WARM_VERSION, WarmFault, WarmIdentity, WarmView, as_segment},
};

/// Checks the compressed copy of a sealed segment: every zstd frame, and then what it decodes to as if
/// it were the segment file.
pub(super) fn verify(
    disk: &dyn Disk,
    layout: &Layout,
    log: LogId,
    stream: StreamId,
    segment: SegmentNo,
    state: &SegmentState,
) -> Result<SegmentVerdict> {
    let mut verdict = SegmentVerdict::default();
    let (SegmentStatus::Sealed(facts), Some(copy)) = (&state.status, &state.residency.warm) else {
        return Ok(verdict);
    };
    let identity = WarmIdentity {
        log,
        stream,
        segment,
        salt: state.salt,
        facts: *facts,
    };
    let expect = ScanExpect {
        log,
        stream,
        segment,
        salt: state.salt,
    };
    let bounds = Bounds::of(&state.status, None);
    let view = match WarmView::open(disk, layout, &identity, copy) {
        Ok(view) => Arc::new(view),
        Err(fault) => {
            let mut damage = bounds.missing(&expect);
            damage.what = warm_damage(&layout.warm(stream, segment), fault)?;
            verdict.damage.push(damage);
            return Ok(verdict);
        }
    };
    let frames = view.index().frames();
    for (nth, frame) in frames.iter().enumerate() {
        let Err(fault) = view.frame(frame) else {
            continue;
        };
        let end = frames.get(nth + 1).map_or(facts.end, |next| next.offset);
        verdict.damage.push(Damage {
            stream,
            segment,
            from: frame.offset,
            to: end,
            bytes: (
                frame.plain_pos,
                frame.plain_pos + u64::from(frame.plain_len),
            ),
            what: warm_damage(&layout.warm(stream, segment), fault)?,
        });
    }
    if !verdict.damage.is_empty() {
        return Ok(verdict);
    }
    let check = Check {
        len: facts.file_len,
        file: as_segment(&view),
        expect,
        bounds,
        verdict,
    };
    check.run()
}

/// What is wrong with a compressed copy, in words; what is no damage stays an error.
fn warm_damage(path: &Path, fault: WarmFault) -> Result<String> {
    match fault {
        WarmFault::Disk(error) if error.is_missing() => Ok("the compressed file is missing".into()),
        WarmFault::Disk(error) => Err(error),
        WarmFault::NewerVersion(found) => Err(StorageError::NewerVersion {
            path: path.to_path_buf(),
            found,
            supported: WARM_VERSION,
        }),
        fault => Ok(format!("in the compressed file, {fault}")),
    }
}
