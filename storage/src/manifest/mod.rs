//! The manifest: which streams and segments exist, and how far each is known to be durable.

mod apply;
mod edit;
pub mod entry;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use apply::NAME_MAX;
pub use entry::Entry;
pub use state::{
    ColdCopy, ManifestState, MarkState, Residency, SealedFacts, SegmentState, SegmentStatus,
    StreamState, UploadState, WarmCopy,
};

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
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
