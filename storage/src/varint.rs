//! LEB128 numbers, seven bits a byte, the lowest first; only the shortest form is read.

use bytes::BufMut;

/// The most bytes a number takes.
pub const MAX_LEN: usize = 10;

/// How many bytes `value` takes.
pub const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`.
#[inline]
pub fn write(out: &mut impl BufMut, mut value: u64) {
    if value < 0x80 {
        out.put_u8(value as u8);
        return;
    }
    let mut bytes = [0; MAX_LEN];
    let mut used = 0;
    while value >= 0x80 {
        bytes[used] = value as u8 | 0x80;
        used += 1;
        value >>= 7;
    }
    bytes[used] = value as u8;
    out.put_slice(&bytes[..=used]);
}

/// The number at the start of `bytes` and how many of them it takes.
///
/// `None` when it is cut short, leaves 64 bits, or is longer than need be: were several spellings
/// of a number accepted, a frame could be rewritten into another one of the same meaning.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (at, &byte) in bytes.iter().enumerate().take(MAX_LEN).skip(1) {
        // The tenth byte holds the 64th bit alone.
        if at == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return (byte != 0).then_some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    #[test]
    fn borders_of_each_length_round_trip() {
        for length in 1..=MAX_LEN {
            let low = if length == 1 {
                0
            } else {
                1u64 << (7 * (length - 1))
            };
            let high = if length == MAX_LEN {
                u64::MAX
            } else {
                (1u64 << (7 * length)) - 1
            };
            for value in [low, high] {
                assert_eq!(len(value), length);
                assert_eq!(written(value).len(), length);
                assert_eq!(read(&written(value)), Some((value, length)));
            }
        }
    }

    #[test]
    fn overlong_forms_are_refused() {
        assert_eq!(read(&[0x80, 0x00]), None);
        assert_eq!(read(&[0xff, 0x80, 0x00]), None);
        assert_eq!(read(&[0x80; 10]), None);
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        let mut bytes = [0xff; 11];
        bytes[9] = 0x02;
        assert_eq!(read(&bytes), None);
        bytes[9] = 0x81;
        bytes[10] = 0x01;
        assert_eq!(read(&bytes), None);
        bytes[9] = 0x01;
        assert_eq!(read(&bytes), Some((u64::MAX, 10)));
    }

    proptest! {
        #[test]
        fn every_number_round_trips_and_every_cut_is_noticed(value in any::<u64>(), shift in 0..64, behind in any::<u8>()) {
            let value = value >> shift;
            let mut bytes = written(value);
            prop_assert_eq!(bytes.len(), len(value));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut]), None);
            }
            let end = bytes.len();
            bytes.push(behind);
            prop_assert_eq!(read(&bytes), Some((value, end)));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some((value, used)) = read(&bytes) {
                prop_assert_eq!(written(value), &bytes[..used]);
            }
        }
    }
}
