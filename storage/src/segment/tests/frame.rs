use proptest::prelude::*;

use super::*;
use crate::segment::{
    FRAME_HEAD, FrameFault, FrameHead, MAX_BODY, Records, RecordsRef, check_frame, padded,
};

#[test]
fn the_bytes_of_a_frame_are_those_of_the_diagram() {
    let mut builder = FrameBuilder::new(0);
    builder.push_payload(0x1122, b"ab");
    builder.push_payload(0x1122 + 300, b"c");
    let frame = builder.finish(&FrameSeal {
        base: Offset(7),
        durable: Offset(5),
        salt: SALT,
    });
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"TLFR");
    bytes.extend_from_slice(&8u32.to_le_bytes());
    bytes.extend_from_slice(&frame.crc.to_le_bytes());
    bytes.extend_from_slice(&7u64.to_le_bytes());
    bytes.extend_from_slice(&2u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&0x1122u64.to_le_bytes());
    bytes.extend_from_slice(&5u64.to_le_bytes());
    bytes.extend_from_slice(&[2, 0, b'a', b'b', 1, 0xac, 0x02, b'c']);
    assert_eq!(frame.bytes, bytes);
    let crc = crate::crc::crc64(&[&SALT.to_le_bytes(), &bytes[..8], &bytes[16..]]);
    assert_eq!(frame.crc, crc);
}

#[test]
fn a_record_with_attributes_has_the_bytes_of_the_diagram() {
    let record = NewRecord::new("pp").key("k").ext_id(300);
    let frame = frame_of(0, &[(9, record)]);
    assert_eq!(
        frame.bytes[FRAME_HEAD..],
        [
            2, 0, 3, 0xac, 0x02, 1, b'k', b'p', b'p', 0, 0, 0, 0, 0, 0, 0
        ]
    );
    assert_eq!(frame.bytes[28..30], [1, 0]);
    assert_eq!(frame.ext, Some((300, 300)));
}

#[test]
fn a_claim_never_goes_beyond_the_frame() {
    let mut builder = FrameBuilder::new(0);
    builder.push_payload(1, b"x");
    let frame = builder.finish(&FrameSeal {
        base: Offset(10),
        durable: Offset(u64::MAX),
        salt: SALT,
    });
    let head = check_frame(&frame.bytes, SALT).unwrap();
    assert_eq!(head.durable, Offset(11));
}

#[test]
fn attributes_may_come_late_in_a_frame() {
    let records = [
        (1, NewRecord::new("plain")),
        (200, NewRecord::new(vec![7; 200])),
        (300, NewRecord::new("keyed").key("k")),
        (301, NewRecord::new("plain again")),
    ];
    let frame = frame_of(3, &records);
    assert_eq!(read_all(&frame), expected(3, &records));
}

#[test]
fn timestamps_never_go_back_and_stay_within_64_bits() {
    let mut builder = FrameBuilder::new(0);
    for timestamp in [100, 90, 120, u64::MAX] {
        builder.push_payload(timestamp, b"");
    }
    builder.raise_base(150);
    assert_eq!(builder.base_timestamp(), 150);
    assert_eq!(builder.last_timestamp(), u64::MAX);
    let frame = builder.finish(&seal_at(0));
    let stamps: Vec<_> = read_all(&frame).iter().map(|r| r.timestamp).collect();
    assert_eq!(stamps, [150, 150, 170, u64::MAX]);
    assert_eq!((frame.first_ts, frame.last_ts), (150, u64::MAX));
}

#[test]
fn raising_the_base_to_less_changes_nothing() {
    let mut builder = FrameBuilder::new(0);
    builder.push_payload(100, b"");
    builder.raise_base(99);
    assert_eq!(builder.base_timestamp(), 100);
    assert_eq!(builder.last_timestamp(), 100);
}

#[test]
fn an_empty_builder_takes_any_record_and_a_full_one_none() {
    let big = NewRecord::new(vec![0; 5000]);
    let mut builder = FrameBuilder::new(0);
    assert!(builder.fits(&big, 100));
    builder.push(1, &NewRecord::new("x"));
    assert!(!builder.fits(&big, 4096));
    assert!(builder.fits(&big, 8192));
    assert!(!builder.fits(&NewRecord::new("x").key("k"), 8192));
}

