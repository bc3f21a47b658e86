//! Reading a segment file from front to back through one bounded buffer.

use bytes::Bytes;

use super::file::Latched;
use crate::error::Result;

/// How much is read at a time.
pub(super) const WINDOW: usize = 1 << 20;

/// A moving view of a file up to some end.
///
/// What it returns are slices of the bytes last read; it holds one buffer of about [`WINDOW`]
/// bytes, or of the size that was asked for where that is more.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a Latched,
    /// Nothing is read from here on; less than asked for at first, when the file ends before it.
    end: u64,
    pos: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    /// A view of the file's bytes before `end`.
    pub(super) fn new(file: &'a Latched, end: u64) -> Self {
        Self {
            file,
            end,
            pos: 0,
            bytes: Bytes::new(),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &'a Latched {
        self.file
    }

    /// The end of what can be read.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes from `pos` on: `min` of them, or fewer at the end, or more where they are at hand.
    ///
    /// The caller has held `min` against a cap.
    pub(super) fn at(&mut self, pos: u64, min: usize) -> Result<Bytes> {
        let have_to = self.pos + self.bytes.len() as u64;
        let need_to = pos.saturating_add(min as u64).min(self.end);
        if pos < self.pos || need_to > have_to {
            self.load(pos, need_to)?;
        }
        let from = usize::try_from(pos.saturating_sub(self.pos)).unwrap_or(usize::MAX);
        Ok(self.bytes.slice(from.min(self.bytes.len())..))
    }

    fn load(&mut self, pos: u64, need_to: u64) -> Result<()> {
        // Given back before the next one is taken, so that there is one at a time.
        self.bytes = Bytes::new();
        let to = need_to.max(pos.saturating_add(WINDOW as u64)).min(self.end);
        let mut buf = vec![0; to.saturating_sub(pos) as usize];
        let read = self.file.read_at(&mut buf, pos)?;
        if read < buf.len() {
            self.end = self.end.min(pos + read as u64);
            buf.truncate(read);
        }
        self.pos = pos;
        self.bytes = buf.into();
        Ok(())
    }
}
