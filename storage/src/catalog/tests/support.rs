//! Catalogs that make sense, and changes that do most of the time.

use proptest::{collection::vec, prelude::*};

use crate::{
    catalog::{ArchivedSegment, Body, Catalog, CatalogHead, CatalogKind, CatalogObject, Change},
    ids::{AttemptId, Epoch, LogId, Offset, OwnerId, SegmentNo, StreamId},
    manifest::SealedFacts,
};

pub(super) fn stream(n: u8) -> StreamId {
    StreamId::from_bytes([n; 16])
}

pub(super) fn created(n: u8) -> Change {
    Change::Stream {
        stream: stream(n),
        name: format!("stream {n}"),
        created_ns: u64::from(n),
    }
}

pub(super) fn archived(base: u64, end: u64) -> ArchivedSegment {
    ArchivedSegment {
        salt: base ^ 0x5a17,
        facts: SealedFacts {
            base: Offset(base),
            end: Offset(end),
            data_end: 128 + 9 * base,
            file_len: 512 + 9 * base,
            first_ts: base,
            last_ts: end,
            ext: base.is_multiple_of(3).then_some((base, end)),
            digest: base.wrapping_mul(77),
            flush_failed: base.is_multiple_of(2),
        },
        epoch: Epoch(1 + base % 4),
        len: 100 + base,
        crc: !base,
    }
}

pub(super) fn added(n: u8, segment: u64, base: u64, end: u64) -> Change {
    Change::Segment {
        stream: stream(n),
        segment: SegmentNo(segment),
        archived: archived(base, end),
    }
}

pub(super) fn trimmed(n: u8, start: u64) -> Change {
    Change::Trimmed {
        stream: stream(n),
        start: Offset(start),
    }
}

pub(super) fn catalog(changes: &[Change]) -> Catalog {
    let mut catalog = Catalog::default();
    catalog.apply_all(changes).unwrap();
    catalog
}

pub(super) fn head(kind: CatalogKind, number: u64, whole_at: u64) -> CatalogHead {
    CatalogHead {
        log: LogId::from_bytes([7; 16]),
        number,
        owner: OwnerId::from_bytes([8; 16]),
        epoch: Epoch(3),
        attempt: AttemptId::from_bytes([9; 16]),
        kind,
        whole_at,
    }
}

/// Changes of a few streams: some make sense where they stand, some never do.
pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let offset = 0u64..60;
    let change = prop_oneof![
        (0u8..4).prop_map(created),
        (0u8..4, 0u64..12, offset.clone(), offset.clone())
            .prop_map(|(n, segment, base, end)| added(n, segment, base, end)),
        (0u8..4, offset).prop_map(|(n, start)| trimmed(n, start)),
    ];
    vec(change, 0..40)
}

/// What some steps make: each is a stream, and whether it is trimmed, or by how much it grows.
pub(super) fn grown(steps: &[(u8, Option<u64>, u64)]) -> Catalog {
    let mut catalog = Catalog::default();
    for &(n, trim, by) in steps {
        let n = n % 4;
        let Some(known) = catalog.streams.get(&stream(n)) else {
            catalog.apply(&created(n)).unwrap();
            continue;
        };
        let end = known.end().get();
        let change = match trim {
            Some(trim) => trimmed(n, known.start.get() + trim % 40),
            None => added(n, known.next_segment.get() + by % 2, end, end + by),
        };
        catalog.apply(&change).unwrap();
    }
    catalog
}

pub(super) fn whole() -> impl Strategy<Value = Catalog> {
    let step = (
        any::<u8>(),
        prop::option::weighted(0.2, any::<u64>()),
        1u64..30,
    );
    vec(step, 0..60).prop_map(|steps| grown(&steps))
}

pub(super) fn objects() -> impl Strategy<Value = CatalogObject> {
    let body = prop_oneof![
        whole().prop_map(Body::Whole),
        changes().prop_map(Body::Changes),
        Just(Body::None),
    ];
    let numbers = (2..u64::MAX, any::<u64>(), any::<bool>());
    (body, numbers, any::<([u8; 16], u64)>()).prop_map(
        |(body, (number, at, claim), (id, epoch))| {
            let (kind, whole_at) = match &body {
                Body::Whole(_) if claim => (CatalogKind::Claim, number),
                Body::Whole(_) => (CatalogKind::Publication, number),
                Body::Changes(_) => (CatalogKind::Publication, 1 + at % (number - 1)),
                Body::None => (CatalogKind::Tombstone, 0),
            };
            let head = CatalogHead {
                owner: OwnerId::from_bytes(id),
                epoch: Epoch(epoch),
                ..head(kind, number, whole_at)
            };
            CatalogObject { head, body }
        },
    )
}
