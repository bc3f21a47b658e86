//! The objects of the catalog of format version 1, byte for byte.
//!
//! `golden/catalog-v1-*.tlc` hold one object of each kind and each body, and every change that version 1
//! knows. Every later version must read them to the same values (P13), and while version 1 is what is
//! written, writing must give the same bytes.
//!
//! A change that is meant to alter the bytes before version 1 is released: run this test with
//! `TIERLOG_REGENERATE_GOLDEN=1` in the environment, look at the difference, commit the files. Once a
//! version is released its files stay as they are, and a new version gets files of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;

use tierlog_storage::{
    catalog::{ArchivedSegment, Body, Catalog, CatalogHead, CatalogKind, CatalogObject, Change},
    ids::{AttemptId, Epoch, LogId, Offset, OwnerId, SegmentNo, StreamId},
    manifest::SealedFacts,
};

const A: StreamId = StreamId::from_bytes(*b"golden stream aa");
const B: StreamId = StreamId::from_bytes(*b"golden stream bb");

fn head(kind: CatalogKind, number: u64, whole_at: u64) -> CatalogHead {
    CatalogHead {
        log: LogId::from_bytes(*b"tierlog golden 1"),
        number,
        owner: OwnerId::from_bytes(*b"golden owner aaa"),
        epoch: Epoch(3),
        attempt: AttemptId::from_bytes(*b"golden attempt 1"),
        kind,
        whole_at,
    }
}

fn segment(segment: u64, base: u64, end: u64, ext: Option<(u64, u64)>) -> Change {
    Change::Segment {
        stream: A,
        segment: SegmentNo(segment),
        archived: ArchivedSegment {
            salt: 0x1000 + segment,
            facts: SealedFacts {
                base: Offset(base),
                end: Offset(end),
                data_end: 128 + (end - base) * 100,
                file_len: 512 + (end - base) * 100,
                first_ts: 1_700_000_000_000_000_000 + base,
                last_ts: 1_700_000_000_000_000_000 + end,
                ext,
                digest: 0xd1_6e57 + segment,
                flush_failed: segment == 1,
            },
            epoch: Epoch(2 + segment),
            len: 777,
            crc: 0xc0_1d,
        },
    }
}

fn changes() -> Vec<Change> {
    let stream = |stream, name: &str| Change::Stream {
        stream,
        name: name.into(),
        created_ns: 1_700_000_000_000_000_000,
    };
    vec![
        stream(A, "orders"),
        segment(0, 0, 10, Some((5, 9))),
        segment(1, 10, 25, None),
        stream(B, "größe ✓"),
        Change::Trimmed {
            stream: A,
            start: Offset(12),
        },
    ]
}

fn objects() -> [(&'static str, CatalogObject); 3] {
    let mut catalog = Catalog::default();
    catalog.apply_all(&changes()).unwrap();
    [
        (
            "claim",
            CatalogObject {
                head: head(CatalogKind::Claim, 41, 41),
                body: Body::Whole(catalog),
            },
        ),
        (
            "publication",
            CatalogObject {
                head: head(CatalogKind::Publication, 42, 41),
                body: Body::Changes(changes()),
            },
        ),
        (
            "tombstone",
            CatalogObject {
                head: head(CatalogKind::Tombstone, 7, 0),
                body: Body::None,
            },
        ),
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("catalog-v1-{name}.tlc"))
}

#[test]
fn version_1_of_the_catalog_is_written_as_ever() {
    for (name, object) in objects() {
        let written = object.encode();
        if std::env::var_os("TIERLOG_REGENERATE_GOLDEN").is_some() {
            std::fs::write(golden(name), &written).unwrap();
        }
        let kept = std::fs::read(golden(name)).unwrap();
        let differs = kept.iter().zip(&written).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs from this byte on");
        assert_eq!(kept.len(), written.len(), "{name}");
    }
}

#[test]
fn version_1_of_the_catalog_is_read_as_ever() {
    for (name, object) in objects() {
        let kept = std::fs::read(golden(name)).unwrap();
        let read = CatalogObject::decode_at(object.head.number, &kept);
        assert_eq!(read, Ok(object), "{name}");
    }
}
