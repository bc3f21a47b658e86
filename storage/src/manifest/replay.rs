//! Reading the manifest that counts: what it says, and whether its end is torn or damaged.
//!
//! ```text
//!   snapshot   commit 8..9   commit 10   ??????   commit 13, claims 12     ⇒ damage: 11 was durable
//!   snapshot   commit 8..9   commit 10   ??????   commit 13, claims 10     ⇒ torn: one write, cut
//!   snapshot   commit 8..9   commit 10   ??????                            ⇒ torn, unless the pointer
//!                                                                            says it was closed later
//!   snapshot   ????                                                        ⇒ damage: a file counts only
//!                                                                            once its snapshot is durable
//! ```
//!
//! A bad place at which no entry is missing (a chunk's header or trailer, a commit without entries)
//! is told in the report and costs nothing.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Seq,
    chunk::{CHUNK_HEADER, ChunkHeader, FILE_HEADER, FIRST_CHUNK, FileHeader, HeadFault},
    commit::{CommitHead, Entries},
    current::Current,
    entry::{Decoded, EntryFault},
    state::ManifestState,
    walk::{Item, Walk, read_up_to},
};
use crate::{
    disk::{Access, Disk, SharedFile},
    error::{Result, StorageError},
    layout::Layout,
};

/// What replaying a manifest took and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// How long it took.
    pub duration: Duration,
    /// How many chunks hold something.
    pub chunks: u64,
    /// How many commits were applied.
    pub commits: u64,
    /// How many entries were applied.
    pub entries: u64,
    /// How many entries of unknown types were skipped, as they allow.
    pub skipped_optional: u64,
    /// How many bytes of a torn tail were left out.
    pub trimmed_bytes: u64,
    /// The tail was torn.
    pub torn: bool,
    /// The file's number.
    pub file_number: u64,
    /// The last sequence of which something says that it was durable.
    pub claimed: Seq,
    /// The sequence of the last entry.
    pub end: Seq,
    /// The byte behind the last commit.
    pub end_byte: u64,
    /// Bad places at which no entry is missing.
    pub damage: Vec<String>,
}

/// What a manifest says, and how it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The sum of its entries.
    pub state: ManifestState,
    /// What it took.
    pub report: ReplayReport,
}

/// Opens a manifest file and reads its header.
pub(super) fn open_file(
    disk: &dyn Disk,
    layout: &Layout,
    number: u64,
) -> Result<(PathBuf, SharedFile, Result<FileHeader, HeadFault>)> {
    let path = layout.manifest(number);
    let file = disk
        .open(&path, Access::Read)
        .map_err(|error| StorageError::io("open", &path, error))?;
    let mut bytes = Vec::new();
    read_up_to(&*file, &path, &mut bytes, 0, FILE_HEADER as u64)?;
    Ok((path, file, FileHeader::decode(&bytes)))
}

/// Reads the manifest that the pointer names.
///
/// Beside a live writer a read may catch a commit half-way, which looks like a torn tail, or, much
/// more rarely, a later one without an earlier one, which looks like damage: a reader without the
/// lock tries once more before it believes in damage. A file that is gone is `Io` with
/// [`StorageError::is_missing`].
pub fn replay(disk: &dyn Disk, layout: &Layout, current: &Current) -> Result<Replayed> {
    let begun = Instant::now();
    let (path, file, header) = open_file(disk, layout, current.number)?;
    let header = header.map_err(|fault| fault.at(&path, "the header", FILE_HEADER))?;
    if header.log != current.log {
        return Err(StorageError::ForeignLog {
            path,
            expected: current.log,
            found: header.log,
        });
    }
    let len = file
        .len()
        .map_err(|error| StorageError::io("measure", &path, error))?;
    let end = current.clean.map_or(len, |(_, end)| end.min(len));
    let mut replay = Replay::new(path, header);
    if header.number != current.number {
        let what = format!("it says that its number is {}", header.number);
        return Err(replay.corrupt(what, (0, FILE_HEADER as u64)));
    }
    let walk = Walk {
        file: &*file,
        path: &replay.path.clone(),
        header: &header,
        end,
    };
    walk.run(&mut |item| replay.visit(item).map(|()| ControlFlow::Continue(())))?;
    let mut replayed = replay.finish(current)?;
    replayed.report.duration = begun.elapsed();
    Ok(replayed)
}

