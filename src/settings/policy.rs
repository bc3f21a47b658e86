//! The two settings that are a choice: when to sync, and how to read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Size, span, text};

/// When what was appended is synced to the disk.
///
/// It decides how long an ack at `Durable` takes and how much a power cut can take of what was
/// only `Written`; a `Durable` ack is true under each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FlushPolicy {
    /// As soon as something is written; what arrives during a sync shares the next one. Printed
    /// `always`.
    #[default]
    Always,
    /// At the latest so long after it was written. Printed `every 5ms`.
    Every(Duration),
    /// When so many bytes wait, and a little later even when they never come together. Printed
    /// `bytes 1MiB`.
    Bytes(Size),
    /// Only when `flush`, `seal` or a shutdown asks for it. Printed `manual`.
    Manual,
}

impl fmt::Display for FlushPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.pad("always"),
            Self::Every(period) => f.pad(&format!("every {}", span::show(*period))),
            Self::Bytes(size) => f.pad(&format!("bytes {size}")),
            Self::Manual => f.pad("manual"),
        }
    }
}

impl FromStr for FlushPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (word, rest) = match text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (text, ""),
        };
        match (word.to_ascii_lowercase().as_str(), rest) {
            ("always", "") => Ok(Self::Always),
            ("manual", "") => Ok(Self::Manual),
            ("every", rest) => span::parse(rest).map(Self::Every),
            ("bytes", rest) => rest.parse().map(Self::Bytes),
            _ => Err("expected `always`, `every 5ms`, `bytes 1MiB` or `manual`".into()),
        }
    }
}

/// How sealed segments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadMode {
    /// By `pread` into a bounded cache. A media error is an error of that read. Printed `pread`.
    #[default]
    Pread,
    /// Through a read-only map. Faster where the file is in memory anyway, but a media error under
    /// a map is a SIGBUS, which ends the process. Printed `map`.
    Map,
}

impl fmt::Display for ReadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pread => "pread",
            Self::Map => "map",
        })
    }
}

impl FromStr for ReadMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "pread" => Ok(Self::Pread),
            "map" => Ok(Self::Map),
            _ => Err("expected `pread` or `map`".into()),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                text::serialize(self, to)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                text::deserialize(from)
            }
        }
    )*};
}

serde_as_text!(FlushPolicy, ReadMode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_reads_back_as_it_was_printed() {
        for (policy, text) in [
            (FlushPolicy::Always, "always"),
            (FlushPolicy::Every(Duration::from_millis(5)), "every 5ms"),
            (FlushPolicy::Bytes(Size::mib(1)), "bytes 1MiB"),
            (FlushPolicy::Manual, "manual"),
        ] {
            assert_eq!(policy.to_string(), text);
            assert_eq!(text.parse(), Ok(policy));
        }
        assert_eq!(
            "Every  5 ms".parse(),
            Ok(FlushPolicy::Every(Duration::from_millis(5)))
        );
        assert_eq!(
            "bytes 64 KiB".parse(),
            Ok(FlushPolicy::Bytes(Size::kib(64)))
        );
    }

    #[test]
    fn a_policy_with_words_missing_or_left_over_is_refused() {
        for text in [
            "",
            "sometimes",
            "always now",
            "manual 5ms",
            "every",
            "every 5",
            "bytes",
            "bytes x",
        ] {
            assert!(text.parse::<FlushPolicy>().is_err(), "{text}");
        }
        assert!("mmap".parse::<ReadMode>().is_err());
        assert_eq!("MAP".parse(), Ok(ReadMode::Map));
    }
}
