//! Blocks that the system has in memory, read without handing over to a thread.
//!
//! Reading one record takes some microseconds then, and waking a thread and being woken by it several times as
//! much. It never waits for the disk: what is not in memory is left to a reading job, and so is all that looks
//! damaged.

use tierlog_storage::{Offset, StreamId, segment::Block};

use super::{
    blocks::FIRST_BLOCK,
    fetch::{Spot, key_of},
    source::ReadContext,
};
use crate::stream::segments::Segment;

/// Blocks that are looked at. Frames of 64 KiB may have one entry of the index for two of them.
const MOST: usize = 3;

/// The block that holds `wanted`, from a border at or before it on. For those who have just jumped somewhere:
/// for those who read on and on, threads read ahead meanwhile.
pub(super) fn block(
    ctx: &ReadContext,
    stream: StreamId,
    segment: &Segment,
    mut spot: Spot,
    wanted: Offset,
) -> Option<Block> {
    let file = ctx.files.at_hand(stream, segment)?;
    for _ in 0..MOST {
        let key = key_of(stream, segment, spot);
        let block = match ctx.blocks.get(&key) {
            Some(block) => block,
            None => {
                let room = segment.end_byte().saturating_sub(spot.pos);
                let mut bytes = vec![0; room.min(FIRST_BLOCK as u64) as usize];
                if !file.read_in_memory(&mut bytes, spot.pos) {
                    return None;
                }
                let block = Block::of(bytes.into(), spot.pos, segment.salt, spot.offset).ok()?;
                ctx.blocks.keep(key, block.clone());
                ctx.meters.block_misses.increment(1);
                block
            }
        };
        if block.first != spot.offset {
            return None;
        }
        if block.end > wanted {
            ctx.used(segment);
            ctx.show_blocks();
            return Some(block);
        }
        spot = Spot::behind(&block);
    }
    None
}
