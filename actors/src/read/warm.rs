//! Reading out of a compressed file: only the zstd frames that are needed.

use std::sync::Arc;

use tierlog_storage::{
    Damage,
    segment::{Block, BlockError, FrameFault, HEADER_LEN, SparseIndex},
    warm::{WarmFault, WarmFrame, WarmView},
};

use super::{
    fetch::{Fetched, Order, Spot},
    source::ReadContext,
};
use crate::stream::segments::Segment;

/// The frames from a spot on to the end of the zstd frame that they lie in.
pub(super) fn block(view: &WarmView, segment: &Segment, spot: Spot) -> Result<Block, BlockError> {
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
    let at = |pos: u64| {
        let within = pos.saturating_sub(frame.plain_pos);
        usize::try_from(within)
            .unwrap_or(usize::MAX)
            .min(plain.len())
    };
    let part = plain.slice(at(spot.pos)..at(segment.end_byte()).max(at(spot.pos)));
    Block::of(part, spot.pos, segment.salt, spot.offset).map_err(bad)
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
        what: "in the compressed file, a frame can't be decoded".into(),
    };
    Fetched::Damaged(damage, next)
}

/// The block at a spot that is bad in the segment file, from its compressed file, if there is one.
pub(super) fn instead(ctx: &ReadContext, order: &Order, spot: Spot) -> Option<Fetched> {
    let segment = &order.segment;
    segment.copies.warm?;
    let log = ctx.log().ok()?;
    let open = ctx
        .files
        .warm(&*ctx.disk, &ctx.layout, log, order.stream, segment)
        .ok()?;
    let view: &Arc<WarmView> = open.warm()?;
    let mut spot = spot;
    loop {
        let block = block(view, segment, spot).ok()?;
        if block.end > order.wanted {
            ctx.wish_healed(order.stream, segment);
            return Some(Fetched::Block(block));
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
