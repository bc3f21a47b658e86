//! What a demo tells at its end.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tierlog::{RecoveryReport, SegmentInfo};

use crate::exit::Ending;
use crate::output::{Output, Table, bytes_text, count_text, counted};
use crate::segments;
use crate::session::Session;

use super::compare::{TierRead, Verdict};
use super::ingest::Ingested;
use super::tiers::Archived;

/// Segments listed for people; JSON has them all.
const LISTED: usize = 24;

/// Everything there is to tell.
pub(super) struct Report {
    pub(super) source: String,
    pub(super) kept: Option<PathBuf>,
    pub(super) kept_bucket: Option<String>,
    pub(super) ingested: Ingested,
    pub(super) archived: Option<Archived>,
    pub(super) verdict: Verdict,
    pub(super) segments: Vec<SegmentInfo>,
    pub(super) reopened: Duration,
    pub(super) attached: Duration,
    pub(super) recovery: RecoveryReport,
}

impl Report {
    pub(super) fn print(&self, session: &mut Session) -> Result<(), Ending> {
        match session.json {
            true => self.document(session)?,
            false => self.tables(session)?,
        }
        session.out.flush()?;
        match self.verdict.differs_at {
            None => Ok(()),
            Some(at) => Err(Ending::Failed {
                what: format!(
                    "what was read back differs from {} at byte {at}",
                    self.source
                ),
                kind: "restore",
                advice: "run it again with --data, and `tierlog verify` there".into(),
            }),
        }
    }

    /// How much lives in each tier, and how fast it was read from there.
    fn tiers(&self) -> [Tier; 3] {
        [(0, "hot"), (1, "warm"), (2, "cold")].map(|(tier, name)| {
            let here = self.segments.iter().filter(|s| s.tier == tier);
            let stored = |segment: &SegmentInfo| match tier {
                0 => Some(segment.file_len),
                1 => segment.compressed_len,
                _ => segment.object_len,
            };
            Tier {
                name,
                segments: here.clone().count() as u64,
                records: here.clone().map(|s| s.end.get() - s.base.get()).sum(),
                bytes: here.clone().map(|s| s.bytes).sum(),
                stored: here.filter_map(stored).sum(),
                read: self.verdict.tiers[usize::from(tier)],
            }
        })
    }

    fn print_tiers(&self, out: &mut Output) -> Result<(), Ending> {
        let head = [
            "TIER",
            "SEGMENTS",
            "RECORDS",
            "DATA",
            "STORED",
            "READ FROM THERE",
        ];
        let mut table = Table::new(head);
        for tier in self.tiers() {
            let TierRead {
                records,
                bytes,
                took,
            } = tier.read;
            table.row([
                tier.name.into(),
                count_text(tier.segments),
                count_text(tier.records),
                bytes_text(tier.bytes),
                bytes_text(tier.stored),
                match records {
                    0 => "-".into(),
                    _ => rate(records, bytes, took),
                },
            ]);
        }
        table.print(out)
    }

    fn upload(&self) -> String {
        match &self.archived {
            None => "there is no Tier 2".into(),
            Some(archived) => format!(
                "{} in {}; all published {} behind the last ack",
                bytes_text(archived.bytes),
                counted(archived.objects, "object"),
                duration_text(archived.behind),
            ),
        }
    }

    fn group_size(&self) -> f64 {
        let counters = &self.ingested.counters;
        counters.durable_records as f64 / counters.syncs.max(1) as f64
    }

    fn compared(&self) -> String {
        match self.verdict.differs_at {
            None if self.verdict.bytes == 1 => "the one byte is the same".into(),
            None => format!("all {} bytes are the same", count_text(self.verdict.bytes)),
            Some(at) => format!("DIFFERS at byte {}", count_text(at)),
        }
    }

