//! A warm file, read as if it were the segment.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    WARM_FRAME, WarmFault, WarmFrame, WarmIdentity, WarmIndex,
    read::{read_exact, read_frames},
    read_frame, read_index,
};
use crate::{
    disk::{Access, Disk, DiskFile},
    error::StorageError,
    layout::Layout,
    manifest::WarmCopy,
    segment::Latched,
};

/// The largest decoded frame that is kept: those of one large record are decoded anew each time, or as
/// many as there are open files would be held in memory.
const KEPT: usize = 2 * WARM_FRAME;

/// The bytes of a segment, decoded from its warm file as they are read. It is never written.
///
/// A read that meets damage fails with `InvalidData`; see [`index`](Self::index) for how far that goes.
#[derive(Debug)]
pub struct WarmView {
    file: Latched,
    index: WarmIndex,
    len: u64,
    /// The last frame that was decoded: reads go on where the last one ended.
    kept: Mutex<Option<(u64, Bytes)>>,
}

impl WarmView {
    /// Opens the warm file of a segment and reads its index.
    ///
    /// # Errors
    /// `Damaged`, also where it has not the length that the manifest says; `Foreign`,
    /// `NewerVersion`; `Disk` when it could not be read.
    pub fn open(
        disk: &dyn Disk,
        layout: &Layout,
        identity: &WarmIdentity,
        copy: &WarmCopy,
    ) -> Result<Self, WarmFault> {
        let path = layout.warm(identity.stream, identity.segment);
        let file = disk
            .open(&path, Access::Read)
            .map_err(|source| StorageError::io("open", &path, source))?;
        Self::of(Latched::new(file, path), identity, copy.file_len)
    }

    /// The same of an open file of a warm file's bytes, wherever they are.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(file: Latched, identity: &WarmIdentity, file_len: u64) -> Result<Self, WarmFault> {
        if file.len()? != file_len {
            return Err(WarmFault::Damaged(
                "the file has not the length that it was written with",
            ));
        }
        let index = read_index(&file, file_len, identity)?;
        Ok(Self {
            file,
            index,
            len: identity.facts.file_len,
            kept: Mutex::default(),
        })
    }

    /// What each zstd frame holds.
    pub fn index(&self) -> &WarmIndex {
        &self.index
    }

    /// The bytes of the segment in one zstd frame.
    ///
    /// # Errors
    /// `Damaged`, `Zstd`; `Disk` when it could not be read.
    pub fn frame(&self, frame: &WarmFrame) -> Result<Bytes, WarmFault> {
        if let Some((pos, plain)) = &*self.lock()
            && *pos == frame.plain_pos
        {
            return Ok(plain.clone());
        }
        // Not under the lock: others decode other frames meanwhile.
        let plain = read_frame(&self.file, frame)?;
        if plain.len() <= KEPT {
            *self.lock() = Some((frame.plain_pos, plain.clone()));
        }
        Ok(plain)
    }

    /// The bytes of the segment in zstd frames that the index has one behind the other, in one read. They are not
    /// kept.
    ///
    /// # Errors
    /// As [`frame`](Self::frame), of whichever of them.
    pub fn frames(&self, frames: &[WarmFrame]) -> Result<Bytes, WarmFault> {
        read_frames(&self.file, frames)
    }

    /// Bytes of the file itself.
    ///
    /// # Errors
    /// `Damaged` when there are fewer; `Disk` when it could not be read.
    pub(crate) fn stored(&self, pos: u64, len: usize) -> Result<Vec<u8>, WarmFault> {
        read_exact(&self.file, pos, len)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u64, Bytes)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As an error of a file: damage is `InvalidData`, and what could not be read stays what it was.
fn as_io(fault: WarmFault) -> io::Error {
    match fault {
        WarmFault::Disk(StorageError::Io { source, .. }) => source,
        fault => io::Error::new(io::ErrorKind::InvalidData, fault),
    }
}

impl DiskFile for WarmView {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = pos + done as u64;
            let Some(frame) = self.index.at(at) else {
                break;
            };
            let plain = self.frame(frame).map_err(as_io)?;
            let from = usize::try_from(at - frame.plain_pos).unwrap_or(usize::MAX);
            let part = plain.get(from..).unwrap_or_default();
            let len = part.len().min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&part[..len]);
            done += len;
        }
        Ok(done)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn map_read_only(&self, _: u64) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A warm view as the file of a segment, for what reads segments.
pub fn as_segment(view: &Arc<WarmView>) -> Latched {
    let path = view.file.path().to_path_buf();
    Latched::new(Arc::clone(view) as Arc<dyn DiskFile>, path)
}
