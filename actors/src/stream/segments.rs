//! Where the records of a stream are: its segments, as readers find them.

use std::{collections::BTreeMap, sync::OnceLock};

use tierlog_storage::{
    Epoch, LogId, Offset, SegmentNo, StreamId,
    catalog::SegmentKey,
    manifest::{ColdCopy, Residency, SealedFacts, SegmentStatus, WarmCopy},
    planted,
    segment::{IndexEntry, Latched, ScanExpect, Span, SparseIndex},
    warm::WarmIdentity,
};

use crate::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};

/// What a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentKind {
    /// The writer appends to it, or is about to seal it.
    Active,
    /// Ended without a footer; its end stands in the manifest.
    Closed,
    /// Ended with a footer; the manifest says so.
    Sealed(SealedFacts),
}

/// Which copies of a segment there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// The segment file.
    pub hot: bool,
    /// The compressed file.
    pub warm: Option<WarmCopy>,
    /// The object.
    pub cold: Option<ColdSpot>,
}

/// An object that holds a compressed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdSpot {
    /// Its length.
    pub len: u64,
    /// Its checksum.
    pub crc: u64,
    /// The epoch of the owner that uploaded it; the rest of its key is what the segment is.
    pub epoch: Epoch,
}

impl ColdSpot {
    /// What the manifest says; `None` where the object is being deleted.
    pub fn of(copy: &ColdCopy) -> Option<Self> {
        let key = SegmentKey::parse(&copy.key).filter(|_| !copy.dropped)?;
        Some(Self {
            len: copy.len,
            crc: copy.crc,
            epoch: key.epoch,
        })
    }
}

impl Copies {
    /// The segment file alone.
    pub const HOT: Self = Self {
        hot: true,
        warm: None,
        cold: None,
    };

    /// What the manifest says.
    pub fn of(residency: &Residency) -> Self {
        Self {
            hot: residency.hot,
            warm: residency.warm,
            cold: residency.cold.as_ref().and_then(ColdSpot::of),
        }
    }

    /// No copy is on this machine.
    pub const fn is_remote(&self) -> bool {
        !self.hot && self.warm.is_none() && self.cold.is_some()
    }
}

/// How a segment is used by readers. It goes on over changes of where the segment is.
#[derive(Debug, Default)]
pub struct Use {
    /// A count of uses of the whole log, at the last one of this.
    last: AtomicU64,
    /// Bytes decoded of its compressed file since it is only there.
    decoded: AtomicU64,
}

