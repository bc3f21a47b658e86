//! Checking the compressed copy of a segment.

use std::{path::Path, sync::Arc};

use super::{Bounds, Check, SegmentVerdict};
use crate::{
    Damage, LogId, SegmentNo, StreamId,
    crc::Crc64,
    disk::Disk,
    error::{Result, StorageError},
    layout::Layout,
    manifest::{SegmentState, SegmentStatus, WarmCopy},
    segment::{Latched, ScanExpect},
    warm::{
        WARM_VERSION, WarmFault, WarmFrame, WarmIdentity, WarmView, as_segment, check_crc, decode,
    },
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
    let (SegmentStatus::Sealed(facts), Some(copy)) = (&state.status, &state.residency.warm) else {
        return Ok(SegmentVerdict::default());
    };
    let identity = WarmIdentity {
        log,
        stream,
        segment,
        salt: state.salt,
        facts: *facts,
    };
    let view = WarmView::open(disk, layout, &identity, copy);
    let path = layout.warm(stream, segment);
    check(&identity, view, copy, &path, "the compressed file")
}

/// Checks the object of a sealed segment, as its compressed copy is checked. `object` reads it, and `copy` is
/// what the manifest says of it: another whole file of the same segment is not the one that was uploaded, and
/// a restored log would be refused it.
///
/// # Errors
/// Where it can't be read, or is of a newer version; a missing object is damage.
pub fn verify_object(
    object: Latched,
    identity: &WarmIdentity,
    copy: &WarmCopy,
) -> Result<SegmentVerdict> {
    let path = object.path().to_path_buf();
    let view = WarmView::of(object, identity, copy.file_len);
    check(
        identity,
        view,
        copy,
        &path,
        &format!("the object {}", path.display()),
    )
}

/// `called` is what people are told it is.
fn check(
    identity: &WarmIdentity,
    view: std::result::Result<WarmView, WarmFault>,
    copy: &WarmCopy,
    path: &Path,
    called: &str,
) -> Result<SegmentVerdict> {
    let &WarmIdentity {
        log,
        stream,
        segment,
        salt,
        facts,
    } = identity;
    let mut verdict = SegmentVerdict::default();
    let expect = ScanExpect {
        log,
        stream,
        segment,
        salt,
    };
    let bounds = Bounds::of(&SegmentStatus::Sealed(facts), None);
    let view = match view {
        Ok(view) => Arc::new(view),
        Err(fault) => {
            let mut damage = bounds.missing(&expect);
            damage.what = damage_of(path, called, fault)?;
            verdict.damage.push(damage);
            return Ok(verdict);
        }
    };
    let frames = view.index().frames();
    let mut whole = Whole::of(&view);
    for (nth, frame) in frames.iter().enumerate() {
        let Err(fault) = whole.frame(frame) else {
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
            what: damage_of(path, called, fault)?,
        });
    }
    if !verdict.damage.is_empty() {
        return Ok(verdict);
    }
    if let Err(fault) = whole.is(copy) {
        let mut damage = bounds.missing(&expect);
        damage.what = damage_of(path, called, fault)?;
        verdict.damage.push(damage);
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

/// Bytes between frames that are read at a time.
const PIECE: usize = 1 << 20;

/// All bytes of a compressed copy, read once and in order: the frames, and what stands around them.
struct Whole<'a> {
    view: &'a WarmView,
    crc: Crc64,
    /// Everything before was read.
    pos: u64,
}

impl<'a> Whole<'a> {
    fn of(view: &'a WarmView) -> Self {
        Self {
            view,
            crc: Crc64::new(),
            pos: 0,
        }
    }

    /// Reads and checks the next frame.
    fn frame(&mut self, frame: &WarmFrame) -> std::result::Result<(), WarmFault> {
        self.up_to(frame.stored_pos)?;
        let stored = self.take(frame.stored_len as usize)?;
        decode(&stored, frame).map(drop)
    }

    /// Reads the rest, and holds all of it against what was written.
    fn is(mut self, copy: &WarmCopy) -> std::result::Result<(), WarmFault> {
        self.up_to(copy.file_len)?;
        check_crc(self.crc.sum64(), copy)
    }

    fn up_to(&mut self, pos: u64) -> std::result::Result<(), WarmFault> {
        while self.pos < pos {
            let left = usize::try_from(pos - self.pos).unwrap_or(usize::MAX);
            self.take(left.min(PIECE))?;
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> std::result::Result<Vec<u8>, WarmFault> {
        let bytes = self.view.stored(self.pos, len)?;
        self.crc.write(&bytes);
        self.pos += len as u64;
        Ok(bytes)
    }
}

/// What is wrong with a compressed copy, in words; what is no damage stays an error.
fn damage_of(path: &Path, called: &str, fault: WarmFault) -> Result<String> {
    match fault {
        WarmFault::Disk(error) if error.is_missing() => Ok(format!("{called} is missing")),
        WarmFault::Disk(error) => Err(error),
        WarmFault::NewerVersion(found) => Err(StorageError::NewerVersion {
            path: path.to_path_buf(),
            found,
            supported: WARM_VERSION,
        }),
        fault => Ok(format!("in {called}, {fault}")),
    }
}
