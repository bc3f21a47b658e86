//! The manifest: which streams and segments exist, and how far each is known to be durable.
//!
//! ```text
//!   CURRENT ──▶ manifest/00000000000000000007.tlm
//!               ┌────────┬───────────────────────┬────────┬────────┬─────
//!               │ header │ snapshot of the state │ commit │ commit │ …      one write and one sync
//!               └────────┴───────────────────────┴────────┴────────┴─────   for all that wait
//!
//!   Entry ──apply──▶ ManifestState ──snapshot──▶ ManifestLog::create, publish ──▶ the next file
//!   replay(CURRENT) ──▶ ManifestState
//! ```
//!
//! A commit counts whole or not at all. Each says how far the manifest was durable when it was
//! written, so that a torn tail is told from damage ([`replay`](mod@replay)). A file in doubt is
//! never written or synced again: the next one begins with a snapshot.

mod apply;
mod archive;
pub mod chunk;
pub mod commit;
pub mod current;
mod edit;
pub mod entry;
pub mod inspect;
pub mod log;
mod parts;
pub mod replay;
pub mod reserve;
mod retention;
mod segments;
pub mod state;
mod tail;
#[cfg(test)]
mod tests;
mod walk;
pub mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use apply::NAME_MAX;
pub(crate) use apply::check_name;
pub use current::Current;
pub use entry::Entry;
pub use inspect::{InspectedChunk, InspectedFile, Inspection, inspect, visit_entries};
pub use log::ManifestLog;
pub use parts::{PARTS_MAX, PartsState, UPLOAD_ID_MAX, UploadId};
pub use replay::{ReplayReport, Replayed, replay};
pub use reserve::ensure_reserve;
pub use retention::{Keep, RetentionState};
pub use segments::Segments;
pub use state::{
    ClaimState, ColdCopy, ManifestState, MarkState, Residency, SealedFacts, SegmentState,
    SegmentStatus, StreamState, UploadState, WarmCopy,
};

/// How manifest files are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestOptions {
    /// The size of a chunk: whole pages of 4 KiB, 16 KiB to 1 MiB. The largest commit fits one.
    pub chunk_size: u64,
    /// A new file is due once this much stands behind a file's snapshot.
    pub rotate_bytes: u64,
}

impl Default for ManifestOptions {
    fn default() -> Self {
        Self {
            chunk_size: 256 << 10,
            rotate_bytes: 4 << 20,
        }
    }
}

/// The number of an entry: 1, 2, 3, … over all files of a manifest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one behind it. The last one there is has none; a commit that would need it is refused.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
