//! The one error that callers see, and the few kinds that say what to do about it.

use std::{path::PathBuf, sync::Arc};

use tierlog_storage::{
    Offset,
    disk::IoCause,
    error::{Damage, StorageError},
};

use crate::kind::Kind;

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing happened; the same call may be made again.
    Retry,
    /// A resource is short: wait until there is room, then call again.
    BackOff,
    /// The call, the settings or the surroundings are wrong: it will fail again as it is.
    FixInput,
    /// The log has moved on from what the call assumed: look again, then decide.
    Moved,
    /// The stream or the log refuses further work until it is opened again.
    Reopen,
    /// Bytes are damaged or missing: restore them from a copy.
    Restore,
    /// The log was shut down.
    Closed,
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bounded resource is short; nothing was done.
    #[error("would block on {kind}")]
    WouldBlock {
        /// Which resource.
        kind: Kind,
    },
    /// The call's arguments can't be taken.
    #[error("{what}")]
    InvalidInput {
        /// What is wrong with them.
        what: String,
    },
    /// A record, or a batch as a whole, is over the limit.
    #[error("a record or batch of {len} bytes is over the limit of {limit} bytes")]
    RecordTooLarge {
        /// Its size in bytes: payload and key of a record; of a batch, all of it as encoded.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A stream's name is empty, longer than 255 bytes, or has a control character; or that of a new
    /// one has something else that is not [plain](tierlog_storage::names::is_plain).
    #[error("not a stream name: {what}")]
    StreamName {
        /// What is wrong with it.
        what: String,
    },
    /// No stream has this name.
    #[error("there is no stream named {name:?}")]
    UnknownStream {
        /// The name asked for.
        name: String,
    },
    /// Too many streams are open at once.
    #[error("no more streams can be open than the limit of {limit}")]
    TooManyStreams {
        /// The setting `max_streams`.
        limit: usize,
    },
    /// Settings that can't work.
    #[error("{what}")]
    Settings {
        /// What is wrong, naming the key.
        what: String,
    },
    /// `append_if` found the stream elsewhere. Said only once `next` is durable.
    #[error("the next offset is {next}, not {expected}")]
    Conflict {
        /// What the caller expected.
        expected: Offset,
        /// The next offset of the stream, durable.
        next: Offset,
    },
    /// The disk is full. What was refused is handed back; appends go on when there is room.
    #[error("no space left for the log")]
    StorageFull,
    /// The record is surely not in the log and will never be.
    #[error("not appended: {why}")]
    NotAppended {
        /// What went wrong before it.
        why: Arc<str>,
    },
    /// Nobody can say whether the record is in the log; a reader will tell after reopening.
    #[error("the outcome is unknown: {why}")]
    Indeterminate {
        /// What went wrong.
        why: Arc<str>,
    },
    /// A new segment could not be made, or a full one not be sealed.
    #[error("the segment could not be rolled over: {why}")]
    RolloverFailed {
        /// What went wrong.
        why: Arc<str>,
    },
    /// The offset asked for was trimmed away.
    #[error("offset {asked} was trimmed; the stream starts at {start}")]
    Trimmed {
        /// The offset asked for.
        asked: Offset,
        /// The first offset that is there.
        start: Offset,
    },
    /// The reader stood beyond a truncation.
    #[error("the stream was truncated to end at {end}; the reader stood at {position}")]
    Truncated {
        /// The end of the stream after the truncation.
        end: Offset,
        /// Where the reader stood.
        position: Offset,
    },
    /// Bytes of a stream are damaged.
    #[error("{0}")]
    Corrupt(Damage),
    /// Something is there that can't be read as a log.
    #[error("{0}")]
    Storage(Arc<StorageError>),
    /// The data can't be reached at the moment.
    #[error("unavailable: {why}")]
    Unavailable {
        /// What went wrong.
        why: Arc<str>,
    },
    /// The stream refuses appends until the log is opened again.
    #[error("the stream stopped: {why}")]
    StreamFailed {
        /// What went wrong.
        why: Arc<str>,
    },
    /// The log stopped after too many failures in a row.
    #[error("the log stopped: {why}")]
    LogFailed {
        /// What went wrong.
        why: Arc<str>,
    },
    /// Somebody else has claimed the log's Tier 2 since, so that what is appended here would never be
    /// part of its history.
    #[error("fenced: {what}")]
    Fenced {
        /// Who, as far as it is known.
        what: Arc<str>,
    },
    /// What is in Tier 2 is not what this log, or whoever asked, expects there.
    #[error("Tier 2: {what}")]
    Tier2 {
        /// What is wrong, with the place.
        what: Arc<str>,
    },
    /// What is archived is not taken back.
    #[error("can't truncate to {asked}: the stream is archived up to {archived}")]
    Archived {
        /// The end that was asked for.
        asked: Offset,
        /// The lowest one that can be had.
        archived: Offset,
    },
    /// The log was shut down, or its supervisor was dropped.
    #[error("the log is closed")]
    Closed,
    /// This version, or this log, has no such thing.
    #[error("{what}")]
    Unsupported {
        /// What is not there.
        what: String,
    },
    /// A file of the app's could not be read or written.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WouldBlock { .. } | Self::StorageFull => ErrorKind::BackOff,
            Self::NotAppended { .. } | Self::RolloverFailed { .. } => ErrorKind::Retry,
            Self::InvalidInput { .. }
            | Self::RecordTooLarge { .. }
            | Self::StreamName { .. }
            | Self::UnknownStream { .. }
            | Self::TooManyStreams { .. }
            | Self::Settings { .. }
            | Self::Fenced { .. }
            | Self::Archived { .. }
            | Self::Tier2 { .. }
            | Self::Unsupported { .. } => ErrorKind::FixInput,
            Self::Io { source, .. } => kind_of(source),
            Self::Conflict { .. } | Self::Trimmed { .. } | Self::Truncated { .. } => {
                ErrorKind::Moved
            }
            Self::Corrupt(_) => ErrorKind::Restore,
            Self::Storage(error) => match error.as_ref() {
                StorageError::Locked { .. } => ErrorKind::BackOff,
                StorageError::Corrupt(_) | StorageError::CorruptFile { .. } => ErrorKind::Restore,
                StorageError::Invalid { .. } => ErrorKind::Reopen,
                StorageError::Io { source, .. } => kind_of(source),
                _ => ErrorKind::FixInput,
            },
            Self::Unavailable { .. } => ErrorKind::Retry,
            Self::Indeterminate { .. } | Self::StreamFailed { .. } | Self::LogFailed { .. } => {
                ErrorKind::Reopen
            }
            Self::Closed => ErrorKind::Closed,
        }
    }

    /// What to do about it, in one short clause for people.
    pub fn advice(&self) -> &'static str {
        if let Some(source) = self.io() {
            return io_advice(source);
        }
        match self {
            Self::StorageFull => "free disk space or trim, then try again",
            Self::Fenced { .. } => {
                "its owner now is elsewhere: go on there, or restore into a new directory to take it over"
            }
            Self::Tier2 { .. } => "check what `cold` says, and what is there",
            Self::Archived { .. } => "cut no further back than that",
            Self::Storage(error) => storage_advice(error),
            _ => match self.kind() {
                ErrorKind::Retry => "try again",
                ErrorKind::BackOff => "wait until there is room, then try again",
                ErrorKind::FixInput => "correct the call",
                ErrorKind::Moved => "look at the stream's watermarks and decide again",
                ErrorKind::Reopen => "open the log again",
                ErrorKind::Restore => "run `tierlog verify` and restore what it lists from a copy",
                ErrorKind::Closed => "open the log again",
            },
        }
    }

    /// What the system said, where a call of it failed.
    fn io(&self) -> Option<&std::io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Storage(error) => match error.as_ref() {
                StorageError::Io { source, .. } => Some(source),
                _ => None,
            },
            _ => None,
        }
    }

    /// Shorthand for the refusal.
    pub const fn would_block(kind: Kind) -> Self {
        Self::WouldBlock { kind }
    }

    pub(crate) fn failed(why: &dyn std::fmt::Display) -> Self {
        Self::StreamFailed {
            why: why.to_string().into(),
        }
    }

    pub(crate) fn indeterminate(why: &dyn std::fmt::Display) -> Self {
        Self::Indeterminate {
            why: why.to_string().into(),
        }
    }

    pub(crate) fn stalled(what: &str, patience: std::time::Duration) -> Self {
        Self::Unavailable {
            why: format!("{what} did not answer within {patience:?}").into(),
        }
    }

    pub(crate) fn not_appended(why: &dyn std::fmt::Display) -> Self {
        Self::NotAppended {
            why: why.to_string().into(),
        }
    }
}

