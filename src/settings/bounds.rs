//! What the values of settings must be, alone and together.
//!
//! Each relation keeps a log from being opened that would refuse something for ever: a record that
//! fits no segment, a flush that waits for more bytes than may be accepted.

use std::fmt;
use std::time::Duration;

use super::text::Value;
use super::{FlushPolicy, Settings, SettingsError, Size, span};

/// The largest record that the format can hold.
const RECORD_LIMIT: Size = Size::mib(64);
/// Records share frames of up to this size, and a frame lies in one segment: a smaller segment
/// would wait for room that never comes.
const FRAME: Size = Size::kib(64);
/// What a segment takes besides its records: header, a frame's head, the record's own head, the
/// footer with its index. 4 KiB is more than that for a segment of one record.
const SEGMENT_OVERHEAD: Size = Size::kib(4);
const SEGMENT_LIMIT: Size = Size::gib(16);
const MANIFEST_CHUNK: (Size, Size) = (Size::kib(16), Size::mib(1));
const PAGE: Size = Size::kib(4);
/// A queue of a million is no longer a bound that anybody meant.
const QUEUE_LIMIT: usize = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    sizes(settings)?;
    flush(settings)?;
    manifest(settings)?;
    cold(settings)?;
    times(settings)?;
    counts(settings)
}

fn wrong(key: &'static str, value: impl fmt::Display, what: String) -> SettingsError {
    SettingsError::Relation {
        key,
        value: value.to_string(),
        what,
    }
}

fn within<T: Value + PartialOrd>(
    key: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), SettingsError> {
    if value < low || value > high {
        let what = format!("it must be from {} to {}", low.show(), high.show());
        return Err(wrong(key, value.show(), what));
    }
    Ok(())
}

fn at_least(
    key: &'static str,
    value: Size,
    least: u64,
    because: &str,
) -> Result<(), SettingsError> {
    if value.bytes() < least {
        let what = format!("it must be {} or more, {because}", Size::new(least));
        return Err(wrong(key, value, what));
    }
    Ok(())
}

fn sizes(s: &Settings) -> Result<(), SettingsError> {
    if s.data.as_os_str().is_empty() {
        return Err(wrong("data", "empty", "it must name a directory".into()));
    }
    within("max_record", s.max_record, Size::new(1), RECORD_LIMIT)?;
    at_least(
        "segment_size",
        s.segment_size,
        s.max_record.max(FRAME).bytes() + SEGMENT_OVERHEAD.bytes(),
        "so that a segment holds a frame, and a record of `max_record`",
    )?;
    within("segment_size", s.segment_size, FRAME, SEGMENT_LIMIT)?;
    at_least(
        "unsynced_bytes",
        s.unsynced_bytes,
        2 * s.max_record.bytes(),
        "so that one record of `max_record` is accepted while another one is synced",
    )?;
    match s.hot_budget {
        Some(budget) => at_least(
            "hot_budget",
            budget,
            2 * s.segment_size.bytes(),
            "so that the next segment can be made ahead of the one in use",
        ),
        None => Ok(()),
    }
}

fn flush(s: &Settings) -> Result<(), SettingsError> {
    match s.flush {
        FlushPolicy::Bytes(size) if size == Size::new(0) || size > s.unsynced_bytes => {
            let what = format!(
                "the bytes must be from 1 to `unsynced_bytes` ({}), or appends would be refused \
                 before they are enough",
                s.unsynced_bytes
            );
            Err(wrong("flush", s.flush, what))
        }
        FlushPolicy::Every(period) if period.is_zero() || period > HOUR => {
            let what = "the period must be from 1ns to 1h; to sync at once say `always`".into();
            Err(wrong("flush", s.flush, what))
        }
        _ => Ok(()),
    }
}

fn manifest(s: &Settings) -> Result<(), SettingsError> {
    let (low, high) = MANIFEST_CHUNK;
    within("manifest_chunk", s.manifest_chunk, low, high)?;
    if !s.manifest_chunk.bytes().is_multiple_of(PAGE.bytes()) {
        let what = format!("it must be a multiple of {PAGE}, so that chunks are whole pages");
        return Err(wrong("manifest_chunk", s.manifest_chunk, what));
    }
    at_least(
        "manifest_rotate",
        s.manifest_rotate,
        2 * s.manifest_chunk.bytes(),
        "so that a manifest file holds two chunks of `manifest_chunk`",
    )?;
    within("manifest_rotate", s.manifest_rotate, low, Size::gib(1))
}

fn cold(s: &Settings) -> Result<(), SettingsError> {
    within("upload_workers", s.upload_workers, 1, 64)?;
    match s.cold {
        Some(_) => fits_tier_2(s),
        None => Ok(()),
    }
}

/// What a log with a Tier 2 needs besides, wherever that comes from.
pub(crate) fn fits_tier_2(s: &Settings) -> Result<(), SettingsError> {
    if s.warm_budget == Some(Size::new(0)) {
        let what =
            "what goes to Tier 2 is compressed first; set `warm_budget` to a few segments".into();
        return Err(wrong("warm_budget", Size::new(0), what));
    }
    Ok(())
}

fn times(s: &Settings) -> Result<(), SettingsError> {
    let ms = Duration::from_millis;
    within("idle_mark", s.idle_mark, ms(1), HOUR)?;
    within("stall_after", s.stall_after, ms(1), HOUR)?;
    within("cold_wait", s.cold_wait, ms(1), HOUR)?;
    within("archive_after", s.archive_after, ms(1), HOUR)?;
    within("restart_window", s.restart_window, ms(1), HOUR)?;
    if !s.sweep_every.is_zero() {
        within("sweep_every", s.sweep_every, ms(1000), 365 * 24 * HOUR)?;
    }
    within("reader_lease", s.reader_lease, Duration::ZERO, 24 * HOUR)?;
    for (key, age) in [("segment_age", s.segment_age), ("retain_age", s.retain_age)] {
        if let Some(age) = age.filter(|age| *age < ms(1)) {
            let what = "it must be 1ms or more, or `never`".into();
            return Err(wrong(key, span::show(age), what));
        }
    }
    Ok(())
}

fn counts(s: &Settings) -> Result<(), SettingsError> {
    within("lane_records", s.lane_records, 1, QUEUE_LIMIT)?;
    within("io_threads", s.io_threads, 1, 256)?;
    within("compression_level", s.compression_level, 1, 19)?;
    within("compression_workers", s.compression_workers, 1, 64)?;
    within("max_streams", s.max_streams, 1, QUEUE_LIMIT)?;
    for (key, value) in [
        ("flusher_queue", s.flusher_queue),
        ("coordinator_queue", s.coordinator_queue),
        ("manifest_queue", s.manifest_queue),
        ("supervisor_queue", s.supervisor_queue),
    ] {
        within(key, value, 1, QUEUE_LIMIT)?;
    }
    within("restart_limit", s.restart_limit, 0, 1000)
}
