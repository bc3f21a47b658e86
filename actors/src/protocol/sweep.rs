//! What a sweep of Tier 2 is told, and tells.

use std::time::Duration;

use serde::Serialize;
use tierlog_storage::{catalog::SegmentKey, warm::WarmHead};

use super::Reply;
use crate::{error::Error, protocol::uploader::TransferFault};

/// How many objects a [`SweepReport`] tells of one by one.
pub const TOLD: usize = 1_000;

/// Find objects that nothing names; asked of the coordinator.
#[derive(Debug)]
pub struct Sweep {
    /// Remove none.
    pub dry_run: bool,
    /// Answered when all of the listing was gone through.
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

/// What a sweep of Tier 2 found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// Nothing was removed: `removed` is what would have been.
    pub dry_run: bool,
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
    /// How long it took.
    pub took: Duration,
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

/// What becomes of an object that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is a leftover of unfinished work, and was removed, or would be.
    Removed,
    /// It is left where it is, for somebody to look at.
    Quarantined,
}

impl SweepReport {
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
