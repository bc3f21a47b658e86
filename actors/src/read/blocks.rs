//! Checked blocks that readers share, bounded in bytes.

use foldhash::fast::FixedState;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache};
use tierlog_storage::{SegmentNo, StreamId, segment::Block};

/// Which block: the stream, the segment, and where it begins in the file. Segment numbers are never
/// used twice and bytes below the end of a segment never change, so an entry never becomes wrong;
/// whoever takes it still stops at the end that the segment has for him.
pub(super) type BlockKey = (StreamId, SegmentNo, u64);

/// A block of this many bytes is read at a time by those who read on and on.
pub(super) const BLOCK: usize = 256 * 1024;

/// A block of this many bytes is read by those who have just jumped somewhere.
pub(super) const FIRST_BLOCK: usize = 64 * 1024;

/// What a cached block costs beside its bytes.
const ENTRY_COST: u64 = 128;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<BlockKey, Block> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &Block) -> u64 {
        block.bytes.len() as u64 + ENTRY_COST
    }
}

/// How the keys of caches are hashed. Which entry goes for another depends on the hashes: with other ones in each run, one
/// that is made again from its seed would read other things. Keys are numbers of ours, and nobody's choice.
pub(super) type Hashed = FixedState;

/// The cache of checked blocks.
#[derive(Debug)]
pub struct Blocks {
    cache: Cache<BlockKey, Block, ByBytes, Hashed>,
}

impl Blocks {
    /// A cache of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        // A shard smaller than some blocks would never take one: few shards for small caches.
        let shards = (limit / (16 * BLOCK)).clamp(1, 8);
        let items = (limit / FIRST_BLOCK).max(16);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(items)
            .weight_capacity(limit as u64)
            .build();
        let cache = match options {
            Ok(options) => {
                Cache::with_options(options, ByBytes, Hashed::default(), Default::default())
            }
            Err(_) => Cache::with(
                items,
                limit as u64,
                ByBytes,
                Hashed::default(),
                Default::default(),
            ),
        };
        Self { cache }
    }

    /// The block, if it is in memory.
    pub(super) fn get(&self, key: &BlockKey) -> Option<Block> {
        self.cache.get(key)
    }

    /// Whether the block is in memory.
    pub(super) fn has(&self, key: &BlockKey) -> bool {
        self.cache.contains_key(key)
    }

    /// The block, read by `read` if it is not there; who else asks for it waits for that read. To
    /// be called on a thread that may block.
    pub(super) fn get_or_read<E>(
        &self,
        key: &BlockKey,
        read: impl FnOnce() -> Result<Block, E>,
    ) -> Result<Block, E> {
        self.cache.get_or_insert_with(key, read)
    }

    /// Keeps a block that was read elsewhere.
    pub(super) fn keep(&self, key: BlockKey, block: Block) {
        self.cache.insert(key, block);
    }

    /// Drops one block: what stands there is in doubt.
    pub(super) fn drop_block(&self, key: &BlockKey) {
        self.cache.remove(key);
    }

    /// Drops the blocks of segments that are gone.
    pub fn forget(&self, stream: StreamId, gone: &[SegmentNo]) {
        if !gone.is_empty() {
            self.cache
                .retain(|(of, no, _), _| *of != stream || !gone.contains(no));
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.cache.weight()
    }
}
