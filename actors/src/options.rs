//! What the actors are told: checked figures, not the settings that people write.

use std::{path::PathBuf, time::Duration};

use tierlog_storage::segment::FRAME_TARGET;

/// When written records are synced by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// As soon as possible; what arrives during a sync is covered by the next one.
    Always,
    /// At most this long after the first unsynced record was written.
    Every(Duration),
    /// Once so many bytes are unsynced, or `idle` after the first of them.
    Bytes {
        /// The threshold, in bytes.
        bytes: u64,
        /// The longest wait of a record that does not reach it.
        idle: Duration,
    },
    /// Only by `flush`, `seal` or shutdown.
    Manual,
}

/// How sealed segments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// By `pread` into checked blocks.
    Pread,
    /// Through read-only maps.
    Map,
}

/// Checked figures of one log. All sizes are bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// Bytes that hot segments may take; `None` for as much as the disk has.
    pub hot_budget: Option<u64>,
    /// Bytes that compressed files may take; `None` for as much as the disk has, 0 for no such files.
    pub warm_budget: Option<u64>,
    /// The level of zstd.
    pub compression_level: i32,
    /// Segments compressed at once.
    pub compression_workers: usize,
    /// Uploads and deletions at once.
    pub upload_workers: usize,
    /// How long after somebody began to wait for `Archived` an open segment is sealed.
    pub archive_after: Duration,
    /// How often the directory and Tier 2 are swept; zero for never by itself.
    pub sweep_every: Duration,
    /// A store is taken that does not tell who was first.
    pub cold_unfenced: bool,
    /// How old records get that a stream keeps, unless it says otherwise; `None` for any age.
    pub retain_age: Option<Duration>,
    /// Bytes of segment files that a stream keeps, unless it says otherwise; `None` for any number.
    pub retain_bytes: Option<u64>,
    /// How long a reader keeps what it stands on from being given up.
    pub reader_lease: Duration,
    /// How long opening waits for Tier 2.
    pub cold_wait: Duration,
    /// The size of a full segment.
    pub segment_size: u64,
    /// An active segment older than this is rolled over.
    pub segment_age: Option<Duration>,
    /// The largest record, payload and key, and the largest batch, as encoded.
    pub max_record: usize,
    /// When records are synced.
    pub flush: FlushPolicy,
    /// How sealed segments are read.
    pub read: ReadMode,
    /// Bytes of accepted records that may wait for durability, over all streams.
    pub unsynced_bytes: usize,
    /// Messages that may wait in one stream's lane.
    pub lane_records: usize,
    /// Bytes of recent frames kept in memory for readers at the tail, over all streams.
    pub tail_cache: usize,
    /// Bytes of checked blocks kept in memory for readers.
    pub read_cache: usize,
    /// How long a stream is idle before its end is marked in the manifest.
    pub idle_mark: Duration,
    /// How long blocking work may take before its tickets end.
    pub stall_after: Duration,
    /// The size of a manifest chunk.
    pub manifest_chunk: u64,
    /// A manifest file longer than this is replaced by a snapshot.
    pub manifest_rotate: u64,
    /// Streams synced at once, each by a thread of its own; threads for writes and reads follow from it.
    pub io_threads: usize,
    /// Streams open at once.
    pub max_streams: usize,
    /// Mailbox of the flusher, in messages.
    pub flusher_queue: usize,
    /// Mailbox of the coordinator, in messages.
    pub coordinator_queue: usize,
    /// Mailbox of the manifest writer, in messages.
    pub manifest_queue: usize,
    /// Mailbox of the supervisor, in messages.
    pub supervisor_queue: usize,
    /// Restarts within `restart_window` before the log gives up.
    pub restart_limit: usize,
    /// The window in which restarts are counted.
    pub restart_window: Duration,
}

impl Options {
    /// Bytes at which a frame is full: no more than [`FRAME_TARGET`], and a quarter of a small
    /// segment, so that segments end near their size.
    pub fn frame_target(&self) -> usize {
        usize::try_from(self.segment_size / 4)
            .unwrap_or(FRAME_TARGET)
            .clamp(1024, FRAME_TARGET)
    }

    /// Bytes of accepted records that one stream may hold, so that one stream that is not synced
    /// leaves room for the others.
    pub fn stream_unsynced(&self) -> usize {
        (self.unsynced_bytes / 2)
            .max(self.max_record + 64 * 1024)
            .min(self.unsynced_bytes)
    }
}
