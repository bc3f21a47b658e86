//! Where a log is: the one path that comes from outside.

use std::{path::PathBuf, sync::Arc};

use tierlog_storage::{disk::Disk, error::StorageError};

use crate::{
    error::Error,
    exec::{Executor, Running, Work, run},
};

/// The directory that an app named, with the links in it followed once and for all: a link that is
/// changed later moves no log that is open.
///
/// # Errors
/// When a link leads nowhere.
pub async fn resolve(
    disk: &Arc<dyn Disk>,
    executor: &Arc<dyn Executor>,
    named: PathBuf,
) -> Result<PathBuf, Error> {
    let disk = Arc::clone(disk);
    let resolved = run(executor, Work::Read, &Running::default(), move || {
        disk.resolve(&named)
            .map_err(|error| StorageError::io("follow", &named, error))
    });
    let resolved = resolved.await.map_err(|died| Error::indeterminate(&died))?;
    Ok(resolved?)
}
