//! Where everything lies in a log's directory.
//!
//! ```text
//! DATA/
//!   LOCK                               held by the one owner
//!   CURRENT                            which manifest counts
//!   claims                             how far each open stream is durable, for restarts and readers
//!   reserve                            room for the manifest when the disk is full
//!   manifest/{number:020}.tlm
//!   streams/{stream uuid}/{segment:020}.tls
//!   streams/{stream uuid}/{segment:020}.tlz         its compressed copy
//!   streams/{stream uuid}/{segment:020}.tls.tmp     a segment that is being sealed after all
//!   quarantine/                        files that nothing names but that may matter
//! ```

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::ids::{SegmentNo, StreamId};

const MANIFEST_EXTENSION: &str = "tlm";
const SEGMENT_EXTENSION: &str = "tls";
const WARM_EXTENSION: &str = "tlz";
const SEGMENT_TMP_EXTENSION: &str = "tls.tmp";

/// The paths of one log's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths below `root`. Nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that the owner holds locked.
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// The pointer to the manifest that counts.
    pub fn current(&self) -> PathBuf {
        self.root.join("CURRENT")
    }

    /// What [`Self::current`] is written as before it takes its place.
    pub fn current_tmp(&self) -> PathBuf {
        self.root.join("CURRENT.tmp")
    }

    /// The claims file.
    pub fn claims(&self) -> PathBuf {
        self.root.join("claims")
    }

    /// The room kept for the manifest.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// The folder of the manifest files.
    pub fn manifest_dir(&self) -> PathBuf {
        self.root.join("manifest")
    }

    /// One manifest file.
    pub fn manifest(&self, number: u64) -> PathBuf {
        self.manifest_dir()
            .join(numbered(number, MANIFEST_EXTENSION))
    }

    /// The folder of the streams' folders.
    pub fn streams_dir(&self) -> PathBuf {
        self.root.join("streams")
    }

    /// The folder of one stream.
    pub fn stream_dir(&self, stream: StreamId) -> PathBuf {
        self.streams_dir().join(stream.to_string())
    }

    /// One segment file.
    pub fn segment(&self, stream: StreamId, number: SegmentNo) -> PathBuf {
        self.stream_dir(stream)
            .join(numbered(number.get(), SEGMENT_EXTENSION))
    }

    /// The compressed copy of one segment.
    pub fn warm(&self, stream: StreamId, number: SegmentNo) -> PathBuf {
        self.stream_dir(stream)
            .join(numbered(number.get(), WARM_EXTENSION))
    }

    /// What a segment is written as that is sealed after all, before it takes its place.
    pub fn segment_tmp(&self, stream: StreamId, number: SegmentNo) -> PathBuf {
        self.stream_dir(stream)
            .join(numbered(number.get(), SEGMENT_TMP_EXTENSION))
    }

    /// The folder of files that nothing names any more but that may matter to people.
    pub fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// The number of a manifest file of this name; `None` when it is not the name of one.
pub fn parse_manifest_name(name: &OsStr) -> Option<u64> {
    parse_numbered(name, MANIFEST_EXTENSION)
}

/// The number of a segment file of this name; `None` when it is not the name of one.
pub fn parse_segment_name(name: &OsStr) -> Option<SegmentNo> {
    parse_numbered(name, SEGMENT_EXTENSION).map(SegmentNo)
}

/// The number of the segment of which a compressed copy has this name; `None` when it is not the name
/// of one.
pub fn parse_warm_name(name: &OsStr) -> Option<SegmentNo> {
    parse_numbered(name, WARM_EXTENSION).map(SegmentNo)
}

/// The number of the segment that is written under this name before it takes its place; `None` when it
/// is not the name of one.
pub fn parse_segment_tmp_name(name: &OsStr) -> Option<SegmentNo> {
    parse_numbered(name, SEGMENT_TMP_EXTENSION).map(SegmentNo)
}

/// The stream whose folder has this name; `None` when it is not the name of one.
pub fn parse_stream_dir(name: &OsStr) -> Option<StreamId> {
    let name = name.to_str()?;
    let stream = StreamId(Uuid::try_parse(name).ok()?);
    // Uuids have several spellings. Two folders must never stand for one stream.
    (stream.to_string() == name).then_some(stream)
}

fn numbered(number: u64, extension: &str) -> String {
    format!("{number:020}.{extension}")
}

fn parse_numbered(name: &OsStr, extension: &str) -> Option<u64> {
    let name = name.to_str()?;
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    // `parse` alone would take "+1" and "1" as well: names that nobody would find again.
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_as_documented() {
        let layout = Layout::new("/data");
        let stream = StreamId::from_bytes([0xab; 16]);
        assert_eq!(layout.current(), Path::new("/data/CURRENT"));
        assert_eq!(
            layout.manifest(7),
            Path::new("/data/manifest/00000000000000000007.tlm")
        );
        assert_eq!(
            layout.segment(stream, SegmentNo(12)),
            Path::new("/data/streams/abababababababababababababababab/00000000000000000012.tls")
        );
    }

    #[test]
    fn look_alikes_are_not_ours() {
        for name in [
            "",
            ".tls",
            "1.tls",
            "+0000000000000000001.tls",
            "00000000000000000001.TLS",
            "00000000000000000001tls",
            "00000000000000000001.tls.tmp",
            "000000000000000000001.tls",
            "99999999999999999999.tls",
            "0000000000000000000١.tls",
        ] {
            assert_eq!(parse_segment_name(OsStr::new(name)), None, "{name}");
        }
        assert_eq!(
            parse_manifest_name(OsStr::new("00000000000000000001.tls")),
            None
        );
        for name in [
            "",
            "abab",
            "ABABABABABABABABABABABABABABABAB",
            "abababab-abab-abab-abab-abababababab",
            "{abababab-abab-abab-abab-abababababab}",
            "urn:uuid:abababab-abab-abab-abab-abababababab",
        ] {
            assert_eq!(parse_stream_dir(OsStr::new(name)), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_are_found_again(number in any::<u64>(), id in any::<[u8; 16]>()) {
            let layout = Layout::new("x");
            let stream = StreamId::from_bytes(id);
            let manifest = layout.manifest(number);
            let segment = layout.segment(stream, SegmentNo(number));
            prop_assert_eq!(manifest.file_name().and_then(parse_manifest_name), Some(number));
            prop_assert_eq!(segment.file_name().and_then(parse_segment_name), Some(SegmentNo(number)));
            prop_assert_eq!(layout.stream_dir(stream).file_name().and_then(parse_stream_dir), Some(stream));
        }
    }
}
