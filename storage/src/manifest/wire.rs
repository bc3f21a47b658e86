//! How the fields of entries, and of catalogs, stand in bytes: fixed little-endian numbers, no padding.
//!
//! ```text
//!   u16 u32 u64   2, 4, 8 bytes           bool, flag   1 byte, 0 or 1
//!   uuid          16 bytes                option       flag, then the value if it is 1
//!   text          u16 length, UTF-8       (u64, u64)   16 bytes
//! ```
//!
//! A value has one spelling only: a flag of 2 or a text over [`TEXT_MAX`] is refused, so that what
//! was read and written again is the same bytes.

use crate::ids::{Epoch, Incarnation, LogId, Offset, OwnerId, SegmentNo, StreamId};

/// The longest text in an entry, in bytes. Three of them fit the smallest chunk.
pub const TEXT_MAX: usize = 4096;

/// What is left of some bytes. Takes nothing that is not there.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// A value that has a place in an entry's body.
pub(crate) trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value, or `None` where the bytes are too few or are no such value.
    fn take(from: &mut Reader<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($name:ty),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

numbers!(u16, u32, u64);

macro_rules! wrapped_numbers {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                u64::take(from).map(Self)
            }
        }
    )*};
}

wrapped_numbers!(Offset, SegmentNo, Epoch, Incarnation);

macro_rules! identities {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(Self::from_bytes)
            }
        }
    )*};
}

identities!(LogId, StreamId, OwnerId);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        match from.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        if bool::take(from)? {
            T::take(from).map(Some)
        } else {
            Some(None)
        }
    }
}

impl Wire for (u64, u64) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((u64::take(from)?, u64::take(from)?))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        // Longer ones are refused when an entry is applied, which happens before it is encoded.
        let len = u16::try_from(self.len()).expect("texts are at most TEXT_MAX bytes");
        len.put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let len = usize::from(u16::take(from)?);
        if len > TEXT_MAX {
            return None;
        }
        std::str::from_utf8(from.bytes(len)?)
            .ok()
            .map(str::to_owned)
    }
}

/// Gives a struct its bytes: its fields in the order named here.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::manifest::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }
            fn take(from: &mut $crate::manifest::wire::Reader<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::manifest::wire::Wire::take(from)?),* })
            }
        }
    };
}

pub(crate) use wire_struct;

#[cfg(test)]
mod tests {
    use super::*;

    fn take<T: Wire>(bytes: &[u8]) -> Option<T> {
        let mut reader = Reader::new(bytes);
        T::take(&mut reader).filter(|_| reader.is_empty())
    }

    #[test]
    fn a_value_has_one_spelling() {
        assert_eq!(take::<bool>(&[2]), None);
        assert_eq!(take::<Option<bool>>(&[2, 1]), None);
        assert_eq!(take::<Option<bool>>(&[1, 1]), Some(Some(true)));
        assert_eq!(take::<Option<bool>>(&[0, 1]), None, "bytes left over");
    }

    #[test]
    fn texts_are_checked_before_they_are_copied() {
        assert_eq!(take::<String>(&[3, 0, b'a', b'b']), None, "too few bytes");
        assert_eq!(take::<String>(&[1, 0, 0xff]), None, "not UTF-8");
        let mut long = vec![0xff, 0xff];
        long.resize(2 + 0xffff, b'x');
        assert_eq!(take::<String>(&long), None, "over the cap");
        let mut longest = Vec::new();
        "y".repeat(TEXT_MAX).put(&mut longest);
        assert_eq!(take::<String>(&longest).map(|s| s.len()), Some(TEXT_MAX));
    }
}
