//! Files that no manifest names, and names without a file.
//!
//! What becomes of a file that is not named is decided in `judge.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::{
    judge::{Judge, Kind, Verdict},
    tail::Place,
};
use crate::{
    disk::{Disk, Entry},
    error::{Damage, Result, StorageError},
    ids::{SegmentNo, StreamId},
    layout::{Layout, parse_manifest_name, parse_segment_name, parse_stream_dir, parse_warm_name},
    manifest::{ManifestState, Seq, StreamState},
    segment::file::make_dir_anew,
};

/// The names in a log's directory that are its own.
const OWN_FILES: [&str; 5] = ["LOCK", "CURRENT", "CURRENT.tmp", "claims", "reserve"];
const OWN_FOLDERS: [&str; 3] = ["manifest", "streams", "quarantine"];

/// How far ahead of its stream the number of a strange file may be and still be passed over.
const FAR: u64 = 1 << 20;

/// What lies in the folders and is not what the manifest names.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// To be removed once the new manifest counts.
    pub(super) remove: Vec<PathBuf>,
    /// To be quarantined then.
    pub(super) set_aside: Vec<PathBuf>,
    /// To be left alone.
    pub(super) foreign: Vec<PathBuf>,
    /// Numbers of segments that files which are left alone stand in the way of.
    in_the_way: Vec<(StreamId, SegmentNo)>,
    /// Final segments whose file is gone.
    pub(super) missing: Vec<Damage>,
}

/// The names in a folder; none where it does not exist.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Entry>> {
    match disk.list(dir) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StorageError::io("list", dir, error)),
    }
}

/// True when a name at the top of a log's directory is one of the log's own.
pub(super) fn is_own(entry: &Entry) -> bool {
    let own: &[&str] = match entry.is_dir {
        true => &OWN_FOLDERS,
        false => &OWN_FILES,
    };
    own.iter().any(|own| entry.name == *own)
}

impl Leftovers {
    /// Looks through the folders and changes nothing.
    ///
    /// Fails where a file proves that the manifest, which ends at `end`, has lost commits that were
    /// durable: a segment is written to only once the commit that created it is.
    pub(super) fn find(place: &Place<'_>, state: &ManifestState, end: Seq) -> Result<Self> {
        let mut found = Self::default();
        let layout = place.layout;
        for entry in list(place.disk, layout.root())? {
            if !is_own(&entry) {
                found.foreign.push(layout.root().join(&entry.name));
            }
        }
        for entry in list(place.disk, &layout.manifest_dir())? {
            if !entry.is_file || parse_manifest_name(&entry.name).is_none() {
                found.foreign.push(layout.manifest_dir().join(&entry.name));
            }
        }
        let mut folders = BTreeMap::new();
        for entry in list(place.disk, &layout.streams_dir())? {
            match parse_stream_dir(&entry.name).filter(|_| entry.is_dir) {
                Some(stream) => {
                    let names = list(place.disk, &layout.stream_dir(stream))?;
                    folders.insert(stream, names);
                }
                None => found.foreign.push(layout.streams_dir().join(&entry.name)),
            }
        }
        for (&stream, names) in &folders {
            let judge = Judge {
                log: place.log,
                stream,
                known: state.streams.get(&stream),
                end,
            };
            for entry in names {
                found.sort_out(place, &judge, entry)?;
            }
        }
        for (&stream, known) in &state.streams {
            let names = folders.get(&stream).map_or(&[][..], |names| names);
            found.miss(stream, known, names);
        }
        Ok(found)
    }

    fn sort_out(&mut self, place: &Place<'_>, judge: &Judge<'_>, entry: &Entry) -> Result<()> {
        let path = place.layout.stream_dir(judge.stream).join(&entry.name);
        let Some(kind) = Kind::of(entry) else {
            // The writer could not create a file of that name, whatever has it.
            if let Some(no) = parse_segment_name(&entry.name) {
                self.in_the_way.push((judge.stream, no));
            }
            self.foreign.push(path);
            return Ok(());
        };
        match judge.file(place.disk, &path, kind)? {
            Verdict::Named => {}
            Verdict::Leftover(_) => self.remove.push(path),
            Verdict::Unexplained(_) => self.set_aside.push(path),
            Verdict::Foreign => {
                if let Kind::Segment(no) = kind {
                    self.in_the_way.push((judge.stream, no));
                }
                self.foreign.push(path);
            }
            Verdict::Beyond(seq) => {
                return Err(StorageError::CorruptFile {
                    what: format!(
                        "commits are missing at its end: it ends with entry {}, and {} was written \
                         under entry {seq}, which had been durable",
                        judge.end,
                        path.display(),
                    ),
                    path: place.layout.manifest_dir(),
                    range: None,
                });
            }
        }
        Ok(())
    }