impl Use {
    /// Used, as the `now`-th of all uses.
    pub fn touch(&self, now: u64) {
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// When it was used last; 0 for never.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// More was decoded; gives how much that is in all.
    pub fn decode(&self, bytes: u64) -> u64 {
        self.decoded.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// It was moved: what was decoded counts anew.
    pub fn begin_anew(&self) {
        self.decoded.store(0, Ordering::Relaxed);
    }
}

/// One segment that holds records.
///
/// It is immutable but for the end of an active one, which rises, and the index, which is filled in
/// as the writer goes or when a reader needs it first.
#[derive(Debug)]
pub struct Segment {
    /// Its number.
    pub no: SegmentNo,
    /// The salt of its frames.
    pub salt: u64,
    /// The offset of its first record.
    pub base: Offset,
    /// What it is.
    pub kind: SegmentKind,
    /// Where it is.
    pub copies: Copies,
    /// How it is used.
    pub used: Arc<Use>,
    /// The open file of an active segment; others are opened when they are read.
    pub file: Option<Arc<Latched>>,
    end: AtomicU64,
    end_byte: AtomicU64,
    index: OnceLock<Arc<RwLock<SparseIndex>>>,
}

impl Segment {
    /// A segment that is written to. The index is shared with its writer.
    pub fn active(
        no: SegmentNo,
        salt: u64,
        base: Offset,
        file: Arc<Latched>,
        index: Arc<RwLock<SparseIndex>>,
    ) -> Self {
        let segment = Self {
            no,
            salt,
            base,
            kind: SegmentKind::Active,
            copies: Copies::HOT,
            used: Arc::default(),
            file: Some(file),
            end: AtomicU64::new(base.get()),
            end_byte: AtomicU64::new(0),
            index: OnceLock::new(),
        };
        let _ = segment.index.set(index);
        segment
    }

    /// A segment that has ended; `None` where the manifest says that it is still open.
    pub fn ended(no: SegmentNo, salt: u64, status: &SegmentStatus) -> Option<Self> {
        let (kind, base, end, end_byte) = match status {
            SegmentStatus::Open => return None,
            SegmentStatus::Closed {
                base,
                end,
                end_byte,
            } => (SegmentKind::Closed, *base, *end, *end_byte),
            SegmentStatus::Sealed(facts) => (
                SegmentKind::Sealed(*facts),
                facts.base,
                facts.end,
                facts.data_end,
            ),
        };
        Some(Self {
            no,
            salt,
            base,
            kind,
            copies: Copies::HOT,
            used: Arc::default(),
            file: None,
            end: AtomicU64::new(end.get()),
            end_byte: AtomicU64::new(end_byte),
            index: OnceLock::new(),
        })
    }

    /// A segment that another process writes to, as far as it is known; its file is opened when it is
    /// read.
    pub fn growing(no: SegmentNo, salt: u64, base: Offset, end: Offset, end_byte: u64) -> Self {
        Self {
            no,
            salt,
            base,
            kind: SegmentKind::Active,
            copies: Copies::HOT,
            used: Arc::default(),
            file: None,
            end: AtomicU64::new(end.get()),
            end_byte: AtomicU64::new(end_byte),
            index: OnceLock::new(),
        }
    }

    /// The same, of which there are these copies.
    pub fn with_copies(self, copies: Copies) -> Self {
        Self { copies, ..self }
    }

    /// The same one, elsewhere: what is known of its frames and its use stays.
    pub fn moved(&self, kind: SegmentKind, copies: Copies) -> Self {
        let moved = Self {
            no: self.no,
            salt: self.salt,
            base: self.base,
            kind,
            copies,
            used: Arc::clone(&self.used),
            file: None,
            end: AtomicU64::new(self.end().get()),
            end_byte: AtomicU64::new(self.end_byte()),
            index: OnceLock::new(),
        };
        if let Some(index) = self.index.get() {
            let _ = moved.index.set(Arc::clone(index));
        }
        moved
    }

    /// What its compressed file stands for; `None` unless it is sealed.
    pub fn warm_identity(&self, log: LogId, stream: StreamId) -> Option<WarmIdentity> {
        let SegmentKind::Sealed(facts) = self.kind else {
            return None;
        };
        Some(WarmIdentity {
            log,
            stream,
            segment: self.no,
            salt: self.salt,
            facts,
        })
    }

    /// The key of its object, and the object, if there is one.
    pub fn object(&self, stream: StreamId) -> Option<(SegmentKey, ColdSpot)> {
        let spot = self.copies.cold?;
        let key = SegmentKey {
            stream,
            base: self.base,
            epoch: spot.epoch,
            segment: self.no,
        };
        Some((key, spot))
    }

    /// One past its last record.
    pub fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// One past the last byte of its frames. Read it before [`end`](Self::end) is used to limit
    /// what is taken from those bytes: both rise, the byte first.
    pub fn end_byte(&self) -> u64 {
        self.end_byte.load(Ordering::Acquire)
    }

    /// Whose its header has to be.
    pub fn identity(&self, log: LogId, stream: StreamId) -> ScanExpect {
        ScanExpect {
            log,
            stream,
            segment: self.no,
            salt: self.salt,
        }
    }

    /// Which records its header has to agree with.
    pub fn span(&self) -> Span {
        let end_byte = self.end_byte();
        Span {
            base: self.base,
            end: self.end(),
            end_byte,
            exact: matches!(self.kind, SegmentKind::Sealed(_)),
        }
    }

    /// The writer has written up to here.
    pub fn advance(&self, end: Offset, end_byte: u64) {
        if planted::is("byte_behind_its_end") {
            self.end.store(end.get(), Ordering::Release);
            return self.end_byte.store(end_byte, Ordering::Release);
        }
        self.end_byte.store(end_byte, Ordering::Release);
        self.end.store(end.get(), Ordering::Release);
    }

    /// The index, if somebody has made it.
    pub fn index(&self) -> Option<&Arc<RwLock<SparseIndex>>> {
        self.index.get()
    }

    /// Keeps an index that a reader has loaded; the first one stays.
    pub fn keep_index(&self, index: SparseIndex) -> &Arc<RwLock<SparseIndex>> {
        self.index.get_or_init(|| Arc::new(RwLock::new(index)))
    }

    /// The last index entry that is not beyond the offset.
    pub fn floor(&self, offset: Offset) -> Option<IndexEntry> {
        self.index.get().and_then(|index| {
            index
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .floor(offset)
        })
    }
}

/// The segments that hold records, by their first offset.
#[derive(Debug, Default)]
pub struct Segments(RwLock<BTreeMap<u64, Arc<Segment>>>);

impl Segments {
    /// The one that holds an offset, or the first one behind it.
    pub fn at(&self, offset: Offset) -> Option<Arc<Segment>> {
        let map = self.read();
        map.range(..=offset.get())
            .next_back()
            .map(|(_, segment)| segment)
            .filter(|segment| segment.end() > offset)
            .or_else(|| map.range(offset.get()..).map(|(_, segment)| segment).next())
            .cloned()
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.read().values().cloned().collect()
    }

    /// How many there are.
    #[expect(
        clippy::len_without_is_empty,
        reason = "nobody asks whether there are none"
    )]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Adds a segment, or puts it in the place of the one that began at the same offset.
    pub fn put(&self, segment: Arc<Segment>) {
        self.write().insert(segment.base.get(), segment);
    }

    /// Whether this is still what is known of it: a segment that was moved, or cut, is another one.
    pub fn shows(&self, segment: &Arc<Segment>) -> bool {
        let map = self.read();
        let there = map.get(&segment.base.get());
        there.is_some_and(|there| Arc::ptr_eq(there, segment))
    }

    /// Those that end at or below `start`, but never one that is written to.
    pub fn ended_below(&self, start: Offset) -> Vec<Arc<Segment>> {
        let map = self.read();
        let below = map
            .values()
            .take_while(|segment| segment.end() <= start && segment.kind != SegmentKind::Active);
        below.cloned().collect()
    }

    /// Removes these, unless another one has come in the place of one.
    pub fn remove(&self, gone: &[Arc<Segment>]) {
        let mut map = self.write();
        for segment in gone {
            let base = segment.base.get();
            // The same one may be shown in another tier by now.
            if map.get(&base).is_some_and(|there| there.no == segment.no) {
                map.remove(&base);
            }
        }
    }

    /// Changes several entries at once, so that no reader sees half of it.
    pub fn update(&self, change: impl FnOnce(&mut BTreeMap<u64, Arc<Segment>>)) {
        change(&mut self.write());
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