struct Replay {
    path: PathBuf,
    header: FileHeader,
    state: ManifestState,
    snapshot_done: bool,
    report: ReplayReport,
    /// The first place at which an entry is missing, and the intact commit behind it.
    hole: Option<(u64, u64)>,
    /// The byte behind the last one that is not zero.
    written_to: u64,
    previous_crc: u64,
    /// Bad places that are told if the log goes on behind them, and are the torn tail if not.
    doubts: Vec<String>,
}

impl Replay {
    fn new(path: PathBuf, header: FileHeader) -> Self {
        let mut state = ManifestState::new(header.log);
        state.seq = header.first;
        Self {
            path,
            state,
            snapshot_done: false,
            report: ReplayReport {
                file_number: header.number,
                claimed: header.first,
                end_byte: FIRST_CHUNK,
                ..ReplayReport::default()
            },
            header,
            hole: None,
            written_to: 0,
            previous_crc: 0,
            doubts: Vec::new(),
        }
    }

    fn corrupt(&self, what: String, range: (u64, u64)) -> StorageError {
        StorageError::CorruptFile {
            path: self.path.clone(),
            what,
            range: Some(range),
        }
    }

    fn newer(&self, what: String) -> StorageError {
        StorageError::Invalid {
            what: format!(
                "{}: {what}, written by a newer version of tierlog",
                self.path.display()
            ),
        }
    }

    fn visit(&mut self, item: Item<'_>) -> Result<()> {
        match item {
            Item::Chunk { index, pos, header } => {
                self.begin_chunk(index, pos, header);
                Ok(())
            }
            Item::Commit {
                pos, head, bytes, ..
            } => self.commit(pos, head, bytes),
            Item::Gap {
                from,
                written_to,
                fault,
            } if written_to > from => {
                self.written_to = written_to;
                if !self.snapshot_done {
                    let what = format!("the snapshot at its beginning: {fault}");
                    return Err(self.corrupt(what, (from, written_to)));
                }
                self.doubts
                    .push(format!("bytes {from}..{written_to}: {fault}"));
                Ok(())
            }
            Item::Gap { .. } => Ok(()),
            Item::ChunkEnd { pos, sealed } => {
                let end = pos + self.header.chunk_size;
                match sealed {
                    Ok((trailer, crc)) => {
                        self.previous_crc = crc;
                        self.written_to = end;
                        let used = pos.saturating_add(u64::from(trailer.used));
                        if self.hole.is_none()
                            && (used != self.report.end_byte || trailer.next != self.next())
                        {
                            self.doubts.push(format!(
                                "the trailer before byte {end} tells of other commits"
                            ));
                        }
                    }
                    Err(fault) => {
                        self.previous_crc = 0;
                        if fault != HeadFault::Blank {
                            self.written_to = end;
                        }
                        self.doubts
                            .push(format!("the trailer before byte {end}: {fault}"));
                    }
                }
                Ok(())
            }
        }
    }

    fn next(&self) -> Seq {
        self.state.seq.next()
    }

    fn begin_chunk(&mut self, index: u64, pos: u64, found: Result<ChunkHeader, HeadFault>) {
        if found != Err(HeadFault::Blank) {
            self.written_to = pos + CHUNK_HEADER as u64;
            self.report.chunks += 1;
        }
        let expected = ChunkHeader {
            index,
            next: self.next(),
            log: self.header.log,
            previous_crc: self.previous_crc,
            number: self.header.number,
        };
        match found {
            Ok(header) if self.hole.is_none() && header != expected => self.doubts.push(format!(
                "the chunk header at byte {pos} does not follow what stands before it"
            )),
            Ok(_) => {}
            Err(fault) => self
                .doubts
                .push(format!("the chunk header at byte {pos}: {fault}")),
        }
    }

