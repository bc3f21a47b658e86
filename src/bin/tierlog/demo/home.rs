//! Where a demo puts its log, and the folder that it takes for Tier 2.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tierlog::ColdUri;

use crate::exit::Ending;

/// How often, and how far apart, it is tried to remove a folder that somebody still makes files in.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);

const NEW_ONE: &str = "give the demo a new directory, or none";

/// Tier 2 of a demo.
#[derive(Debug, Clone)]
pub(super) enum Bucket {
    /// A folder of the demo's own.
    Folder(ColdUri),
    /// What the command line names.
    Given(ColdUri),
    /// None, by the word of the command line.
    Nowhere,
}

impl Bucket {
    pub(super) fn uri(&self) -> Option<&ColdUri> {
        match self {
            Self::Folder(uri) | Self::Given(uri) => Some(uri),
            Self::Nowhere => None,
        }
    }
}

/// See the module.
pub(super) struct Home {
    data: PathBuf,
    pub(super) bucket: Bucket,
    /// Removed when the demo ends, however it ends.
    throwaway: Option<TempDir>,
}

impl Home {
    /// A given directory must be missing or empty: the demo never adds to somebody's log. Tier 2 is what
    /// the command line says; what a file or the environment says is for some other log, that would be kept from its
    /// bucket by this one.
    pub(super) fn choose(
        data: Option<&Path>,
        cold: Option<&Option<ColdUri>>,
    ) -> Result<Self, Ending> {
        let bucket = match cold {
            None => None,
            Some(None) => Some(Bucket::Nowhere),
            Some(Some(uri)) if !uri.outlives_process() => {
                let what = "memory:// keeps nothing, so that a demo could show nothing there";
                return Err(Ending::usage(what, "name a folder or a bucket, or nothing"));
            }
            Some(Some(uri)) => Some(Bucket::Given(uri.clone())),
        };
        match data {
            None => Self::throwaway(bucket),
            Some(data) => Self::given(data, bucket),
        }
    }

    fn throwaway(bucket: Option<Bucket>) -> Result<Self, Ending> {
        let made = tempfile::Builder::new().prefix("tierlog-demo-").tempdir();
        let cannot = |error| {
            let what = format!("cannot make a temporary directory: {error}");
            Ending::failed(what, "give one with --data")
        };
        let dir = made.map_err(cannot)?;
        let bucket = match bucket {
            Some(bucket) => bucket,
            None => folder(&fs::canonicalize(dir.path()).map_err(cannot)?.join("cold"))?,
        };
        Ok(Self {
            data: dir.path().join("log"),
            bucket,
            throwaway: Some(dir),
        })
    }

    fn given(data: &Path, bucket: Option<Bucket>) -> Result<Self, Ending> {
        check_new(data)?;
        let bucket = match bucket {
            Some(bucket) => bucket,
            None => beside(data)?,
        };
        Ok(Self {
            data: data.to_owned(),
            bucket,
            throwaway: None,
        })
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The directory, if it stays.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.throwaway.is_none().then(|| self.data.clone())
    }

    /// Removes what does not stay, while a thread of a log that was given up may still make files there: one
    /// that comes in between keeps its folder from going.
    pub(super) async fn discard(&mut self) {
        let Some(dir) = self.throwaway.take().map(TempDir::keep) else {
            return;
        };
        for _ in 0..ATTEMPTS {
            let _ = fs::remove_dir_all(&dir);
            if !dir.exists() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tier 2, if it stays.
    pub(super) fn kept_bucket(&self) -> Option<ColdUri> {
        let is_kept = self.throwaway.is_none() || matches!(self.bucket, Bucket::Given(_));
        self.bucket.uri().filter(|_| is_kept).cloned()
    }
}

fn folder(path: &Path) -> Result<Bucket, Ending> {
    let uri = ColdUri::folder(path).map_err(|error| {
        let what = format!("{} can't hold Tier 2: {error}", path.display());
        Ending::usage(what, "name another place with --cold")
    })?;
    Ok(Bucket::Folder(uri))
}

/// A folder next to the data: it stays as long as they do.
fn beside(data: &Path) -> Result<Bucket, Ending> {
    let cannot = |error: io::Error| cannot_use(data, &error);
    let whole = match data.exists() {
        true => fs::canonicalize(data),
        false => std::path::absolute(data),
    };
    let whole = whole.map_err(cannot)?;
    let mut name = OsString::from(whole.file_name().unwrap_or_default());
    name.push(".cold");
    let path = whole.with_file_name(name);
    check_new(&path)?;
    // Made here, since only what is there has a path without `..`.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|error| cannot_use(&path, &error))?;
    folder(&fs::canonicalize(&path).map_err(cannot)?)
}

fn check_new(dir: &Path) -> Result<(), Ending> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Ending::failed(
            format!("{} is not empty", dir.display()),
            NEW_ONE,
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot_use(dir, &error)),
    }
}

fn cannot_use(path: &Path, error: &io::Error) -> Ending {
    let what = format!("cannot use {}: {error}", path.display());
    Ending::failed(what, NEW_ONE)
}
