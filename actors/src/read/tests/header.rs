//! A segment's header, looked at before the first of its frames is believed.
//!
//! Readers of a sealed segment once went by its frames alone: one that a later version had written
//! was then read by the rules of this version, and called damaged where these did not fit.

use tierlog_storage::{LogId, Offset, SegmentNo, StorageError, crc::crc64};

use super::kit::{Rig, Writing, assert_usual, drain, skipping, small};
use crate::{
    error::{Error, ErrorKind},
    options::ReadMode,
    read::{From, ReadLimits, ReaderOptions},
};

/// Writes over a field of the header, and makes its checksum right.
fn forge(writing: &Writing, at: u64, field: &[u8]) {
    writing.file.write_at(field, at).unwrap();
    let mut bytes = [0; 120];
    writing.file.read_at(&mut bytes, 0).unwrap();
    let crc = crc64(&[&bytes]);
    writing.file.write_at(&crc.to_le_bytes(), 120).unwrap();
}

/// Three segments of ten records, one sealed, one closed, one sealed; the header of the nth is
/// changed.
fn with_header(rig: &Rig, nth: u64, change: impl Fn(&Writing)) {
    for no in 0..3 {
        let mut writing = rig.begin(no, no * 10);
        writing.fill(no * 10 + 10, 5);
        let segment = match no {
            1 => writing.closed(),
            _ => writing.sealed(),
        };
        if no == nth {
            change(&writing);
        }
        rig.put(segment);
    }
    rig.durable(30);
}

fn limits() -> [ReadLimits; 3] {
    let map = ReadMode::Map;
    [
        ReadLimits::default(),
        small(),
        ReadLimits {
            mode: map,
            ..small()
        },
    ]
}

#[tokio::test]
async fn a_reader_names_a_newer_version_of_a_segment_and_does_not_call_it_damaged() {
    for limits in limits() {
        for nth in 0..3 {
            let rig = Rig::new(limits);
            with_header(&rig, nth, |writing| forge(writing, 8, &[2, 0]));
            for options in [ReaderOptions::default(), skipping()] {
                for from in [nth * 10, nth * 10 + 7] {
                    let from = Offset(from);
                    let mut reader = rig.reader(From::Offset(from), options.clone()).await;
                    for _ in 0..2 {
                        let error = reader.next_batch(100).await.unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::FixInput);
                        let Error::Storage(storage) = &error else {
                            panic!("{error:?}");
                        };
                        let path = &rig.layout.segment(rig.stream.id, SegmentNo(nth));
                        assert!(
                            matches!(&**storage, StorageError::NewerVersion { path: named, found: 2, supported: 1 } if named == path),
                            "{error}"
                        );
                        assert_eq!((reader.position(), reader.gaps()), (from, &[][..]));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn segments_beside_one_of_a_newer_version_are_read() {
    let rig = Rig::new(small());
    with_header(&rig, 1, |writing| forge(writing, 8, &[2, 0]));
    let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
    let mut before = Vec::new();
    while before.len() < 10 {
        reader.next_batch_into(&mut before, 100).await.unwrap();
    }
    assert_usual(&before, 0);
    reader.next_batch(100).await.unwrap_err();
    reader.seek(Offset(20));
    assert_usual(&drain(&mut reader).await, 20);
}

#[tokio::test]
async fn a_look_for_a_time_names_a_newer_version_too() {
    let rig = Rig::new(small());
    with_header(&rig, 2, |writing| forge(writing, 8, &[2, 0]));
    let late = super::kit::time_of(26);
    let mut reader = rig
        .reader(From::Timestamp(late), ReaderOptions::default())
        .await;
    let error = reader.next_batch(100).await.unwrap_err();
    assert!(error.to_string().contains("newer tierlog"), "{error}");
}

#[tokio::test]
async fn a_segment_with_the_header_of_another_is_damage_that_says_whose_it_is() {
    let log = LogId::generate();
    let log = log.as_bytes();
    let strangers: [(u64, &[u8], &str); 4] = [
        (16, log, "log"),
        (32, &[7; 16], "stream"),
        (48, &[9], "segment"),
        (56, &[11], "offset 11"),
    ];
    for limits in limits() {
        for (at, field, whose) in &strangers {
            let rig = Rig::new(limits);
            with_header(&rig, 2, |writing| forge(writing, *at, field));
            let mut reader = rig
                .reader(From::Offset(Offset(25)), ReaderOptions::default())
                .await;
            for _ in 0..2 {
                let error = reader.next_batch(100).await.unwrap_err();
                let Error::Corrupt(damage) = &error else {
                    panic!("{whose}: {error:?}");
                };
                assert_eq!(damage.segment, SegmentNo(2));
                assert_eq!((damage.from, damage.to), (Offset(20), Offset(30)));
                assert!(damage.what.contains(whose), "{whose}: {damage}");
            }
            let mut skipper = rig.reader(From::Earliest, skipping()).await;
            let records = drain(&mut skipper).await;
            assert_eq!(records.len(), 20);
            assert_usual(&records, 0);
            assert_eq!(skipper.gaps().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_damaged_header_does_not_hide_whole_frames() {
    // No checksum holds, so neither the version nor the name can be believed.
    let damage: [(u64, &[u8]); 4] = [(0, b"X"), (8, &[2]), (33, &[1]), (0, &[0; 128])];
    for limits in limits() {
        for (at, bytes) in damage {
            for nth in 0..3 {
                let rig = Rig::new(limits);
                with_header(&rig, nth, |writing| {
                    writing.file.write_at(bytes, at).unwrap();
                });
                let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
                let records = drain(&mut reader).await;
                assert_eq!(records.len(), 30);
                assert_usual(&records, 0);
            }
        }
    }
}

#[tokio::test]
async fn a_closed_segment_may_begin_with_lost_records_that_its_header_does_not_tell_of() {
    let rig = Rig::new(small());
    // The records 10..14 were lost with another segment; recovery gave them to this one.
    rig.put(rig.begin(0, 0).fill(10, 5).sealed());
    let mut writing = rig.begin(1, 14);
    writing.fill(20, 2);
    let status = tierlog_storage::manifest::SegmentStatus::Closed {
        base: Offset(10),
        end: Offset(20),
        end_byte: writing.pos,
    };
    let segment =
        crate::stream::segments::Segment::ended(SegmentNo(1), super::kit::salt(1), &status);
    rig.put(segment.unwrap());
    rig.durable(20);
    let mut skipper = rig.reader(From::Earliest, skipping()).await;
    let records = drain(&mut skipper).await;
    assert_usual(&records[..10], 0);
    assert_usual(&records[10..], 14);
    assert_eq!(records.len(), 16);
}
