//! The handle to a log's streams.

use std::sync::Arc;

use tierlog_actors::{Error, protocol::sweep::SweepReport, supervisor::SupervisorHandle};

use crate::{
    info::{self, StreamInfo},
    stream::Stream,
};

/// The streams of an open log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    handle: SupervisorHandle,
}

impl Log {
    pub(crate) fn new(handle: SupervisorHandle) -> Self {
        Self { handle }
    }

    /// Opens a stream, creating it if there is none of this name. A new one is durable when this
    /// returns. Opening it twice gives two handles to the same stream.
    ///
    /// # Errors
    /// `StreamName`: a name is 1 to 255 bytes of UTF-8 without control characters, and that of a new
    /// stream is [plain](crate::is_plain).
    /// `TooManyStreams`, or `Closed`.
    pub async fn stream(&self, name: &str) -> Result<Stream, Error> {
        self.open(name, true).await
    }

    /// Opens a stream that must exist.
    ///
    /// # Errors
    /// `UnknownStream`, otherwise as [`stream`](Self::stream).
    pub async fn existing(&self, name: &str) -> Result<Stream, Error> {
        self.open(name, false).await
    }

    async fn open(&self, name: &str, create: bool) -> Result<Stream, Error> {
        check_name(name)?;
        let shared = self.handle.open_stream(name, create).await?;
        Ok(Stream::new(shared, Arc::clone(&self.handle.shared)))
    }

    /// Sweeps the data directory, and then Tier 2 if there is one: files, and objects below the log's
    /// prefix, that nothing names are found, and those removed that are leftovers of unfinished work, such as
    /// of a compression or an upload that died in the midst of it. What is of this log and not explained by
    /// that is quarantined: a file is moved to the folder `quarantine`, an object is listed and stays. What
    /// is not of this log is counted and left where it is.
    ///
    /// Nothing is removed that the manifest or the catalog names, or that somebody may yet name: a file that
    /// is being worked on waits for a later sweep, and nothing goes once another owner has claimed Tier 2.
    /// Memory: the names in the folder of one stream, or a page of a thousand keys. Sweeps take turns. The
    /// setting `sweep_every` makes one now and then by itself.
    ///
    /// Dropping the future gives up the wait alone: the sweep goes on, and `health` has its report.
    ///
    /// # Errors
    /// As the disk. `Unavailable` while Tier 2 is not claimed or does not answer, or the log restarts;
    /// `Fenced` when somebody else has claimed it; `Tier2` when its catalog can't be read. What was removed
    /// before is gone.
    pub async fn sweep(&self) -> Result<SweepReport, Error> {
        self.handle
            .shared
            .generation()?
            .coordinator
            .sweep(false)
            .await
    }

    /// [`sweep`](Self::sweep) that removes and moves nothing, and tells what it would.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub async fn sweep_dry(&self) -> Result<SweepReport, Error> {
        self.handle
            .shared
            .generation()?
            .coordinator
            .sweep(true)
            .await
    }

    /// Every stream of the log, open or not, by name.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>, Error> {
        let mut streams: Vec<_> = self
            .handle
            .streams()
            .await?
            .iter()
            .map(info::known)
            .collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(streams)
    }
}

/// Checks a stream's name before anything is asked or created.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let what = match name.len() {
        0 => Some("it is empty".to_owned()),
        len if len > 255 => Some(format!("it has {len} bytes, and 255 are the limit")),
        _ => name
            .chars()
            .find(|c| c.is_control())
            .map(|c| format!("it has the control character U+{:04X}", u32::from(c))),
    };
    what.map_or(Ok(()), |what| Err(Error::StreamName { what }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_bytes_and_control_characters() {
        assert!(check_name("Bestellungen/2026 ü").is_ok());
        assert!(check_name(&"x".repeat(255)).is_ok());
        for bad in [
            "",
            &"x".repeat(256),
            &"ü".repeat(128),
            "a\nb",
            "a\0",
            "\u{7f}",
            "\u{85}",
        ] {
            assert!(
                matches!(check_name(bad), Err(Error::StreamName { .. })),
                "{bad:?}"
            );
        }
    }
}
