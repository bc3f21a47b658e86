//! The look that an open takes at what nothing names, for a log that is at work.
//!
//! A listing says what to look at and nothing else. Whoever calls sees to it that nobody makes, names
//! or removes the files that are judged, from before the manifest is asked until this is done: then
//! what the manifest said of them holds. A segment's number that the manifest has given up is never
//! given again.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    judge::{Judge, Kind, Verdict},
    leftovers::{is_own, list, quarantine, remove_all},
};
use crate::{
    disk::{Access, Disk, Entry},
    error::{Result, StorageError},
    ids::{LogId, SegmentNo, StreamId},
    layout::{Layout, parse_manifest_name, parse_stream_dir},
    manifest::{Current, Seq, StreamState},
};

/// What lies in a log's folder apart from the files of its streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Folders of streams, also of streams that the manifest does not know.
    pub streams: Vec<StreamId>,
    /// Files and folders that no log makes.
    pub foreign: u64,
    /// Files in the quarantine.
    pub in_quarantine: u64,
}

/// Looks at a log's folder and that of its streams. Reads no file.
///
/// # Errors
/// As the disk.
pub fn look_around(disk: &dyn Disk, layout: &Layout) -> Result<Around> {
    let mut around = Around::default();
    let top = list(disk, layout.root())?;
    around.foreign += top.iter().filter(|entry| !is_own(entry)).count() as u64;
    for entry in list(disk, &layout.streams_dir())? {
        match parse_stream_dir(&entry.name).filter(|_| entry.is_dir) {
            Some(stream) => around.streams.push(stream),
            None => around.foreign += 1,
        }
    }
    around.in_quarantine = list(disk, &layout.quarantine_dir())?.len() as u64;
    Ok(around)
}

/// The names in the folder of a stream.
///
/// # Errors
/// As the disk.
pub fn look_at_stream(disk: &dyn Disk, layout: &Layout, stream: StreamId) -> Result<Vec<Entry>> {
    list(disk, &layout.stream_dir(stream))
}

/// The names in the folder of a stream, held against what the manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Files that it names.
    pub named: u64,
    /// What no log makes.
    pub foreign: u64,
    /// Files that it does not name, by the segment that they are about.
    pub unnamed: BTreeMap<SegmentNo, Vec<Entry>>,
}

impl Names {
    /// Sorts the names in the folder of a stream that the manifest knows like this, if it does.
    pub fn of(entries: Vec<Entry>, known: Option<&StreamState>) -> Self {
        let mut names = Self::default();
        let judge = Judge {
            // Names alone are looked at.
            log: LogId::from_bytes([0; 16]),
            stream: StreamId::from_bytes([0; 16]),
            known,
            end: Seq(u64::MAX),
        };
        for entry in entries {
            match Kind::of(&entry) {
                None => names.foreign += 1,
                Some(kind) if judge.by_name(kind) == Some(Verdict::Named) => names.named += 1,
                Some(kind) => names.unnamed.entry(kind.segment()).or_default().push(entry),
            }
        }
        names
    }
}

/// What became of a file that nothing names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Where it was.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// Why.
    pub why: &'static str,
    /// What.
    pub fate: SweptFate,
}

/// What becomes of a file that nothing names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweptFate {
    /// It was removed, or would be.
    Removed,
    /// It was moved to here; to nowhere where nothing is to be changed, or there is no room.
    Quarantined(Option<PathBuf>),
}

/// What came of the files that were judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Those that the manifest names by now.
    pub named: u64,
    /// Those that are not of this log; they stay.
    pub foreign: u64,
    /// The others.
    pub swept: Vec<Swept>,
}

/// What is swept, and how.
#[derive(Debug, Clone, Copy)]
pub struct Broom<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Where the log lies.
    pub layout: &'a Layout,
    /// Which log it is.
    pub log: LogId,
    /// Nothing is changed.
    pub dry_run: bool,
}

