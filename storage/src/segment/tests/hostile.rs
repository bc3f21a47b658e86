//! Every flipped bit and every cut of encoded bytes is noticed.

use super::*;
use crate::segment::{FRAME_HEAD, FrameFault, Records, SegmentHeader, check_frame, padded};

fn small_frames() -> [Frame; 2] {
    let attrs = NewRecord::new("p").key("key").ext_id(1 << 40);
    [numbered(5, 3), frame_of(5, &[(1, attrs)])]
}

#[test]
fn every_flipped_bit_of_a_frame_is_noticed() {
    for frame in small_frames() {
        for bit in 0..frame.bytes.len() * 8 {
            let mut bytes = frame.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(check_frame(&bytes, SALT).is_err(), "bit {bit}");
            // What was not checked may be anything, but is walked over without a panic.
            if let Ok(records) = Records::of(bytes.into()) {
                records.for_each(drop);
            }
        }
    }
}

#[test]
fn every_cut_of_a_frame_is_noticed() {
    for frame in small_frames() {
        for len in 0..frame.bytes.len() {
            let bytes = frame.bytes.slice(..len);
            assert_eq!(check_frame(&bytes, SALT), Err(FrameFault::Cut), "{len}");
            assert!(Records::of(bytes.clone()).is_err());
            assert!(Frame::checked(bytes, SALT).is_err());
        }
    }
}

#[test]
fn every_flipped_bit_of_a_header_is_noticed() {
    let header = super::header::some_header().encode();
    for bit in 0..header.len() * 8 {
        let mut bytes = header;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
    }
}

/// A checksummed frame whose records lie.
fn lying(count: u32, flags: u16, body: &[u8]) -> Option<FrameFault> {
    let mut bytes = numbered(0, 1).bytes[..FRAME_HEAD].to_vec();
    bytes[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    bytes[24..28].copy_from_slice(&count.to_le_bytes());
    bytes[28..30].copy_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(padded(body.len()), 0);
    let crc = crate::crc::crc64(&[&SALT.to_le_bytes(), &bytes[..8], &bytes[16..]]);
    bytes[8..16].copy_from_slice(&crc.to_le_bytes());
    assert!(check_frame(&bytes, SALT).is_ok());
    Frame::checked(bytes.into(), SALT).err()
}

#[test]
fn records_of_a_checksummed_frame_that_lie_are_faults() {
    assert_eq!(lying(1, 0, &[0, 0]), None);
    for (name, count, flags, body) in [
        ("more bytes than records", 1, 0, &[0u8, 0, 0, 0][..]),
        ("fewer records than said", 2, 0, &[2, 0, 1, 1]),
        ("a payload beyond the body", 1, 0, &[2, 0, 1]),
        ("an overlong length", 1, 0, &[0x81, 0x00, 0, 0]),
        ("an overlong delta", 1, 0, &[1, 0x80, 0x00, 0]),
        ("a length that is cut", 1, 0, &[0xff, 0xff, 0xff]),
        (
            "a length of 64 bits",
            1,
            0,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
        ),
        ("missing attributes", 1, 1, &[0, 0]),
        ("unknown attributes", 1, 1, &[0, 0, 4]),
        ("an ext_id that is cut", 1, 1, &[0, 0, 1, 0x80]),
        ("a key beyond the body", 1, 1, &[0, 0, 2, 9, 0]),
        ("a key in place of the payload", 1, 1, &[1, 0, 2, 1, 7]),
    ] {
        let fault = lying(count, flags, body);
        assert!(matches!(fault, Some(FrameFault::Records(_))), "{name}");
    }
}
