//! Sizes as people write them: `16MiB`, `64 KiB`, `4096`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text;

/// A number of bytes. Written `16MiB`, `64 KiB`, `2 GB`, `100 B` or `4096`, in either case.
///
/// `K` and `M` alone are refused: half of the world reads them as powers of ten.
///
/// ```
/// use tierlog::Size;
/// let size: Size = "64 KiB".parse()?;
/// assert_eq!(size, Size::kib(64));
/// assert_eq!(size.bytes(), 65_536);
/// assert_eq!(size.to_string(), "64KiB");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

/// From the greatest unit down, so that printing takes the first that divides.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1,024 bytes.
    pub const fn kib(n: u32) -> Self {
        Self((n as u64) << 10)
    }

    /// So many times 1,048,576 bytes.
    pub const fn mib(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// So many times 1,073,741,824 bytes.
    pub const fn gib(n: u32) -> Self {
        Self((n as u64) << 30)
    }

    /// The bare number.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS
            .into_iter()
            .take(4)
            .find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit))
            .unwrap_or(("", 1));
        f.pad(&format!("{}{name}", self.0 / unit))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        if number.is_empty() {
            return Err("a size is a number and a unit, like 64KiB or 16MiB".into());
        }
        let factor = if unit.is_empty() {
            1
        } else {
            let known = UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit));
            known
                .map(|&(_, factor)| factor)
                .ok_or_else(|| match unit.starts_with(['.', ',']) {
                    true => "a size is a whole number and a unit: 1536KiB for 1.5MiB".to_owned(),
                    false => format!(
                        "`{unit}` is no unit of size: use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"
                    ),
                })?
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| "this is more bytes than 64 bits can count".into())
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, to)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_in_every_spelling() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("100 B", 100),
            ("64KiB", 64 << 10),
            ("64 kib", 64 << 10),
            (" 16MiB ", 16 << 20),
            ("1GiB", 1 << 30),
            ("3TiB", 3 << 40),
            ("5kB", 5_000),
            ("2 MB", 2_000_000),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "a number and a unit"),
            ("MiB", "a number and a unit"),
            ("-5MiB", "a number and a unit"),
            ("64K", "no unit of size"),
            ("1.5MiB", "whole number"),
            ("64Kb.", "no unit of size"),
            ("16 TiB TiB", "no unit of size"),
            ("99999999999999999999", "64 bits"),
            ("18014398509481984KiB", "64 bits"),
        ] {
            let error = text.parse::<Size>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_it_was_printed(bytes in any::<u64>(), shift in 0u32..64) {
            let size = Size::new(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }
    }
}