    /// Passes over the numbers of files that stay although nothing names them: the writer could not
    /// create a segment there. One far ahead is not passed over, or a single file with a strange
    /// name would use up the numbers.
    pub(super) fn step_over(&self, state: &mut ManifestState) {
        for (stream, no) in &self.in_the_way {
            if let Some(stream) = state.streams.get_mut(stream)
                && *no >= stream.next_segment
                && no.since(stream.next_segment) < FAR
            {
                stream.next_segment = no.plus(1);
            }
        }
    }

    /// Final segments without their file. (Those of unsealed ones are found when they are read.)
    fn miss(&mut self, stream: StreamId, known: &StreamState, names: &[Entry]) {
        let files = names.iter().filter(|entry| entry.is_file);
        let there: BTreeSet<SegmentNo> = files
            .clone()
            .filter_map(|entry| parse_segment_name(&entry.name))
            .collect();
        let warm_there: BTreeSet<SegmentNo> = files
            .filter_map(|entry| parse_warm_name(&entry.name))
            .collect();
        for (&segment, state) in &known.segments {
            let (Some((from, to)), Some(end_byte)) =
                (state.status.range(), state.status.end_byte())
            else {
                continue;
            };
            let (hot, warm) = (state.residency.hot, state.residency.warm.is_some());
            let cold = state.residency.is_cold();
            let hot_gone = hot && !there.contains(&segment);
            let warm_gone = warm && !warm_there.contains(&segment);
            if from == to || !(hot_gone || warm_gone) {
                continue;
            }
            let what = match (hot_gone, warm_gone) {
                (true, false) if warm || cold => {
                    "the segment file is missing; there is another copy"
                }
                (false, true) if hot || cold => {
                    "the compressed file is missing; there is another copy"
                }
                (true, _) => "the segment file is missing",
                (false, _) => "the compressed file is missing",
            };
            self.missing.push(Damage {
                stream,
                segment,
                from,
                to,
                bytes: (0, end_byte),
                what: what.to_owned(),
            });
        }
    }
}

/// Removes files, durably; those that are gone already are no mistake.
pub(super) fn remove_all(disk: &dyn Disk, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for path in paths {
        match disk.remove(&path) {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::io("remove", path, error)),
        }
    }
    let folders: BTreeSet<&Path> = removed.iter().filter_map(|path| path.parent()).collect();
    for folder in folders {
        sync_dir(disk, folder)?;
    }
    Ok(removed)
}

/// Moves files of streams into the quarantine, durably; returns where each was and where it is now.
pub(super) fn quarantine(
    disk: &dyn Disk,
    layout: &Layout,
    paths: &[PathBuf],
) -> Result<Vec<(PathBuf, PathBuf)>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let dir = layout.quarantine_dir();
    make_dir_anew(disk, &dir)?;
    sync_dir(disk, layout.root())?;
    let mut taken: BTreeSet<OsString> = list(disk, &dir)?.into_iter().map(|e| e.name).collect();
    let mut moved = Vec::new();
    let mut folders = BTreeSet::new();
    for path in paths {
        // A rename replaces what has the name, and what lies here is not ours to replace.
        let name = free_name(path, &taken);
        let to = dir.join(&name);
        match disk.rename(path, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StorageError::io("quarantine", path, error)),
        }
        taken.insert(name);
        folders.extend(path.parent());
        moved.push((path.clone(), to));
    }
    // First where it is now: a cut in between may show it twice, never nowhere.
    sync_dir(disk, &dir)?;
    for folder in folders {
        sync_dir(disk, folder)?;
    }
    Ok(moved)
}

fn free_name(path: &Path, taken: &BTreeSet<OsString>) -> OsString {
    let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
    let folder = part(path.parent().and_then(Path::file_name));
    let plain = format!("{folder}-{}", part(path.file_name()));
    let numbered = (1u64..).map(|n| format!("{plain}.{n}"));
    std::iter::once(plain.clone())
        .chain(numbered)
        .map(OsString::from)
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}

pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir)
        .map_err(|error| StorageError::io("sync", dir, error))
}
