//! The manifest as people look at it: every file, chunk and entry, damaged or not.

use std::{collections::BTreeMap, io, ops::ControlFlow};

use serde::Serialize;

use super::{
    Seq,
    chunk::{FileHeader, HeadFault},
    commit::Entries,
    current::Current,
    entry::{Decoded, Entry},
    replay::open_file,
    walk::{Item, Walk},
};
use crate::{
    disk::Disk,
    error::{Result, StorageError},
    layout::{Layout, parse_manifest_name},
};

/// All manifest files of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The files, by number.
    pub files: Vec<InspectedFile>,
    /// What the pointer says.
    pub current: Option<Current>,
    /// What is wrong with the pointer.
    pub damage: Vec<String>,
}

/// One manifest file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedFile {
    /// Its number.
    pub number: u64,
    /// It is the one that counts.
    pub current: bool,
    /// Its header, where that is intact.
    pub header: Option<FileHeader>,
    /// Its chunks, without those that were never written to.
    pub chunks: Vec<InspectedChunk>,
    /// How many intact entries of each type it holds.
    pub entries_by_type: BTreeMap<&'static str, u64>,
    /// What is wrong with the header.
    pub damage: Vec<String>,
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedChunk {
    /// Its place in the file.
    pub index: u64,
    /// The sequence of the next entry when it was begun.
    pub first_seq: Option<Seq>,
    /// How many intact commits it holds.
    pub commits: u64,
    /// How many entries these hold.
    pub entries: u64,
    /// The bytes up to the end of the last intact commit.
    pub used: u64,
    /// It is full: it has a trailer.
    pub sealed: bool,
    /// Nothing is wrong with its checksums.
    pub crc_ok: bool,
    /// What is wrong with it. Behind the last commit of the last chunk this may be a torn tail.
    pub damage: Vec<String>,
}

/// How often the folder is looked at again because a live writer went on to another file.
const LOOKS: usize = 10;

/// Looks at every manifest file in the folder. Damage is told, not returned as an error.
pub fn inspect(disk: &dyn Disk, layout: &Layout) -> Result<Inspection> {
    let mut pointer = read_pointer(disk, layout)?;
    for _ in 0..LOOKS {
        let mut found = look(disk, layout, &pointer)?;
        if found.damage.is_empty() && !found.files.iter().any(|file| file.current) {
            // Without the file that counts, nobody can read the log; unless that was replaced
            // between two calls.
            let again = read_pointer(disk, layout)?;
            if again != pointer {
                pointer = again;
                continue;
            }
            found.damage.push(match found.current {
                Some(current) => {
                    format!("it names manifest {}, which is not there", current.number)
                }
                // The work of a creation that died holds nothing yet.
                None if found.files.is_empty() => return Err(not_a_log(layout)),
                None => "it is missing beside manifests".to_owned(),
            });
        }
        return Ok(found);
    }
    look(disk, layout, &pointer)
}

/// The pointer, or what is wrong with it.
type Pointer = (Option<Current>, Vec<String>);

fn read_pointer(disk: &dyn Disk, layout: &Layout) -> Result<Pointer> {
    match Current::read(disk, layout) {
        Ok(current) => Ok((current, Vec::new())),
        Err(error @ StorageError::Io { .. }) => Err(error),
        Err(error) => Ok((None, vec![error.to_string()])),
    }
}

fn look(disk: &dyn Disk, layout: &Layout, pointer: &Pointer) -> Result<Inspection> {
    let (current, damage) = pointer.clone();
    let dir = layout.manifest_dir();
    let names = match disk.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if current.is_none() && damage.is_empty() {
                return Err(not_a_log(layout));
            }
            Vec::new()
        }
        Err(error) => return Err(StorageError::io("list", &dir, error)),
    };
    let mut files = Vec::new();
    for number in names
        .iter()
        .filter(|entry| entry.is_file)
        .filter_map(|entry| parse_manifest_name(&entry.name))
    {
        match inspect_file(disk, layout, number) {
            Ok(mut file) => {
                file.current = current.is_some_and(|current| current.number == number);
                files.push(file);
            }
            // A live writer deletes old files.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Inspection {
        files,
        current,
        damage,
    })
}

fn not_a_log(layout: &Layout) -> StorageError {
    StorageError::NotALog {
        path: layout.root().to_path_buf(),
    }
}

