//! The keys of objects, below the prefix of the log.
//!
//! ```text
//!   catalog/{number:020}.tlc
//!   streams/{stream uuid}/{base offset:020}-{epoch}-{segment}.tlz
//! ```
//!
//! A key is made of what the manifest knows and is read back from it, so that neither side can mean
//! another object.

use std::fmt;

use crate::ids::{Epoch, Offset, SegmentNo, StreamId};

/// The folder of catalog objects, with the `/` behind it.
pub const CATALOG_FOLDER: &str = "catalog/";

/// The key of a catalog object.
pub fn catalog_key(number: u64) -> String {
    format!("{CATALOG_FOLDER}{number:020}.tlc")
}

/// The number of a catalog object, if it is the key of one.
pub fn catalog_number(key: &str) -> Option<u64> {
    let digits = key.strip_prefix(CATALOG_FOLDER)?.strip_suffix(".tlc")?;
    // With more zeros in front it would be another object of the same number.
    number(digits, 20).filter(|&number| catalog_key(number) == key)
}

/// Which segment an object stands for, and which owner uploaded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentKey {
    /// The stream.
    pub stream: StreamId,
    /// The first offset.
    pub base: Offset,
    /// The epoch of the owner that uploaded it.
    pub epoch: Epoch,
    /// The segment.
    pub segment: SegmentNo,
}

impl SegmentKey {
    /// Reads a key; `None` where it is not one that [`fmt::Display`] gives.
    pub fn parse(key: &str) -> Option<Self> {
        let (stream, name) = key.strip_prefix("streams/")?.split_once('/')?;
        let mut parts = name.strip_suffix(".tlz")?.splitn(3, '-');
        let parsed = Self {
            stream: stream.parse().ok()?,
            base: Offset(number(parts.next()?, 20)?),
            epoch: Epoch(number(parts.next()?, 0)?),
            segment: SegmentNo(number(parts.next()?, 0)?),
        };
        (parsed.to_string() == key).then_some(parsed)
    }
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            base,
            epoch,
            segment,
        } = self;
        write!(
            f,
            "streams/{stream}/{:020}-{epoch}-{segment}.tlz",
            base.get()
        )
    }
}

/// Digits alone; `str::parse` would take a sign as well.
fn number(digits: &str, width: usize) -> Option<u64> {
    let right = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() >= width;
    right.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_sort_as_what_they_stand_for() {
        assert_eq!(catalog_key(7), "catalog/00000000000000000007.tlc");
        assert!(catalog_key(9) < catalog_key(10));
        assert_eq!(catalog_number(&catalog_key(u64::MAX)), Some(u64::MAX));
        for strange in [
            "catalog/7.tlc",
            "catalog/+0000000000000000007.tlc",
            "catalog/000000000000000000007.tlc",
            "catalog/",
        ] {
            assert_eq!(catalog_number(strange), None, "{strange}");
        }
    }

    proptest! {
        #[test]
        fn a_segments_key_is_read_back(stream: [u8; 16], base: u64, epoch: u64, segment: u64) {
            let key = SegmentKey {
                stream: StreamId::from_bytes(stream),
                base: Offset(base),
                epoch: Epoch(epoch),
                segment: SegmentNo(segment),
            };
            let text = key.to_string();
            prop_assert_eq!(SegmentKey::parse(&text), Some(key));
            prop_assert_eq!(SegmentKey::parse(&text.replace(".tlz", ".tlzx")), None);
        }

        #[test]
        fn noise_is_no_key(noise in "\\PC{0,80}") {
            prop_assert_eq!(SegmentKey::parse(&noise), None);
        }
    }
}
