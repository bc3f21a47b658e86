//! Segment files that readers keep open, a bounded number: the segment itself, or its compressed
//! file, which is read as if it were the segment.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tierlog_storage::{
    Damage, LogId, Result, SegmentNo, StorageError, StreamId,
    disk::{Access, Disk},
    layout::Layout,
    manifest::WarmCopy,
    segment::{Latched, ScanExpect, Span, first_use},
    warm::{WARM_VERSION, WarmFault, WarmView, as_segment},
};

use crate::stream::segments::Segment;

/// Which copy of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tier {
    Hot,
    Warm,
}

type Key = (StreamId, SegmentNo, Tier);

/// An open segment file, and its map if somebody made one.
#[derive(Debug)]
pub struct OpenFile {
    file: Arc<Latched>,
    /// Where its bytes are decoded from, if they are.
    warm: Option<Arc<WarmView>>,
    map: OnceLock<Bytes>,
    /// Set once its header was found to be that of its segment.
    known: OnceLock<()>,
}

impl OpenFile {
    fn new(file: Arc<Latched>, warm: Option<Arc<WarmView>>) -> Arc<Self> {
        Arc::new(Self {
            file,
            warm,
            map: OnceLock::new(),
            known: OnceLock::new(),
        })
    }

    /// The file.
    pub fn file(&self) -> &Arc<Latched> {
        &self.file
    }

    /// The compressed file below, if it is one.
    pub fn warm(&self) -> Option<&Arc<WarmView>> {
        self.warm.as_ref()
    }

    /// Looks at the header, once: a file is used for the first time whenever it was opened.
    ///
    /// # Errors
    /// As [`first_use`]; they come again with the next call.
    pub fn know(&self, expect: &ScanExpect, span: &Span) -> Result<()> {
        // Of a compressed file the head was looked at when it was opened.
        if self.warm.is_none() && self.known.get().is_none() {
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

    /// The file of a segment: itself, or its compressed file where that alone is there. However many
    /// ask at once, it is opened once.
    ///
    /// # Errors
    /// When it can't be opened; `Corrupt` over the whole segment when its compressed file is damaged
    /// as a whole.
    pub fn get(
        &self,
        disk: &dyn Disk,
        layout: &Layout,
        log: LogId,
        stream: StreamId,
        segment: &Segment,
    ) -> Result<Arc<OpenFile>> {
        if let Some(file) = &segment.file {
            // The writer has it open; it does not count as one of ours. He wrote the header, or read
            // it when he began.
            let open = OpenFile::new(Arc::clone(file), None);
            let _ = open.known.set(());
            return Ok(open);
        }
        if !segment.copies.hot {
            return self.warm(disk, layout, log, stream, segment);
        }
        let hot = self
            .open
            .get_or_insert_with(&(stream, segment.no, Tier::Hot), || {
                let path = layout.segment(stream, segment.no);
                let file = disk
                    .open(&path, Access::Read)
                    .map_err(|source| StorageError::io("open", &path, source))?;
                Ok(OpenFile::new(Arc::new(Latched::new(file, path)), None))
            });
        match hot {
            // It was dropped a moment ago, or is gone for a bad reason: there is another copy.
            Err(_) if segment.copies.warm.is_some() => {
                self.warm(disk, layout, log, stream, segment)
            }
            hot => hot,
        }
    }

    /// The compressed file of a segment, read as if it were the segment.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn warm(
        &self,
        disk: &dyn Disk,
        layout: &Layout,
        log: LogId,
        stream: StreamId,
        segment: &Segment,
    ) -> Result<Arc<OpenFile>> {
        let Some(copy) = segment.copies.warm else {
            let path = layout.segment(stream, segment.no);
            let gone = std::io::ErrorKind::NotFound.into();
            return Err(StorageError::io("open", path, gone));
        };
        self.open
            .get_or_insert_with(&(stream, segment.no, Tier::Warm), || {
                let view = open_warm(disk, layout, log, stream, segment, &copy)?;
                let view = Arc::new(view);
                let file = Arc::new(as_segment(&view));
                Ok(OpenFile::new(file, Some(view)))
            })
    }

    /// Closes the files of segments that are gone, or are elsewhere.
    pub fn forget(&self, stream: StreamId, gone: &[SegmentNo]) {
        for no in gone {
            self.open.remove(&(stream, *no, Tier::Hot));
            self.open.remove(&(stream, *no, Tier::Warm));
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

fn open_warm(
    disk: &dyn Disk,
    layout: &Layout,
    log: LogId,
    stream: StreamId,
    segment: &Segment,
    copy: &WarmCopy,
) -> Result<WarmView> {
    let Some(identity) = segment.warm_identity(log, stream) else {
        return Err(StorageError::Invalid {
            what: format!(
                "segment {} has a compressed file and is not sealed",
                segment.no
            ),
        });
    };
    WarmView::open(disk, layout, &identity, copy).map_err(|fault| match fault {
        WarmFault::Disk(error) => error,
        WarmFault::NewerVersion(found) => StorageError::NewerVersion {
            path: layout.warm(stream, segment.no),
            found,
            supported: WARM_VERSION,
        },
        fault => StorageError::Corrupt(Damage {
            stream,
            segment: segment.no,
            from: segment.base,
            to: segment.end(),
            bytes: (0, segment.end_byte()),
            what: format!("in the compressed file, {fault}"),
        }),
    })
}
