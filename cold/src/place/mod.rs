//! Where a store is, as one line of text.
//!
//! ```text
//!  fs:///var/lib/app/cold
//!  memory://
//!  s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1
//!  gcs://bucket/prefix
//!  azblob://container/prefix?endpoint=https://name.blob.core.windows.net&account_name=name
//! ```
//!
//! Credentials come from the usual environment variables of a service. They may stand in the line as
//! well, and are never shown again.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use tierlog_storage::disk::Disk;

use crate::store::{Blocking, DirStore, MemoryStore, Store, StoreError, StoreErrorKind};

mod parse;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azblob"))]
mod services;
#[cfg(test)]
mod tests;

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// A local folder.
    Fs,
    /// The memory of this process.
    Memory,
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fs, Self::Memory, Self::S3, Self::Gcs, Self::Azblob];

    /// As it stands before `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::Memory => "memory",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azblob => "azblob",
        }
    }

    /// Its options, and which of them are secret.
    const fn options(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Fs | Self::Memory => &[],
            Self::S3 => &[
                ("endpoint", false),
                ("region", false),
                ("virtual_host_style", false),
                ("access_key_id", true),
                ("secret_access_key", true),
                ("session_token", true),
            ],
            Self::Gcs => &[
                ("endpoint", false),
                ("credential_path", false),
                ("credential", true),
                ("token", true),
            ],
            Self::Azblob => &[
                ("endpoint", false),
                ("account_name", false),
                ("account_key", true),
                ("sas_token", true),
            ],
        }
    }

    /// Whether this build can open it.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Fs | Self::Memory => true,
            Self::S3 => cfg!(feature = "s3"),
            Self::Gcs => cfg!(feature = "gcs"),
            Self::Azblob => cfg!(feature = "azblob"),
        }
    }
}

/// Where a store is. Neither [`fmt::Display`] nor [`fmt::Debug`] shows a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    scheme: Scheme,
    /// The bucket or container; nothing for a folder.
    bucket: String,
    /// The folder, or the prefix within the bucket without a `/` at either end.
    path: String,
    options: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, String>,
}

/// Why a line is no place. It shows nothing of what may be a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlaceError(String);

impl Place {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, PlaceError> {
        parse::place(line)
    }

    /// A local folder, which must have an absolute path without `.` and `..`, in UTF-8.
    pub fn folder(path: &Path) -> Result<Self, PlaceError> {
        let path = path
            .to_str()
            .ok_or_else(|| PlaceError("fs:// takes no path that is not UTF-8".into()))?;
        Self::parse(&format!("fs://{}", parse::encoded_path(path)))
    }

    /// Which kind of store it is.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(line: &str) -> Result<Self, PlaceError> {
        Self::parse(line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.bucket)?;
        if !self.bucket.is_empty() && !self.path.is_empty() {
            f.write_str("/")?;
        }
        f.write_str(&parse::encoded_path(&self.path))?;
        for (at, (name, value)) in self.options.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            write!(f, "{mark}{name}={}", parse::encoded(value))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Opens a store, without asking it anything: whether it is there tells the first call.
///
/// A local folder is touched through this disk, on these threads. Each call with `memory://` gives
/// another, empty store.
pub fn open(
    place: &Place,
    disk: Arc<dyn Disk>,
    runs: Arc<dyn Blocking>,
) -> Result<Arc<dyn Store>, StoreError> {
    match place.scheme {
        Scheme::Fs => Ok(Arc::new(DirStore::new(
            disk,
            PathBuf::from(&place.path),
            runs,
        ))),
        Scheme::Memory => Ok(Arc::new(MemoryStore::new())),
        scheme if scheme.is_built_in() => services(place),
        scheme => {
            let name = scheme.name();
            let what = format!("{place}: this build has no {name}; build with feature `{name}`");
            Err(StoreError::new(StoreErrorKind::Unsupported, what))
        }
    }
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azblob"))]
fn services(place: &Place) -> Result<Arc<dyn Store>, StoreError> {
    services::open(place)
}

#[cfg(not(any(feature = "s3", feature = "gcs", feature = "azblob")))]
fn services(place: &Place) -> Result<Arc<dyn Store>, StoreError> {
    let what = format!("{place}: this build has no object stores");
    Err(StoreError::new(StoreErrorKind::Unsupported, what))
}
