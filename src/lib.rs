//! A durable append-only log for Tokio apps.
//!
//! A *log* is one data directory, written by one process. It holds many *streams*; a stream is a
//! dense sequence of *records* with the offsets 0, 1, 2, …
//!
//! ```
//! use tierlog::{From, Settings, Supervisor};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tierlog::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("log");
//! let supervisor = Supervisor::open(Settings::new(path)).await?;
//! let orders = supervisor.log().stream("orders").await?;
//!
//! let ack = orders.append("hello").await?; // on disk, and there after power loss
//! assert_eq!(ack.offset.get(), 0);
//!
//! let mut reader = orders.reader(From::Earliest).await?;
//! while let Some(record) = reader.try_next().await? {
//!     assert_eq!(&record.payload[..], b"hello");
//! }
//! let report = supervisor.shutdown(std::time::Duration::from_secs(10)).await?;
//! assert!(report.clean);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to begin
//! - [`Supervisor::open`] opens a log, [`Log::stream`] a stream of it.
//! - [`Stream::append`] waits until a record is on disk; [`Stream::try_append`] never waits;
//!   [`Appender`] is the fastest.
//! - [`Stream::reader`] reads, from wherever [`From`] says; [`Reader`] is a [`futures::Stream`].
//! - [`ReadOnly`] looks at a log that another process owns, or nobody.
//! - [`Supervisor::restore`] makes a log of what its Tier 2 holds; [`Parts`] is for an app that brings its
//!   own store.
//! - [`Settings`] are plain data, [`Error`] says what to do by its [`kind`](Error::kind).
//!
//! # What an ack means
//! At [`Level::Written`] the operating system has the record: it survives `kill -9`. At
//! [`Level::Durable`] the disk has it, synced, with everything that is needed to find it: it survives
//! a power cut. At [`Level::Archived`] an object of Tier 2 has it, which a published catalog names: it
//! survives the loss of the machine. Without a Tier 2 that outlives the log that level is refused.
//!
//! # Runtimes
//! A log runs on the Tokio runtime, multi-thread or current-thread, on which it was opened, and on a few
//! threads of its own for all blocking work. Handles can be used from any thread; `try_` forms,
//! [`Ticket::wait`] and [`TryNext::wait`] need no runtime around the caller.
//!
//! # Features
//! `cli`, on by default, is the binary; a library goes without by `default-features = false`.
//! `s3`, `gcs` and `azblob` are object stores for [`Settings::cold`]; `opendal` alone is for an operator
//! that the app brings, see [`Parts`]. `fault-injection` is for the tests of this workspace.
//!
//! What survives what stands in `docs/durability.md`; which call can be refused with which [`Kind`],
//! what wakes it, and what cancelling each future means, in `docs/protocol.md`.

mod appender;
mod handles;
mod info;
mod log;
mod parts;
mod read_only;
mod reader;
mod retention;
mod settings;
mod stream;
mod supervisor;
mod verify;

pub use tierlog_actors::{
    Error, ErrorKind, Kind,
    context::Totals as Counters,
    protocol::{
        supervisor::{
            ClaimHealth, ColdHealth, Health, LogState, Restart, ShutdownReport, SweepHealth,
        },
        sweep::{Fate, SweepReport, SweptDirectory, SweptFile, SweptObject, SweptTier2},
    },
    read::{From, Reader, TryNext, TryRead},
    restore::Restored,
    stream::{
        marks::Level,
        shared::Watermarks,
        ticket::{Ack, AppendError, Ticket},
    },
};
pub use tierlog_storage::{
    Damage, Epoch, Incarnation, LogId, Offset, SegmentNo, StorageError, StreamId,
    manifest::{InspectedChunk, InspectedFile, Inspection as ManifestInspection},
    names::is_plain,
    recovery::{RecoveryReport, StreamReport},
    segment::{NewRecord, Record},
};

pub use appender::Appender;
pub use info::{SegmentInfo, StreamInfo};
pub use log::Log;
pub use parts::Parts;
pub use read_only::{ReadOnly, ReadStream};
pub use reader::ReaderBuilder;
pub use retention::{Keep, Retention};
pub use settings::{ColdUri, FlushPolicy, ReadMode, SettingKey, Settings, SettingsError, Size};
pub use stream::{Stream, TryAppend, TryAppendBatch};
pub use supervisor::Supervisor;
#[cfg(feature = "opendal")]
pub use tierlog_cold::opendal;
pub use verify::VerifyReport;

/// What tests of this workspace reach for: disks that fail on order, points at which actors are
/// killed, and the storage formats. Not part of the stable interface.
#[cfg(feature = "fault-injection")]
#[doc(hidden)]
pub mod testing {
    pub use tierlog_actors::{
        clock::{Clock, SystemClock},
        exec::{Executor, Job, ThreadPool, Work, turns},
        fault::{
            Action, COLD_POINTS, Faults, MOVE_POINTS, PARTS_POINTS, POINTS, SWEEP_POINTS, Sway,
        },
        supervisor::Injected,
    };
    pub use tierlog_cold as cold;
    pub use tierlog_storage as storage;
}

/// The examples of the README and of the guide, run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/guide.md")]
    struct Guide;
}