    fn tables(&self, session: &mut Session) -> Result<(), Ending> {
        let out = &mut session.out;
        segments::print(&self.segments[..self.segments.len().min(LISTED)], out)?;
        if let Some(more @ 1..) = self.segments.len().checked_sub(LISTED) {
            out.line(format_args!("… and {} more", count_text(more as u64)))?;
        }
        out.line("")?;
        self.print_tiers(out)?;
        out.line("")?;
        let Ingested {
            records,
            bytes,
            took,
            counters,
        } = &self.ingested;
        let rows = [
            ("input", self.source.clone()),
            ("records", count_text(*records)),
            (
                "bytes",
                format!("{} ({})", count_text(*bytes), bytes_text(*bytes)),
            ),
            ("segments", count_text(self.segments.len() as u64)),
            ("append", rate(*records, *bytes, *took)),
            ("upload", self.upload()),
            (
                "read",
                rate(self.verdict.records, self.verdict.bytes, self.verdict.took),
            ),
            (
                "fsyncs",
                format!(
                    "{} of segments, {} of the manifest",
                    count_text(counters.syncs),
                    count_text(counters.manifest_syncs)
                ),
            ),
            (
                "group size",
                format!(
                    "{} a sync",
                    counted(self.group_size().round() as u64, "record")
                ),
            ),
            (
                "reopen",
                format!("{} (closed cleanly)", duration_text(self.reopened)),
            ),
            (
                "recovery",
                format!(
                    "{} (as a kill -9 would have left it)",
                    duration_text(self.attached)
                ),
            ),
            ("compared", self.compared()),
        ];
        for (name, value) in rows {
            out.line(format_args!("{name:<12}{value}"))?;
        }
        if let Some(path) = &self.kept {
            out.line(format_args!("{:<12}{}", "kept in", path.display()))?;
        }
        if let Some(bucket) = &self.kept_bucket {
            out.line(format_args!("{:<12}{bucket}", "Tier 2"))?;
        }
        Ok(())
    }

    fn document(&self, session: &mut Session) -> Result<(), Ending> {
        let Ingested {
            records,
            bytes,
            took,
            counters,
        } = &self.ingested;
        let seconds = |d: Duration| d.as_secs_f64();
        let per_second = |n: u64, d: Duration| n as f64 / d.as_secs_f64().max(1e-9);
        let read = &self.verdict;
        session.out.json(&json!({
            "source": self.source,
            "data": self.kept,
            "cold": self.kept_bucket,
            "records": records,
            "bytes": bytes,
            "segments": self.segments,
            "tiers": self.tiers().map(|tier| json!({
                "tier": tier.name,
                "segments": tier.segments,
                "records": tier.records,
                "bytes": tier.bytes,
                "stored_bytes": tier.stored,
                "read": {
                    "seconds": seconds(tier.read.took),
                    "records_per_second": per_second(tier.read.records, tier.read.took),
                    "bytes_per_second": per_second(tier.read.bytes, tier.read.took),
                },
            })),
            "upload": self.archived.as_ref().map(|archived| json!({
                "objects": archived.objects,
                "bytes": archived.bytes,
                "behind_seconds": seconds(archived.behind),
            })),
            "append": {
                "seconds": seconds(*took),
                "records_per_second": per_second(*records, *took),
                "bytes_per_second": per_second(*bytes, *took),
            },
            "read": {
                "seconds": seconds(read.took),
                "records_per_second": per_second(read.records, read.took),
                "bytes_per_second": per_second(read.bytes, read.took),
            },
            "fsyncs": counters.syncs,
            "manifest_fsyncs": counters.manifest_syncs,
            "group_size": self.group_size(),
            "reopen_seconds": seconds(self.reopened),
            "recovery_seconds": seconds(self.attached),
            "recovery": self.recovery,
            "identical": read.differs_at.is_none(),
            "differs_at": read.differs_at,
        }))
    }
}

/// What lives in one tier.
struct Tier {
    name: &'static str,
    segments: u64,
    records: u64,
    /// Of frames.
    bytes: u64,
    /// That it takes there.
    stored: u64,
    read: TierRead,
}

fn rate(records: u64, bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    format!(
        "{} records/s, {}/s ({})",
        count_text((records as f64 / seconds) as u64),
        bytes_text((bytes as f64 / seconds) as u64),
        duration_text(took),
    )
}

fn duration_text(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.1} ms", seconds * 1e3),
    }
}
