//! What is measured, through the `metrics` facade.
//!
//! Handles are fetched when a log is opened, or attached read-only, and kept: to look a metric up by
//! its name at each write would cost more than some of what is measured. So a recorder that is
//! installed later sees nothing of that log.
//!
//! Labels are kinds of things that this program knows, never names of streams: what a recorder keeps
//! does not grow with the log.

mod cold;
mod names;
mod recovery;
mod share;

use metrics::{Counter, Gauge, Histogram};

pub use self::{cold::ColdMeters, recovery::RecoveryMeters, share::Share};
use crate::kind::Kind;

/// The actors whose restarts are told apart, as in the label.
const ACTORS: [&str; 6] = [
    "writer",
    "flusher",
    "coordinator",
    "compressor",
    "uploader",
    "manifest",
];

/// What the owner of a log measures. Readers have [`ReadMeters`], also where nobody owns the log.
#[derive(Debug)]
pub struct Meters {
    /// From acceptance to durable.
    pub append_seconds: Histogram,
    /// One `pwrite` hand-over.
    pub write_seconds: Histogram,
    /// One sync.
    pub fsync_seconds: Histogram,
    /// Records that became durable together.
    pub group_records: Histogram,
    /// One write and sync of the manifest.
    pub manifest_commit_seconds: Histogram,
    /// What stands in the manifest behind its snapshot.
    pub manifest_lag_bytes: Gauge,
    /// Times that queued records ended for lack of room.
    pub storage_full: Counter,
    /// Failed writes and syncs that were recovered from.
    pub repairs: Counter,
    /// Whether the log is not at work.
    pub not_running: Gauge,
    /// Streams that are open.
    pub open_streams: Gauge,
    /// What segments of the hot tier take.
    pub hot_bytes: Gauge,
    /// How many there are.
    pub hot_segments: Gauge,
    /// Segments that streams were not to keep.
    pub expired_segments: Counter,
    /// What compressed files take.
    pub warm_bytes: Gauge,
    /// How many there are.
    pub warm_segments: Gauge,
    /// One segment compressed, with its check.
    pub compress_seconds: Histogram,
    /// One segment file made again.
    pub hydrate_seconds: Histogram,
    /// One segment uploaded.
    pub upload_seconds: Histogram,
    /// One compressed file made again.
    pub fetch_seconds: Histogram,
    /// What objects take.
    pub cold_bytes: Gauge,
    /// How many there are.
    pub cold_segments: Gauge,
    /// Leftovers that were removed from Tier 2.
    pub swept_objects: Counter,
    /// Leftovers that were removed from the data directory.
    pub swept_files: Counter,
    /// Sweeps that came to nothing.
    pub sweep_failures: Counter,
    /// Objects of this log that nothing names or explains.
    pub quarantined_objects: Gauge,
    /// Objects that are not of this log.
    pub foreign_objects: Gauge,
    /// Files in the quarantine.
    pub quarantined_files: Gauge,
    /// Files that are not of this log.
    pub foreign_files: Gauge,
    /// Messages that wait for the writers, on all lanes.
    pub lane_queue: Gauge,
    /// Messages that wait for the flusher.
    pub flusher_queue: Gauge,
    /// Messages that wait for the coordinator.
    pub coordinator_queue: Gauge,
    /// Messages that wait for the manifest writer.
    pub manifest_queue: Gauge,
    /// Messages that wait for the supervisor.
    pub supervisor_queue: Gauge,
    /// What opening and restarting came to.
    pub recovery: RecoveryMeters,
    refused: [Counter; 5],
    restarts: [Counter; 6],
}

