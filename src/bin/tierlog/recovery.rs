//! What of a recovery somebody at a terminal should know, a line each.
//!
//! That a log was not closed in order is no news by itself: nothing is lost by it.

use tierlog::RecoveryReport;

use crate::output::{bytes_text, damage_text};

/// What a command leaves to its own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// Nothing: it is all told here.
    Everything,
    /// It stops at damage that it meets, and no other damage is its business.
    Tears,
    /// It lists all damage itself.
    NoDamage,
}

/// The lines.
pub(crate) fn news(report: &RecoveryReport, tells: Tells) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(torn) = report.manifest.as_ref().filter(|manifest| manifest.torn) {
        lines.push(format!(
            "the manifest ends in a torn commit ({}), which does not count",
            bytes_text(torn.trimmed_bytes)
        ));
    }
    for stream in &report.streams {
        if let Some(cut) = &stream.cut {
            lines.push(format!(
                "stream {}: a torn tail is cut at offset {} (segment {}, byte {})",
                stream.name, cut.from, cut.segment, cut.pos
            ));
        }
        if tells == Tells::Everything {
            let damage = stream.damage.iter();
            lines.extend(damage.map(|d| format!("damage: {}", damage_text(&stream.name, d))));
        }
    }
    if tells != Tells::Tears {
        for path in &report.quarantined {
            lines.push(format!(
                "moved to quarantine, since nothing names it: {}",
                path.display()
            ));
        }
        for path in &report.foreign {
            lines.push(format!(
                "not a file of this log, left alone: {}",
                path.display()
            ));
        }
    }
    lines
}

/// Whether the end of anything looks torn.
pub(crate) fn is_torn(report: &RecoveryReport) -> bool {
    report.streams.iter().any(|stream| stream.cut.is_some())
        || report
            .manifest
            .as_ref()
            .is_some_and(|manifest| manifest.torn)
}

/// Forgets the torn ends that an earlier look did not find in the same place.
pub(crate) fn keep_tears(report: &mut RecoveryReport, earlier: &RecoveryReport) {
    for stream in &mut report.streams {
        let before = earlier.streams.iter().find(|s| s.stream == stream.stream);
        if before.is_none_or(|before| before.cut != stream.cut) {
            stream.cut = None;
        }
    }
    if let Some(manifest) = &mut report.manifest {
        let before = earlier.manifest.as_ref();
        manifest.torn &= before.is_some_and(|b| b.torn && b.end_byte == manifest.end_byte);
    }
}
