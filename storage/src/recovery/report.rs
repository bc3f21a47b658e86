//! What a recovery tells people.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Serialize;

use super::decide::Cut;
use crate::{
    error::Damage,
    ids::{Epoch, Offset, StreamId},
    manifest::ReplayReport,
};

/// Everything that an open did besides opening.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryReport {
    /// The log had been closed in order: nothing had to be looked for.
    pub clean: bool,
    /// There was no log: a new one was made.
    pub created: bool,
    /// How long it took.
    pub duration: Duration,
    /// The owner's epoch; for a reader, that of the owner whose log it reads.
    pub epoch: Epoch,
    /// How the manifest was read; none where a new one was begun.
    pub manifest: Option<ReplayReport>,
    /// The streams of which there is something to tell, in the order of their names.
    pub streams: Vec<StreamReport>,
    /// How many streams there are.
    pub streams_total: u64,
    /// How many segments there are.
    pub segments_total: u64,
    /// Files that nothing named but that are of this log, where they are now.
    pub quarantined: Vec<PathBuf>,
    /// Files of unfinished work that were removed.
    pub removed: Vec<PathBuf>,
    /// Files that are not of this log, or of which that can't be told; they were left alone.
    pub foreign: Vec<PathBuf>,
}

/// What happened to one stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamId,
    /// Its name.
    pub name: String,
    /// The offset of the next record.
    pub end: Offset,
    /// Everything below was claimed to be durable.
    pub claimed: Offset,
    /// Records behind the claim that were written again, to a new segment, before they were served.
    pub copied_records: u64,
    /// The bytes of their frames.
    pub copied_bytes: u64,
    /// They were written again where they stood, for lack of room for a copy.
    pub in_place: bool,
    /// Where a torn tail was cut.
    pub cut: Option<Cut>,
    /// What can't be read.
    pub damage: Vec<Damage>,
}

impl StreamReport {
    /// Something happened that people may want to know.
    pub fn is_notable(&self) -> bool {
        self.copied_records > 0 || self.cut.is_some() || !self.damage.is_empty()
    }
}

impl RecoveryReport {
    /// All damage, stream by stream.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.streams.iter().flat_map(|s| &s.damage)
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return write!(f, "created a new log");
        }
        let how = if self.clean {
            "closed in order"
        } else {
            "not closed in order"
        };
        write!(
            f,
            "opened a log that was {how}: epoch {}, {}, {}, {:.1} ms",
            self.epoch,
            counted(self.streams_total, "stream"),
            counted(self.segments_total, "segment"),
            self.duration.as_secs_f64() * 1e3
        )?;
        if let Some(torn) = self.manifest.as_ref().filter(|m| m.torn) {
            write!(
                f,
                "\nmanifest: a torn end of {} was cut",
                counted(torn.trimmed_bytes, "byte")
            )?;
        }
        for stream in &self.streams {
            write!(f, "\n{stream}")?;
        }
        for (what, paths) in [
            ("quarantined", &self.quarantined),
            ("removed", &self.removed),
            ("left alone", &self.foreign),
        ] {
            for path in paths {
                write!(f, "\n{what}: {}", path.display())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for StreamReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ends at {}", self.name, self.end)?;
        if self.copied_records > 0 {
            write!(
                f,
                ", {} ({}) behind {} made durable",
                counted(self.copied_records, "record"),
                counted(self.copied_bytes, "byte"),
                self.claimed
            )?;
        }
        if self.in_place {
            write!(f, ", in place: the disk is full")?;
        }
        if let Some(cut) = &self.cut {
            write!(
                f,
                "\n{}: a torn tail was cut at offset {} (segment {}, byte {}, {} of whole frames)",
                self.name,
                cut.from,
                cut.segment,
                cut.pos,
                counted(cut.dropped_bytes_known, "byte")
            )?;
        }
        for damage in &self.damage {
            write!(f, "\n{}: DAMAGE: {damage}", self.name)?;
        }
        Ok(())
    }
}

/// `1 stream`, `2 streams`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_one_of_what_there_is_one_of() {
        let mut report = RecoveryReport {
            clean: false,
            created: false,
            duration: Duration::ZERO,
            epoch: Epoch(2),
            manifest: None,
            streams: vec![StreamReport {
                stream: StreamId::from_bytes([1; 16]),
                name: "s".into(),
                end: Offset(1),
                claimed: Offset(0),
                copied_records: 1,
                copied_bytes: 90,
                in_place: false,
                cut: None,
                damage: Vec::new(),
            }],
            streams_total: 1,
            segments_total: 1,
            quarantined: Vec::new(),
            removed: Vec::new(),
            foreign: Vec::new(),
        };
        let text = report.to_string();
        assert!(text.contains("1 stream, 1 segment, "), "{text}");
        assert!(text.contains("1 record (90 bytes) behind 0"), "{text}");
        (report.streams_total, report.segments_total) = (2, 0);
        let text = report.to_string();
        assert!(text.contains("2 streams, 0 segments, "), "{text}");
    }
}
