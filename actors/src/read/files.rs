//! Segment files that readers keep open, a bounded number: the segment itself, or its compressed
//! file, here or in Tier 2, which is read as if it were the segment.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quick_cache::{UnitWeighter, sync::Cache};
use tierlog_storage::{
    Damage, LogId, SegmentNo, StorageError, StreamId,
    disk::{Access, Disk},
    layout::Layout,
    segment::{Latched, ScanExpect, Span, first_use},
    warm::{WARM_VERSION, WarmFault, WarmIdentity, WarmView, as_segment},
};

use super::blocks::Hashed;
use crate::{cold::Remote, error::NoTier2, stream::segments::Segment};

type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Which copy of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tier {
    Hot,
    Warm,
    Cold,
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
    open: Cache<Key, Arc<OpenFile>, UnitWeighter, Hashed>,
}

impl Files {
    /// Keeps at most `limit` files open.
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        let (hashed, nothing) = (Hashed::default(), Default::default());
        Self {
            open: Cache::with(limit, limit as u64, UnitWeighter, hashed, nothing),
        }
    }

    /// The file of a segment on this machine: itself, or its compressed file where that alone is
    /// there. However many ask at once, it is opened once.
    ///
    /// # Errors
    /// When it can't be opened; `Corrupt` over the whole segment when its compressed file is damaged
    /// as a whole.
    pub fn get(&self, at: &Whence<'_>, segment: &Segment) -> Result<Arc<OpenFile>> {
        if let Some(file) = &segment.file {
            // The writer has it open; it does not count as one of ours. He wrote the header, or read
            // it when he began.
            let open = OpenFile::new(Arc::clone(file), None);
            let _ = open.known.set(());
            return Ok(open);
        }
        if !segment.copies.hot {
            return self.warm(at, segment);
        }
        let hot = self.keep(at.stream, segment, Tier::Hot, || {
            let path = at.layout.segment(at.stream, segment.no);
            let file = at
                .disk
                .open(&path, Access::Read)
                .map_err(|source| StorageError::io("open", &path, source))?;
            Ok(OpenFile::new(Arc::new(Latched::new(file, path)), None))
        });
        match hot {
            // It was dropped a moment ago, or is gone for a bad reason: there is another copy.
            Err(_) if segment.copies.warm.is_some() => self.warm(at, segment),
            hot => hot,
        }
    }

    /// The segment's own file, if it is open and was looked at before.
    pub(super) fn at_hand(&self, stream: StreamId, segment: &Segment) -> Option<Arc<Latched>> {
        if let Some(file) = &segment.file {
            return Some(Arc::clone(file));
        }
        let open = self.open.get(&(stream, segment.no, Tier::Hot))?;
        open.known.get().map(|()| Arc::clone(&open.file))
    }

    /// The compressed file of a segment, read as if it were the segment.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn warm(&self, at: &Whence<'_>, segment: &Segment) -> Result<Arc<OpenFile>> {
        let path = at.layout.warm(at.stream, segment.no);
        let Some(copy) = segment.copies.warm else {
            let gone = std::io::ErrorKind::NotFound.into();
            return Err(StorageError::io("open", path, gone));
        };
        self.keep(at.stream, segment, Tier::Warm, || {
            let view = at.compressed(segment, "in the compressed file", |identity| {
                WarmView::open(at.disk, at.layout, identity, &copy)
            })?;
            let file = Arc::new(as_segment(&view));
            Ok(OpenFile::new(file, Some(view)))
        })
    }

    /// The object of a segment, read as if it were the segment.
    ///
    /// # Errors
    /// As [`get`](Self::get); when there is no such object, or nobody to read it.
    pub fn cold(&self, at: &Whence<'_>, segment: &Segment) -> Result<Arc<OpenFile>> {
        let (Some((key, spot)), Some(remote)) = (segment.object(at.stream), at.remote) else {
            let path = at.layout.warm(at.stream, segment.no);
            let why: Box<dyn std::error::Error + Send + Sync> = match segment.copies.cold {
                Some(_) => Box::new(NoTier2),
                None => "there is no copy of the segment in Tier 2".into(),
            };
            let gone = std::io::Error::new(std::io::ErrorKind::Unsupported, why);
            return Err(StorageError::io("open", path, gone));
        };
        self.keep(at.stream, segment, Tier::Cold, || {
            let view = at.compressed(segment, "in the object in Tier 2", |identity| {
                WarmView::of(remote.file(key, spot.len), identity, spot.len)
            })?;
            let file = Arc::new(as_segment(&view));
            Ok(OpenFile::new(file, Some(view)))
        })
    }

    fn keep(
        &self,
        stream: StreamId,
        segment: &Segment,
        tier: Tier,
        open: impl FnOnce() -> Result<Arc<OpenFile>>,
    ) -> Result<Arc<OpenFile>> {
        let key = (stream, segment.no, tier);
        self.open.get_or_insert_with(&key, open)
    }

    /// Closes the files of segments that are gone, or are elsewhere.
    pub fn forget(&self, stream: StreamId, gone: &[SegmentNo]) {
        for no in gone {
            for tier in [Tier::Hot, Tier::Warm, Tier::Cold] {
                self.open.remove(&(stream, *no, tier));
            }
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

/// Where the segments of a stream are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Whence<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Where its files are.
    pub layout: &'a Layout,
    /// Which log it is.
    pub log: LogId,
    /// Which stream.
    pub stream: StreamId,
    /// Who reads what is in Tier 2.
    pub remote: Option<&'a Arc<Remote>>,
}

impl Whence<'_> {
    /// Opens the compressed bytes of a segment, wherever they are.
    fn compressed(
        &self,
        segment: &Segment,
        place: &str,
        open: impl FnOnce(&WarmIdentity) -> Result<WarmView, WarmFault>,
    ) -> Result<Arc<WarmView>> {
        let stream = self.stream;
        let Some(identity) = segment.warm_identity(self.log, stream) else {
            return Err(StorageError::Invalid {
                what: format!(
                    "segment {} has a compressed file and is not sealed",
                    segment.no
                ),
            });
        };
        let opened = open(&identity).map_err(|fault| match fault {
            WarmFault::Disk(error) => error,
            WarmFault::NewerVersion(found) => StorageError::NewerVersion {
                path: self.layout.warm(stream, segment.no),
                found,
                supported: WARM_VERSION,
            },
            fault => StorageError::Corrupt(Damage {
                stream,
                segment: segment.no,
                from: segment.base,
                to: segment.end(),
                bytes: (0, segment.end_byte()),
                what: format!("{place}, {fault}"),
            }),
        })?;
        Ok(Arc::new(opened))
    }
}

#[cfg(test)]
mod tests {
    use tierlog_storage::disk::RealDisk;

    use super::*;

    /// Which of 300 files that were opened one after the other stay open.
    fn kept(file: &Arc<OpenFile>) -> Vec<u64> {
        let files = Files::new(64);
        let key = |no| (StreamId::from_bytes([7; 16]), SegmentNo(no), Tier::Cold);
        for no in 0..300 {
            let opened = files
                .open
                .get_or_insert_with(&key(no), || Ok(Arc::clone(file)));
            let _: Result<_> = opened;
        }
        assert!(files.len() <= 64);
        let is_open = |no: &u64| files.open.contains_key(&key(*no));
        (0..300).filter(is_open).collect()
    }

    /// Else a run that is made again reads the headers of other files, and takes another course from there on.
    #[test]
    fn which_files_stay_open_depends_on_their_use_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        let file = RealDisk.create_new(&path).expect("a file");
        let file = OpenFile::new(Arc::new(Latched::new(file, path)), None);
        let once = kept(&file);
        for _ in 0..8 {
            assert_eq!(kept(&file), once);
        }
    }
}
