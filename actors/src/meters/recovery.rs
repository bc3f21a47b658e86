//! What opening a log, or beginning again with all or one of its streams, came to.

use metrics::{Counter, Histogram};
use tierlog_storage::recovery::{RecoveryReport, StreamReport};

use super::names;

/// The figures of a recovery.
#[derive(Debug)]
pub struct RecoveryMeters {
    seconds: Histogram,
    replay_seconds: Histogram,
    replay_chunks: Counter,
    trimmed_bytes: Counter,
    outcomes: [Counter; 3],
    streams: Counter,
    cuts: Counter,
    cut_bytes: Counter,
    copied_bytes: Counter,
    quarantined: Counter,
}

impl RecoveryMeters {
    pub(super) fn new() -> Self {
        Self {
            seconds: names::RECOVERY.histogram(),
            replay_seconds: names::REPLAY.histogram(),
            replay_chunks: names::REPLAY_CHUNKS.counter(),
            trimmed_bytes: names::MANIFEST_TRIMMED.counter(),
            outcomes: names::RECOVERIES.counters("outcome", ["created", "clean", "unclean"]),
            streams: names::RECOVERED_STREAMS.counter(),
            cuts: names::CUTS.counter(),
            cut_bytes: names::CUT_BYTES.counter(),
            copied_bytes: names::COPIED_BYTES.counter(),
            quarantined: names::QUARANTINED.counter(),
        }
    }

    /// All of a log was opened, or begun again.
    pub fn log(&self, report: &RecoveryReport) {
        let [created, clean, unclean] = &self.outcomes;
        let outcome = match (report.created, report.clean) {
            (true, _) => created,
            (false, true) => clean,
            (false, false) => unclean,
        };
        outcome.increment(1);
        self.seconds.record(report.duration);
        if let Some(replay) = &report.manifest {
            self.replay_seconds.record(replay.duration);
            self.replay_chunks.increment(replay.chunks);
            self.trimmed_bytes.increment(replay.trimmed_bytes);
        }
        self.quarantined.increment(report.quarantined.len() as u64);
        for stream in &report.streams {
            self.stream(stream);
        }
    }

    /// A stream was recovered, with all of its log or alone.
    pub fn stream(&self, report: &StreamReport) {
        if !report.is_notable() {
            return;
        }
        self.streams.increment(1);
        self.copied_bytes.increment(report.copied_bytes);
        if let Some(cut) = &report.cut {
            self.cuts.increment(1);
            self.cut_bytes.increment(cut.dropped_bytes_known);
        }
    }
}