#[test]
fn what_fits_stays_within_the_target() {
    let mut builder = FrameBuilder::new(0);
    let record = NewRecord::new(vec![1; 77]).ext_id(u64::MAX).key("key");
    let mut timestamp = 0;
    while builder.fits(&record, 4096) {
        builder.push(timestamp, &record);
        timestamp = timestamp * 3 + 1;
    }
    assert!(builder.len() <= 4096);
    assert!(builder.len() > 4096 - 2 * 120);
    let len = builder.len();
    assert_eq!(builder.finish(&seal_at(0)).len(), len as u64);
}

#[test]
fn a_full_buffer_is_handed_over_and_a_mostly_idle_one_is_not_kept_alive() {
    let mut builder = FrameBuilder::new(64 * 1024);
    builder.push_payload(0, &[1; 60 * 1024]);
    let at = builder.buffer_at();
    let frame = builder.finish(&seal_at(0));
    assert_eq!(frame.bytes.as_ptr(), at);

    let mut builder = FrameBuilder::with_buffer(Vec::with_capacity(64 * 1024));
    builder.push_payload(0, b"little");
    let bytes = builder.finish(&seal_at(0)).bytes;
    assert!(Vec::from(bytes).capacity() <= 256);
}

#[test]
#[should_panic(expected = "at least one record")]
fn an_empty_frame_is_never_finished() {
    let _ = FrameBuilder::new(0).finish(&seal_at(0));
}

#[test]
fn heads_that_make_no_sense_are_told_from_checksums() {
    let good = numbered(5, 3).bytes.to_vec();
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        check_frame(&frame, SALT)
    };
    assert!(check_frame(&good, SALT).is_ok());
    let too_long = (MAX_BODY as u32 + 1).to_le_bytes();
    assert_eq!(with(0, &[0; 4]), Err(FrameFault::Blank));
    assert_eq!(with(0, b"X"), Err(FrameFault::Marker));
    assert_eq!(with(4, &too_long), Err(FrameFault::Length));
    assert_eq!(with(4, &1u32.to_le_bytes()), Err(FrameFault::Length));
    assert_eq!(with(4, &4096u32.to_le_bytes()), Err(FrameFault::Cut));
    assert_eq!(with(8, b"X"), Err(FrameFault::Crc));
    assert_eq!(with(16, &[0xff; 8]), Err(FrameFault::Length));
    assert_eq!(with(24, &[0; 4]), Err(FrameFault::Length));
    assert_eq!(with(24, &[0xff; 4]), Err(FrameFault::Length));
    assert_eq!(with(28, &[2]), Err(FrameFault::Length));
    assert_eq!(with(30, &[1]), Err(FrameFault::Length));
    assert_eq!(with(40, &9u64.to_le_bytes()), Err(FrameFault::Length));
    assert_eq!(with(32, &[9]), Err(FrameFault::Crc));
}

#[test]
fn a_frame_of_another_segment_never_passes() {
    let frame = numbered(0, 4);
    assert_eq!(check_frame(&frame.bytes, SALT ^ 1), Err(FrameFault::Crc));
    let moved = frame.resealed(&FrameSeal {
        salt: SALT ^ 1,
        ..seal_at(0)
    });
    assert!(check_frame(&moved.bytes, SALT ^ 1).is_ok());
    assert_eq!(check_frame(&moved.bytes, SALT), Err(FrameFault::Crc));
}

#[test]
fn passing_over_records_ends_where_asked() {
    let frame = numbered(10, 5);
    for (to, first) in [(0, Some(10)), (10, Some(10)), (13, Some(13)), (15, None)] {
        let mut records = frame.records();
        records.skip_to(Offset(to));
        let offset = records.next().map(|r| r.unwrap().offset);
        assert_eq!(offset, first.map(Offset), "to {to}");
        let mut refs = RecordsRef::of(&frame.bytes).unwrap();
        refs.skip_to(Offset(to));
        let offset = refs.next().map(|r| r.unwrap().offset);
        assert_eq!(offset, first.map(Offset), "to {to}");
    }
    let mut records = frame.records();
    records.skip_to(Offset(13));
    records.skip_to(Offset(11));
    assert_eq!(records.next().unwrap().unwrap().offset, Offset(13));
}

#[test]
fn debug_output_has_no_payload() {
    let record = NewRecord::new("secret").key("hidden");
    let frame = frame_of(0, &[(1, record.clone())]);
    let read = read_all(&frame).remove(0);
    let borrowed = RecordsRef::of(&frame.bytes).unwrap().next();
    for text in [
        format!("{record:?}"),
        format!("{frame:?}"),
        format!("{read:?}"),
        format!("{borrowed:?}"),
    ] {
        assert!(!text.contains("secret") && !text.contains("hidden"));
        assert!(!text.contains("115, 101"), "{text}");
    }
}

