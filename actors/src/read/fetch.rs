//! Reading jobs: from an offset to the checked block that holds it, in one hand-over.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tierlog_storage::{
    Damage, Offset, StorageError, StreamId,
    manifest::SealedFacts,
    segment::{
        Block, BlockError, Footer, FooterError, HEADER_LEN, Search, SparseIndex, block::next_good,
        block::read_block, header::SEGMENT_VERSION,
    },
};

use super::{
    blocks::{BLOCK, BlockKey},
    files::OpenFile,
    source::ReadContext,
    warm,
};
use crate::{
    options::ReadMode,
    stream::segments::{Segment, SegmentKind},
};

/// A border of frames: the frame at byte `pos` begins with `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) pos: u64,
    pub(super) offset: Offset,
}

impl Spot {
    /// Where the first frame of a segment is.
    pub(super) fn first(segment: &Segment) -> Self {
        Self {
            pos: HEADER_LEN,
            offset: segment.base,
        }
    }

    /// Where the frames behind a block go on.
    pub(super) fn behind(block: &Block) -> Self {
        Self {
            pos: block.next_pos,
            offset: block.end,
        }
    }
}

/// What a reader wants of a segment.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) stream: StreamId,
    pub(super) segment: Arc<Segment>,
    /// The offset that the block must hold.
    pub(super) wanted: Offset,
    /// A border at or before it; found by the index where it is not known.
    pub(super) from: Option<Spot>,
    /// About how many bytes to read.
    pub(super) want: usize,
    pub(super) task: Task,
    /// In Tier 2, since no copy here will do.
    pub(super) far: bool,
}

/// What to do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Read the block.
    Read,
    /// The frame at `from` was bad, twice: find out how far the damage goes.
    Diagnose,
    /// Only make the index.
    Index,
    /// Look again at somebody else's log.
    Refresh,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The block that holds the wanted offset, and where the block behind the next one begins, if that
    /// is known without reading the next one.
    Block(Block, Option<Spot>),
    /// The frame that begins here is bad.
    Bad { spot: Spot, what: String },
    /// The wanted offset is damaged; behind the damage frames go on at the spot.
    Damaged(Damage, Option<Spot>),
    /// What was bad does not concern the wanted offset: begin here.
    GoOn(Spot),
    /// No copy on this machine will do, and there is one in Tier 2.
    Far,
    /// The index is there, or what is known is up to date, as far as it can be.
    Done,
    /// The file could not be read.
    Failed(StorageError),
}

/// Does what was ordered. Blocks.
pub(super) fn carry_out(ctx: &ReadContext, order: &Order) -> Result<Fetched, StorageError> {
    if order.task == Task::Refresh {
        ctx.look_again();
        return Ok(Fetched::Done);
    }
    let fetched = read_somewhere(ctx, order);
    if is_damaged(&fetched) {
        // Of somebody else's log we may not have heard that the segment was cut, and what stands in the place
        // of its files is right by what it is now. Whoever ordered this looks at it again before he calls it
        // damage.
        ctx.look_again();
    }
    fetched
}

fn is_damaged(fetched: &Result<Fetched, StorageError>) -> bool {
    matches!(
        fetched,
        Ok(Fetched::Bad { .. } | Fetched::Damaged(..)) | Err(StorageError::Corrupt(_))
    )
}

fn read_somewhere(ctx: &ReadContext, order: &Order) -> Result<Fetched, StorageError> {
    ctx.used(&order.segment);
    let fetched = from_file(ctx, order);
    let is_damaged = is_damaged(&fetched);
    if order.far {
        if !is_damaged {
            return fetched;
        }
        // What came over the wire may be other bytes than are stored there: it is asked once more.
        ctx.forget_far(order.stream, &order.segment);
        return from_file(ctx, order);
    }
    if fetched.is_ok() && !is_damaged {
        return fetched;
    }
    // A good copy in another tier is read instead of a damaged one.
    if order.segment.copies.hot
        && let Some(instead) = warm::instead(ctx, order)
    {
        return Ok(instead);
    }
    match order.segment.copies.cold {
        Some(_) if ctx.remote().is_some() => {
            ctx.wish_healed(order.stream, &order.segment);
            Ok(Fetched::Far)
        }
        _ => fetched,
    }
}

fn from_file(ctx: &ReadContext, order: &Order) -> Result<Fetched, StorageError> {
    let whence = ctx.whence(order.stream)?;
    let open = match order.far {
        true => ctx.files.cold(&whence, &order.segment),
        false => ctx.files.get(&whence, &order.segment),
    };
    let open = match open {
        Err(StorageError::Corrupt(damage)) => return Ok(Fetched::Damaged(damage, None)),
        open => open?,
    };
    let expect = order.segment.identity(whence.log, order.stream);
    match open.know(&expect, &order.segment.span()) {
        Err(StorageError::Corrupt(damage)) => return Ok(Fetched::Damaged(damage, None)),
        known => known?,
    }
    match (order.task, order.from) {
        (Task::Diagnose, Some(spot)) => match open.warm() {
            Some(view) => Ok(warm::diagnose(order, view, spot)),
            None => diagnose(order, &open, spot),
        },
        (Task::Index, _) => ensure_index(order, &open).map(|()| Fetched::Done),
        _ => {
            let mut fetched = read(ctx, order, &open)?;
            if let Fetched::Block(block, beyond) = &mut fetched {
                *beyond = behind_next(ctx, order, &open, block);
            }
            Ok(fetched)
        }
    }
}

