//! Where Tier 2 is.

use std::{fmt, path::Path, str::FromStr};

use tierlog_cold::place::{Place, Scheme};

/// Where Tier 2 is, as a URI: `fs:///path`, `memory://`, `s3://bucket/prefix?endpoint=…&region=…`,
/// `gcs://bucket/prefix`, `azblob://container/prefix`. What it needs to get in comes from the usual
/// environment variables, or stands in it; it is never shown, nor written where settings are written.
#[derive(Clone, PartialEq, Eq)]
pub struct ColdUri(Place);

impl ColdUri {
    /// A folder of this machine, by an absolute path without `.` and `..`, in UTF-8. It need not be there
    /// yet.
    ///
    /// # Errors
    /// What is wrong with the path, in a sentence.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, String> {
        let place = Place::folder(path.as_ref());
        place.map(Self).map_err(|error| error.to_string())
    }

    /// Whether what is put there outlives the process: all but `memory://`. Where it does not, nothing is
    /// ever archived.
    pub fn outlives_process(&self) -> bool {
        self.0.scheme() != Scheme::Memory
    }

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
