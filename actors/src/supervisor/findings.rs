//! What a recovery found and did, told to those who watch the log: events and figures.

use tierlog_storage::recovery::{RecoveryReport, StreamReport};

use crate::context::LogContext;

/// All of the log was recovered, or was opened with nothing to recover.
pub(super) fn of_log(log: &LogContext, report: &RecoveryReport) {
    log.meters.recovery.log(report);
    let damage = report.damage().count() as u64;
    log.readers.meters.damage_at_open.increment(damage);
    tracing::info!(
        target: "tierlog::recovery", epoch = %report.epoch, created = report.created,
        clean = report.clean, streams = report.streams_total, segments = report.segments_total,
        took = ?report.duration, "the log is open"
    );
    if let Some(replay) = report.manifest.as_ref().filter(|replay| replay.torn) {
        let bytes = replay.trimmed_bytes;
        tracing::warn!(target: "tierlog::recovery", bytes, "a torn end of the manifest was cut off");
    }
    for path in &report.quarantined {
        tracing::warn!(target: "tierlog::recovery", path = %path.display(), "quarantined");
    }
    for path in &report.foreign {
        tracing::warn!(target: "tierlog::recovery", path = %path.display(), "not of this log; left alone");
    }
    report.streams.iter().for_each(tell);
}

/// One stream was recovered, because its writer had ended or because its end was not what its mark
/// said. `counted` damaged stretches of it have been counted already.
pub(super) fn of_stream(log: &LogContext, report: &StreamReport, counted: usize) {
    log.meters.recovery.stream(report);
    let more = report.damage.len().saturating_sub(counted) as u64;
    log.readers.meters.damage_at_open.increment(more);
    tell(report);
}

fn tell(report: &StreamReport) {
    let StreamReport {
        name,
        claimed,
        copied_records,
        copied_bytes,
        in_place,
        cut,
        damage,
        ..
    } = report;
    if *copied_records > 0 {
        tracing::info!(
            target: "tierlog::recovery", stream = %name, records = copied_records,
            bytes = copied_bytes, behind = %claimed, in_place, "made durable before it is served"
        );
    }
    if let Some(cut) = cut {
        tracing::warn!(
            target: "tierlog::recovery", stream = %name, at = %cut.from, segment = %cut.segment,
            byte = cut.pos, "a torn end was cut off"
        );
    }
    for damage in damage {
        tracing::error!(target: "tierlog::recovery", stream = %name, %damage, "damage");
    }
}
