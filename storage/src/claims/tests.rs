use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::disk::RealDisk;

fn claim(stream: u8, durable: u64) -> Claim {
    Claim {
        stream: StreamId::from_bytes([stream; 16]),
        epoch: Epoch(3),
        incarnation: Incarnation(4),
        durable: Offset(durable),
    }
}

fn place() -> (TempDir, Layout) {
    let dir = tempdir().unwrap();
    let layout = Layout::new(dir.path());
    (dir, layout)
}

/// Writes into the file behind the back of its owner.
fn scribble(layout: &Layout, bytes: &[u8], pos: u64) {
    let file = RealDisk.open(&layout.claims(), Access::ReadWrite).unwrap();
    file.write_at(bytes, pos).unwrap();
}

#[test]
fn a_missing_file_claims_nothing() {
    let (_dir, layout) = place();
    assert_eq!(read_claims(&RealDisk, &layout).unwrap(), []);
}

#[test]
fn the_last_claim_of_a_slot_counts() {
    let (_dir, layout) = place();
    let claims = ClaimsFile::create(&RealDisk, &layout, 8).unwrap();
    assert_eq!(read_claims(&RealDisk, &layout).unwrap(), []);
    claims.put(0, &claim(1, 10)).unwrap();
    claims.put(7, &claim(2, 20)).unwrap();
    claims.put(0, &claim(1, 11)).unwrap();
    assert_eq!(
        read_claims(&RealDisk, &layout).unwrap(),
        [claim(1, 11), claim(2, 20)]
    );
}

/// The sync of a seal and that of the segment behind it ended at the same time, and the lesser claim
/// came last: after kill -9 a reader beside the log missed records that had been acked.
#[test]
fn a_lesser_claim_that_comes_late_changes_nothing() {
    let (_dir, layout) = place();
    let claims = ClaimsFile::create(&RealDisk, &layout, 2).unwrap();
    claims.put(0, &claim(1, 11)).unwrap();
    claims.put(0, &claim(1, 10)).unwrap();
    assert_eq!(read_claims(&RealDisk, &layout).unwrap(), [claim(1, 11)]);
    let cut = Claim {
        incarnation: Incarnation(5),
        ..claim(1, 3)
    };
    claims.put(0, &cut).unwrap();
    assert_eq!(read_claims(&RealDisk, &layout).unwrap(), [cut]);
}

#[test]
fn a_slot_beyond_the_last_is_refused() {
    let (_dir, layout) = place();
    let claims = ClaimsFile::create(&RealDisk, &layout, 2).unwrap();
    assert!(matches!(
        claims.put(2, &claim(1, 1)),
        Err(StorageError::Invalid { .. })
    ));
    assert!(matches!(
        claims.put(u32::MAX, &claim(1, 1)),
        Err(StorageError::Invalid { .. })
    ));
    let too_many = ClaimsFile::create(&RealDisk, &layout, MAX_SLOTS + 1);
    assert!(matches!(too_many, Err(StorageError::Invalid { .. })));
    assert_eq!(
        RealDisk
            .open(&layout.claims(), Access::Read)
            .unwrap()
            .len()
            .unwrap(),
        128
    );
}

#[test]
fn a_new_owner_begins_with_no_claims() {
    let (_dir, layout) = place();
    let old = ClaimsFile::create(&RealDisk, &layout, 8).unwrap();
    old.put(0, &claim(1, 10)).unwrap();
    let new = ClaimsFile::create(&RealDisk, &layout, 8).unwrap();
    // The one before was not told, and writes on.
    old.put(1, &claim(1, 12)).unwrap();
    assert_eq!(read_claims(&RealDisk, &layout).unwrap(), []);
    assert_eq!(new.slots(), 8);
}

#[test]
fn torn_slots_and_a_cut_end_are_left_out() {
    let (_dir, layout) = place();
    let claims = ClaimsFile::create(&RealDisk, &layout, 4).unwrap();
    for slot in 0..4 {
        claims.put(slot, &claim(slot as u8, 10)).unwrap();
    }
    scribble(&layout, &99u64.to_le_bytes(), 64 + 40);
    let file = RealDisk.open(&layout.claims(), Access::ReadWrite).unwrap();
    file.set_len(255).unwrap();
    assert_eq!(
        read_claims(&RealDisk, &layout).unwrap(),
        [claim(0, 10), claim(2, 10)]
    );
}

#[test]
fn a_newer_version_is_named() {
    let (_dir, layout) = place();
    let _claims = ClaimsFile::create(&RealDisk, &layout, 4).unwrap();
    let mut slot = claim(1, 1).encode();
    slot[4] = 2;
    let crc = crc64(&[&slot[..CRC_AT]]);
    slot[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    scribble(&layout, &slot, 0);
    let error = read_claims(&RealDisk, &layout).unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::NewerVersion {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn many_slots_are_read_in_pieces() {
    let (_dir, layout) = place();
    let claims = ClaimsFile::create(&RealDisk, &layout, 3000).unwrap();
    for slot in [0, 1023, 1024, 2047, 2048, 2999] {
        claims.put(slot, &claim(1, slot.into())).unwrap();
    }
    let read = read_claims(&RealDisk, &layout).unwrap();
    let durable: Vec<_> = read.iter().map(|claim| claim.durable.get()).collect();
    assert_eq!(durable, [0, 1023, 1024, 2047, 2048, 2999]);
}

proptest! {
    #[test]
    fn claims_round_trip_and_any_flipped_bit_is_noticed(
        stream in any::<[u8; 16]>(), epoch in any::<u64>(), incarnation in any::<u64>(),
        durable in any::<u64>(), at in 0..SLOT, bit in 0u32..8,
    ) {
        let claim = Claim {
            stream: StreamId::from_bytes(stream),
            epoch: Epoch(epoch),
            incarnation: Incarnation(incarnation),
            durable: Offset(durable),
        };
        let mut slot = claim.encode();
        prop_assert!(matches!(Claim::decode(&slot), Slot::Claim(read) if read == claim));
        slot[at] ^= 1 << bit;
        prop_assert!(matches!(Claim::decode(&slot), Slot::Torn));
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(slot in any::<[[u8; 32]; 2]>()) {
        let mut bytes = [0; SLOT];
        bytes.copy_from_slice(slot.as_flattened());
        prop_assert!(!matches!(Claim::decode(&bytes), Slot::Claim(_)));
    }
}
