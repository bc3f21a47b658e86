//! The index of a warm file: what each zstd frame holds, and the checksum of its stored bytes.
//!
//! ```text
//!   ┌────────────┬────────────┬──────────────────────┬──────────────────┐
//!   │ 0x184D2A5D │ length u32 │ n entries, 40 B each │ trailer, 32 B    │
//!   └────────────┴────────────┴──────────────────────┴──────────────────┘
//!   entry:   stored len u32 │ plain len u32 │ plain pos u64 │ offset u64 │ timestamp u64 │ crc64
//!   trailer: "TLWARMI1" │ version u16 │ length u16 │ n u32 │ crc64 of the head │ crc64
//! ```
//!
//! Plain position and length are bytes of the segment file; offset and timestamp are those of the first
//! record that begins in the frame. Frames follow one another from the end of the head on, so that
//! their places need no field. The trailer's checksum covers the entries and the trailer before it, and
//! with the checksum of the head in it an index belongs to one file alone.

use super::{
    HEAD_LEN, MAX_PLAIN, SKIPPABLE, SKIPPABLE_HEAD, WARM_FRAME, WARM_VERSION, WarmFault, WarmHead,
    WarmIdentity, seek_table, skippable, u16_at, u32_at, u64_at,
};
use crate::{crc::crc64, ids::Offset};

const MAGIC: [u8; 8] = *b"TLWARMI1";
const ENTRY: usize = 40;
const TRAILER: usize = 32;

/// The most frames that a file is believed to have: a segment of 16 GiB has a quarter of that.
const MAX_FRAMES: usize = 1 << 18;

/// The most bytes of the segment in a pair of frames, unless they hold a long record.
const MAX_PAIR: u64 = 2 * (WARM_FRAME as u64 + 64 * 1024);

/// One zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmFrame {
    /// Where it lies in the warm file.
    pub stored_pos: u64,
    /// Its bytes there.
    pub stored_len: u32,
    /// Where what it holds begins in the segment file.
    pub plain_pos: u64,
    /// How many bytes of that it holds.
    pub plain_len: u32,
    /// The offset of the first record in it.
    pub offset: Offset,
    /// The timestamp of that record.
    pub ts: u64,
    /// The CRC64 of its stored bytes.
    pub crc: u64,
}

/// What each zstd frame of a warm file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmIndex {
    frames: Vec<WarmFrame>,
}

/// What the end of a file tells.
#[derive(Debug)]
pub enum IndexTail {
    /// The index.
    Whole(WarmIndex),
    /// So many bytes from the end of the file are needed.
    Needs(u64),
}

impl WarmIndex {
    pub(super) fn new(frames: Vec<WarmFrame>) -> Self {
        Self { frames }
    }

    /// The frames, in order.
    pub fn frames(&self) -> &[WarmFrame] {
        &self.frames
    }

    /// The frame that holds a byte of the segment.
    pub fn at(&self, plain_pos: u64) -> Option<&WarmFrame> {
        let behind = self.frames.partition_point(|f| f.plain_pos <= plain_pos);
        let frame = self.frames.get(behind.checked_sub(1)?)?;
        (plain_pos < frame.plain_pos + u64::from(frame.plain_len)).then_some(frame)
    }

    /// The frame that holds a byte of the segment, and the one behind it where both are a pair: the first one and
    /// the second one, the third one and the fourth one, and so on, unless they are long. None for no such byte.
    pub fn pair_at(&self, plain_pos: u64) -> &[WarmFrame] {
        let behind = self.frames.partition_point(|f| f.plain_pos <= plain_pos);
        if self.at(plain_pos).is_none() {
            return &[];
        }
        let pair = self.frames.get(behind - 1..=behind).unwrap_or_default();
        let len: u64 = pair.iter().map(|frame| u64::from(frame.plain_len)).sum();
        match !pair.is_empty() && behind % 2 == 1 && len <= MAX_PAIR {
            true => pair,
            false => &self.frames[behind - 1..behind],
        }
    }

