//! The table of keys. What `set`, files, the environment, `config` and the docs know of a setting
//! comes from here, so that none of them can know another one.

use super::text::Value;
use super::{Settings, SettingsError};

/// One key, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingKey {
    /// The key, as it stands in a file and in `--set`.
    pub name: &'static str,
    /// The value it has when nobody sets it.
    pub default: &'static str,
    /// What it decides.
    pub meaning: &'static str,
}

/// One key, with the way into [`Settings`].
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) show: fn(&Settings) -> String,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

macro_rules! table {
    ($($name:ident = $default:literal, $meaning:literal;)*) => {
        pub(super) const KEYS: &[SettingKey] = &[$(SettingKey {
            name: stringify!($name),
            default: $default,
            meaning: $meaning,
        }),*];

        pub(super) const TABLE: &[Entry] = &[$(Entry {
            name: stringify!($name),
            show: |settings| Value::show(&settings.$name),
            set: |settings, text| {
                settings.$name = Value::parse(text)?;
                Ok(())
            },
        }),*];
    };
}

table! {
    data = "./tierlog-data", "directory that holds the log";
    hot_budget = "unlimited", "disk that segments may take in all, or `unlimited`";
    warm_budget = "unlimited", "disk that compressed files may take, `unlimited`, or `0B` for none of them";
    retain_age = "never", "a stream gives up segments when their last record is this old, or `never`";
    retain_bytes = "unlimited", "a stream gives up its oldest segments over this size in all tiers, or `unlimited`";
    reader_lease = "1m", "so long a reader that stops keeps what it stands on from that; `0s`: not at all";
    cold = "none", "Tier 2: `fs:///path`, `memory://`, `s3://bucket/prefix`, `gcs://…`, `azblob://…`, or `none`";
    cold_unfenced = "false", "`true`: take a store that does not tell who was first, at your own risk";
    cold_wait = "10s", "how long opening waits for Tier 2; a log that had it before then goes on without";
    archive_after = "10s", "an open segment is sealed so long after somebody began to wait for `archived`";
    sweep_every = "1d", "how often the directory and Tier 2 are swept for leftovers of unfinished work; `0`: only when asked to";
    upload_workers = "2", "uploads and deletions at once";
    compression_level = "3", "level of zstd, 1 to 19";
    compression_workers = "1", "segments compressed at once";
    segment_size = "64MiB", "a segment is sealed when it has grown to this size";
    segment_age = "never", "a segment is sealed when its first record is this old, or `never`";
    max_record = "16MiB", "largest record that is taken, payload and key, and largest batch (up to 64MiB)";
    flush = "always", "when to sync: `always`, `every 5ms`, `bytes 1MiB` or `manual`";
    read = "pread", "how sealed segments are read: `pread`, or `map` (a media error is a SIGBUS)";
    unsynced_bytes = "64MiB", "bytes accepted and not yet durable, over all streams";
    lane_records = "8192", "messages that may wait for a stream's writer";
    tail_cache = "16MiB", "recent frames kept for readers at the tail";
    read_cache = "32MiB", "blocks kept for other readers";
    idle_mark = "1s", "an idle stream gets a durable mark of its end after this";
    stall_after = "30s", "a call to the disk that takes longer closes its stream, or the log";
    manifest_chunk = "256KiB", "size of a manifest chunk (16KiB to 1MiB, whole pages of 4KiB)";
    manifest_rotate = "4MiB", "the manifest goes on in a new file at this size";
    io_threads = "16", "streams synced in parallel; the number of threads follows from it";
    max_streams = "4096", "streams open at once";
    flusher_queue = "1024", "requests that may wait for the flusher";
    coordinator_queue = "256", "requests that may wait for the coordinator";
    manifest_queue = "256", "commits that may wait for the manifest writer";
    supervisor_queue = "64", "requests that may wait for the supervisor";
    restart_limit = "5", "restarts within `restart_window` after which the log gives up";
    restart_window = "1m", "the time over which `restart_limit` counts";
}

pub(super) fn find(key: &str) -> Result<&'static Entry, SettingsError> {
    if let Some(entry) = TABLE.iter().find(|entry| entry.name == key) {
        return Ok(entry);
    }
    Err(SettingsError::UnknownKey {
        key: key.to_owned(),
    })
}

/// The keys that somebody may have meant, nearest first, at most three.
pub(super) fn near(key: &str) -> Vec<&'static str> {
    let asked = key.to_ascii_lowercase().replace('-', "_");
    let allowed = 1 + asked.chars().count() / 4;
    let mut found: Vec<(usize, &'static str)> = TABLE
        .iter()
        .map(|entry| entry.name)
        .filter_map(|name| {
            let distance = edits(&asked, name);
            let begins = asked.len() >= 3 && name.starts_with(&asked);
            (distance <= allowed || begins).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    // A clear winner stands alone: beside `segment_size`, `segment_age` is no help to somebody who
    // left out one letter.
    if let Some(&(best, _)) = found.first() {
        found.retain(|(distance, name)| *distance <= best + 1 || name.starts_with(&asked));
    }
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance. The asked name comes from outside, so it is cut at a length that no key
/// has before it costs anything.
fn edits(asked: &str, name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in asked.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in name.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_key_that_was_meant() {
        assert_eq!(near("segmnt_size"), ["segment_size"]);
        assert_eq!(near("SEGMENT-SIZE"), ["segment_size"]);
        assert_eq!(near("max_records"), ["max_record"]);
        assert_eq!(near("segment"), ["segment_age", "segment_size"]);
        assert_eq!(near("flsh"), ["flush"]);
        assert!(near("").is_empty());
        assert!(near("password").is_empty());
        assert!(near(&"x".repeat(100_000)).len() <= 3);
    }
}
