use super::{
    image::{expect, latched},
    *,
};
use crate::{
    error::{Damage, StorageError},
    segment::{SegmentHeader, Span, first_use},
};

fn span(exact: bool) -> Span {
    Span {
        base: Offset(1000),
        end: Offset(1010),
        end_byte: 512,
        exact,
    }
}

fn look(change: impl FnOnce(&mut SegmentHeader)) -> Result<(), StorageError> {
    let mut header = super::header::some_header();
    change(&mut header);
    first_use(&latched(&header.encode()), &expect(), &span(true))
}

fn damage(outcome: Result<(), StorageError>) -> Damage {
    match outcome {
        Err(StorageError::Corrupt(damage)) => damage,
        other => panic!("not damage: {other:?}"),
    }
}

#[test]
fn only_its_own_header_opens_a_segment() {
    look(|_| ()).unwrap();
    look(|header| header.epoch.0 += 1).unwrap();
    type Change = (fn(&mut SegmentHeader), &'static str);
    let changes: [Change; 5] = [
        (|header| header.log = crate::LogId::generate(), "log"),
        (
            |header| header.stream = crate::StreamId::generate(),
            "stream",
        ),
        (|header| header.segment.0 += 1, "segment 4"),
        (|header| header.salt += 1, "salt"),
        (|header| header.base.0 += 1, "offset 1001"),
    ];
    for (change, whose) in changes {
        let damage = damage(look(change));
        assert!(damage.what.contains(whose), "{damage}");
        assert_eq!((damage.from, damage.to), (Offset(1000), Offset(1010)));
        assert_eq!(damage.bytes, (0, 512));
    }
}

#[test]
fn the_base_counts_only_where_the_header_must_name_it() {
    let mut header = super::header::some_header();
    header.base = Offset(1004);
    let file = latched(&header.encode());
    first_use(&file, &expect(), &span(false)).unwrap();
    damage(first_use(&file, &expect(), &span(true)));
}

#[test]
fn a_version_is_believed_if_the_checksum_says_so() {
    let mut bytes = super::header::some_header().encode();
    bytes[8] = 2;
    first_use(&latched(&bytes), &expect(), &span(true)).unwrap();
    let crc = crate::crc::crc64(&[&bytes[..120]]);
    bytes[120..].copy_from_slice(&crc.to_le_bytes());
    let error = first_use(&latched(&bytes), &expect(), &span(true)).unwrap_err();
    assert!(
        matches!(
            &error,
            StorageError::NewerVersion {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}