fn inspect_file(disk: &dyn Disk, layout: &Layout, number: u64) -> Result<InspectedFile> {
    let mut file = InspectedFile {
        number,
        current: false,
        header: None,
        chunks: Vec::new(),
        entries_by_type: BTreeMap::new(),
        damage: Vec::new(),
    };
    let walked = walk_file(disk, layout, number, &mut |item| {
        file.note(item);
        Ok(ControlFlow::Continue(()))
    })?;
    match walked {
        Ok(header) => {
            if header.number != number {
                let says = header.number;
                file.damage
                    .push(format!("the header says that its number is {says}"));
            }
            file.header = Some(header);
        }
        Err(fault) => file.damage.push(format!("the header: {fault}")),
    }
    file.chunks
        .retain(|chunk| chunk.first_seq.is_some() || chunk.commits > 0 || !chunk.damage.is_empty());
    Ok(file)
}

fn walk_file(
    disk: &dyn Disk,
    layout: &Layout,
    number: u64,
    visit: &mut dyn FnMut(Item<'_>) -> Result<ControlFlow<()>>,
) -> Result<Result<FileHeader, HeadFault>> {
    let (path, file, header) = open_file(disk, layout, number)?;
    let header = match header {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let walk = Walk {
        file: &*file,
        path: &path,
        header: &header,
        end: file
            .len()
            .map_err(|error| StorageError::io("measure", &path, error))?,
    };
    walk.run(visit)?;
    Ok(Ok(header))
}

impl InspectedFile {
    fn note(&mut self, item: Item<'_>) {
        if let Item::Chunk { index, header, .. } = item {
            self.chunks.push(InspectedChunk::new(index, header));
            return;
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return;
        };
        match item {
            Item::Chunk { .. } => {}
            Item::Commit {
                start, head, bytes, ..
            } => {
                chunk.commits += 1;
                chunk.used = start + bytes.len() as u64;
                for entry in Entries::of(head, bytes) {
                    let name = match entry {
                        Ok((_, Decoded::Known(entry))) => entry.name(),
                        Ok((_, Decoded::Unknown { optional: true, .. })) => "unknown, optional",
                        Ok((_, Decoded::Unknown { .. })) => "unknown",
                        Err(fault) => {
                            chunk.damage.push(fault.to_string());
                            continue;
                        }
                    };
                    chunk.entries += 1;
                    *self.entries_by_type.entry(name).or_default() += 1;
                }
            }
            Item::Gap {
                from,
                written_to,
                fault,
            } => {
                if written_to > from {
                    chunk.fault(format!("bytes {from}..{written_to}: {fault}"));
                }
            }
            Item::ChunkEnd { sealed, .. } => match sealed {
                Ok(_) => chunk.sealed = true,
                Err(HeadFault::Blank) => {}
                Err(fault) => chunk.fault(format!("the trailer: {fault}")),
            },
        }
    }
}

impl InspectedChunk {
    fn new(index: u64, header: Result<super::chunk::ChunkHeader, HeadFault>) -> Self {
        let mut chunk = Self {
            index,
            first_seq: header.as_ref().ok().map(|header| header.next),
            commits: 0,
            entries: 0,
            used: 0,
            sealed: false,
            crc_ok: true,
            damage: Vec::new(),
        };
        match header {
            Ok(_) | Err(HeadFault::Blank) => {}
            Err(fault) => chunk.fault(format!("the header: {fault}")),
        }
        chunk
    }

    fn fault(&mut self, what: String) {
        self.crc_ok = false;
        self.damage.push(what);
    }
}

/// Hands every intact entry of a file to `visit`, with its sequence, in the order of the file, until
/// it breaks. Entries of unknown types and damage are passed over; [`inspect`] counts them.
pub fn visit_entries(
    disk: &dyn Disk,
    layout: &Layout,
    number: u64,
    visit: &mut dyn FnMut(Seq, &Entry) -> ControlFlow<()>,
) -> Result<()> {
    let walked = walk_file(disk, layout, number, &mut |item| {
        let Item::Commit { head, bytes, .. } = item else {
            return Ok(ControlFlow::Continue(()));
        };
        for (seq, entry) in Entries::of(head, bytes).map_while(Result::ok) {
            if let Decoded::Known(entry) = entry
                && visit(seq, &entry).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    walked
        .map(drop)
        .map_err(|fault| fault.at(&layout.manifest(number), "the header", 128))
}
