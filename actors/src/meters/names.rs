//! Every metric: its name, its unit, and what it is. They stand here and nowhere else.
//!
//! `docs/operations.md` has the same names with the alert that each deserves; a test holds the two
//! against each other.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

/// A metric that is still without a handle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    name: &'static str,
    unit: Unit,
    text: &'static str,
}

const fn seconds(name: &'static str, text: &'static str) -> Name {
    let unit = Unit::Seconds;
    Name { name, unit, text }
}

const fn bytes(name: &'static str, text: &'static str) -> Name {
    let unit = Unit::Bytes;
    Name { name, unit, text }
}

const fn count(name: &'static str, text: &'static str) -> Name {
    let unit = Unit::Count;
    Name { name, unit, text }
}

pub(super) const APPEND: Name = seconds(
    "tierlog_append_seconds",
    "From the acceptance of an append to durable, of one append a stream at a time",
);
pub(super) const WRITE: Name = seconds(
    "tierlog_write_seconds",
    "One pwrite hand-over, up to 1 MiB or one frame",
);
pub(super) const FSYNC: Name = seconds("tierlog_fsync_seconds", "One sync of a segment");
pub(super) const GROUP: Name = count(
    "tierlog_group_records",
    "Records of a stream that became durable together",
);
pub(super) const WOULD_BLOCK: Name = count(
    "tierlog_would_block_total",
    "Refusals, and each time a stream begins to be short of something",
);
pub(super) const QUEUE: Name = count(
    "tierlog_queue_messages",
    "Messages that waited when an actor last looked",
);
pub(super) const STORAGE_FULL: Name = count(
    "tierlog_storage_full_total",
    "Times that queued records ended with StorageFull",
);
pub(super) const REPAIRS: Name = count(
    "tierlog_repairs_total",
    "Failed writes and syncs that were recovered from",
);
pub(super) const RESTARTS: Name = count(
    "tierlog_restarts_total",
    "Actors that ended and were replaced, or made the log stop",
);
pub(super) const NOT_RUNNING: Name = count(
    "tierlog_not_running",
    "Logs that restart, or have stopped by themselves",
);
pub(super) const OPEN_STREAMS: Name = count("tierlog_open_streams", "Streams that are open");
pub(super) const TIER_BYTES: Name = bytes(
    "tierlog_tier_bytes",
    "What segments take of the tier's budget, open ones with their full size",
);
pub(super) const TIER_SEGMENTS: Name = count(
    "tierlog_tier_segments",
    "Segments, with those that were made ahead",
);
pub(super) const EXPIRED: Name = count(
    "tierlog_expired_segments_total",
    "Segments that went since their stream is to keep no more than so much",
);
pub(super) const COMPRESS: Name = seconds(
    "tierlog_compress_seconds",
    "One segment compressed, compared and committed",
);
pub(super) const HYDRATE: Name = seconds(
    "tierlog_hydrate_seconds",
    "One segment file made again from its compressed one",
);
pub(super) const COLD_CALL: Name = seconds(
    "tierlog_cold_call_seconds",
    "One attempt of a call to the store of Tier 2",
);
pub(super) const COLD_FAILED: Name = count(
    "tierlog_cold_failures_total",
    "Attempts of calls to the store of Tier 2 that failed",
);
pub(super) const COLD_RETRIED: Name = count(
    "tierlog_cold_retries_total",
    "Calls to the store of Tier 2 that were tried again",
);
pub(super) const COLD_BREAKER: Name = count(
    "tierlog_cold_breaker_open",
    "Whether calls to the store of Tier 2 are refused, since it failed",
);
pub(super) const SWEPT: Name = count(
    "tierlog_cold_swept_total",
    "Leftovers of unfinished work that were removed from Tier 2",
);
pub(super) const SWEPT_FILES: Name = count(
    "tierlog_swept_files_total",
    "Leftovers of unfinished work that were removed from the data directory",
);
pub(super) const UNNAMED_FILES: Name = count(
    "tierlog_unnamed_files",
    "Files in the data directory that nothing names and that the last sweep did not remove",
);
pub(super) const SWEEP_FAILED: Name = count(
    "tierlog_sweep_failures_total",
    "Sweeps that did not come to their end",
);
pub(super) const UNNAMED: Name = count(
    "tierlog_cold_unnamed_objects",
    "Objects that nothing names and that the last sweep left where they are",
);
pub(super) const UPLOAD: Name = seconds(
    "tierlog_upload_seconds",
    "One segment uploaded, read back and committed",
);
pub(super) const FETCH: Name = seconds(
    "tierlog_fetch_seconds",
    "One compressed file made again from its object",
);
pub(super) const MANIFEST_COMMIT: Name = seconds(
    "tierlog_manifest_commit_seconds",
    "One write and sync of the manifest",
);
pub(super) const MANIFEST_LAG: Name = bytes(
    "tierlog_manifest_lag_bytes",
    "Commits behind the manifest's snapshot, which the next open replays",
);
pub(super) const REPLAY: Name = seconds(
    "tierlog_manifest_replay_seconds",
    "Reading the manifest at an open or a restart",
);
pub(super) const REPLAY_CHUNKS: Name = count(
    "tierlog_manifest_replay_chunks_total",
    "Chunks of the manifest that were read at opens and restarts",
);
pub(super) const MANIFEST_TRIMMED: Name = bytes(
    "tierlog_manifest_trimmed_bytes_total",
    "Bytes of torn ends of the manifest",
);
pub(super) const RECOVERIES: Name = count(
    "tierlog_recoveries_total",
    "Opens and restarts of all of a log",
);
pub(super) const RECOVERY: Name = seconds(
    "tierlog_recovery_seconds",
    "An open or a restart of all of a log, up to its actors",
);
pub(super) const RECOVERED_STREAMS: Name = count(
    "tierlog_recovery_streams_total",
    "Streams of which something was copied, cut or found damaged",
);
pub(super) const CUTS: Name = count(
    "tierlog_recovery_cuts_total",
    "Torn ends of streams that were cut off",
);
pub(super) const CUT_BYTES: Name = bytes(
    "tierlog_recovery_cut_bytes_total",
    "Bytes of whole frames among what was cut off",
);
pub(super) const COPIED_BYTES: Name = bytes(
    "tierlog_recovery_copied_bytes_total",
    "Bytes of frames that were written again before they were served",
);
pub(super) const QUARANTINED: Name = count(
    "tierlog_recovery_quarantined_total",
    "Files that were put into quarantine",
);
pub(super) const DAMAGE: Name = count("tierlog_damage_total", "Damaged stretches that were met");
pub(super) const CACHE_HITS: Name = count(
    "tierlog_read_cache_hits_total",
    "Frames and blocks that a reader found in memory",
);
pub(super) const CACHE_MISSES: Name = count(
    "tierlog_read_cache_misses_total",
    "Blocks that were read from a file",
);
pub(super) const CACHE_BYTES: Name = bytes(
    "tierlog_read_cache_bytes",
    "Bytes kept in memory for readers",
);

