//! What entries say of how much a stream keeps.

use serde::Serialize;

use super::{
    apply::Edit,
    wire::{Reader, Wire, wire_struct},
};
use crate::error::Result;

/// A limit of what a stream keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// As the settings of the log say.
    #[default]
    Default,
    /// Everything, whatever the settings say.
    All,
    /// At most so much.
    AtMost(u64),
}

impl Keep {
    /// The limit in effect where the settings say `default`; `None` for no limit.
    pub fn limit(self, default: Option<u64>) -> Option<u64> {
        match self {
            Self::Default => default,
            Self::All => None,
            Self::AtMost(most) => Some(most),
        }
    }
}

impl Wire for Keep {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Default => out.push(0),
            Self::All => out.push(1),
            Self::AtMost(most) => {
                out.push(2);
                most.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.array()? {
            [0] => Self::Default,
            [1] => Self::All,
            [2] => Self::AtMost(Wire::take(from)?),
            _ => return None,
        })
    }
}

/// What a stream keeps, in all tiers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RetentionState {
    /// How old records get, in nanoseconds.
    pub age_ns: Keep,
    /// How many bytes of segment files it keeps, whatever they take in the tier that they are in.
    pub bytes: Keep,
}

wire_struct!(RetentionState { age_ns, bytes });

impl RetentionState {
    /// As the settings of the log say.
    pub const DEFAULT: Self = Self {
        age_ns: Keep::Default,
        bytes: Keep::Default,
    };
}

impl Edit<'_> {
    pub(super) fn retain(mut self, retention: RetentionState) -> Result<()> {
        self.note_stream();
        self.state.retention = retention;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_by_the_settings_unless_it_says_otherwise() {
        for (keep, default, limit) in [
            (Keep::Default, None, None),
            (Keep::Default, Some(7), Some(7)),
            (Keep::All, Some(7), None),
            (Keep::AtMost(5), Some(7), Some(5)),
            (Keep::AtMost(9), None, Some(9)),
        ] {
            assert_eq!(keep.limit(default), limit, "{keep:?} {default:?}");
        }
    }

    #[test]
    fn a_limit_has_one_spelling() {
        let take = |bytes: &[u8]| Keep::take(&mut Reader::new(bytes));
        assert_eq!(take(&[3]), None);
        assert_eq!(take(&[2, 1, 0, 0]), None, "too few bytes");
        for keep in [Keep::Default, Keep::All, Keep::AtMost(u64::MAX)] {
            let mut bytes = Vec::new();
            keep.put(&mut bytes);
            assert_eq!(take(&bytes), Some(keep));
        }
    }
}
