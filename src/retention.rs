//! How much a stream keeps.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use tierlog_actors::{Error, Kind};
use tierlog_storage::manifest::{self, RetentionState};

use crate::{
    read_only::ReadStream,
    settings::{Size, text::Value},
    stream::Stream,
};

/// How much of something a stream keeps.
///
/// Printed and read as `default`, as `never` or `unlimited`, or as the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Keep<T> {
    /// As much as the settings of the log say.
    #[default]
    Default,
    /// All of it, whatever the settings say.
    All,
    /// At most so much.
    AtMost(T),
}

/// What a stream keeps, in all tiers together: whole segments go when they are over either limit, the
/// oldest first, and never the open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Retention {
    /// How old records get. A segment goes when its last record is older.
    pub age: Keep<Duration>,
    /// Bytes of segment files, as many as they have or had before they were compressed.
    pub bytes: Keep<Size>,
}

impl Retention {
    fn of(state: RetentionState) -> Self {
        Self {
            age: Keep::of(state.age_ns, Duration::from_nanos),
            bytes: Keep::of(state.bytes, Size::new),
        }
    }

    fn state(self) -> RetentionState {
        let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        RetentionState {
            age_ns: self.age.state(nanos),
            bytes: self.bytes.state(Size::bytes),
        }
    }
}

impl<T> Keep<T> {
    fn of(state: manifest::Keep, most: impl FnOnce(u64) -> T) -> Self {
        match state {
            manifest::Keep::Default => Self::Default,
            manifest::Keep::All => Self::All,
            manifest::Keep::AtMost(limit) => Self::AtMost(most(limit)),
        }
    }

    fn state(self, least: impl FnOnce(T) -> u64) -> manifest::Keep {
        match self {
            Self::Default => manifest::Keep::Default,
            Self::All => manifest::Keep::All,
            Self::AtMost(limit) => manifest::Keep::AtMost(least(limit)),
        }
    }

    /// The limit in effect where the settings say `default`; `None` for no limit.
    pub fn limit(self, default: Option<T>) -> Option<T> {
        match self {
            Self::Default => default,
            Self::All => None,
            Self::AtMost(limit) => Some(limit),
        }
    }
}

impl<T> fmt::Display for Keep<T>
where
    T: Clone,
    Option<T>: Value,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::All => f.pad(&None.show()),
            Self::AtMost(limit) => f.pad(&Some(limit.clone()).show()),
        }
    }
}

impl<T> FromStr for Keep<T>
where
    Option<T>: Value,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("default") {
            return Ok(Self::Default);
        }
        match Option::parse(text) {
            Ok(None) => Ok(Self::All),
            Ok(Some(limit)) => Ok(Self::AtMost(limit)),
            Err(why) => Err(format!("{why}, or `default`")),
        }
    }
}

impl Stream {
    /// How much it keeps.
    pub fn retention(&self) -> Retention {
        Retention::of(self.shared().keeping.limits())
    }

    /// Keeps so much from now on, durably; what is over goes soon after, as by [`trim`](Self::trim).
    /// A reader that stands on it holds it back for as long as the setting `reader_lease` says. Waits
    /// while a mailbox is full. Once it is asked for, it happens even if the future is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tierlog::{Keep, Retention, Settings, Size, Supervisor};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tierlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
    /// # let orders = supervisor.log().stream("orders").await?;
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let retention = Retention { age: Keep::AtMost(week), bytes: Keep::Default };
    /// orders.set_retention(retention).await?;
    /// assert_eq!(orders.retention(), retention);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the manifest can't say so.
    pub async fn set_retention(&self, retention: Retention) -> Result<(), Error> {
        let state = retention.state();
        loop {
            let generation = self.log.generation()?;
            let shared = Arc::clone(self.shared());
            match generation.coordinator.retain(shared, state).await {
                Err(Error::WouldBlock {
                    kind: Kind::Manifest,
                }) => generation.manifest.ready().await,
                Err(Error::WouldBlock { .. }) => generation.coordinator.ready().await,
                outcome => return outcome,
            }
        }
    }
}

impl ReadStream {
    /// How much it keeps, as of when it was last looked at.
    pub fn retention(&self) -> Retention {
        Retention::of(self.shared.keeping.limits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_reads_back_as_it_was_printed() {
        for (keep, text) in [
            (Keep::Default, "default"),
            (Keep::All, "never"),
            (Keep::AtMost(Duration::from_secs(7 * 86_400)), "7d"),
        ] {
            assert_eq!(keep.to_string(), text);
            assert_eq!(text.parse(), Ok(keep));
        }
        for (keep, text) in [
            (Keep::Default, "default"),
            (Keep::All, "unlimited"),
            (Keep::AtMost(Size::mib(1)), "1MiB"),
        ] {
            assert_eq!(keep.to_string(), text);
            assert_eq!(text.parse(), Ok(keep));
        }
        let refused = "5".parse::<Keep<Duration>>().expect_err("no unit");
        assert!(refused.ends_with("or `never`, or `default`"), "{refused}");
    }

    #[test]
    fn a_retention_is_in_the_manifest_what_it_is() {
        for retention in [
            Retention::default(),
            Retention {
                age: Keep::All,
                bytes: Keep::AtMost(Size::kib(3)),
            },
            Retention {
                age: Keep::AtMost(Duration::from_millis(5)),
                bytes: Keep::All,
            },
        ] {
            assert_eq!(Retention::of(retention.state()), retention);
        }
        let long = Keep::AtMost(Duration::MAX);
        assert_eq!(long.state(|_| u64::MAX), manifest::Keep::AtMost(u64::MAX));
    }
}
