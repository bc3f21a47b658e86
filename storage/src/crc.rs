//! The one checksum of every format: CRC64-NVME.

use crc_fast::{CrcAlgorithm, Digest, crc64_nvme};

/// The CRC64-NVME of the parts, as if they stood behind one another.
pub fn crc64(parts: &[&[u8]]) -> u64 {
    if let [bytes] = parts {
        #[cfg(test)]
        summed::add(bytes.len());
        return crc64_nvme(bytes);
    }
    // A call costs as much as some hundred bytes: a frame of one small record is summed by one and not by three.
    let mut together = [0; SMALL];
    let mut len = 0;
    for part in parts {
        let Some(place) = together.get_mut(len..len + part.len()) else {
            return one_by_one(parts);
        };
        place.copy_from_slice(part);
        len += part.len();
    }
    crc64(&[&together[..len]])
}

/// So many bytes are copied to be summed by one call.
const SMALL: usize = 256;

fn one_by_one(parts: &[&[u8]]) -> u64 {
    let mut crc = Crc64::new();
    for part in parts {
        crc.write(part);
    }
    crc.sum64()
}

/// A checksum under way.
#[derive(Clone)]
pub struct Crc64(Digest);

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc64({:016x})", self.sum64())
    }
}

impl Crc64 {
    /// That of no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// Adds bytes.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        summed::add(bytes.len());
        self.0.update(bytes);
    }

    /// The checksum so far.
    #[inline]
    pub fn sum64(&self) -> u64 {
        self.0.finalize()
    }
}

/// The checksum of two stretches behind one another, from those of each and the length of the second.
pub(crate) fn joined(first: u64, second: u64, second_len: u64) -> u64 {
    moved(first, second_len) ^ second
}

/// The checksum of the second stretch, from that of the first and that of both.
pub(crate) fn parted(first: u64, both: u64, second_len: u64) -> u64 {
    moved(first, second_len) ^ both
}

/// What a checksum adds to one that goes on for `len` more bytes. As polynomials over one bit, the
/// highest bit first: times `x^(8 len)`, modulo that of the checksum. All ones at the beginning and
/// at the end cancel out.
fn moved(mut crc: u64, mut len: u64) -> u64 {
    let mut nth = 0;
    while len > 0 {
        if len & 1 == 1 {
            crc = times(crc, MOVES[nth]);
        }
        len >>= 1;
        nth += 1;
    }
    crc
}

/// `x^(8 * 2^n)` for each n.
const MOVES: [u64; 64] = {
    // x^8; the highest bit is x^0.
    let mut moves = [1 << (63 - 8); 64];
    let mut nth = 1;
    while nth < 64 {
        moves[nth] = times(moves[nth - 1], moves[nth - 1]);
        nth += 1;
    }
    moves
};

/// The polynomial, its bits in the same order.
const NVME: u64 = 0x9A6C_9329_AC4B_C9B5;

const fn times(a: u64, mut b: u64) -> u64 {
    let (mut product, mut bit) = (0, 1 << 63);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ NVME } else { b >> 1 };
        bit >>= 1;
    }
    product
}

/// How many bytes this thread has put through a checksum: what work costs, without a clock.
#[cfg(test)]
pub(crate) mod summed {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn add(len: usize) {
        BYTES.with(|bytes| bytes.set(bytes.get() + len as u64));
    }

    /// What `f` gives, and the bytes that it summed.
    pub(crate) fn by<T>(f: impl FnOnce() -> T) -> (T, u64) {
        let before = BYTES.get();
        let out = f();
        (out, BYTES.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_the_nvme_polynomial() {
        assert_eq!(crc64(&[b"123456789"]), 0xAE8B_1486_0A79_9888);
        assert_eq!(crc64(&[]), 0);
    }

    #[test]
    fn swapped_words_are_noticed() {
        let (a, b) = ([1u8; 8], [2u8; 8]);
        assert_ne!(crc64(&[&a, &b]), crc64(&[&b, &a]));
    }

    /// Bit by bit, as the polynomial says. By length and place the crate takes other ways, and by what the
    /// processor has; an interpreter has nothing, and is slow.
    #[test]
    fn short_and_long_stretches_are_summed_as_the_polynomial_says() {
        let mut random = fastrand::Rng::with_seed(7);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(65_536 + 32)
            .collect();
        let (all, some): (usize, &[usize]) = match cfg!(miri) {
            true => (40, &[257]),
            false => (300, &[511, 512, 513, 1_023, 1_024, 1_025, 4_097, 65_545]),
        };
        let lengths = (0..all).chain(some.iter().copied());
        for (len, at) in lengths.flat_map(|len| [0, 1, 8, 15].map(|at| (len, at))) {
            let part = &bytes[at..at + len];
            assert_eq!(crc64(&[part]), slow(part), "{len} bytes from {at}");
        }
    }

    fn slow(bytes: &[u8]) -> u64 {
        let mut crc = u64::MAX;
        for byte in bytes {
            crc ^= u64::from(*byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { NVME } else { 0 };
            }
        }
        !crc
    }

    proptest! {
        #[test]
        fn parts_count_as_one(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in any::<prop::sample::Index>()) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc64(&[head, tail]), crc64(&[&bytes]));
        }

        #[test]
        fn stretches_are_joined_and_parted_without_their_bytes(
            a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let (first, second, both) = (crc64(&[&a]), crc64(&[&b]), crc64(&[&a, &b]));
            prop_assert_eq!(joined(first, second, b.len() as u64), both);
            prop_assert_eq!(parted(first, both, b.len() as u64), second);
        }

        #[test]
        fn any_single_bit_is_noticed(mut bytes in prop::collection::vec(any::<u8>(), 1..600), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let before = crc64(&[&bytes]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert_ne!(before, crc64(&[&bytes]));
        }
    }
}
