//! Settings: plain data, one flat key each, with the same text form everywhere.
//!
//! They come from code, from a TOML file ([`Settings::from_file`]), from the environment
//! ([`Settings::apply_env`]) or from `key=value` ([`Settings::set`]), and are checked against each
//! other by [`Settings::validate`] when a log is opened.

mod bounds;
mod cold;
mod error;
mod keys;
mod policy;
mod size;
mod source;
mod span;
pub(crate) mod text;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "opendal")]
pub(crate) use bounds::fits_tier_2;
pub use cold::ColdUri;
pub use error::SettingsError;
pub use keys::SettingKey;
pub use policy::{FlushPolicy, ReadMode};
pub use size::Size;

/// Everything that can be chosen about a log.
///
/// ```
/// use std::time::Duration;
/// use tierlog::{FlushPolicy, Settings, Size};
///
/// let settings = Settings {
///     segment_size: Size::mib(16),
///     max_record: Size::mib(1),
///     flush: FlushPolicy::Every(Duration::from_millis(5)),
///     ..Settings::new("./data")
/// };
/// settings.validate()?;
/// # Ok::<(), tierlog::SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The directory that holds the log.
    #[serde(with = "text")]
    pub data: PathBuf,
    /// Disk that segment files may take; `None` is as much as there is. With a limit, segments that
    /// have ended are compressed, and their files go when room is needed.
    #[serde(with = "text")]
    pub hot_budget: Option<Size>,
    /// Disk that compressed files may take besides; `None` is as much as there is, 0 for none of them. On its
    /// way to Tier 2 a segment that is longer than all of it may pass it, alone.
    #[serde(with = "text")]
    pub warm_budget: Option<Size>,
    /// How old records get that a stream keeps, in all tiers together; `None` is any age. Segments whose
    /// last record is older go, but never the open one. A stream may say otherwise.
    #[serde(with = "text")]
    pub retain_age: Option<Duration>,
    /// Bytes of segment files that a stream keeps, in all tiers together, as many as they have or had
    /// before they were compressed; `None` is any number. The oldest segments go, but never the open
    /// one. A stream may say otherwise.
    #[serde(with = "text")]
    pub retain_bytes: Option<Size>,
    /// So long after it has last gone on, a reader keeps what it stands on from going by these limits;
    /// 0 for not at all.
    #[serde(with = "text")]
    pub reader_lease: Duration,
    /// Tier 2: what is compressed is uploaded there as well, and compressed files go when room is needed.
    /// `None` for no such tier.
    #[serde(with = "text")]
    pub cold: Option<ColdUri>,
    /// Takes a store that does not tell who was first: two owners may then overwrite one another's
    /// history.
    #[serde(with = "text")]
    pub cold_unfenced: bool,
    /// How long opening waits for Tier 2. A log that had it before goes on without it then, and takes it
    /// up when it answers; a new one is refused.
    #[serde(with = "text")]
    pub cold_wait: Duration,
    /// An open segment is sealed so long after somebody began to wait for `Archived` of a record in it.
    #[serde(with = "text")]
    pub archive_after: Duration,
    /// How often Tier 2 is swept for leftovers of unfinished work; 0 for only when asked to.
    #[serde(with = "text")]
    pub sweep_every: Duration,
    /// Uploads and deletions at once.
    #[serde(with = "text")]
    pub upload_workers: usize,
    /// The level of zstd, 1 to 19.
    #[serde(with = "text")]
    pub compression_level: u32,
    /// Segments compressed at once, each on a thread of its own.
    #[serde(with = "text")]
    pub compression_workers: usize,
    /// A segment is sealed when it has grown to this size.
    #[serde(with = "text")]
    pub segment_size: Size,
    /// A segment is sealed when its first record is this old; `None` is never.
    #[serde(with = "text")]
    pub segment_age: Option<Duration>,
    /// The largest record that is taken: payload and key, in bytes. Of a batch as a whole: payloads,
    /// keys, and up to 41 bytes a record.
    #[serde(with = "text")]
    pub max_record: Size,
    /// When what was appended is synced.
    #[serde(with = "text")]
    pub flush: FlushPolicy,
    /// How sealed segments are read.
    #[serde(with = "text")]
    pub read: ReadMode,
    /// Bytes that may be accepted and not yet durable, over all streams; one stream gets half of it,
    /// or room for one of the largest records if that is more. What is beyond is refused.
    #[serde(with = "text")]
    pub unsynced_bytes: Size,
    /// Messages that may wait for a stream's writer.
    #[serde(with = "text")]
    pub lane_records: usize,
    /// Bytes of recent frames kept for readers at the tail, over all streams.
    #[serde(with = "text")]
    pub tail_cache: Size,
    /// Bytes of blocks kept for other readers, over all streams.
    #[serde(with = "text")]
    pub read_cache: Size,
    /// A stream that was idle for so long gets a durable mark of its end.
    #[serde(with = "text")]
    pub idle_mark: Duration,
    /// A call to the disk that takes longer ends what waits for it: tickets as indeterminate, and the
    /// stream, or where it is the manifest's, the log.
    #[serde(with = "text")]
    pub stall_after: Duration,
    /// The size of a chunk of the manifest.
    #[serde(with = "text")]
    pub manifest_chunk: Size,
    /// The manifest goes on in a new file, begun with a snapshot, when it has grown to this size.
    #[serde(with = "text")]
    pub manifest_rotate: Size,
    /// Streams synced in parallel, by so many threads. So many, but at most four, and two more write, and so
    /// many, but at most four, read.
    #[serde(with = "text")]
    pub io_threads: usize,
    /// Streams that may be open at once. One that was opened stays so until the log is closed.
    #[serde(with = "text")]
    pub max_streams: usize,
    /// Requests that may wait for the flusher.
    #[serde(with = "text")]
    pub flusher_queue: usize,
    /// Requests that may wait for the coordinator.
    #[serde(with = "text")]
    pub coordinator_queue: usize,
    /// Commits that may wait for the manifest writer.
    #[serde(with = "text")]
    pub manifest_queue: usize,
    /// Requests that may wait for the supervisor.
    #[serde(with = "text")]
    pub supervisor_queue: usize,
    /// Restarts of failed actors within `restart_window` after which the log gives up.
    #[serde(with = "text")]
    pub restart_limit: u32,
    /// The time over which `restart_limit` counts.
    #[serde(with = "text")]
    pub restart_window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: "./tierlog-data".into(),
            hot_budget: None,
            warm_budget: None,
            retain_age: None,
            retain_bytes: None,
            reader_lease: Duration::from_secs(60),
            cold: None,
            cold_unfenced: false,
            cold_wait: Duration::from_secs(10),
            archive_after: Duration::from_secs(10),
            sweep_every: Duration::from_secs(24 * 3600),
            upload_workers: 2,
            compression_level: 3,
            compression_workers: 1,
            segment_size: Size::mib(64),
            segment_age: None,
            max_record: Size::mib(16),
            flush: FlushPolicy::Always,
            read: ReadMode::Pread,
            unsynced_bytes: Size::mib(64),
            lane_records: 8192,
            tail_cache: Size::mib(16),
            read_cache: Size::mib(32),
            idle_mark: Duration::from_secs(1),
            stall_after: Duration::from_secs(30),
            manifest_chunk: Size::kib(256),
            manifest_rotate: Size::mib(4),
            io_threads: 16,
            max_streams: 4096,
            flusher_queue: 1024,
            coordinator_queue: 256,
            manifest_queue: 256,
            supervisor_queue: 64,
            restart_limit: 5,
            restart_window: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// The defaults, with the log in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// A log so small that a few records roll a segment over, for tests.
    pub fn for_tests(data: impl Into<PathBuf>) -> Self {
        Self {
            segment_size: Size::kib(80),
            max_record: Size::kib(16),
            unsynced_bytes: Size::kib(256),
            lane_records: 256,
            tail_cache: Size::kib(64),
            read_cache: Size::kib(256),
            idle_mark: Duration::from_millis(50),
            manifest_chunk: Size::kib(16),
            manifest_rotate: Size::kib(64),
            io_threads: 2,
            max_streams: 256,
            flusher_queue: 64,
            coordinator_queue: 64,
            manifest_queue: 64,
            supervisor_queue: 16,
            ..Self::new(data)
        }
    }

    /// Sets one key from its text, as `--set key=value` does.
    ///
    /// # Errors
    /// Names the key: it does not exist, belongs to a tier that this version does not have, or the
    /// text makes no sense for it. Whether values go together is for [`validate`](Self::validate).
    ///
    /// ```
    /// use tierlog::{Settings, Size};
    /// let mut settings = Settings::new("./data");
    /// settings.set("segment_size", "16 MiB")?;
    /// assert_eq!(settings.segment_size, Size::mib(16));
    ///
    /// let error = settings.set("segmnt_size", "16 MiB").expect_err("there is no such key");
    /// assert!(error.to_string().contains("did you mean `segment_size`?"));
    /// # Ok::<(), tierlog::SettingsError>(())
    /// ```
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingsError> {
        let entry = keys::find(key)?;
        (entry.set)(self, value).map_err(|what| SettingsError::Value {
            key: entry.name,
            value: match entry.name {
                // It may hold what it takes to get in.
                "cold" => "…".to_owned(),
                _ => value.to_owned(),
            },
            what,
        })
    }

    /// Every key there is, with its default and its meaning.
    pub fn keys() -> &'static [SettingKey] {
        keys::KEYS
    }

    /// The values in effect, as text, in the order of [`Settings::keys`].
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let entries = keys::TABLE.iter();
        entries
            .map(|entry| (entry.name, (entry.show)(self)))
            .collect()
    }

    /// Checks each value and how they go together. Opening a log does it too.
    ///
    /// # Errors
    /// Names the first key to change, its value, and what it must be.
    pub fn validate(&self) -> Result<(), SettingsError> {
        bounds::check(self)
    }
}

#[cfg(test)]
mod tests;