fn read(ctx: &ReadContext, order: &Order, open: &OpenFile) -> Result<Fetched, StorageError> {
    let segment = &order.segment;
    let mut spot = match order.from {
        Some(spot) => spot,
        None if order.wanted == segment.base => Spot::first(segment),
        None => {
            ensure_index(order, open)?;
            floor(segment, order.wanted)
        }
    };
    loop {
        let key = (order.stream, segment.no, spot.pos);
        match cached_block(ctx, order, open, spot) {
            Ok(block) if block.first != spot.offset => {
                // Can't be, since bytes below the end never change; what is cached is in doubt.
                ctx.blocks.drop_block(&key);
                let what = format!(
                    "a block with {} was cached for {}",
                    block.first, spot.offset
                );
                return Ok(Fetched::Bad { spot, what });
            }
            Ok(block) if block.end > order.wanted => return Ok(Fetched::Block(block, None)),
            Ok(block) => spot = Spot::behind(&block),
            Err(BlockError::Bad { fault, .. }) => {
                return Ok(Fetched::Bad {
                    spot,
                    what: fault.to_string(),
                });
            }
            Err(BlockError::Disk(error)) => return Err(error),
        }
    }
}

/// Where the block behind the one behind this begins, if that is known.
fn behind_next(ctx: &ReadContext, order: &Order, open: &OpenFile, block: &Block) -> Option<Spot> {
    let segment = &order.segment;
    if let Some(view) = open.warm() {
        ctx.decoded(order.stream, segment, block.bytes.len());
        return warm::beyond(view, segment, block);
    }
    if order.want < BLOCK {
        return None;
    }
    if let SegmentKind::Sealed(facts) = &segment.kind
        && segment.index().is_none()
    {
        // Without it one block is read ahead, and not two. Making it of the frames would read the whole segment.
        take_footer(segment, facts, open).ok()?;
    }
    border(segment, block.next_pos)
}

/// Up to where one who reads on and on reads from a byte on: a border that the index has, so that whoever
/// reads what is behind it begins there meanwhile, and does not wait until this shows where it ends.
fn border(segment: &Segment, from: u64) -> Option<Spot> {
    let index = segment.index()?.read();
    let entry = index
        .unwrap_or_else(PoisonError::into_inner)
        .ceil_pos(from + BLOCK as u64)?;
    // Behind a long record the next one may be far away.
    let is_near = entry.pos - from <= 2 * BLOCK as u64;
    (is_near && entry.offset < segment.end()).then_some(Spot {
        pos: entry.pos,
        offset: entry.offset,
    })
}

/// About how many bytes to read from a spot on.
fn wanted_bytes(order: &Order, spot: Spot) -> usize {
    let border = border(&order.segment, spot.pos).filter(|_| order.want >= BLOCK);
    border.map_or(order.want, |next| (next.pos - spot.pos) as usize)
}

/// Where the index says to begin for an offset.
pub(super) fn floor(segment: &Segment, offset: Offset) -> Spot {
    segment.floor(offset).map_or_else(
        || Spot::first(segment),
        |entry| Spot {
            pos: entry.pos,
            offset: entry.offset,
        },
    )
}

/// The block that begins at a spot, out of memory where it is there.
fn cached_block(
    ctx: &ReadContext,
    order: &Order,
    open: &OpenFile,
    spot: Spot,
) -> Result<Block, BlockError> {
    let key = key_of(order.stream, &order.segment, spot);
    let mut missed = false;
    let block = ctx.blocks.get_or_read(&key, || {
        missed = true;
        block_at(ctx, order, open, spot)
    });
    if missed {
        ctx.meters.block_misses.increment(1);
        ctx.show_blocks();
    } else {
        ctx.meters.block_hits.increment(1);
    }
    block
}

fn block_at(
    ctx: &ReadContext,
    order: &Order,
    open: &OpenFile,
    spot: Spot,
) -> Result<Block, BlockError> {
    let segment = &order.segment;
    if let Some(view) = open.warm() {
        return warm::block(view, segment, spot, order.want);
    }
    if let (ReadMode::Map, SegmentKind::Sealed(facts)) = (ctx.mode, &segment.kind) {
        let map = open.map(facts.file_len)?;
        return block_in_map(&map, segment, spot, wanted_bytes(order, spot));
    }
    read_block(
        open.file(),
        segment.salt,
        spot.pos,
        segment.end_byte(),
        spot.offset,
        wanted_bytes(order, spot),
    )
}

