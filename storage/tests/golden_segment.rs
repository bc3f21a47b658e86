//! Format version 1 of segment files, kept byte for byte.
//!
//! `golden/segment-v1.tls` is a sealed segment as the first version wrote it. Logs of that version
//! lie on disks, so it is never made anew: when a test here fails, the code is wrong, or a new
//! version is due, with a file of its own beside this one. Only to make the file of a *new* version
//! run `TIERLOG_WRITE_GOLDEN=1 cargo test -p tierlog-storage --test golden_segment`; a file that is
//! already there is left alone.

#![allow(clippy::unwrap_used)]

use std::{io, path::PathBuf, sync::Once};

use bytes::Bytes;
use tierlog_storage::{
    Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId,
    disk::{Access, Disk, RealDisk},
    segment::{
        Digest, Footer, Frame, FrameBuilder, FrameSeal, HEADER_LEN, HeaderState, Latched,
        NewRecord, Record, Records, ScanExpect, SegmentHeader, SparseIndex, header::header_crc,
        scan,
    },
};

const SALT: u64 = 0x0123_4567_89ab_cdef;
const CREATED: u64 = 1_750_000_000_000_000_000;

fn golden_path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/segment-v1.tls"
    ))
}

fn header() -> SegmentHeader {
    SegmentHeader {
        log: LogId::from_bytes([0xa1; 16]),
        stream: StreamId::from_bytes([0xb2; 16]),
        segment: SegmentNo(4),
        base: Offset(1000),
        epoch: Epoch(2),
        incarnation: Incarnation(3),
        created_ns: CREATED,
        capacity: 1 << 20,
        first_ext_id: Some(500),
        salt: SALT,
        manifest_seq: 17,
    }
}

/// The records of each frame, with their timestamps: every shape that the format has.
fn content() -> Vec<Vec<(u64, NewRecord)>> {
    let plain = |len: usize| NewRecord::new(vec![len as u8; len]);
    vec![
        vec![
            (CREATED + 1, NewRecord::new("first").ext_id(500)),
            (CREATED + 1, NewRecord::new("no attributes")),
            (CREATED + 200, NewRecord::new("keyed").key("key")),
            (
                CREATED + 90_000,
                NewRecord::new("both").key("").ext_id(u64::MAX),
            ),
        ],
        vec![(CREATED + 90_000, NewRecord::new(""))],
        vec![
            (CREATED + 100_000, plain(1)),
            (CREATED + 100_127, plain(127)),
            (CREATED + 100_128, plain(128)),
            (CREATED + 9_000_000_000, plain(300)),
        ],
        vec![(CREATED + 9_000_000_000, plain(66_000))],
        vec![(CREATED + 9_000_000_001, plain(7)), (u64::MAX, plain(8))],
    ]
}

fn expected_records() -> Vec<Record> {
    let records = content().into_iter().flatten().zip(1000..);
    records
        .map(|((timestamp, record), offset)| Record {
            offset: Offset(offset),
            timestamp,
            ext_id: record.ext_id,
            key: record.key,
            payload: record.payload,
        })
        .collect()
}

fn frames() -> Vec<Frame> {
    let mut next = Offset(1000);
    let mut frames: Vec<Frame> = Vec::new();
    for (nth, records) in content().iter().enumerate() {
        let mut builder = FrameBuilder::new(0);
        for (timestamp, record) in records {
            builder.push(*timestamp, record);
        }
        // Each frame claims what came before the one before it, as a busy writer's do.
        let durable = nth
            .checked_sub(1)
            .map_or(Offset(1000), |nth| frames[nth].base);
        let frame = builder.finish(&FrameSeal {
            base: next,
            durable,
            salt: SALT,
        });
        next = frame.end();
        frames.push(frame);
    }
    frames
}

fn encoded() -> (Vec<u8>, Footer) {
    let header = header();
    let mut bytes = header.encode().to_vec();
    let mut digest = Digest::new(header_crc(&header.encode()));
    let mut index = SparseIndex::default();
    let frames = frames();
    for frame in &frames {
        index.note(frame.base, bytes.len() as u64, frame.first_ts);
        digest.push(frame.crc);
        bytes.extend_from_slice(&frame.bytes);
    }
    let (first, last) = (&frames[0], &frames[frames.len() - 1]);
    let footer = Footer {
        log: header.log,
        segment: header.segment,
        base: header.base,
        end: last.end(),
        data_end: bytes.len() as u64,
        first_ts: first.first_ts,
        last_ts: last.last_ts,
        ext: first.ext,
        digest: digest.value(),
        watermark: last.end(),
        flush_failed: true,
        index,
    };
    bytes.extend_from_slice(&footer.encode(SALT));
    (bytes, footer)
}

fn open_golden() -> io::Result<(Latched, Vec<u8>)> {
    let file = RealDisk.open(&golden_path(), Access::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    assert_eq!(file.read_at(&mut bytes, 0)?, bytes.len());
    Ok((Latched::new(file, golden_path()), bytes))
}

fn golden() -> (Latched, Vec<u8>) {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if std::env::var_os("TIERLOG_WRITE_GOLDEN").is_some() {
            match RealDisk.create_new(&golden_path()) {
                Ok(file) => file.write_at(&encoded().0, 0).unwrap(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}"),
            }
        }
    });
    open_golden().unwrap()
}

#[test]
fn what_is_written_now_is_what_version_1_wrote() {
    let (_, bytes) = golden();
    let now = encoded().0;
    let differs = bytes.iter().zip(&now).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first byte that differs");
    assert_eq!(bytes.len(), now.len());
}

#[test]
fn what_version_1_wrote_is_read_as_it_was_meant() {
    let (file, bytes) = golden();
    let expect = ScanExpect {
        log: header().log,
        stream: header().stream,
        segment: header().segment,
        salt: SALT,
    };
    let mut records = Vec::new();
    let seen = scan(&file, &expect, HEADER_LEN, &mut |_, _, frame: &Bytes| {
        for record in Records::of(frame.clone()).unwrap() {
            records.push(record.unwrap());
        }
    });
    let seen = seen.unwrap();
    assert_eq!(seen.header, HeaderState::Valid(header()));
    assert_eq!(records, expected_records());
    assert_eq!(seen.runs.len(), 1);
    assert_eq!(seen.runs[0].end, Offset(1012));
    assert_eq!(seen.max_claim, Offset(1012));
    assert!(!seen.nonzero_after);
    let footer = seen.footer.unwrap();
    assert_eq!(footer, encoded().1);
    assert_eq!(footer.index.entries().len(), 2);
    assert_eq!(footer.data_end + footer.encoded_len(), bytes.len() as u64);
}
