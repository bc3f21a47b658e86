//! Reading out of a compressed file, or out of an object that is one: only the zstd frames that are
//! needed.

use std::sync::Arc;

use bytes::Bytes;
use tierlog_storage::{
    Damage,
    segment::{Block, BlockError, FrameFault, HEADER_LEN, SparseIndex},
    warm::{WarmFault, WarmFrame, WarmView},
};

use super::{
    blocks::BLOCK,
    fetch::{Fetched, Order, Spot, Task},
    source::ReadContext,
};
use crate::stream::segments::Segment;

/// The frames from a spot on to the end of the zstd frame that they lie in; for those who read on and on to
/// the end of the pair of them, since each job wakes a thread, and then the reader.
pub(super) fn block(
    view: &WarmView,
    segment: &Segment,
    spot: Spot,
    want: usize,
) -> Result<Block, BlockError> {
    let pair = view.index().pair_at(spot.pos);
    if want >= BLOCK
        && let [first, _] = pair
    {
        match view.frames(pair) {
            Ok(plain) => {
                if let Ok(block) = cut(&plain, first.plain_pos, segment, spot) {
                    return Ok(block);
                }
            }
            // Who waits for a store that does not answer shall not wait for it twice.
            Err(WarmFault::Disk(error)) => return Err(BlockError::Disk(error)),
            Err(_) => {}
        }
    }
    // Alone, so that what is bad about the second one is told when its turn has come.
    one(view, segment, spot)
}

fn one(view: &WarmView, segment: &Segment, spot: Spot) -> Result<Block, BlockError> {
    let bad = |fault| BlockError::Bad {
        pos: spot.pos,
        offset: spot.offset,
        fault,
    };
    let Some(frame) = view.index().at(spot.pos) else {
        return Err(bad(FrameFault::Cut));
    };
    let plain = view.frame(frame).map_err(|fault| match fault {
        WarmFault::Disk(error) => BlockError::Disk(error),
        // What exactly is wrong with the stored bytes is told by `verify`.
        _ => bad(FrameFault::Crc),
    })?;
    cut(&plain, frame.plain_pos, segment, spot).map_err(bad)
}

/// The frames from a spot on in the bytes of the segment that begin at `pos`.
fn cut(plain: &Bytes, pos: u64, segment: &Segment, spot: Spot) -> Result<Block, FrameFault> {
    let at = |byte: u64| {
        let within = byte.saturating_sub(pos);
        usize::try_from(within)
            .unwrap_or(usize::MAX)
            .min(plain.len())
    };
    let range = at(spot.pos)..at(segment.end_byte()).max(at(spot.pos));
    // A small part would keep all of it in memory, and the cache counts the part.
    let part = match range.len() < plain.len() / 2 {
        true => Bytes::copy_from_slice(&plain[range]),
        false => plain.slice(range),
    };
    Block::of(part, spot.pos, segment.salt, spot.offset)
}

/// Where the block behind the one behind this begins, for those who read on and on.
pub(super) fn beyond(view: &WarmView, segment: &Segment, block: &Block) -> Option<Spot> {
    let next = view.index().pair_at(block.next_pos).last()?;
    let frame = view
        .index()
        .at(next.plain_pos + u64::from(next.plain_len))?;
    (frame.plain_pos < segment.end_byte()).then(|| begin(frame))
}

/// Where to begin for an offset or a time, as the file's own index says.
pub(super) fn index(view: &WarmView, segment: &Segment) -> SparseIndex {
    let mut index = SparseIndex::default();
    for frame in frames(view, segment) {
        index.note(frame.offset, begin(frame).pos, frame.ts);
    }
    index
}

/// How far the damage at a spot goes: to the next zstd frame that can be decoded.
pub(super) fn diagnose(order: &Order, view: &WarmView, spot: Spot) -> Fetched {
    let segment = &order.segment;
    let mut behind = frames(view, segment).filter(|frame| frame.plain_pos > spot.pos);
    let next = behind.find(|frame| view.frame(frame).is_ok()).map(begin);
    if let Some(next) = next
        && next.offset <= order.wanted
    {
        return Fetched::GoOn(next);
    }
    let damage = Damage {
        stream: order.stream,
        segment: segment.no,
        from: spot.offset,
        to: next.map_or(segment.end(), |next| next.offset),
        bytes: (spot.pos, next.map_or(segment.end_byte(), |next| next.pos)),
        what: match order.far {
            true => "in the object in Tier 2, a frame can't be decoded".into(),
            false => "in the compressed file, a frame can't be decoded".into(),
        },
    };
    Fetched::Damaged(damage, next)
}

/// What was wanted of a segment whose file is bad, from its compressed file, if there is one.
pub(super) fn instead(ctx: &ReadContext, order: &Order) -> Option<Fetched> {
    let segment = &order.segment;
    segment.copies.warm?;
    let whence = ctx.whence(order.stream).ok()?;
    let open = ctx.files.warm(&whence, segment).ok()?;
    let view: &Arc<WarmView> = open.warm()?;
    if order.task == Task::Index {
        segment.keep_index(index(view, segment));
        ctx.wish_healed(order.stream, segment);
        return Some(Fetched::Done);
    }
    let before = frames(view, segment).filter(|frame| frame.offset <= order.wanted);
    let mut spot = order.from.or(before.last().map(begin))?;
    loop {
        let block = one(view, segment, spot).ok()?;
        if block.end > order.wanted {
            ctx.wish_healed(order.stream, segment);
            return Some(Fetched::Block(block, None));
        }
        spot = Spot::behind(&block);
    }
}

/// The zstd frames that hold records.
fn frames<'a>(view: &'a WarmView, segment: &Segment) -> impl Iterator<Item = &'a WarmFrame> {
    let end = segment.end_byte();
    let all = view.index().frames().iter();
    all.filter(move |frame| frame.plain_pos < end)
}

/// Where the first frame of the segment in a zstd frame begins.
fn begin(frame: &WarmFrame) -> Spot {
    Spot {
        pos: frame.plain_pos.max(HEADER_LEN),
        offset: frame.offset,
    }
}
