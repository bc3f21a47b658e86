//! What a refusal is short of.

use std::fmt;

use serde::Serialize;

/// The resource that a [`WouldBlock`](crate::Error::WouldBlock) is short of.
///
/// A refusal never has a side effect: no offset was assigned, nothing was queued, and the payload
/// is handed back. `ready(kind)` wakes when there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The writer's lane is full, or there is no room for another segment (budget or disk).
    Admission,
    /// Too many bytes wait for a sync, or the flusher's mailbox is full.
    Flush,
    /// The active segment is full and the next one is not there yet.
    Rollover,
    /// The manifest writer's mailbox is full.
    Manifest,
    /// The bytes asked for are not in memory; fetching them has begun.
    Hydration,
    /// Too much waits for object storage.
    Upload,
    /// A reader stands at the end of what may be read.
    Tail,
}

impl Kind {
    /// Every kind that this version can raise.
    pub const RAISED: [Self; 7] = [
        Self::Admission,
        Self::Flush,
        Self::Rollover,
        Self::Manifest,
        Self::Hydration,
        Self::Upload,
        Self::Tail,
    ];

    /// There is no room on this machine, and nobody knows for how long: what is queued is not kept
    /// waiting for it.
    pub const fn is_space(self) -> bool {
        matches!(self, Self::Admission | Self::Upload)
    }

    /// The name used in metrics and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Flush => "flush",
            Self::Rollover => "rollover",
            Self::Manifest => "manifest",
            Self::Hydration => "hydration",
            Self::Upload => "upload",
            Self::Tail => "tail",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
