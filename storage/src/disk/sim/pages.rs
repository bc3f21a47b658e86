//! The bytes of one file: what is seen, what is on the platter, and what stood there in between.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, LazyLock},
};

use fastrand::Rng;
use rustix::io::Errno;

use super::{cut::Cut, room::Room};

pub(super) const PAGE: usize = 4096;
/// What a drive writes whole or not at all.
const SECTOR: usize = 512;
/// No file is longer, as on Linux.
const MAX_LEN: u64 = i64::MAX as u64;
/// The most versions of a page that are remembered between two syncs. Beyond it the middle ones
/// are forgotten, so that a writer of tiny pieces who never syncs does not eat the memory.
const VERSIONS: usize = 64;

type Bytes4k = Arc<[u8; PAGE]>;

static ZEROS: LazyLock<Bytes4k> = LazyLock::new(|| Arc::new([0; PAGE]));

/// One file's bytes. Bytes behind the end are zero in every page that is seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Page>,
    len: u64,
    durable_len: u64,
    /// The lengths that it had since the last sync.
    lens: Vec<u64>,
    room: Room,
}

#[derive(Debug, Clone)]
struct Page {
    /// On the platter.
    durable: Bytes4k,
    /// Written, and forgotten by a sync that failed. The last of them is read while nothing newer
    /// is there; no sync makes it durable.
    forgotten: Vec<Bytes4k>,
    /// Written since the last sync, in order.
    versions: Vec<Bytes4k>,
}

impl Page {
    fn blank() -> Self {
        Self {
            durable: ZEROS.clone(),
            forgotten: Vec::new(),
            versions: Vec::new(),
        }
    }

    fn of(durable: Bytes4k) -> Self {
        Self {
            durable,
            ..Self::blank()
        }
    }

    fn seen(&self) -> &Bytes4k {
        self.versions
            .last()
            .or(self.forgotten.last())
            .unwrap_or(&self.durable)
    }

    fn write(&mut self, bytes: &[u8], at: usize) {
        let mut next = Arc::clone(self.seen());
        Arc::make_mut(&mut next)[at..at + bytes.len()].copy_from_slice(bytes);
        if self.versions.len() >= VERSIONS {
            self.versions.remove(VERSIONS / 2);
        }
        self.versions.push(next);
    }

    fn sync(&mut self) {
        if let Some(newest) = self.versions.pop() {
            *self = Self::of(newest);
        }
    }

    fn forget_changes(&mut self) {
        self.forgotten.append(&mut self.versions);
        let surplus = self.forgotten.len().saturating_sub(VERSIONS);
        self.forgotten.drain(..surplus);
    }

    fn after(&self, cut: Cut, rng: &mut Rng) -> Bytes4k {
        match cut {
            Cut::AllLost => self.durable.clone(),
            // What the kernel took to be clean was never going to be written.
            Cut::AllKept => self.versions.last().unwrap_or(&self.durable).clone(),
            Cut::Seeded(_) => self.any_version(rng),
        }
    }

    fn any_version(&self, rng: &mut Rng) -> Bytes4k {
        let older = self.forgotten.iter().chain(&self.versions);
        let choice: Vec<&Bytes4k> = std::iter::once(&self.durable).chain(older).collect();
        if choice.len() == 1 || rng.u8(..4) != 0 {
            return Arc::clone(choice[rng.usize(..choice.len())]);
        }
        let mut torn = [0; PAGE];
        for at in (0..PAGE).step_by(SECTOR) {
            let version = choice[rng.usize(..choice.len())];
            torn[at..at + SECTOR].copy_from_slice(&version[at..at + SECTOR]);
        }
        Arc::new(torn)
    }
}

