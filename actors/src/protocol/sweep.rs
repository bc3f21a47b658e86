//! What a sweep is told, and tells.

use std::time::Duration;

use serde::Serialize;
use tierlog_storage::{catalog::SegmentKey, warm::WarmHead};

use super::Reply;
use crate::{error::Error, protocol::uploader::TransferFault};

/// How many files, and how many objects, a [`SweepReport`] tells of one by one.
pub const TOLD: usize = 1_000;

/// Find files and objects that nothing names; asked of the coordinator.
#[derive(Debug)]
pub struct Sweep {
    /// Remove none.
    pub dry_run: bool,
    /// Answered when all of the directory and of the listing of Tier 2 was gone through.
    pub done: Reply<Result<SweepReport, Error>>,
}

/// Look through a page of the listing; asked of the uploader.
#[derive(Debug)]
pub struct Survey {
    /// Keys greater than this one.
    pub after: Option<String>,
    /// What was found.
    pub done: Reply<Result<Page, TransferFault>>,
}

/// Delete an object that was found to be a leftover; asked of the uploader, which makes sure that Tier 2 is
/// still this owner's and that the catalog does not name it.
#[derive(Debug)]
pub struct Discard {
    /// Its key.
    pub key: SegmentKey,
    /// Answered once it is gone.
    pub done: Reply<Result<(), TransferFault>>,
}

/// A page of the listing, held against the catalog as it was read for it.
#[derive(Debug, Default)]
pub struct Page {
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the catalog itself.
    pub catalog: u64,
    /// Segments that it names.
    pub named: u64,
    /// What somebody may be making or about to name: segments of a later owner, and objects of a probe.
    pub not_ours_yet: u64,
    /// Those that are not of this log.
    pub foreign: u64,
    /// Those of this log that the catalog does not name.
    pub unnamed: Vec<Unnamed>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<String>,
}

/// An object of this log that the catalog does not name.
#[derive(Debug, Clone)]
pub struct Unnamed {
    /// Its key.
    pub key: String,
    /// What the key says, if it is one of a segment.
    pub parsed: Option<SegmentKey>,
    /// Its length.
    pub len: u64,
    /// What it says itself; `None` where a newer version made it.
    pub head: Option<WarmHead>,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// Nothing was removed or moved: what is told is what would have been.
    pub dry_run: bool,
    /// In the data directory.
    pub directory: SweptDirectory,
    /// In Tier 2, if there is one and it was claimed by then.
    pub tier_2: Option<SweptTier2>,
    /// How long it took.
    pub took: Duration,
}

/// What a sweep found in the data directory, and did there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweptDirectory {
    /// Files of the manifest and of streams that were found.
    pub files: u64,
    /// Those that the manifest names, and its own one.
    pub named: u64,
    /// Leftovers of unfinished work that were removed.
    pub removed: u64,
    /// Bytes in them.
    pub removed_bytes: u64,
    /// Files of this log that nothing names or explains. They were moved to the folder `quarantine`.
    pub quarantined: u64,
    /// Files that lay in that folder before.
    pub in_quarantine: u64,
    /// Files that nothing names and that somebody is at work on. A later sweep tells.
    pub under_way: u64,
    /// What is not of this log. It is left where it is.
    pub foreign: u64,
    /// What was removed and what is in quarantine now, one by one; the first thousand of them.
    pub told: Vec<SweptFile>,
}

/// A file that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweptFile {
    /// Where it was, below the data directory.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// What became of it.
    pub fate: Fate,
    /// Why.
    pub why: String,
    /// Where it is now, if it was moved.
    pub now: Option<String>,
}

/// What a sweep found in Tier 2, and did there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweptTier2 {
    /// Objects that were found.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Objects of the catalog itself.
    pub catalog: u64,
    /// Objects of segments that the catalog or the manifest names.
    pub named: u64,
    /// Leftovers of unfinished work that were removed.
    pub removed: u64,
    /// Bytes in them.
    pub removed_bytes: u64,
    /// Objects of this log that nothing names or explains. They are left where they are.
    pub quarantined: u64,
    /// Objects that nothing names yet: of this owner or a later one, or of a store's probe. A later
    /// sweep tells.
    pub later: u64,
    /// Objects that are not of this log. They are left where they are.
    pub foreign: u64,
    /// What was removed and what is in quarantine, one by one; the first thousand of them.
    pub told: Vec<SweptObject>,
}

/// An object that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweptObject {
    /// Its key, below the prefix of the log.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
    /// What became of it.
    pub fate: Fate,
    /// Why.
    pub why: String,
}

/// What becomes of a file or an object that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is a leftover of unfinished work, and was removed, or would be.
    Removed,
    /// It is kept for somebody to look at: a file in the folder `quarantine`, an object where it is.
    Quarantined,
}

impl SweptDirectory {
    /// Adds a file, and tells of it if there are not too many.
    pub(crate) fn tell(&mut self, file: SweptFile) {
        match file.fate {
            Fate::Removed => {
                self.removed += 1;
                self.removed_bytes = self.removed_bytes.saturating_add(file.len);
            }
            Fate::Quarantined => self.quarantined += 1,
        }
        if self.told.len() < TOLD {
            self.told.push(file);
        }
    }
}

impl SweptTier2 {
    /// Adds an object, and tells of it if there are not too many.
    pub(crate) fn tell(&mut self, object: SweptObject) {
        match object.fate {
            Fate::Removed => {
                self.removed += 1;
                self.removed_bytes = self.removed_bytes.saturating_add(object.len);
            }
            Fate::Quarantined => self.quarantined += 1,
        }
        if self.told.len() < TOLD {
            self.told.push(object);
        }
    }
}