impl Broom<'_> {
    /// Judges files of a stream, and removes or quarantines those that nothing names. Nobody else
    /// makes, names or removes them meanwhile, and `known` is what the manifest has said since.
    ///
    /// # Errors
    /// As the disk; some of the files may be gone then.
    pub fn sweep(
        &self,
        stream: StreamId,
        known: Option<&StreamState>,
        entries: &[Entry],
    ) -> Result<Cleaned> {
        let judge = Judge {
            log: self.log,
            stream,
            known,
            // The manifest is at work and lacks nothing. A file that tells of a later commit was put
            // here by somebody.
            end: Seq(u64::MAX),
        };
        let mut cleaned = Cleaned::default();
        for entry in entries {
            let path = self.layout.stream_dir(stream).join(&entry.name);
            let Some((kind, len)) = Kind::of(entry).zip(self.len(&path)?) else {
                // It is gone.
                continue;
            };
            let (fate, why) = match judge.file(self.disk, &path, kind)? {
                Verdict::Named => {
                    cleaned.named += 1;
                    continue;
                }
                Verdict::Foreign => {
                    cleaned.foreign += 1;
                    continue;
                }
                Verdict::Leftover(why) => (SweptFate::Removed, why),
                Verdict::Unexplained(why) => (SweptFate::Quarantined(None), why),
                Verdict::Beyond(_) => {
                    let why = "it tells of a commit that the manifest never had";
                    (SweptFate::Quarantined(None), why)
                }
            };
            cleaned.swept.push(Swept {
                path,
                len,
                why,
                fate,
            });
        }
        if !self.dry_run {
            self.carry_out(&mut cleaned.swept)?;
        }
        Ok(cleaned)
    }

    fn carry_out(&self, swept: &mut [Swept]) -> Result<()> {
        let is_removed = |it: &&Swept| it.fate == SweptFate::Removed;
        let paths = |files: Vec<&Swept>| files.into_iter().map(|it| it.path.clone()).collect();
        let remove: Vec<PathBuf> = paths(swept.iter().filter(is_removed).collect());
        let set_aside: Vec<PathBuf> = paths(swept.iter().filter(|it| !is_removed(it)).collect());
        remove_all(self.disk, remove)?;
        let moved = match quarantine(self.disk, self.layout, &set_aside) {
            Ok(moved) => moved,
            // A new folder needs room. They stay, and are found again.
            Err(error) if error.is_storage_full() => {
                tracing::warn!(target: "tierlog::recovery", %error, "not everything was quarantined");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        for (from, to) in moved {
            let file = swept.iter_mut().find(|it| it.path == from);
            if let Some(file) = file {
                file.fate = SweptFate::Quarantined(Some(to));
            }
        }
        Ok(())
    }

    /// Removes the manifest files that `CURRENT` does not name. Nobody begins one meanwhile, nor
    /// changes what it names.
    ///
    /// # Errors
    /// As the disk; some of them may be gone then.
    pub fn sweep_manifests(&self) -> Result<Cleaned> {
        let (disk, dir) = (self.disk, self.layout.manifest_dir());
        let mut cleaned = Cleaned::default();
        let Some(current) = Current::read(disk, self.layout)? else {
            // Without a pointer nobody can say which of them counts.
            return Ok(cleaned);
        };
        for entry in list(disk, &dir)? {
            let number = parse_manifest_name(&entry.name).filter(|_| entry.is_file);
            let why = match number {
                None => {
                    cleaned.foreign += 1;
                    continue;
                }
                Some(number) if number == current.number => {
                    cleaned.named += 1;
                    continue;
                }
                Some(number) if number < current.number => "a later manifest counts",
                Some(_) => "it never came to count",
            };
            let path = dir.join(&entry.name);
            if let Some(len) = self.len(&path)? {
                let fate = SweptFate::Removed;
                cleaned.swept.push(Swept {
                    path,
                    len,
                    why,
                    fate,
                });
            }
        }
        if !self.dry_run {
            remove_all(
                disk,
                cleaned.swept.iter().map(|it| it.path.clone()).collect(),
            )?;
        }
        Ok(cleaned)
    }

    /// The length of a file; `None` where it is gone.
    fn len(&self, path: &std::path::Path) -> Result<Option<u64>> {
        let file = match self.disk.open(path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        let len = file.len();
        len.map(Some)
            .map_err(|error| StorageError::io("read", path, error))
    }
}