    /// Index and seek table, as they end a file.
    pub(super) fn encode(&self, head: &WarmHead) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.frames.len() * ENTRY + TRAILER);
        for frame in &self.frames {
            content.extend_from_slice(&frame.stored_len.to_le_bytes());
            content.extend_from_slice(&frame.plain_len.to_le_bytes());
            for field in [frame.plain_pos, frame.offset.get(), frame.ts, frame.crc] {
                content.extend_from_slice(&field.to_le_bytes());
            }
        }
        content.extend_from_slice(&MAGIC);
        content.extend_from_slice(&WARM_VERSION.to_le_bytes());
        content.extend_from_slice(&(TRAILER as u16).to_le_bytes());
        let count = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        content.extend_from_slice(&count.to_le_bytes());
        content.extend_from_slice(&head_crc(head).to_le_bytes());
        let crc = crc64(&[&content]);
        content.extend_from_slice(&crc.to_le_bytes());
        let mut out = skippable(SKIPPABLE, &content);
        let table = seek_table::encode(&self.lengths());
        out.extend_from_slice(&table);
        out
    }

    /// Reads the index from the last bytes of a file of `file_len`.
    ///
    /// # Errors
    /// `NewerVersion`, `Foreign`, or `Damaged`.
    pub fn parse(
        tail: &[u8],
        file_len: u64,
        identity: &WarmIdentity,
    ) -> Result<IndexTail, WarmFault> {
        const DAMAGED: WarmFault = WarmFault::Damaged("the index makes no sense");
        let counted = seek_table::count(tail)?;
        let count = counted
            .checked_sub(2)
            .filter(|n| (1..=MAX_FRAMES).contains(n));
        let count = count.ok_or(WarmFault::Damaged("the seek table makes no sense"))?;
        let (index_len, table_len) = (Self::len_for(count), seek_table::len_for(counted));
        let needs = (index_len + table_len) as u64;
        if needs + HEAD_LEN as u64 > file_len {
            return Err(WarmFault::Damaged("the seek table is longer than the file"));
        }
        let Some(from) = tail.len().checked_sub(index_len + table_len) else {
            return Ok(IndexTail::Needs(needs));
        };
        let (index, table) = tail[from..].split_at(index_len);
        let content = &index[SKIPPABLE_HEAD..];
        let (entries, trailer) = content.split_at(content.len() - TRAILER);
        if trailer[..8] != MAGIC {
            return Err(WarmFault::Damaged("the index does not end as one"));
        }
        if crc64(&[&content[..content.len() - 8]]) != u64_at(trailer, TRAILER - 8) {
            return Err(WarmFault::Damaged(
                "the checksum of the index does not match",
            ));
        }
        match u16_at(trailer, 8) {
            WARM_VERSION => {}
            0 => return Err(DAMAGED),
            newer => return Err(WarmFault::NewerVersion(newer)),
        }
        let head = WarmHead::of(identity);
        if u64_at(trailer, 16) != head_crc(&head) {
            return Err(WarmFault::Foreign("the index belongs to another file"));
        }
        let sane = u32_at(index, 0) == SKIPPABLE
            && u32_at(index, 4) as usize == content.len()
            && u32_at(trailer, 12) as usize == count;
        if !sane {
            return Err(DAMAGED);
        }
        let index = Self::of_entries(entries, file_len - needs, &head)?;
        seek_table::check(table, &index.lengths())?;
        Ok(IndexTail::Whole(index))
    }

    /// The frames must follow one another, in the file and in the segment, from end to end.
    fn of_entries(entries: &[u8], stored_end: u64, head: &WarmHead) -> Result<Self, WarmFault> {
        let (mut stored_pos, mut plain_pos) = (HEAD_LEN as u64, 0);
        let mut last = head.base;
        let mut frames = Vec::with_capacity(entries.len() / ENTRY);
        for entry in entries.chunks_exact(ENTRY) {
            let frame = WarmFrame {
                stored_pos,
                stored_len: u32_at(entry, 0),
                plain_len: u32_at(entry, 4),
                plain_pos: u64_at(entry, 8),
                offset: Offset(u64_at(entry, 16)),
                ts: u64_at(entry, 24),
                crc: u64_at(entry, 32),
            };
            let follows = frame.plain_pos == plain_pos
                && (1..=MAX_PLAIN).contains(&(frame.plain_len as usize))
                && frame.stored_len > 0
                && frame.stored_len as usize
                    <= zstd::zstd_safe::compress_bound(frame.plain_len as usize)
                && (last..=head.end).contains(&frame.offset)
                && (plain_pos > 0 || frame.offset == head.base);
            if !follows {
                return Err(WarmFault::Damaged(
                    "the frames of the index do not follow one another",
                ));
            }
            stored_pos += u64::from(frame.stored_len);
            plain_pos += u64::from(frame.plain_len);
            last = frame.offset;
            frames.push(frame);
        }
        if stored_pos != stored_end || plain_pos != head.plain_len {
            return Err(WarmFault::Damaged("the index does not cover the file"));
        }
        Ok(Self { frames })
    }

    const fn len_for(frames: usize) -> usize {
        SKIPPABLE_HEAD + frames * ENTRY + TRAILER
    }

    /// Of every frame of the file but the seek table, as that counts them.
    fn lengths(&self) -> Vec<(u32, u32)> {
        let head = (HEAD_LEN as u32, 0);
        let index = u32::try_from(Self::len_for(self.frames.len())).unwrap_or(u32::MAX);
        let frames = self.frames.iter().map(|f| (f.stored_len, f.plain_len));
        std::iter::once(head)
            .chain(frames)
            .chain(std::iter::once((index, 0)))
            .collect()
    }
}

fn head_crc(head: &WarmHead) -> u64 {
    u64_at(&head.encode(), HEAD_LEN - 8)
}
