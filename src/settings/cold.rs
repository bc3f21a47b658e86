//! Where Tier 2 is.

use std::{fmt, str::FromStr};

use tierlog_cold::place::Place;

/// Where Tier 2 is, as a URI: `fs:///path`, `memory://`, `s3://bucket/prefix?endpoint=…&region=…`,
/// `gcs://bucket/prefix`, `azblob://container/prefix`. What it needs to get in comes from the usual
/// environment variables, or stands in it; it is never shown, nor written where settings are written.
#[derive(Clone, PartialEq, Eq)]
pub struct ColdUri(Place);

impl ColdUri {
    /// What it means.
    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for ColdUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = Place::parse(text.trim());
        place.map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for ColdUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ColdUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