/// As `read_block`, out of a map.
fn block_in_map(
    map: &Bytes,
    segment: &Segment,
    spot: Spot,
    want: usize,
) -> Result<Block, BlockError> {
    let end = usize::try_from(segment.end_byte())
        .unwrap_or(usize::MAX)
        .min(map.len());
    let from = usize::try_from(spot.pos).unwrap_or(usize::MAX).min(end);
    let part = map.slice(from..end.min(from.saturating_add(want)));
    let block = match Block::of(part, spot.pos, segment.salt, spot.offset) {
        Ok(block) => Ok(block),
        // The first frame may be longer than what was wanted.
        Err(_) => Block::of(
            first_frame(&map.slice(from..end)),
            spot.pos,
            segment.salt,
            spot.offset,
        ),
    };
    block.map_err(|fault| BlockError::Bad {
        pos: spot.pos,
        offset: spot.offset,
        fault,
    })
}

fn first_frame(bytes: &Bytes) -> Bytes {
    let len = tierlog_storage::segment::FrameHead::parse(bytes).map_or(0, |head| head.total_len());
    bytes.slice(..len.min(bytes.len()))
}

/// Loads the index of a segment that has none in memory: from its footer or, where there is none
/// that is good, from its frames.
fn ensure_index(order: &Order, open: &OpenFile) -> Result<(), StorageError> {
    let segment = &order.segment;
    if segment.index().is_some() {
        return Ok(());
    }
    if let Some(view) = open.warm() {
        segment.keep_index(warm::index(view, segment));
        return Ok(());
    }
    if let SegmentKind::Sealed(facts) = &segment.kind {
        if take_footer(segment, facts, open)? {
            return Ok(());
        }
        // The frames may be whole all the same; `verify` reports the footer.
        tracing::warn!(
            target: "tierlog::reader",
            stream = %order.stream, segment = %segment.no, "a footer is damaged; reading frames"
        );
    }
    segment.keep_index(index_of_frames(order, open)?);
    Ok(())
}

/// Loads the index from the footer; false where that is damaged.
fn take_footer(
    segment: &Segment,
    facts: &SealedFacts,
    open: &OpenFile,
) -> Result<bool, StorageError> {
    let footer = Footer::read(&**open.file().file(), facts.file_len, segment.salt);
    match footer {
        Ok(footer) if (footer.base, footer.end) == (facts.base, facts.end) => {
            segment.keep_index(footer.index);
            Ok(true)
        }
        Err(FooterError::NewerVersion(found)) => Err(StorageError::NewerVersion {
            path: open.file().path().to_path_buf(),
            found,
            supported: SEGMENT_VERSION,
        }),
        _ => Ok(false),
    }
}

/// The index of a segment's good frames, however damaged the rest is.
fn index_of_frames(order: &Order, open: &OpenFile) -> Result<SparseIndex, StorageError> {
    const WANT: usize = 4 * BLOCK;
    let segment = &order.segment;
    let (file, salt, end_byte) = (open.file(), segment.salt, segment.end_byte());
    let mut index = SparseIndex::default();
    let mut spot = Spot::first(segment);
    let mut search = Search::new(file, salt, spot.pos, end_byte);
    while spot.pos < end_byte && spot.offset < segment.end() {
        match read_block(file, salt, spot.pos, end_byte, spot.offset, WANT) {
            Ok(block) => {
                let mut pos = block.pos;
                for (head, bytes) in block.frames() {
                    index.note(head.base, pos, head.base_ts);
                    pos += bytes.len() as u64;
                }
                spot = Spot::behind(&block);
            }
            Err(BlockError::Bad { .. }) => match search.next_good(spot.pos, spot.offset)? {
                Some((pos, head)) if (pos, head.base) != (spot.pos, spot.offset) => {
                    spot = Spot {
                        pos,
                        offset: head.base,
                    };
                }
                _ => break,
            },
            Err(BlockError::Disk(error)) => return Err(error),
        }
    }
    Ok(index)
}

/// How far the damage at a spot goes, and whether it has to do with the wanted offset.
fn diagnose(order: &Order, open: &OpenFile, spot: Spot) -> Result<Fetched, StorageError> {
    let segment = &order.segment;
    // The end first: bytes that the writer adds meanwhile belong to offsets beyond it.
    let end = segment.end();
    let end_byte = segment.end_byte();
    let found = next_good(open.file(), segment.salt, spot.pos, end_byte, spot.offset)?;
    let next = found.map(|(pos, head)| Spot {
        pos,
        offset: head.base,
    });
    let to = next.map_or(end, |next| next.offset.min(end));
    if let Some(next) = next
        && next.offset <= order.wanted
    {
        return Ok(Fetched::GoOn(next));
    }
    let damage = Damage {
        stream: order.stream,
        segment: segment.no,
        from: spot.offset,
        to,
        bytes: (spot.pos, next.map_or(end_byte, |next| next.pos)),
        what: String::new(),
    };
    Ok(Fetched::Damaged(damage, next))
}

/// The key of the block that begins at a spot.
pub(super) fn key_of(stream: StreamId, segment: &Segment, spot: Spot) -> BlockKey {
    (stream, segment.no, spot.pos)
}
