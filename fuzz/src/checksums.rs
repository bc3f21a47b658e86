//! Makes the checksums in a mutated file right, so that what lies behind them is reached.

use crate::storage::{
    catalog::CATALOG_HEAD,
    crc::crc64,
    manifest::{
        chunk::{CHUNK_HEADER, CHUNK_TRAILER, FILE_HEADER, FIRST_CHUNK, is_chunk_size},
        commit::COMMIT_HEAD,
    },
    segment::{FRAME_HEAD, FrameHead, HEADER_LEN},
    warm::HEAD_LEN,
};

const TRAILER: usize = 128;
const INDEX_ENTRY: usize = 24;
const ENTRY_HEAD: usize = 16;
/// The head of a warm file, and of each skippable frame of it.
const WARM_HEAD: usize = HEAD_LEN;
const SKIPPABLE: usize = 8;

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// A structure of 128 bytes whose last eight are the checksum of the others: headers, `CURRENT`.
pub fn head(bytes: &mut [u8]) {
    if bytes.len() >= FILE_HEADER {
        let crc = crc64(&[&bytes[..FILE_HEADER - 8]]);
        put(bytes, FILE_HEADER - 8, crc);
    }
}

/// An object of the catalog: the length and the checksum of its body, then the header.
pub fn catalog(bytes: &mut [u8]) {
    if bytes.len() >= CATALOG_HEAD {
        let (len, crc) = (bytes.len() - CATALOG_HEAD, crc64(&[&bytes[CATALOG_HEAD..]]));
        put(bytes, 96, len as u64);
        put(bytes, 104, crc);
        head(bytes);
    }
}

/// A slot of the claims file.
pub fn claim(slot: &mut [u8]) {
    if slot.len() == 64 {
        let crc = crc64(&[&slot[..56]]);
        put(slot, 56, crc);
    }
}

/// One frame at the beginning of `bytes`; answers its length, if its head has a sane one.
pub fn frame(bytes: &mut [u8], salt: u64) -> Option<usize> {
    let len = FrameHead::parse(bytes)?.total_len();
    let frame = bytes
        .get_mut(..len)
        .filter(|frame| frame.len() >= FRAME_HEAD)?;
    let crc = crc64(&[&salt.to_le_bytes(), &frame[..8], &frame[16..]]);
    put(frame, 8, crc);
    Some(len)
}

/// A footer that ends `bytes`.
pub fn footer(bytes: &mut [u8], salt: u64) {
    let Some(trailer) = bytes.len().checked_sub(TRAILER) else {
        return;
    };
    let entries = u64_at(bytes, trailer + 64).unwrap_or(0);
    let index = usize::try_from(entries)
        .ok()
        .and_then(|n| n.checked_mul(INDEX_ENTRY));
    let Some(start) = index.and_then(|len| trailer.checked_sub(len)) else {
        return;
    };
    let end = bytes.len() - 8;
    let crc = crc64(&[&salt.to_le_bytes(), &bytes[start..end]]);
    put(bytes, end, crc);
}

/// A segment file: its header, every frame, and a footer at its end.
pub fn segment(bytes: &mut [u8], salt: u64) {
    if bytes.starts_with(b"TLSEGMT1") {
        head(bytes);
    }
    let mut at = HEADER_LEN as usize;
    while at < bytes.len() {
        at += frame(&mut bytes[at..], salt).unwrap_or(8);
    }
    let trailer = bytes.len().saturating_sub(TRAILER);
    if bytes[trailer..].starts_with(b"TLSEALD1") {
        footer(bytes, salt);
    }
}

