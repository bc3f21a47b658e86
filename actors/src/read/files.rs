//! Segment files that readers keep open: a bounded number.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tierlog_storage::{
    Result, SegmentNo, StorageError, StreamId,
    disk::{Access, Disk},
    layout::Layout,
    segment::{Latched, ScanExpect, Span, first_use},
};

use crate::stream::segments::Segment;

type Key = (StreamId, SegmentNo);

/// An open segment file, and its map if somebody made one.
#[derive(Debug)]
pub struct OpenFile {
    file: Arc<Latched>,
    map: OnceLock<Bytes>,
    /// Set once its header was found to be that of its segment.
    known: OnceLock<()>,
}

impl OpenFile {
    /// The file.
    pub fn file(&self) -> &Arc<Latched> {
        &self.file
    }

    /// Looks at the header, once: a file is used for the first time whenever it was opened.
    ///
    /// # Errors
    /// As [`first_use`]; they come again with the next call.
    pub fn know(&self, expect: &ScanExpect, span: &Span) -> Result<()> {
        if self.known.get().is_none() {
            first_use(&self.file, expect, span)?;
            let _ = self.known.set(());
        }
        Ok(())
    }

    /// The first `len` bytes as a map, for as long as the file stays among the open ones; slices of
    /// it keep it alive beyond that. Only for files that nobody will ever write to.
    ///
    /// # Errors
    /// When the system refuses the map, or the file is shorter than that.
    pub fn map(&self, len: u64) -> Result<Bytes> {
        if let Some(map) = self.map.get() {
            return Ok(map.clone());
        }
        let map = self.file.map_read_only(len)?;
        Ok(self.map.get_or_init(|| map).clone())
    }
}

/// The open files of closed and sealed segments; the least used ones are closed for new ones.
#[derive(Debug)]
pub struct Files {
    open: Cache<Key, Arc<OpenFile>>,
}

impl Files {
    /// Keeps at most `limit` files open.
    pub fn new(limit: usize) -> Self {
        Self {
            open: Cache::new(limit.max(1)),
        }
    }

    /// The file of a segment. However many ask at once, it is opened once.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn get(
        &self,
        disk: &dyn Disk,
        layout: &Layout,
        stream: StreamId,
        segment: &Segment,
    ) -> Result<Arc<OpenFile>> {
        if let Some(file) = &segment.file {
            // The writer has it open; it does not count as one of ours.
            return Ok(Arc::new(OpenFile {
                file: Arc::clone(file),
                map: OnceLock::new(),
                // He wrote the header, or read it when he began.
                known: OnceLock::from(()),
            }));
        }
        self.open.get_or_insert_with(&(stream, segment.no), || {
            let path = layout.segment(stream, segment.no);
            let file = disk
                .open(&path, Access::Read)
                .map_err(|source| StorageError::io("open", &path, source))?;
            let file = Arc::new(Latched::new(file, path));
            Ok(Arc::new(OpenFile {
                file,
                map: OnceLock::new(),
                known: OnceLock::new(),
            }))
        })
    }

    /// Closes the files of segments that are gone.
    pub fn forget(&self, stream: StreamId, gone: &[SegmentNo]) {
        for no in gone {
            self.open.remove(&(stream, *no));
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
