//! The bytes of one file: what is seen, what is on the platter, and what stood there in between.

use std::{collections::BTreeMap, hash::Hasher, io, sync::Arc};

use rustix::io::Errno;

use super::{
    page::{Block, PAGE, Page, ZEROS, put},
    room::Room,
};

/// No file is longer, as on Linux.
const MAX_LEN: u64 = i64::MAX as u64;

/// One file's bytes. Bytes behind the end are zero in every page that is seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Arc<Page>>,
    len: u64,
    durable_len: u64,
    /// The lengths that it had since the last sync.
    lens: Vec<u64>,
    room: Room,
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
                Some(page) => into.copy_from_slice(&page.seen().bytes()[at..at + into.len()]),
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
            let page = self.pages.entry(no);
            let page = page.or_insert_with(|| Arc::new(Page::blank()));
            Arc::make_mut(page).write(bytes, at);
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
            if page.seen().bytes()[from..].iter().any(|&byte| byte != 0) {
                Arc::make_mut(page).write(&ZEROS.bytes()[from..], from);
            }
        }
        self.room.cut(len.div_ceil(PAGE as u64));
        self.change_len(len);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for page in self.pages.values_mut().filter(|page| page.is_dirty()) {
            Arc::make_mut(page).sync();
        }
        self.durable_len = self.len;
        self.lens.clear();
    }

    /// As a failed sync leaves it. The length stays to be made durable: it is the inode's.
    pub(super) fn forget_changes(&mut self) {
        for page in self.pages.values_mut().filter(|page| page.is_dirty()) {
            Arc::make_mut(page).forget_changes();
        }
    }

    /// A power cut changes nothing of it.
    pub(super) fn is_settled(&self) -> bool {
        self.lens.is_empty() && self.pages.values().all(|page| page.is_clean())
    }

    /// The lengths that a power cut may leave, that on the platter first; no two are the same.
    pub(super) fn lengths(&self) -> Vec<u64> {
        let mut found = vec![self.durable_len];
        for len in &self.lens {
            if !found.contains(len) {
                found.push(*len);
            }
        }
        found
    }

    /// The pages that a power cut may leave in more ways than one.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = (u64, &Page)> {
        let pages = self.pages.iter().map(|(no, page)| (*no, &**page));
        pages.filter(|(_, page)| !page.is_clean())
    }

    pub(super) fn page(&self, no: u64) -> Option<&Page> {
        self.pages.get(&no).map(|page| &**page)
    }

    /// The file that is found after a power cut: of this length, with these pages; the others are as they
    /// were on the platter.
    pub(super) fn after(&self, len: u64, mut found: BTreeMap<u64, Block>) -> Self {
        let mut pages = BTreeMap::new();
        for (&no, page) in self.pages.range(..len.div_ceil(PAGE as u64)) {
            let mut bytes = found.remove(&no).unwrap_or_else(|| page.durable().clone());
            let behind = usize::try_from(len - no * PAGE as u64).map_or(PAGE, |at| at.min(PAGE));
            if bytes.bytes()[behind..].iter().any(|&byte| byte != 0) {
                put(&mut bytes, &ZEROS.bytes()[behind..], behind);
            }
            let same = page.is_clean() && Arc::ptr_eq(&bytes, page.durable());
            let after = match same {
                true => Arc::clone(page),
                false => Arc::new(Page::of(bytes)),
            };
            pages.insert(no, after);
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

    /// Takes what is seen into a checksum.
    pub(super) fn sum(&self, sum: &mut impl Hasher) {
        sum.write_u64(self.len);
        for (no, page) in &self.pages {
            // A page of zeros is like one that was never written.
            if !page.seen().is_blank() {
                sum.write_u64(*no);
                sum.write_u64(page.seen().sum());
            }
        }
        sum.write_u64(u64::MAX);
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
