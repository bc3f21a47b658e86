//! From the stored bytes of a warm file back to those of the segment.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::{
    HEAD_LEN, IndexTail, MAX_PLAIN, WarmFault, WarmFrame, WarmHead, WarmIdentity, WarmIndex,
};
use crate::{crc::crc64, error::StorageError, segment::Latched};

thread_local! {
    /// Making one costs as much as decoding a short frame. It takes about 150 KiB a thread, and keeps
    /// nothing from one frame to the next.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Bytes of the file's end in which the index of most files lies whole.
const TAIL: u64 = 64 * 1024;

/// Reads and checks head and index of a local warm file.
///
/// # Errors
/// `Damaged`, `Foreign`, `NewerVersion`; `Disk` when it could not be read.
pub fn read_index(
    file: &Latched,
    file_len: u64,
    identity: &WarmIdentity,
) -> Result<WarmIndex, WarmFault> {
    let head = read_exact(file, 0, HEAD_LEN)?;
    WarmHead::decode(&head)?.check(identity)?;
    let mut want = TAIL.min(file_len);
    loop {
        let len = usize::try_from(want).unwrap_or(usize::MAX);
        let tail = read_exact(file, file_len - want, len)?;
        match WarmIndex::parse(&tail, file_len, identity)? {
            IndexTail::Whole(index) => return Ok(index),
            // More than before, and no more than the file has: both were checked.
            IndexTail::Needs(more) => want = more,
        }
    }
}

/// Decodes the stored bytes of one zstd frame, once their checksum was found right.
///
/// # Errors
/// `Damaged` when they are not the bytes that were stored, or would decode to more than the index
/// says; `Zstd` when they can't be decoded all the same.
pub fn decode(stored: &[u8], frame: &WarmFrame) -> Result<Bytes, WarmFault> {
    decode_all(stored, std::slice::from_ref(frame))
}

/// The same of frames that lie one behind the other, all at once.
fn decode_all(stored: &[u8], frames: &[WarmFrame]) -> Result<Bytes, WarmFault> {
    let (mut len, mut rest) = (0, stored);
    for frame in frames {
        let part = rest.split_off(..frame.stored_len as usize);
        let part = part.filter(|part| crc64(&[part]) == frame.crc);
        let part = part.ok_or(WarmFault::Damaged(
            "the checksum of a compressed frame does not match",
        ))?;
        let said = zstd::zstd_safe::get_frame_content_size(part);
        len += frame.plain_len as usize;
        if len > MAX_PLAIN || !matches!(said, Ok(Some(said)) if said == u64::from(frame.plain_len))
        {
            return Err(WarmFault::Damaged(
                "a compressed frame decodes to another length than the index says",
            ));
        }
    }
    if !rest.is_empty() {
        return Err(WarmFault::Damaged("a compressed frame has another length"));
    }
    let plain = DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut decompressor = match kept.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        let plain = decompressor.decompress(stored, len);
        *kept = Some(decompressor);
        plain
    });
    let plain = plain.map_err(|error: std::io::Error| WarmFault::Zstd(error.to_string()))?;
    if plain.len() != len {
        return Err(WarmFault::Damaged("a compressed frame is cut short"));
    }
    Ok(plain.into())
}

/// Reads and decodes one zstd frame of a local warm file.
///
/// # Errors
/// As [`decode`]; `Disk` when it could not be read.
pub fn read_frame(file: &Latched, frame: &WarmFrame) -> Result<Bytes, WarmFault> {
    let stored = read_exact(file, frame.stored_pos, frame.stored_len as usize)?;
    decode(&stored, frame)
}

/// Reads and decodes zstd frames that lie one behind the other, in one read.
///
/// # Errors
/// As [`read_frame`], of whichever frame; `Damaged` where there is none.
pub(super) fn read_frames(file: &Latched, frames: &[WarmFrame]) -> Result<Bytes, WarmFault> {
    let first = frames.first().ok_or(WarmFault::Damaged("no frame"))?;
    let len = frames.iter().map(|frame| frame.stored_len as usize).sum();
    decode_all(&read_exact(file, first.stored_pos, len)?, frames)
}

/// Decodes all of a local warm file, in order, and hands the bytes of the segment to `take`.
///
/// # Errors
/// As [`decode`], and what `take` gives.
pub fn restore(
    file: &Latched,
    index: &WarmIndex,
    take: &mut dyn FnMut(u64, &Bytes) -> Result<(), StorageError>,
) -> Result<(), WarmFault> {
    for frame in index.frames() {
        take(frame.plain_pos, &read_frame(file, frame)?)?;
    }
    Ok(())
}

/// So many bytes; fewer are damage, since every length was checked against the file's.
pub(super) fn read_exact(file: &Latched, pos: u64, len: usize) -> Result<Vec<u8>, WarmFault> {
    let mut bytes = Vec::new();
    if file.read_behind(&mut bytes, len, pos)? < len {
        return Err(WarmFault::Damaged("the file is cut short"));
    }
    Ok(bytes)
}