proptest! {
    #[test]
    fn what_went_in_comes_out(base in 0u64..1 << 60, records in any_records()) {
        let frame = frame_of(base, &records);
        let want = expected(base, &records);
        prop_assert_eq!(read_all(&frame), want.clone());
        prop_assert_eq!(frame.len() % 8, 0);
        prop_assert_eq!(frame.end(), Offset(base + records.len() as u64));
        prop_assert_eq!(frame.first_ts, want[0].timestamp);
        prop_assert_eq!(frame.last_ts, want[want.len() - 1].timestamp);
        let ids = || want.iter().filter_map(|r| r.ext_id);
        prop_assert_eq!(frame.ext, ids().min().zip(ids().max()));
        prop_assert_eq!(Frame::checked(frame.bytes.clone(), SALT), Ok(frame.clone()));
        let head = check_frame(&frame.bytes, SALT).unwrap();
        prop_assert_eq!(Some(head), FrameHead::parse(&frame.bytes));
        prop_assert_eq!(head.total_len(), padded(head.body_len as usize));
        for (borrowed, owned) in RecordsRef::of(&frame.bytes).unwrap().zip(&want) {
            let borrowed = borrowed.unwrap();
            prop_assert_eq!(borrowed.offset, owned.offset);
            prop_assert_eq!(borrowed.timestamp, owned.timestamp);
            prop_assert_eq!(borrowed.ext_id, owned.ext_id);
            prop_assert_eq!(borrowed.key, owned.key.as_deref());
            prop_assert_eq!(borrowed.payload, &owned.payload[..]);
        }
    }

    #[test]
    fn resealed_records_are_the_same_elsewhere(records in any_records(), base in 0u64..1 << 60, salt: u64) {
        let frame = frame_of(17, &records);
        let seal = FrameSeal { base: Offset(base), durable: Offset(base / 2), salt };
        let moved = frame.resealed(&seal);
        prop_assert_eq!(read_all(&moved), expected(base, &records));
        prop_assert_eq!(Frame::checked(moved.bytes.clone(), salt), Ok(moved.clone()));
        prop_assert_eq!(check_frame(&moved.bytes, salt).unwrap().durable, seal.durable);
        // Encoding them anew makes the same bytes.
        let mut builder = FrameBuilder::with_buffer(vec![0xee; 10]);
        for (timestamp, record) in &records {
            builder.push(*timestamp, record);
        }
        prop_assert_eq!(builder.finish(&seal), moved);
    }

    #[test]
    fn the_first_records_alone_are_as_if_the_others_never_were(records in any_records(), n in 1usize..25) {
        let frame = frame_of(17, &records);
        let seal = FrameSeal { base: Offset(40), durable: Offset(3), salt: 99 };
        let kept = frame.keep_first(n as u32, &seal);
        let n = n.min(records.len());
        prop_assert_eq!(read_all(&kept), expected(40, &records[..n]));
        prop_assert_eq!(Frame::checked(kept.bytes.clone(), 99), Ok(kept));
    }

    #[test]
    fn encoded_len_max_is_never_too_little(record in any_record(), timestamp: u64) {
        let frame = frame_of(0, &[(0, NewRecord::new("")), (timestamp, record.clone())]);
        prop_assert!(frame.len() as usize <= padded(3 + record.encoded_len_max()));
    }

    #[test]
    fn any_bytes_as_a_body_are_records_or_a_fault(body in prop::collection::vec(any::<u8>(), 2..200), count in 1u32..20, flags in 0u16..2) {
        let mut bytes = numbered(3, 2).bytes[..FRAME_HEAD].to_vec();
        bytes[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        bytes[28..30].copy_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.resize(padded(body.len()), 0);
        let Ok(records) = Records::of(bytes.clone().into()) else { return Ok(()) };
        let read: Vec<_> = records.collect();
        let refs: Vec<_> = RecordsRef::of(&bytes).unwrap().map(|r| r.map(|r| r.offset)).collect();
        prop_assert_eq!(read.iter().map(|r| r.as_ref().map(|r| r.offset).map_err(|f| *f)).collect::<Vec<_>>(), refs);
        match read.iter().position(Result::is_err) {
            Some(at) => prop_assert_eq!(at, read.len() - 1),
            None => prop_assert_eq!(read.len(), count as usize),
        }
    }
}
