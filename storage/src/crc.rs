//! The one checksum of every format: CRC64-NVME.

use crc64fast_nvme::Digest;

/// The CRC64-NVME of the parts, as if they stood behind one another.
pub fn crc64(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new();
    for part in parts {
        digest.write(part);
    }
    digest.sum64()
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

    proptest! {
        #[test]
        fn parts_count_as_one(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in any::<prop::sample::Index>()) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc64(&[head, tail]), crc64(&[&bytes]));
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
