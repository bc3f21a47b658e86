//! From a sealed segment to a warm file, and the proof that the one stands for the other.

use zstd::bulk::Compressor;

use super::{
    Pace, WARM_FRAME, WarmFault, WarmFrame, WarmHead, WarmIdentity, WarmIndex, decode,
    read::read_exact, read_index,
};
use crate::{
    crc::{Crc64, crc64},
    error::{Damage, StorageError},
    ids::Offset,
    segment::{
        Block, BlockError, Digest, HEADER_LEN, Latched, SegmentHeader, header::header_crc,
        read_block,
    },
};

/// How a segment is compressed.
#[derive(Debug, Clone, Copy)]
pub struct WarmOptions {
    /// The level of zstd.
    pub level: i32,
    /// About how many bytes of the segment go into one zstd frame.
    pub frame: usize,
}

impl Default for WarmOptions {
    fn default() -> Self {
        Self {
            level: 3,
            frame: WARM_FRAME,
        }
    }
}

/// A warm file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// Its length.
    pub file_len: u64,
    /// The CRC64 of all of it.
    pub crc: u64,
}

/// What is written, and the checksum of it so far.
struct Output<'a> {
    file: &'a Latched,
    pos: u64,
    crc: Crc64,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_at(bytes, self.pos)?;
        self.pos += bytes.len() as u64;
        self.crc.write(bytes);
        Ok(())
    }
}

/// Compresses a sealed segment into an empty file, checking every frame of it on the way: a damaged
/// segment is an error, never a shorter copy. Nothing is synced.
///
/// `pace` is called with the bytes read so far before each piece; it may wait, or say that it is not
/// to go on.
///
/// # Errors
/// `Disk(Corrupt)` for the segment, `Foreign` when it is not the one named, `Disk` for either file.
pub fn compress(
    segment: &Latched,
    identity: &WarmIdentity,
    options: &WarmOptions,
    out: &Latched,
    pace: Pace<'_>,
) -> Result<Compressed, WarmFault> {
    let mut zstd = Compressor::new(options.level).map_err(|e| WarmFault::Zstd(e.to_string()))?;
    let facts = &identity.facts;
    let head = WarmHead::of(identity);
    let mut output = Output {
        file: out,
        pos: 0,
        crc: Crc64::new(),
    };
    output.put(&head.encode())?;
    let (header, mut digest) = read_header(segment, identity)?;
    let mut frames = Vec::new();
    let (mut pos, mut at) = (HEADER_LEN, facts.base);
    let mut take = |plain: &[u8], plain_pos: u64, first: (Offset, u64)| {
        let stored = zstd
            .compress(plain)
            .map_err(|error| WarmFault::Zstd(error.to_string()))?;
        frames.push(WarmFrame {
            stored_pos: output.pos,
            stored_len: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            plain_pos,
            plain_len: u32::try_from(plain.len()).unwrap_or(u32::MAX),
            offset: first.0,
            ts: first.1,
            crc: crc64(&[&stored]),
        });
        output.put(&stored).map_err(WarmFault::from)
    };
    while pos < facts.data_end {
        if !pace(pos) {
            return Err(WarmFault::Stopped);
        }
        let block = read_block(
            segment,
            identity.salt,
            pos,
            facts.data_end,
            at,
            options.frame,
        )
        .map_err(|error| damaged(identity, error))?;
        let ts = note(&block, &mut digest);
        if pos == HEADER_LEN {
            let plain = [&header[..], &block.bytes].concat();
            take(&plain, 0, (block.first, ts))?;
        } else {
            take(&block.bytes, pos, (block.first, ts))?;
        }
        (pos, at) = (block.next_pos, block.end);
    }
    if at != facts.end || digest.value() != facts.digest {
        return Err(WarmFault::Foreign("its end or its digest"));
    }
    let footer_len = usize::try_from(facts.file_len.saturating_sub(facts.data_end));
    let footer = read_exact(segment, facts.data_end, footer_len.unwrap_or(usize::MAX))?;
    take(&footer, facts.data_end, (facts.end, facts.last_ts))?;
    let index = WarmIndex::new(frames);
    output.put(&index.encode(&head))?;
    Ok(Compressed {
        file_len: output.pos,
        crc: output.crc.sum64(),
    })
}

