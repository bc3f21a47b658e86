//! What the compressor takes.

use tierlog_storage::{
    manifest::{SealedFacts, WarmCopy},
    warm::{WarmFault, WarmIdentity},
};

use super::Reply;
use crate::under_way::Hold;

/// Make the compressed file of a segment. It is durable, and was compared with the segment, when the
/// answer comes; the manifest does not say so yet.
#[derive(Debug)]
pub struct Compress {
    /// Which segment. Of one that is not sealed only base, end and the byte behind its frames are
    /// known.
    pub identity: WarmIdentity,
    /// Seal it first: it ended without a footer.
    pub finish: bool,
    /// Keeps a sweep away from its files until the job has ended, whoever still waits for that.
    pub hold: Option<Hold>,
    /// What came of it.
    pub done: Reply<Result<Made, WarmFault>>,
}

/// A compressed file that was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// What the manifest keeps of the segment, sealed by now.
    pub facts: SealedFacts,
    /// The file.
    pub copy: WarmCopy,
}

/// Make the segment file again. It is durable when the answer comes; the manifest does not say so
/// yet.
#[derive(Debug)]
pub struct Restore {
    /// Which segment.
    pub identity: WarmIdentity,
    /// Its compressed file.
    pub copy: WarmCopy,
    /// As in [`Compress`].
    pub hold: Option<Hold>,
    /// What came of it.
    pub done: Reply<Result<(), WarmFault>>,
}
