//! What a segment's header has to say before its frames are believed.
//!
//! The manifest says where a sealed segment ends and which salt it has, so its frames can be read
//! without a look at its header, and a later version of the format would then be read by the rules of
//! this one. Whoever is about to read the frames of a segment file asks here once.

use super::{
    file::Latched,
    header::{HEADER_LEN, HeaderError, SEGMENT_VERSION, SegmentHeader},
    scan::{ScanExpect, foreign},
};
use crate::{
    Offset,
    error::{Damage, Result, StorageError},
};

/// What the manifest knows of the segment's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first offset.
    pub base: Offset,
    /// The offset behind the last one.
    pub end: Offset,
    /// The byte behind the last frame.
    pub end_byte: u64,
    /// Whether the header must begin with just that base. That of a sealed segment does; a closed one
    /// may have been given lost offsets in front of its own, and its frames tell which are whose.
    pub exact: bool,
}

/// Looks at the header before the first frame is read.
///
/// Refused are a later version, and a header that is whole and is that of another log, stream or
/// segment: the records that ought to be here are not. A header that fails its own checksum is
/// believed in nothing, neither in a version nor in a name: the frames have checksums of their own,
/// begun with the salt that the manifest knows, and are read as far as they are good, while `verify`
/// reports the header.
///
/// # Errors
/// `NewerVersion`; `Corrupt` over the whole span; `Io` where the file can't be read.
pub fn first_use(file: &Latched, expect: &ScanExpect, span: &Span) -> Result<()> {
    let mut bytes = [0; HEADER_LEN as usize];
    let read = file.read_at(&mut bytes, 0)?;
    let what = match SegmentHeader::decode(&bytes[..read]) {
        Ok(Some(header)) => match foreign(&header, expect) {
            None if span.exact && header.base != span.base => format!(
                "the header begins with offset {}, the manifest with {}",
                header.base, span.base
            ),
            None => return Ok(()),
            Some(what) => what,
        },
        Err(HeaderError::NewerVersion(found)) => {
            return Err(StorageError::NewerVersion {
                path: file.path().to_path_buf(),
                found,
                supported: SEGMENT_VERSION,
            });
        }
        damaged => {
            let what = damaged.map_or_else(|error| error.to_string(), |_| "it is blank".into());
            tracing::warn!(
                target: "tierlog::storage", stream = %expect.stream, segment = %expect.segment,
                "a header is damaged ({what}); its frames are read by their own checksums"
            );
            return Ok(());
        }
    };
    Err(StorageError::Corrupt(Damage {
        stream: expect.stream,
        segment: expect.segment,
        from: span.base,
        to: span.end,
        bytes: (0, span.end_byte),
        what,
    }))
}