    fn commit(&mut self, pos: u64, head: CommitHead, bytes: &[u8]) -> Result<()> {
        let end = pos + bytes.len() as u64;
        self.written_to = end;
        let missing = self.next();
        self.report.claimed = self.report.claimed.max(head.claimed);
        let hole = self.hole.or_else(|| {
            let behind = self.snapshot_done && !head.is_snapshot() && head.first > missing;
            behind.then_some((self.report.end_byte, pos))
        });
        if let Some((from, to)) = hole {
            self.hole = hole;
            if head.claimed >= missing {
                let what = format!(
                    "entry {missing} was durable when entry {} was written, and is missing",
                    head.first
                );
                return Err(self.corrupt(what, (from, to)));
            }
            return Ok(());
        }
        let in_place = match self.snapshot_done {
            true => !head.is_snapshot() && head.first == missing,
            false => head.is_snapshot() && head.first == self.header.first,
        };
        if !in_place {
            let what = format!("a commit of entry {} stands in the wrong place", head.first);
            return Err(self.corrupt(what, (pos, end)));
        }
        self.apply(pos, head, bytes)?;
        self.report.damage.append(&mut self.doubts);
        self.report.commits += 1;
        self.report.end_byte = end;
        Ok(())
    }

    fn apply(&mut self, pos: u64, head: CommitHead, bytes: &[u8]) -> Result<()> {
        let range = (pos, pos + bytes.len() as u64);
        if head.unknown_flags() != 0 {
            let flags = head.unknown_flags();
            return Err(self.newer(format!("a commit has the flags {flags:#x}")));
        }
        let mut undo = Vec::new();
        for entry in Entries::of(head, bytes) {
            undo.clear();
            match entry {
                Ok((seq, Decoded::Known(entry))) => {
                    self.state
                        .apply_noting(&entry, &mut undo)
                        .map_err(|error| {
                            let what = format!("entry {seq} ({}): {error}", entry.name());
                            self.corrupt(what, range)
                        })?;
                    self.report.entries += 1;
                }
                Ok((_, Decoded::Unknown { optional: true, .. })) => {
                    self.report.skipped_optional += 1;
                }
                Ok((seq, Decoded::Unknown { code, .. })) => {
                    return Err(self.newer(format!("entry {seq} is of type {code}")));
                }
                Err(EntryFault::Flags(flags)) => {
                    return Err(self.newer(format!("an entry has the flags {flags:#x}")));
                }
                Err(fault) => return Err(self.corrupt(fault.to_string(), range)),
            }
        }
        self.snapshot_done |= head.is_snapshot() && head.count > 0 && self.state.pending.is_none();
        if !head.is_snapshot() {
            self.state.seq = Seq(head.next().0.saturating_sub(1));
        }
        Ok(())
    }

    fn finish(mut self, current: &Current) -> Result<Replayed> {
        let end_byte = self.report.end_byte;
        let behind = (end_byte, self.written_to.max(end_byte));
        if !self.snapshot_done {
            let what = "the snapshot at its beginning is not complete".into();
            return Err(self.corrupt(what, behind));
        }
        if let Some((seq, clean_end)) = current.clean {
            self.report.claimed = seq;
            if (self.state.seq, end_byte) != (seq, clean_end) {
                let what = format!(
                    "it was closed at entry {seq}, and only {} can be read",
                    self.state.seq
                );
                return Err(self.corrupt(what, (end_byte, clean_end.max(end_byte))));
            }
        }
        if self.state.epoch < current.epoch {
            let what = format!(
                "it knows of epoch {}, the pointer of {}",
                self.state.epoch, current.epoch
            );
            return Err(self.corrupt(what, behind));
        }
        self.report.end = self.state.seq;
        self.report.trimmed_bytes = behind.1 - behind.0;
        self.report.torn = self.report.trimmed_bytes > 0;
        Ok(Replayed {
            state: self.state,
            report: self.report,
        })
    }
}
