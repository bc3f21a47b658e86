//! Entries keep their bytes, and foreign bytes are never an entry.

use proptest::prelude::*;

use super::arbitrary::entry;
use crate::manifest::{
    Entry, Seq,
    entry::{Decoded, ENTRY_HEAD, EntryFault, FLAG_OPTIONAL, encode_raw},
};

fn encoded(entry: &Entry, seq: Seq) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(seq, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn every_entry_keeps_its_meaning(entry in entry(), seq: u64, tail in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = encoded(&entry, Seq(seq));
        let len = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(Entry::decode(&bytes), Ok((Decoded::Known(entry), Seq(seq), len)));
    }

    #[test]
    fn a_cut_entry_is_no_entry(entry in entry(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&entry, Seq(9));
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert_eq!(Entry::decode(cut), Err(EntryFault::Cut));
    }

    #[test]
    fn a_flipped_bit_is_noticed(entry in entry(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = encoded(&entry, Seq(9));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Entry::decode(&bytes).is_err());
    }

    #[test]
    fn bodies_that_pass_their_checksum_may_still_be_nonsense(code in 0u16..30, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = Vec::new();
        // Types 27 and 28 are written as optional.
        let flags = if matches!(code, 27 | 28) { FLAG_OPTIONAL } else { 0 };
        encode_raw(code, flags, Seq(1), &mut bytes, |out| out.extend_from_slice(&body));
        match Entry::decode(&bytes) {
            // What is taken for an entry has these bytes and no others.
            Ok((Decoded::Known(entry), seq, _)) => prop_assert_eq!(encoded(&entry, seq), bytes),
            Ok((Decoded::Unknown { code: found, optional }, ..)) => {
                prop_assert!(!(1..=22).contains(&code));
                prop_assert_eq!((found, optional), (code, false));
            }
            Err(fault) => prop_assert_eq!(fault, EntryFault::Body(code)),
        }
    }
}

#[test]
fn a_length_beyond_the_bytes_takes_no_memory() {
    let mut bytes = encoded(&Entry::SnapshotEnd {}, Seq(1));
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Entry::decode(&bytes), Err(EntryFault::Cut));
    assert_eq!(Entry::decode(&[0; ENTRY_HEAD]), Err(EntryFault::Cut));
    assert_eq!(
        Entry::decode(&[0; 64]),
        Err(EntryFault::Crc),
        "zeros are no entry"
    );
}

#[test]
fn entries_of_the_future_are_told_apart() {
    let write = |flags| {
        let mut bytes = Vec::new();
        encode_raw(999, flags, Seq(4), &mut bytes, |out| {
            out.extend_from_slice(b"news")
        });
        bytes
    };
    for (flags, optional) in [(0, false), (FLAG_OPTIONAL, true)] {
        let bytes = write(flags);
        let unknown = Decoded::Unknown {
            code: 999,
            optional,
        };
        assert_eq!(Entry::decode(&bytes), Ok((unknown, Seq(4), bytes.len())));
    }
    assert_eq!(
        Entry::decode(&write(0x8000)),
        Err(EntryFault::Flags(0x8000))
    );
}
