//! `CURRENT`: which manifest file counts.
//!
//! ```text
//!    0            8         10           12       16                 32
//!    ┌────────────┬─────────┬────────────┬────────┬──────────────────┐
//!    │ "TLCURRNT" │ version │ header len │ flags  │ log uuid         │
//!    ├─32─────────┼─40──────┴────┬─48────┴─────┬──┴──────56────┬─────┴──64
//!    │ number     │ epoch        │ clean: last │ clean: the    │ zeros … │
//!    │            │              │ sequence    │ byte behind   │         │
//!    ├────────────┴──────────────┴─────────────┴───────────────┤ 120     │
//!    │                                                         │ crc64   │
//!    └─────────────────────────────────────────────────────────┴─────────┘ 128
//!    flags: bit 0 = the log was closed in order, and the file ends where this says
//! ```
//!
//! It is replaced whole: written beside, synced, renamed, and the directory synced, so that there is
//! the old one or the new one after a power cut, and never a part.

use std::{io, path::Path};

use serde::Serialize;

use super::{
    Seq,
    chunk::{FILE_HEADER, HeadFault, MANIFEST_VERSION, open_prefix, put_prefix, put_suffix},
    reserve::with_reserve,
    wire::Wire,
};
use crate::{
    disk::{Access, Disk},
    error::{Result, StorageError},
    ids::{Epoch, LogId},
    layout::Layout,
    planted,
};

/// Bytes of the file.
pub const CURRENT_LEN: usize = FILE_HEADER;
const MAGIC: [u8; 8] = *b"TLCURRNT";
const FLAG_CLEAN: u32 = 1;
const _: () = assert!(8 + 8 + 16 + 4 * 8 <= CURRENT_LEN - 8);

/// What `CURRENT` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The log.
    pub log: LogId,
    /// The manifest file that counts.
    pub number: u64,
    /// After a clean close, the sequence of the manifest's last entry and the byte behind its last
    /// commit. What is missing before that is damage.
    pub clean: Option<(Seq, u64)>,
    /// The owner that wrote it.
    pub epoch: Epoch,
}

impl Current {
    /// The pointer as it stands in the file.
    pub fn encode(&self) -> [u8; CURRENT_LEN] {
        let mut out = Vec::with_capacity(CURRENT_LEN);
        let flags = self.clean.map_or(0, |_| FLAG_CLEAN);
        put_prefix(MAGIC, CURRENT_LEN, flags, &mut out);
        self.log.put(&mut out);
        self.number.put(&mut out);
        self.epoch.put(&mut out);
        let (seq, end_byte) = self.clean.unwrap_or_default();
        seq.0.put(&mut out);
        end_byte.put(&mut out);
        put_suffix(out)
    }

    /// The pointer of which `bytes` is the whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadFault> {
        let (flags, mut from) = open_prefix(bytes, MAGIC)?;
        if bytes.len() != CURRENT_LEN {
            return Err(HeadFault::Invalid("there are bytes behind it"));
        }
        if flags & !FLAG_CLEAN != 0 {
            return Err(HeadFault::Invalid("unknown flags"));
        }
        let mut take = || {
            let (log, number, epoch) = (
                Wire::take(&mut from)?,
                Wire::take(&mut from)?,
                Wire::take(&mut from)?,
            );
            let end = (Seq(Wire::take(&mut from)?), Wire::take(&mut from)?);
            let clean = (flags & FLAG_CLEAN != 0).then_some(end);
            Some(Self {
                log,
                number,
                clean,
                epoch,
            })
        };
        take().ok_or(HeadFault::Cut)
    }

    /// Reads the pointer; `None` when there is no such file.
    pub fn read(disk: &dyn Disk, layout: &Layout) -> Result<Option<Self>> {
        let path = layout.current();
        let file = match disk.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", &path, error)),
        };
        let mut bytes = [0; CURRENT_LEN + 1];
        let len = file
            .read_at(&mut bytes, 0)
            .map_err(|error| StorageError::io("read", &path, error))?;
        Self::decode(&bytes[..len])
            .map(Some)
            .map_err(|fault| fault.at(&path, "the pointer", len))
    }

    /// Makes this the pointer, durably.
    ///
    /// After an error nobody knows which pointer the disk has; both must stay good.
    pub fn publish(&self, disk: &dyn Disk, layout: &Layout) -> Result<()> {
        let tmp = layout.current_tmp();
        with_reserve(disk, layout, || self.write_beside(disk, &tmp))
            .inspect_err(|_| discard(disk, &tmp))?;
        let path = layout.current();
        if planted::is("unlink_before_rename") {
            let _gone = disk.remove(&path);
        }
        disk.rename(&tmp, &path)
            .map_err(|error| StorageError::io("replace", &path, error))?;
        if planted::is("rename_not_synced") {
            return Ok(());
        }
        disk.sync_dir(layout.root())
            .map_err(|error| StorageError::io("sync the folder", layout.root(), error))
    }

    fn write_beside(&self, disk: &dyn Disk, tmp: &Path) -> Result<()> {
        // A crash, or an attempt that found the disk full, may have left one behind.
        match disk.remove(tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StorageError::io("remove", tmp, error));
            }
            _ => {}
        }
        let file = disk
            .create_new(tmp)
            .map_err(|error| StorageError::io("create", tmp, error))?;
        file.allocate(0, CURRENT_LEN as u64)
            .map_err(|error| StorageError::io("allocate", tmp, error))?;
        file.write_at(&self.encode(), 0)
            .map_err(|error| StorageError::io("write", tmp, error))?;
        file.sync_data()
            .map_err(|error| StorageError::io("sync", tmp, error))
    }

    /// The version that [`Current::encode`] writes.
    pub const VERSION: u16 = MANIFEST_VERSION;
}

/// Removes what could not be completed. That it fails too changes nothing: the error that is being
/// returned is the one that counts, and the next attempt removes it again.
pub(super) fn discard(disk: &dyn Disk, path: &Path) {
    let _ignored = disk.remove(path);
}
