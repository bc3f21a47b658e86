//! Reading whole checked frames, a block at a time.

use bytes::Bytes;

use super::{
    file::Latched,
    frame::{FRAME_HEAD, FrameFault, FrameHead, check_frame, check_head},
    resync::{Found, Resync, Wanted},
};
use crate::{
    Offset,
    error::{Result, StorageError},
};

/// Whole checked frames, back to back.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// The frames.
    pub bytes: Bytes,
    /// Where they begin in the file.
    pub pos: u64,
    /// The byte behind them.
    pub next_pos: u64,
    /// The offset of the first record.
    pub first: Offset,
    /// The offset behind the last record.
    pub end: Offset,
}

/// Why there is no block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The frame whose turn it was is not good.
    #[error("at byte {pos}, where offset {offset} should be: {fault}")]
    Bad {
        /// Where it should be.
        pos: u64,
        /// The offset with which it should begin.
        offset: Offset,
        /// What is wrong with it.
        fault: FrameFault,
    },
    /// The file could not be read.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

impl Block {
    /// Checks the frames at the start of `bytes`, which lie at `pos`; the first must begin with
    /// `expected` and each next one where the one before it ended.
    ///
    /// Stops before a frame that is bad or not whole, if at least one came before it.
    pub fn of(bytes: Bytes, pos: u64, salt: u64, expected: Offset) -> Result<Self, FrameFault> {
        let mut len = 0;
        let mut end = expected;
        while let Some(rest) = bytes.get(len..).filter(|rest| !rest.is_empty()) {
            match next_frame(rest, salt, end) {
                Ok(head) => {
                    len += head.total_len();
                    end = head.end();
                }
                Err(fault) if len == 0 => return Err(fault),
                Err(_) => break,
            }
        }
        if len == 0 {
            return Err(FrameFault::Cut);
        }
        Ok(Self {
            bytes: bytes.slice(..len),
            pos,
            next_pos: pos + len as u64,
            first: expected,
            end,
        })
    }

    /// The frames, with their heads.
    pub fn frames(&self) -> impl Iterator<Item = (FrameHead, Bytes)> + use<> {
        let mut rest = self.bytes.clone();
        std::iter::from_fn(move || {
            let head = FrameHead::parse(&rest)?;
            let len = head.total_len();
            (len <= rest.len()).then(|| (head, rest.split_to(len)))
        })
    }
}

impl std::fmt::Debug for Block {
    /// Without the bytes: no payload ever reaches a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("pos", &self.pos)
            .field("next_pos", &self.next_pos)
            .field("first", &self.first)
            .field("end", &self.end)
            .finish()
    }
}

fn next_frame(bytes: &[u8], salt: u64, expected: Offset) -> Result<FrameHead, FrameFault> {
    let head = check_frame(bytes, salt)?;
    if head.base != expected {
        return Err(FrameFault::Base(head.base));
    }
    Ok(head)
}

/// Reads about `want` bytes of frames from `pos` on, at least one frame however long it is, and
/// none of `end_byte` and beyond.
///
/// The first frame must begin with `expected`. A frame that is bad ends the block before it; where
/// it is the first one, it is the error.
pub fn read_block(
    file: &Latched,
    salt: u64,
    pos: u64,
    end_byte: u64,
    expected: Offset,
    want: usize,
) -> Result<Block, BlockError> {
    let bad = |fault| BlockError::Bad {
        pos,
        offset: expected,
        fault,
    };
    let room = end_byte.saturating_sub(pos);
    let mut bytes = read_more(
        file,
        pos,
        Vec::new(),
        room.min(want.max(FRAME_HEAD) as u64) as usize,
    )?;
    let head = check_head(&bytes).map_err(bad)?;
    // What the head says may be damage: it is held against the room and the cap on bodies, which
    // parsing did, before that much is allocated; and against the offset, to read less for nothing.
    if head.base != expected {
        return Err(bad(check_frame(&bytes, salt)
            .map_or_else(|fault| fault, |head| FrameFault::Base(head.base))));
    }
    if head.total_len() as u64 > room {
        return Err(bad(FrameFault::Cut));
    }
    if head.total_len() > bytes.len() {
        bytes = read_more(file, pos, bytes, head.total_len())?;
    }
    Block::of(bytes.into(), pos, salt, expected).map_err(bad)
}

/// Makes `len` bytes, or as many as the file has, of those that were read at `pos` already.
fn read_more(file: &Latched, pos: u64, mut have: Vec<u8>, len: usize) -> Result<Vec<u8>> {
    let more = len.saturating_sub(have.len());
    let from = pos + have.len() as u64;
    file.read_behind(&mut have, more, from)?;
    Ok(have)
}

/// Looks for good frames behind bad ones. What it costs for all of them together is linear in the
/// length of the segment, whatever the damaged bytes are.
#[derive(Debug)]
pub struct Search<'a>(Resync<'a>);

impl<'a> Search<'a> {
    /// A search from `begin` up to `end_byte`.
    pub fn new(file: &'a Latched, salt: u64, begin: u64, end_byte: u64) -> Self {
        Self(Resync::new(file, salt, begin, end_byte))
    }

    /// The next good frame behind a bad one: where it lies and what its head says.
    ///
    /// `from` is where the bad frame begins, never before that of the last call, and `at_least` the
    /// offset that it ought to begin with. The frame found may lie at `from` itself, if a good one is
    /// there that begins with a later offset; one that lies behind has a base beyond `at_least`, which
    /// the bad frame holds, and no more beyond than fits between. Its checksum was checked. See the
    /// module `resync` for what can be mistaken for a frame.
    pub fn next_good(&mut self, from: u64, at_least: Offset) -> Result<Option<(u64, FrameHead)>> {
        let wanted = Wanted {
            from,
            expected: Some(at_least),
        };
        Ok(match self.0.find(&wanted)? {
            Found::Frame(at, head) => Some((at, head)),
            Found::Nothing { .. } => None,
        })
    }
}

/// As [`Search::next_good`], for one bad frame.
pub fn next_good(
    file: &Latched,
    salt: u64,
    from: u64,
    end_byte: u64,
    at_least: Offset,
) -> Result<Option<(u64, FrameHead)>> {
    Search::new(file, salt, from, end_byte).next_good(from, at_least)
}
