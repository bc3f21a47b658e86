//! The seek table of zstd's contrib "seekable format", which ends the file.
//!
//! ```text
//!   ┌────────────┬────────────┬──────────────────────────────┬──────────┬────────────┬────────────┐
//!   │ 0x184D2A5E │ length u32 │ n x { stored u32, plain u32 }│ n u32    │ descriptor │ 0x8F92EAB1 │
//!   └────────────┴────────────┴──────────────────────────────┴──────────┴────────────┴────────────┘
//!    descriptor: 0, no checksums
//! ```
//!
//! It counts every frame from the beginning of the file, head and index too, with a plain length of
//! 0. What this program needs of it is how many frames it names: that tells where the index is.

use super::{SKIPPABLE_HEAD, WarmFault, skippable, u32_at};

const MAGIC: u32 = 0x184D_2A5E;
const END_MAGIC: u32 = 0x8F92_EAB1;
const ENTRY: usize = 8;
/// The bytes behind the entries.
pub(super) const FOOTER: usize = 9;

/// The bytes of a table of so many frames.
pub(super) const fn len_for(frames: usize) -> usize {
    SKIPPABLE_HEAD + frames * ENTRY + FOOTER
}

/// The table of these frames, as stored and plain lengths.
pub(super) fn encode(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut content = Vec::with_capacity(frames.len() * ENTRY + FOOTER);
    for (stored, plain) in frames {
        content.extend_from_slice(&stored.to_le_bytes());
        content.extend_from_slice(&plain.to_le_bytes());
    }
    content.extend_from_slice(
        &u32::try_from(frames.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    content.push(0);
    content.extend_from_slice(&END_MAGIC.to_le_bytes());
    skippable(MAGIC, &content)
}

/// How many frames the table names that ends with these bytes.
pub(super) fn count(tail: &[u8]) -> Result<usize, WarmFault> {
    let footer = tail
        .len()
        .checked_sub(FOOTER)
        .map(|from| &tail[from..])
        .filter(|footer| u32_at(footer, 5) == END_MAGIC && footer[4] == 0)
        .ok_or(WarmFault::Damaged(
            "the file does not end with a seek table",
        ))?;
    Ok(u32_at(footer, 0) as usize)
}

/// Whether the table is the one for these frames.
pub(super) fn check(table: &[u8], frames: &[(u32, u32)]) -> Result<(), WarmFault> {
    if table == encode(frames) {
        return Ok(());
    }
    Err(WarmFault::Damaged("the seek table contradicts the index"))
}
