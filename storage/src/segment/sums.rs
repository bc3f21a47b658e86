//! The checksum of any stretch of a file, from one pass over it.
//!
//! ```text
//!    start              from                              to           reached
//!   ──┬──────┬──────┬────┬─┬──────┬──────┬─ ─ ─ ┬──────┬───┬──┬──────────┬──────
//!     0     sum    sum   │sum    sum    sum    sum    sum  │ sum        sum
//!     │ ◀── crc of all up to here, every 64 bytes ──▶      │
//!     └───────── A ──────┘                                 │
//!     └───────────────────────── B ────────────────────────┘     parted(A, B) is that of from..to
//! ```
//!
//! A checksum is linear: from those of two beginnings follows that of what lies between their ends.
//! So a frame can be checked, however long its head says that it is, for the bytes of two pieces of
//! less than 64, once the file was summed up to its end.

use std::collections::VecDeque;

use super::{file::Latched, window::Window};
use crate::{
    crc::{Crc64, crc64, joined, parted},
    error::Result,
};

/// How far the sums are apart. They take an eighth of what they stand for in memory.
const SPACING: usize = 64;

/// Sums of a stretch of a file, made as far as they were asked for.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    window: Window<'a>,
    crc: Crc64,
    /// Where the first sum stands.
    start: u64,
    /// Those of all bytes from where the summing began, every [`SPACING`] bytes.
    sums: VecDeque<u64>,
}

impl<'a> Sums<'a> {
    /// Nothing is read yet.
    pub(super) fn new(file: &'a Latched, end: u64) -> Self {
        Self {
            window: Window::new(file, end),
            crc: Crc64::new(),
            start: 0,
            sums: VecDeque::new(),
        }
    }

    /// Nothing before `pos` will be asked for any more.
    pub(super) fn forget_before(&mut self, pos: u64) {
        if self.sums.is_empty() || pos > self.reached() {
            // What lies between was never asked for, so that it need not be summed either.
            self.begin(pos);
            return;
        }
        while self.start + SPACING as u64 <= pos && self.sums.len() > 1 {
            self.sums.pop_front();
            self.start += SPACING as u64;
        }
    }

    /// The checksum of `from..to`; `None` where the file ends before.
    pub(super) fn of(&mut self, from: u64, to: u64) -> Result<Option<u64>> {
        if from < self.start {
            // It was promised that this would not happen. It would cost another pass, and no frame.
            self.begin(from);
        }
        self.reach(to)?;
        let (Some(first), Some(both)) = (self.up_to(from)?, self.up_to(to)?) else {
            return Ok(None);
        };
        Ok(Some(parted(first, both, to - from)))
    }

    fn begin(&mut self, pos: u64) {
        (self.start, self.crc) = (pos, Crc64::new());
        self.sums.clear();
    }

    fn reached(&self) -> u64 {
        self.start + (self.sums.len().saturating_sub(1) * SPACING) as u64
    }

    fn reach(&mut self, to: u64) -> Result<()> {
        if self.sums.is_empty() {
            self.sums.push_back(self.crc.sum64());
        }
        loop {
            let reached = self.reached();
            let missing = to.saturating_sub(reached) / SPACING as u64;
            if missing == 0 {
                return Ok(());
            }
            let bytes = self.window.at(reached, SPACING)?;
            let (pieces, _) = bytes.as_chunks::<SPACING>();
            if pieces.is_empty() {
                return Ok(());
            }
            for piece in pieces.iter().take(missing as usize) {
                self.crc.write(piece);
                self.sums.push_back(self.crc.sum64());
            }
        }
    }

    fn up_to(&self, pos: u64) -> Result<Option<u64>> {
        let Some(within) = pos.checked_sub(self.start) else {
            return Ok(None);
        };
        let nth = within / SPACING as u64;
        let Some(&sum) = self.sums.get(nth as usize) else {
            return Ok(None);
        };
        let mut rest = [0; SPACING];
        let rest = &mut rest[..within as usize % SPACING];
        if rest.is_empty() {
            return Ok(Some(sum));
        }
        let read = self.window.file().read_at(rest, pos - rest.len() as u64)?;
        let all = read == rest.len();
        Ok(all.then(|| joined(sum, crc64(&[rest]), rest.len() as u64)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::segment::tests::image::latched;

    proptest! {
        #[test]
        fn any_stretch_is_summed_as_if_by_itself(
            bytes in prop::collection::vec(any::<u8>(), 1..2_000),
            asked in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 1..20),
        ) {
            let file = latched(&bytes);
            let mut sums = Sums::new(&file, bytes.len() as u64);
            for (from, to, forget) in asked {
                let from = from.index(bytes.len());
                let to = from + to.index(bytes.len() - from + 1);
                if forget {
                    sums.forget_before(from as u64);
                }
                let sum = sums.of(from as u64, to as u64).unwrap();
                prop_assert_eq!(sum, Some(crc64(&[&bytes[from..to]])));
            }
            let end = bytes.len() as u64;
            prop_assert_eq!(sums.of(0, end + 1).unwrap(), None);
        }
    }

    #[test]
    fn what_was_summed_is_not_summed_again() {
        let bytes = vec![7; 1 << 20];
        let file = latched(&bytes);
        let mut sums = Sums::new(&file, 1 << 20);
        let ((), cost) = crate::crc::summed::by(|| {
            for from in (0..1 << 19).step_by(1 << 10) {
                sums.forget_before(from);
                sums.of(from, (1 << 20) - from).unwrap();
                sums.of(from + 8, 1 << 20).unwrap();
            }
        });
        assert!(cost <= (1 << 20) + 4 * 512 * SPACING as u64, "{cost}");
        assert!(sums.sums.len() <= (1 << 19) / SPACING + 32);
    }
}