impl Meters {
    /// Handles of the recorder that is installed now.
    pub fn new() -> Self {
        let queues = ["lane", "flusher", "coordinator", "manifest", "supervisor"];
        let [
            lane_queue,
            flusher_queue,
            coordinator_queue,
            manifest_queue,
            supervisor_queue,
        ] = names::QUEUE.gauges("queue", queues);
        let kinds = ["quarantined", "foreign"];
        let [quarantined_objects, foreign_objects] = names::UNNAMED.gauges("kind", kinds);
        let [quarantined_files, foreign_files] = names::UNNAMED_FILES.gauges("kind", kinds);
        let tiers = ["hot", "warm", "cold"];
        let [hot_bytes, warm_bytes, cold_bytes] = names::TIER_BYTES.gauges("tier", tiers);
        let [hot_segments, warm_segments, cold_segments] =
            names::TIER_SEGMENTS.gauges("tier", tiers);
        Self {
            append_seconds: names::APPEND.histogram(),
            write_seconds: names::WRITE.histogram(),
            fsync_seconds: names::FSYNC.histogram(),
            group_records: names::GROUP.histogram(),
            manifest_commit_seconds: names::MANIFEST_COMMIT.histogram(),
            manifest_lag_bytes: names::MANIFEST_LAG.gauge(),
            storage_full: names::STORAGE_FULL.counter(),
            repairs: names::REPAIRS.counter(),
            not_running: names::NOT_RUNNING.gauge(),
            open_streams: names::OPEN_STREAMS.gauge(),
            hot_bytes,
            hot_segments,
            warm_bytes,
            warm_segments,
            expired_segments: names::EXPIRED.counter(),
            compress_seconds: names::COMPRESS.histogram(),
            hydrate_seconds: names::HYDRATE.histogram(),
            upload_seconds: names::UPLOAD.histogram(),
            fetch_seconds: names::FETCH.histogram(),
            cold_bytes,
            cold_segments,
            swept_objects: names::SWEPT.counter(),
            swept_files: names::SWEPT_FILES.counter(),
            sweep_failures: names::SWEEP_FAILED.counter(),
            quarantined_objects,
            foreign_objects,
            quarantined_files,
            foreign_files,
            lane_queue,
            flusher_queue,
            coordinator_queue,
            manifest_queue,
            supervisor_queue,
            recovery: RecoveryMeters::new(),
            refused: refusals([
                Kind::Admission,
                Kind::Flush,
                Kind::Rollover,
                Kind::Manifest,
                Kind::Upload,
            ]),
            restarts: names::RESTARTS.counters("actor", ACTORS),
        }
    }

    /// Something was refused to a caller, or a stream begins to refuse it.
    pub fn refused(&self, kind: Kind) {
        let [admission, flush, rollover, manifest, upload] = &self.refused;
        match kind {
            Kind::Admission => admission.increment(1),
            Kind::Flush => flush.increment(1),
            Kind::Rollover => rollover.increment(1),
            Kind::Manifest => manifest.increment(1),
            Kind::Upload => upload.increment(1),
            // Refused to readers alone.
            Kind::Hydration | Kind::Tail => {}
        }
    }

    /// An actor was replaced, or ended the log; `actor` is "flusher", "writer NAME" and so on.
    pub fn restarted(&self, actor: &str) {
        let kind = actor.split(' ').next().unwrap_or_default();
        if let Some(at) = ACTORS.iter().position(|known| *known == kind) {
            self.restarts[at].increment(1);
        }
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

/// What readers measure, of their own log or of somebody else's.
#[derive(Debug)]
pub struct ReadMeters {
    /// Frames found in a stream's tail.
    pub tail_hits: Counter,
    /// Blocks found in memory.
    pub block_hits: Counter,
    /// Blocks that had to be read.
    pub block_misses: Counter,
    /// Bytes of the frames in the tails.
    pub tail_bytes: Gauge,
    /// Bytes of the blocks in memory.
    pub block_bytes: Gauge,
    /// Damage that an open, a restart or an attach met.
    pub damage_at_open: Counter,
    /// Damage that a reader met.
    pub damage_in_reading: Counter,
    /// Damage that a verification met.
    pub damage_in_verifying: Counter,
    refused: [Counter; 2],
}

impl ReadMeters {
    /// Handles of the recorder that is installed now.
    pub fn new() -> Self {
        let [damage_at_open, damage_in_reading, damage_in_verifying] =
            names::DAMAGE.counters("found_by", ["open", "reader", "verify"]);
        let [tail_hits, block_hits] = names::CACHE_HITS.counters("cache", ["tail", "blocks"]);
        let [tail_bytes, block_bytes] = names::CACHE_BYTES.gauges("cache", ["tail", "blocks"]);
        Self {
            tail_hits,
            block_hits,
            block_misses: names::CACHE_MISSES.counter(),
            tail_bytes,
            block_bytes,
            damage_at_open,
            damage_in_reading,
            damage_in_verifying,
            refused: refusals([Kind::Hydration, Kind::Tail]),
        }
    }

    /// A reader that asked for a record at once was refused.
    pub fn refused(&self, kind: Kind) {
        let [hydration, tail] = &self.refused;
        match kind {
            Kind::Hydration => hydration.increment(1),
            Kind::Tail => tail.increment(1),
            _ => {}
        }
    }
}

impl Default for ReadMeters {
    fn default() -> Self {
        Self::new()
    }
}

fn refusals<const N: usize>(kinds: [Kind; N]) -> [Counter; N] {
    names::WOULD_BLOCK.counters("kind", kinds.map(Kind::name))
}