/// A warm file: its head, the stored bytes of each frame, and the index. Where that lies goes by the
/// number of frames that the seek table names.
pub fn warm(bytes: &mut [u8]) {
    const ENTRY: usize = 40;
    if bytes.len() < WARM_HEAD {
        return;
    }
    let crc = crc64(&[&bytes[..WARM_HEAD - 8]]);
    put(bytes, WARM_HEAD - 8, crc);
    let frames = bytes.len().checked_sub(9).and_then(|at| u32_at(bytes, at));
    let Some(frames) = frames.and_then(|all| all.checked_sub(2)) else {
        return;
    };
    let table = SKIPPABLE + 8 * (frames + 2) + 9;
    let end = bytes.len().checked_sub(table);
    let Some(start) = end.and_then(|end| end.checked_sub(32 + ENTRY * frames)) else {
        return;
    };
    let mut stored = WARM_HEAD;
    for entry in (0..frames).map(|n| start + n * ENTRY) {
        let len = u32_at(bytes, entry).unwrap_or(0);
        let Some(frame) = bytes.get(stored..stored + len) else {
            break;
        };
        let crc = crc64(&[frame]);
        put(bytes, entry + 32, crc);
        stored += len;
    }
    let trailer = start + ENTRY * frames;
    put(bytes, trailer + 16, crc);
    let crc = crc64(&[&bytes[start..trailer + 24]]);
    put(bytes, trailer + 24, crc);
}

/// A manifest file: its header, and the chunks with their commits and entries.
pub fn manifest(bytes: &mut [u8]) {
    head(bytes);
    let (Some(size), Some(salt)) = (u64_at(bytes, 40), u64_at(bytes, 72)) else {
        return;
    };
    if !is_chunk_size(size) || bytes.len() < FIRST_CHUNK as usize {
        return;
    }
    let mut previous = None;
    for chunk in bytes[FIRST_CHUNK as usize..].chunks_mut(size as usize) {
        // A chunk goes on where the one before it was full.
        if let Some(crc) = previous.take().filter(|_| chunk.len() >= CHUNK_HEADER) {
            put(chunk, 40, crc);
        }
        previous = mend_chunk(chunk, salt, size as usize);
    }
}

/// Answers the checksum of its trailer, if it has one.
fn mend_chunk(chunk: &mut [u8], salt: u64, size: usize) -> Option<u64> {
    if chunk.starts_with(b"TLMCHUNK") && chunk.len() >= CHUNK_HEADER {
        let crc = crc64(&[&salt.to_le_bytes(), &chunk[..CHUNK_HEADER - 8]]);
        put(chunk, CHUNK_HEADER - 8, crc);
    }
    let mut at = CHUNK_HEADER;
    while at < chunk.len() {
        at += mend_commit(&mut chunk[at..], salt).unwrap_or(8);
    }
    let trailer = size - CHUNK_TRAILER;
    if chunk.len() < size || !chunk[trailer..].starts_with(b"TLMCHEND") {
        return None;
    }
    let used = u32_at(chunk, trailer + 12).unwrap_or(0).min(trailer);
    let crc = crc64(&[
        &salt.to_le_bytes(),
        &chunk[..used],
        &chunk[trailer..size - 8],
    ]);
    put(chunk, size - 8, crc);
    Some(crc)
}

fn mend_commit(bytes: &mut [u8], salt: u64) -> Option<usize> {
    if !bytes.starts_with(b"TLMC") {
        return None;
    }
    let body = u32_at(bytes, 4)?;
    let len = body.checked_next_multiple_of(8)?.checked_add(COMMIT_HEAD)?;
    let commit = bytes.get_mut(..len)?;
    let mut at = COMMIT_HEAD;
    while at + ENTRY_HEAD + 8 <= COMMIT_HEAD + body {
        let entry = u32_at(commit, at + 4)?.checked_add(ENTRY_HEAD)?;
        if at + entry + 8 > COMMIT_HEAD + body {
            break;
        }
        let crc = crc64(&[&commit[at..at + entry]]);
        put(commit, at + entry, crc);
        at += entry + 8;
    }
    let crc = crc64(&[&salt.to_le_bytes(), &commit[..8], &commit[16..]]);
    put(commit, 8, crc);
    Some(len)
}
