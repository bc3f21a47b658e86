//! One page of a file: what is seen, what is on the platter, and every write in between.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use crate::crc::crc64;

pub(super) const PAGE: usize = 4096;
/// What a drive writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// The bytes of a page, which many disks may share, and their checksum once somebody has asked for it.
#[derive(Clone)]
pub(super) struct Content {
    bytes: [u8; PAGE],
    sum: OnceLock<u64>,
}

/// Shared until it is written to.
pub(super) type Block = Arc<Content>;

pub(super) static ZEROS: LazyLock<Block> = LazyLock::new(|| block([0; PAGE]));

/// A page of these bytes.
pub(super) fn block(bytes: [u8; PAGE]) -> Block {
    Arc::new(Content {
        bytes,
        sum: OnceLock::new(),
    })
}

/// Writes into a page, into one of its own where others share it.
pub(super) fn put(block: &mut Block, bytes: &[u8], at: usize) {
    let content = Arc::make_mut(block);
    content.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    content.sum.take();
}

impl Content {
    pub(super) const fn bytes(&self) -> &[u8; PAGE] {
        &self.bytes
    }

    /// The checksum of the bytes.
    pub(super) fn sum(&self) -> u64 {
        *self.sum.get_or_init(|| crc64(&[&self.bytes]))
    }

    /// Holds nothing but zeros.
    pub(super) fn is_blank(&self) -> bool {
        self.sum() == ZEROS.sum() && self.bytes == ZEROS.bytes
    }

    fn sector(&self, sector: usize) -> &[u8] {
        &self.bytes[sector * SECTOR..(sector + 1) * SECTOR]
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.sum())
    }
}

/// A piece that was written.
#[derive(Debug)]
struct Write {
    at: usize,
    bytes: Box<[u8]>,
}

impl Write {
    fn touches(&self, sector: usize) -> bool {
        let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
        self.at < to && from < self.at + self.bytes.len()
    }
}

/// A page. Its versions are counted from the one on the platter, 0, by the writes since.
#[derive(Debug, Clone)]
pub(super) struct Page {
    durable: Block,
    seen: Block,
    /// What was written since the bytes on the platter were, in order.
    writes: Vec<Arc<Write>>,
    /// So many of them, the first ones, were forgotten by a sync that failed. They are read while nothing
    /// newer is there; no sync makes them durable unless the page is written to once more.
    forgotten: usize,
}

/// What may be found in one sector of a page.
#[derive(Debug, Clone)]
pub(super) struct SectorChoice {
    pub(super) sector: usize,
    /// What it held, from the platter's on; no two are the same.
    pub(super) contents: Vec<Box<[u8]>>,
    /// Which of them it has in each version of the page.
    pub(super) of_version: Vec<u32>,
}

impl Page {
    /// A page as a file begins with it, which was never written.
    pub(super) fn blank() -> Self {
        Self::of(ZEROS.clone())
    }

    /// A page with these bytes on the platter.
    pub(super) fn of(durable: Block) -> Self {
        Self {
            seen: durable.clone(),
            durable,
            writes: Vec::new(),
            forgotten: 0,
        }
    }

    pub(super) fn seen(&self) -> &Block {
        &self.seen
    }

    pub(super) fn durable(&self) -> &Block {
        &self.durable
    }

    /// Nothing was written that may be lost.
    pub(super) fn is_clean(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        put(&mut self.seen, bytes, at);
        self.writes.push(Arc::new(Write {
            at,
            bytes: bytes.into(),
        }));
    }

    /// True where a sync has something to do.
    pub(super) fn is_dirty(&self) -> bool {
        self.writes.len() > self.forgotten
    }

    pub(super) fn sync(&mut self) {
        if self.is_dirty() {
            *self = Self::of(self.seen.clone());
        }
    }

    /// A sync has failed: what was written counts as clean.
    pub(super) fn forget_changes(&mut self) {
        self.forgotten = self.writes.len();
    }

    /// How many versions there are, the one on the platter among them.
    pub(super) fn versions(&self) -> usize {
        self.writes.len() + 1
    }

    /// The version that a kernel writes which writes all that it takes to be dirty.
    pub(super) fn kept_version(&self) -> usize {
        match self.is_dirty() {
            true => self.writes.len(),
            // What the kernel took to be clean was never going to be written.
            false => 0,
        }
    }

    /// The sectors that may be found in more ways than one.
    pub(super) fn choices(&self) -> Vec<SectorChoice> {
        let sectors = 0..PAGE / SECTOR;
        let touched =
            sectors.filter(|sector| self.writes.iter().any(|write| write.touches(*sector)));
        touched
            .map(|sector| self.choice(sector))
            .filter(|choice| choice.contents.len() > 1)
            .collect()
    }

    fn choice(&self, sector: usize) -> SectorChoice {
        let from = sector * SECTOR;
        let mut now: Box<[u8]> = self.durable.sector(sector).into();
        let mut choice = SectorChoice {
            sector,
            contents: vec![now.clone()],
            of_version: vec![0],
        };
        let mut known = HashMap::from([(now.clone(), 0)]);
        let mut last = 0;
        for write in &self.writes {
            if write.touches(sector) {
                let begin = write.at.max(from);
                let end = (write.at + write.bytes.len()).min(from + SECTOR);
                let piece = &write.bytes[begin - write.at..end - write.at];
                now[begin - from..end - from].copy_from_slice(piece);
                let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
                last = *known.entry(now.clone()).or_insert(count);
                if last == count {
                    choice.contents.push(now.clone());
                }
            }
            choice.of_version.push(last);
        }
        choice
    }

    /// The page with these contents in the place of what is on the platter.
    pub(super) fn with<'a>(&self, sectors: impl Iterator<Item = (usize, &'a [u8])>) -> Block {
        let mut found = self.durable.clone();
        for (sector, content) in sectors {
            if found.sector(sector) != content {
                put(&mut found, content, sector * SECTOR);
            }
        }
        found
    }
}