impl Name {
    pub(super) fn counter(self) -> Counter {
        let Self { name, unit, text } = self;
        describe_counter!(name, unit, text);
        counter!(name)
    }

    /// One counter for each value of a label.
    pub(super) fn counters<const N: usize>(
        self,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Counter; N] {
        let Self { name, unit, text } = self;
        describe_counter!(name, unit, text);
        values.map(|value| counter!(name, label => value))
    }

    pub(super) fn gauge(self) -> Gauge {
        let Self { name, unit, text } = self;
        describe_gauge!(name, unit, text);
        gauge!(name)
    }

    /// One gauge for each value of a label.
    pub(super) fn gauges<const N: usize>(
        self,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Gauge; N] {
        let Self { name, unit, text } = self;
        describe_gauge!(name, unit, text);
        values.map(|value| gauge!(name, label => value))
    }

    /// One histogram for each value of a label.
    pub(super) fn histograms<const N: usize>(
        self,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Histogram; N] {
        let Self { name, unit, text } = self;
        describe_histogram!(name, unit, text);
        values.map(|value| histogram!(name, label => value))
    }

    pub(super) fn histogram(self) -> Histogram {
        let Self { name, unit, text } = self;
        describe_histogram!(name, unit, text);
        histogram!(name)
    }
}