impl Pages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many pages it holds on the disk.
    pub(super) fn room(&self) -> u64 {
        self.room.pages()
    }

    pub(super) fn read_at(&self, buf: &mut [u8], pos: u64) -> usize {
        let left = self.len.saturating_sub(pos);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (no, at, range) in spans(pos, len) {
            let into = &mut buf[range];
            match self.pages.get(&no) {
                Some(page) => into.copy_from_slice(&page.seen()[at..at + into.len()]),
                None => into.fill(0),
            }
        }
        len
    }

    /// Writes while `free` new pages last.
    pub(super) fn write_at(&mut self, buf: &[u8], pos: u64, mut free: u64) -> io::Result<()> {
        let end = pos
            .checked_add(buf.len() as u64)
            .filter(|&end| end <= MAX_LEN);
        if end.is_none() {
            return Err(Errno::FBIG.into());
        }
        for (no, at, range) in spans(pos, buf.len()) {
            if self.room.first_missing(no, no + 1).is_some() {
                if free == 0 {
                    return Err(Errno::NOSPC.into());
                }
                free -= 1;
                self.room.add(no, no + 1, 1);
            }
            let bytes = &buf[range];
            self.pages
                .entry(no)
                .or_insert_with(Page::blank)
                .write(bytes, at);
            // Page by page: what was written before the disk was full stays.
            self.grow(no * PAGE as u64 + (at + bytes.len()) as u64);
        }
        Ok(())
    }

    /// Reserves room while `free` new pages last; what it got stays when they don't.
    pub(super) fn allocate(&mut self, pos: u64, len: u64, free: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let end = pos
            .checked_add(len)
            .filter(|&end| end <= MAX_LEN)
            .ok_or(Errno::FBIG)?;
        let last = end.div_ceil(PAGE as u64);
        let reached = self.room.add(pos / PAGE as u64, last, free);
        let there = (reached * PAGE as u64).min(end);
        if there > pos {
            self.grow(there);
        }
        if reached < last {
            Err(Errno::NOSPC.into())
        } else {
            Ok(())
        }
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > MAX_LEN {
            return Err(Errno::FBIG.into());
        }
        let kept = len / PAGE as u64;
        for (&no, page) in self.pages.range_mut(kept..) {
            let from = if no == kept {
                (len % PAGE as u64) as usize
            } else {
                0
            };
            if page.seen()[from..].iter().any(|&byte| byte != 0) {
                page.write(&ZEROS[from..], from);
            }
        }
        self.room.cut(len.div_ceil(PAGE as u64));
        self.change_len(len);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.pages.values_mut().for_each(Page::sync);
        self.durable_len = self.len;
        self.lens.clear();
    }

    /// As a failed sync leaves it. The length stays to be made durable: it is the inode's.
    pub(super) fn forget_changes(&mut self) {
        self.pages.values_mut().for_each(Page::forget_changes);
    }

    /// The file that is found after a power cut.
    pub(super) fn after(&self, cut: Cut, rng: &mut Rng) -> Self {
        let len = match cut {
            Cut::AllLost => self.durable_len,
            Cut::AllKept => self.len,
            Cut::Seeded(_) => match rng.usize(..=self.lens.len()) {
                0 => self.durable_len,
                n => self.lens[n - 1],
            },
        };
        let mut pages = BTreeMap::new();
        for (&no, page) in &self.pages {
            let mut bytes = page.after(cut, rng);
            let start = no * PAGE as u64;
            if start >= len {
                continue;
            }
            if len - start < PAGE as u64 {
                Arc::make_mut(&mut bytes)[(len - start) as usize..].fill(0);
            }
            pages.insert(no, Page::of(bytes));
        }
        let mut room = self.room.clone();
        room.cut(len.div_ceil(PAGE as u64));
        Self {
            pages,
            len,
            durable_len: len,
            lens: Vec::new(),
            room,
        }
    }

    fn grow(&mut self, end: u64) {
        if end > self.len {
            self.change_len(end);
        }
    }

    fn change_len(&mut self, len: u64) {
        if len != self.len {
            self.len = len;
            self.lens.push(len);
        }
    }
}

/// The pages that `pos..pos + len` touches: page number, where in the page, which of the bytes.
fn spans(pos: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let from = pos + done as u64;
        let at = (from % PAGE as u64) as usize;
        let range = done..len.min(done + PAGE - at);
        done = range.end;
        Some((from / PAGE as u64, at, range))
    })
}
