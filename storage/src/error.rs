//! What can go wrong below the actors, by what there is to do about it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    disk::IoCause,
    ids::{LogId, Offset, SegmentNo, StreamId},
};

/// The result of whatever touches the disk.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Why the storage refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A file system call failed.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// The call, as a verb that stands before the path.
        op: &'static str,
        /// What it was called on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory that holds other things than a log, or, for a reader, none at all.
    #[error("{} is not a tierlog directory", path.display())]
    NotALog {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a version that this program does not know; nothing was touched.
    #[error(
        "{} is of format version {found}, written by a newer tierlog; this one reads up to {supported}",
        path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u16,
        /// The newest one known here.
        supported: u16,
    },
    /// Somebody else has the log open for writing.
    #[error("the log is in use: {} is held by another owner", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file that belongs to another log.
    #[error("{} belongs to log {found}, not to {expected}", path.display())]
    ForeignLog {
        /// The file.
        path: PathBuf,
        /// The log that was asked for.
        expected: LogId,
        /// The log that the file names.
        found: LogId,
    },
    /// Damage to a file without which the log can't be read: the pointer or the manifest.
    #[error("{} is damaged: {what}{}", path.display(), ByteRange(*range))]
    CorruptFile {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// The damaged bytes, the end exclusive, where they are known.
        range: Option<(u64, u64)>,
    },
    /// Damage to a stretch of one stream; the rest of it can be read.
    #[error("{0}")]
    Corrupt(Damage),
    /// A broken invariant, or a change of the manifest that makes no sense.
    #[error("{what}")]
    Invalid {
        /// Which one.
        what: String,
    },
}

impl StorageError {
    /// A failed call, with the verb and the path that tell people which one.
    pub fn io(op: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// True when there was no room: the disk, the quota or the largest file is full.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if IoCause::of(source) == IoCause::Full)
    }

    /// True when what was asked for did not answer in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }

    /// True when what was asked for does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Damage> for StorageError {
    fn from(damage: Damage) -> Self {
        Self::Corrupt(damage)
    }
}

/// A stretch of a stream that can't be read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The stream.
    pub stream: StreamId,
    /// The segment in which the damage lies.
    pub segment: SegmentNo,
    /// The first offset lost.
    pub from: Offset,
    /// The first offset behind the damage.
    pub to: Offset,
    /// The damaged bytes of the segment file, the end exclusive.
    pub bytes: (u64, u64),
    /// What was found there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            segment,
            from,
            to,
            bytes: (start, end),
            what,
        } = self;
        write!(f, "stream {stream}, segment {segment}: ")?;
        write!(
            f,
            "offsets {from}..{to} are damaged (bytes {start}..{end}): {what}"
        )
    }
}

struct ByteRange(Option<(u64, u64)>);

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((start, end)) => write!(f, " (bytes {start}..{end})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: io::ErrorKind) -> StorageError {
        StorageError::io("write", "/x", kind.into())
    }

    #[test]
    fn every_way_of_having_no_room_counts_as_full() {
        for code in [
            rustix::io::Errno::NOSPC,
            rustix::io::Errno::DQUOT,
            rustix::io::Errno::FBIG,
        ] {
            let error = StorageError::io("allocate", "/x", code.into());
            assert!(error.is_storage_full(), "{error}");
            assert!(!error.is_missing());
        }
        assert!(!of_kind(io::ErrorKind::NotFound).is_storage_full());
        assert!(
            !StorageError::Invalid {
                what: "disk full".into()
            }
            .is_storage_full()
        );
    }

    #[test]
    fn missing_is_told_by_its_code() {
        assert!(of_kind(io::ErrorKind::NotFound).is_missing());
        assert!(!of_kind(io::ErrorKind::PermissionDenied).is_missing());
    }

    #[test]
    fn messages_name_the_place() {
        let full = StorageError::io("write", "/d/s.tls", rustix::io::Errno::NOSPC.into());
        assert!(
            full.to_string().starts_with("cannot write /d/s.tls: "),
            "{full}"
        );
        let corrupt = StorageError::CorruptFile {
            path: "/d/CURRENT".into(),
            what: "checksum".into(),
            range: Some((0, 128)),
        };
        assert_eq!(
            corrupt.to_string(),
            "/d/CURRENT is damaged: checksum (bytes 0..128)"
        );
        let whole = StorageError::CorruptFile {
            path: "/d".into(),
            what: "no CURRENT".into(),
            range: None,
        };
        assert_eq!(whole.to_string(), "/d is damaged: no CURRENT");
        let damage = Damage {
            stream: StreamId::from_bytes([1; 16]),
            segment: SegmentNo(3),
            from: Offset(10),
            to: Offset(12),
            bytes: (128, 256),
            what: "checksum".into(),
        };
        assert_eq!(
            StorageError::from(damage).to_string(),
            "stream 01010101010101010101010101010101, segment 3: offsets 10..12 are damaged \
             (bytes 128..256): checksum"
        );
    }
}