/// Why a segment can't be read that is in Tier 2 alone, by who does not know where that is.
#[derive(Debug, thiserror::Error)]
#[error("the segment is in Tier 2, and `cold` is not set")]
pub(crate) struct NoTier2;

/// What to do about a failed call of the system.
fn kind_of(source: &std::io::Error) -> ErrorKind {
    match IoCause::of(source) {
        IoCause::Surroundings => ErrorKind::FixInput,
        IoCause::Full | IoCause::Short => ErrorKind::BackOff,
        IoCause::Interrupted => ErrorKind::Retry,
        IoCause::Device => ErrorKind::Reopen,
    }
}

fn storage_advice(error: &StorageError) -> &'static str {
    match error {
        StorageError::CorruptFile { .. } | StorageError::Corrupt(_) => {
            "restore what is damaged from a copy"
        }
        StorageError::NotALog { .. } => {
            "name the directory of a log, or for a new one a directory that is missing or empty"
        }
        StorageError::ForeignLog { .. } => "put the files of one log together, as in a copy of all",
        StorageError::Locked { .. } => "stop the process that has it open, or read it read-only",
        StorageError::NewerVersion { .. } => {
            "open it with the version of tierlog that wrote it, or a newer one"
        }
        _ => "open the log again",
    }
}

fn io_advice(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Io;
    if source.get_ref().is_some_and(|why| why.is::<NoTier2>()) {
        return "set `cold` to where Tier 2 is";
    }
    match (IoCause::of(source), source.kind()) {
        (IoCause::Surroundings, Io::PermissionDenied) => "check who may read and write there",
        (IoCause::Surroundings, Io::ReadOnlyFilesystem) => {
            "it can be read where it is, and written on a writable disk alone"
        }
        (IoCause::Surroundings, Io::NotADirectory | Io::NotFound) => "check the path",
        (IoCause::Surroundings, _) => "correct the path, its permissions or its mount",
        (IoCause::Full, _) => "free disk space or trim, then try again",
        // EAGAIN, of a thread or a lock.
        (IoCause::Short, Io::WouldBlock) => "allow the process more threads and memory",
        (IoCause::Short, _) => match source.raw_os_error() {
            // ENFILE, EMFILE.
            Some(23 | 24) => "allow the process more open files",
            _ => "raise the limit or free what is short, then try again",
        },
        (IoCause::Interrupted, _) => "try again",
        (IoCause::Device, _) => "look at the disk and the system's log, then open the log again",
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupt(damage) => Self::Corrupt(damage),
            other if other.is_storage_full() => Self::StorageFull,
            other => Self::Storage(Arc::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failed_call_of_the_system_says_what_to_do_by_its_cause() {
        const EIO: i32 = 5;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let kinds = io::Error::from;
        let table = [
            (ErrorKind::FixInput, kinds(io::ErrorKind::PermissionDenied)),
            (ErrorKind::FixInput, kinds(io::ErrorKind::NotFound)),
            (
                ErrorKind::FixInput,
                kinds(io::ErrorKind::ReadOnlyFilesystem),
            ),
            (ErrorKind::FixInput, kinds(io::ErrorKind::NotADirectory)),
            (ErrorKind::FixInput, kinds(io::ErrorKind::InvalidFilename)),
            (ErrorKind::BackOff, kinds(io::ErrorKind::StorageFull)),
            (ErrorKind::BackOff, kinds(io::ErrorKind::QuotaExceeded)),
            (ErrorKind::BackOff, kinds(io::ErrorKind::OutOfMemory)),
            (ErrorKind::BackOff, kinds(io::ErrorKind::WouldBlock)),
            (ErrorKind::BackOff, io::Error::from_raw_os_error(EMFILE)),
            (ErrorKind::BackOff, io::Error::from_raw_os_error(ENFILE)),
            (ErrorKind::Retry, kinds(io::ErrorKind::Interrupted)),
            (ErrorKind::Reopen, io::Error::from_raw_os_error(EIO)),
            (ErrorKind::Reopen, io::Error::other("not tried")),
        ];
        for (kind, source) in table {
            let app = Error::Io {
                op: "start threads for",
                path: "/d".into(),
                source: Arc::new(io::Error::new(source.kind(), "of the app's")),
            };
            if source.raw_os_error().is_none() {
                assert_eq!(app.kind(), kind, "{app}");
            }
            let error = Error::Storage(Arc::new(StorageError::io("open", "/d", source)));
            assert_eq!(error.kind(), kind, "{error}");
            assert_ne!(error.advice(), "correct the call", "{error}");
        }
        let full = StorageError::io("write", "/d", io::ErrorKind::StorageFull.into());
        assert!(matches!(Error::from(full), Error::StorageFull));
    }
}