/// Decodes all of a warm file and holds it against the segment, byte by byte, and against its own
/// checksum: only then it may stand for it.
///
/// # Errors
/// What differs; `Disk` when either could not be read.
pub fn compare(
    segment: &Latched,
    warm: &Latched,
    identity: &WarmIdentity,
    written: &Compressed,
    pace: Pace<'_>,
) -> Result<(), WarmFault> {
    if warm.len()? != written.file_len {
        return Err(WarmFault::Damaged(
            "the file is not as long as what was written",
        ));
    }
    let index = read_index(warm, written.file_len, identity)?;
    let mut crc = Crc64::new();
    crc.write(&WarmHead::of(identity).encode());
    let mut end = 0;
    for frame in index.frames() {
        if !pace(frame.plain_pos) {
            return Err(WarmFault::Stopped);
        }
        let stored = read_exact(warm, frame.stored_pos, frame.stored_len as usize)?;
        crc.write(&stored);
        end = frame.stored_pos + stored.len() as u64;
        let plain = decode(&stored, frame)?;
        let original = read_exact(segment, frame.plain_pos, plain.len())?;
        if plain != original {
            return Err(WarmFault::Damaged("it does not decode to the segment"));
        }
    }
    let rest = usize::try_from(written.file_len - end).unwrap_or(usize::MAX);
    crc.write(&read_exact(warm, end, rest)?);
    if crc.sum64() != written.crc {
        return Err(WarmFault::Damaged(
            "its checksum is not that of what was written",
        ));
    }
    Ok(())
}

fn read_header(
    segment: &Latched,
    identity: &WarmIdentity,
) -> Result<([u8; HEADER_LEN as usize], Digest), WarmFault> {
    let bytes = read_exact(segment, 0, HEADER_LEN as usize)?;
    let bytes: [u8; HEADER_LEN as usize] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| WarmFault::Damaged("the header is cut short"))?;
    match SegmentHeader::decode(&bytes) {
        Ok(Some(header))
            if (header.log, header.stream, header.segment)
                == (identity.log, identity.stream, identity.segment)
                && (header.salt, header.base) == (identity.salt, identity.facts.base) => {}
        Ok(Some(_)) => return Err(WarmFault::Foreign("the header of the segment")),
        Ok(None) | Err(_) => {
            let facts = &identity.facts;
            return Err(WarmFault::Disk(StorageError::Corrupt(Damage {
                stream: identity.stream,
                segment: identity.segment,
                from: facts.base,
                to: facts.base,
                bytes: (0, HEADER_LEN),
                what: "the header of the segment is damaged".to_owned(),
            })));
        }
    }
    let digest = Digest::new(header_crc(&bytes));
    Ok((bytes, digest))
}

/// Takes the checksums of a block's frames into the digest; gives the time of its first record.
fn note(block: &Block, digest: &mut Digest) -> u64 {
    let mut first = None;
    for (head, _) in block.frames() {
        digest.push(head.crc);
        first.get_or_insert(head.base_ts);
    }
    first.unwrap_or(0)
}

pub(super) fn damaged(identity: &WarmIdentity, error: BlockError) -> WarmFault {
    match error {
        BlockError::Disk(error) => WarmFault::Disk(error),
        BlockError::Bad { pos, offset, fault } => WarmFault::Disk(StorageError::Corrupt(Damage {
            stream: identity.stream,
            segment: identity.segment,
            from: offset,
            to: identity.facts.end,
            bytes: (pos, identity.facts.data_end),
            what: fault.to_string(),
        })),
    }
}
