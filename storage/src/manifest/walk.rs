//! One pass over a manifest file that tells what stands where, whatever stands there.
//!
//! The walk judges nothing: replay decides from it what is a tear and what is damage, and inspection
//! shows it to people. It goes on behind a bad place at the next intact commit, since only what
//! follows tells which of the two it is. Memory is bounded by one chunk, whatever the file claims.

use std::{ops::ControlFlow, path::Path};

use super::{
    chunk::{CHUNK_HEADER, CHUNK_TRAILER, ChunkHeader, ChunkTrailer, FileHeader, HeadFault},
    commit::{COMMIT_HEAD, CommitFault, CommitHead, check_commit, parse_head},
};
use crate::{
    disk::DiskFile,
    error::{Result, StorageError},
};

/// What stands at a place of the file.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// A chunk begins.
    Chunk {
        index: u64,
        pos: u64,
        header: Result<ChunkHeader, HeadFault>,
    },
    /// An intact commit, of which `bytes` is all.
    Commit {
        pos: u64,
        /// The same from the beginning of the chunk.
        start: u64,
        head: CommitHead,
        bytes: &'a [u8],
    },
    /// No commit, up to the next intact one or to the end of the chunk's commits.
    Gap {
        from: u64,
        /// The byte behind the last one that is not zero; `from` where nothing was written.
        written_to: u64,
        fault: CommitFault,
    },
    /// A chunk ends. `sealed`: its trailer and the trailer's checksum; `Blank` while it is filled.
    ChunkEnd {
        pos: u64,
        sealed: Result<(ChunkTrailer, u64), HeadFault>,
    },
}

pub(super) type Visit<'v> = &'v mut dyn FnMut(Item<'_>) -> Result<ControlFlow<()>>;

/// A file that is being read, up to some byte.
#[derive(Debug)]
pub(super) struct Walk<'f> {
    pub(super) file: &'f dyn DiskFile,
    pub(super) path: &'f Path,
    pub(super) header: &'f FileHeader,
    /// Bytes from here on are not looked at.
    pub(super) end: u64,
}

impl Walk<'_> {
    /// Tells `visit` what the file holds, in order, until it breaks.
    pub(super) fn run(&self, visit: Visit<'_>) -> Result<()> {
        let mut chunk = Vec::new();
        // Looking for a commit behind a bad place may mean to checksum a lot of bytes, again and
        // again where somebody laid out many markers. The budget is far above what damage costs.
        let mut budget = self.end.saturating_mul(16).saturating_add(64 << 20);
        for index in 0.. {
            let start = self.header.chunk_start(index).filter(|s| *s < self.end);
            let Some(pos) = start else { break };
            let want = self.header.chunk_size.min(self.end - pos);
            read_up_to(self.file, self.path, &mut chunk, pos, want)?;
            if self
                .visit_chunk(&chunk, index, pos, &mut budget, visit)?
                .is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn visit_chunk(
        &self,
        chunk: &[u8],
        index: u64,
        pos: u64,
        budget: &mut u64,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let header = ChunkHeader::decode(chunk, self.header.salt);
        if visit(Item::Chunk { index, pos, header })?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let size = self.header.chunk_size as usize;
        let area = &chunk[..chunk.len().min(size - CHUNK_TRAILER)];
        let mut at = CHUNK_HEADER;
        while at < area.len() {
            let (item, next) = self.item_at(area, at, pos, budget)?;
            at = next;
            if visit(item)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let sealed = match chunk.len() == size {
            true => ChunkTrailer::decode(chunk, self.header.salt),
            false => Err(HeadFault::Blank),
        };
        visit(Item::ChunkEnd { pos, sealed })
    }

    fn item_at<'c>(
        &self,
        area: &'c [u8],
        at: usize,
        pos: u64,
        budget: &mut u64,
    ) -> Result<(Item<'c>, usize)> {
        let salt = self.header.salt;
        let fault = match check_commit(&area[at..], salt) {
            Ok((head, total)) => {
                let commit = Item::Commit {
                    pos: pos + at as u64,
                    start: at as u64,
                    head,
                    bytes: &area[at..at + total],
                };
                return Ok((commit, at + total));
            }
            Err(fault) => fault,
        };
        let written_to = at + written(&area[at..]);
        let mut next = at + 8;
        while next < written_to {
            if let Ok((_, total)) = parse_head(&area[next..]) {
                *budget = match budget.checked_sub(total as u64) {
                    Some(left) => left,
                    None => return Err(self.garbage(pos + at as u64)),
                };
                if check_commit(&area[next..], salt).is_ok() {
                    break;
                }
            }
            next += 8;
        }
        let (next, written_to) = match next < written_to {
            true => (next, next),
            false => (area.len(), written_to),
        };
        let gap = Item::Gap {
            from: pos + at as u64,
            written_to: pos + written_to as u64,
            fault,
        };
        Ok((gap, next))
    }

    fn garbage(&self, from: u64) -> StorageError {
        StorageError::CorruptFile {
            path: self.path.to_path_buf(),
            what: "too much that looks like commits and is none".into(),
            range: Some((from, self.end)),
        }
    }
}

const _: () = assert!(
    COMMIT_HEAD.is_multiple_of(8),
    "commits are looked for every 8 bytes"
);

/// How many bytes are left when the zeros at the end are taken off.
fn written(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 512] = [0; 512];
    let mut rest = bytes;
    while let Some((front, last)) = rest.split_last_chunk::<512>() {
        if *last != ZEROS {
            break;
        }
        rest = front;
    }
    rest.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)
}

/// Fills `buf` with up to `want` bytes from `pos`; fewer at the end of the file.
pub(super) fn read_up_to(
    file: &dyn DiskFile,
    path: &Path,
    buf: &mut Vec<u8>,
    pos: u64,
    want: u64,
) -> Result<()> {
    let want = usize::try_from(want).map_err(|_| StorageError::Invalid {
        what: format!("{want} bytes can't be read at once"),
    })?;
    buf.clear();
    buf.resize(want, 0);
    let got = file
        .read_at(buf, pos)
        .map_err(|error| StorageError::io("read", path, error))?;
    buf.truncate(got);
    Ok(())
}
