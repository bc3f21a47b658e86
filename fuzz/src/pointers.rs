//! `CURRENT` and the claims file, of any bytes.
//!
//! Byte 0: bit 0 makes the checksums right; bit 1 chooses the claims.

use crate::{
    checksums,
    disk::{empty, layout, put},
    storage::{
        StorageError,
        claims::{ClaimsFile, read_claims},
        manifest::Current,
    },
    take,
};

const SLOT: usize = 64;

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let mut bytes = data[..data.len().min(8 << 10)].to_vec();
    if mode & 2 == 0 {
        if mode & 1 != 0 {
            checksums::head(&mut bytes);
        }
        current(&bytes);
    } else {
        if mode & 1 != 0 {
            bytes.chunks_mut(SLOT).for_each(checksums::claim);
        }
        claims(&bytes);
    }
}

fn current(bytes: &[u8]) {
    let (disk, layout) = (empty(), layout());
    put(&disk, &layout.current(), bytes);
    let decoded = Current::decode(bytes);
    match Current::read(&disk, &layout) {
        Ok(read) => assert_eq!(read, decoded.ok(), "the file is its bytes"),
        Err(StorageError::CorruptFile { .. } | StorageError::NewerVersion { .. }) => {
            assert!(decoded.is_err());
        }
        Err(error) => panic!("{error}"),
    }
    if let Ok(current) = decoded {
        let again = Current::decode(&current.encode()).expect("what was encoded here is good");
        assert_eq!(again, current);
    }
}

fn claims(bytes: &[u8]) {
    let (disk, layout) = (empty(), layout());
    put(&disk, &layout.claims(), bytes);
    let found = match read_claims(&disk, &layout) {
        Ok(found) => found,
        Err(StorageError::NewerVersion { .. }) => return,
        Err(error) => panic!("a bad slot is passed over: {error}"),
    };
    assert!(found.len() <= bytes.len() / SLOT, "a slot holds one claim");
    if found.is_empty() {
        return;
    }
    let slots = u32::try_from(found.len()).expect("a few kilobytes");
    let file = ClaimsFile::create(&disk, &layout, slots).expect("no fault is armed");
    for (slot, claim) in (0..).zip(&found) {
        file.put(slot, claim).expect("no fault is armed");
    }
    assert_eq!(read_claims(&disk, &layout).expect("good slots"), found);
}
