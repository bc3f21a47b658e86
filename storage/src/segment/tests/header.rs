use super::*;
use crate::{
    Epoch, Incarnation, LogId, SegmentNo, StreamId,
    crc::crc64,
    segment::{HeaderError, SegmentHeader, header::header_crc},
};

pub(crate) fn some_header() -> SegmentHeader {
    SegmentHeader {
        log: LogId::from_bytes([0x11; 16]),
        stream: StreamId::from_bytes([0x22; 16]),
        segment: SegmentNo(3),
        base: Offset(1000),
        epoch: Epoch(5),
        incarnation: Incarnation(6),
        created_ns: 1_700_000_000_000_000_000,
        capacity: 64 << 20,
        first_ext_id: Some(77),
        salt: SALT,
        manifest_seq: 12,
    }
}

#[test]
fn the_bytes_of_a_header_are_those_of_the_diagram() {
    let header = some_header();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"TLSEGMT1");
    bytes.extend_from_slice(&[1, 0, 128, 0, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[0x11; 16]);
    bytes.extend_from_slice(&[0x22; 16]);
    for value in [
        3u64,
        1000,
        5,
        6,
        1_700_000_000_000_000_000,
        64 << 20,
        77,
        SALT,
        12,
    ] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    let crc = crc64(&[&bytes]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(header.encode()[..], bytes);
    assert_eq!(header_crc(&header.encode()), crc);
}

#[test]
fn zeros_are_a_blank_segment_and_one_bit_is_not() {
    assert_eq!(SegmentHeader::decode(&[0; 200]), Ok(None));
    assert_eq!(SegmentHeader::decode(&[0; 127]), Err(HeaderError::TooShort));
    let mut bytes = [0; 128];
    bytes[100] = 1;
    assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Magic));
}

/// The header with one field changed and the checksum made right again.
fn forged(at: usize, field: &[u8]) -> Result<Option<SegmentHeader>, HeaderError> {
    let mut bytes = some_header().encode();
    bytes[at..at + field.len()].copy_from_slice(field);
    let crc = crc64(&[&bytes[..120]]);
    bytes[120..].copy_from_slice(&crc.to_le_bytes());
    SegmentHeader::decode(&bytes)
}

#[test]
fn a_newer_version_is_told_from_damage() {
    assert_eq!(forged(8, &[2, 0]), Err(HeaderError::NewerVersion(2)));
    let mut bytes = some_header().encode();
    bytes[8] = 2;
    let damaged = SegmentHeader::decode(&bytes).unwrap_err();
    assert_eq!(damaged, HeaderError::CrcOfVersion(2));
    assert!(
        damaged.to_string().contains("it says version 2"),
        "{damaged}"
    );
    bytes[8] = 0;
    assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Crc));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    for (at, field) in [(8, &[0u8, 0][..]), (10, &[64, 0]), (12, &[2]), (12, &[0])] {
        let refused = forged(at, field);
        assert!(matches!(refused, Err(HeaderError::Invalid(_))), "{at}");
    }
}

proptest! {
    #[test]
    fn headers_round_trip(
        log: [u8; 16], stream: [u8; 16], numbers: [u64; 8], first_ext_id: Option<u64>,
        behind in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let [segment, base, epoch, incarnation, created_ns, capacity, salt, manifest_seq] = numbers;
        let header = SegmentHeader {
            log: LogId::from_bytes(log),
            stream: StreamId::from_bytes(stream),
            segment: SegmentNo(segment),
            base: Offset(base),
            epoch: Epoch(epoch),
            incarnation: Incarnation(incarnation),
            created_ns, capacity, first_ext_id, salt, manifest_seq,
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(Some(header)));
    }

    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = SegmentHeader::decode(&bytes);
    }
}
