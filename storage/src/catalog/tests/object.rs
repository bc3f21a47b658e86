use proptest::prelude::*;

use super::support::*;
use crate::{
    catalog::{Body, CATALOG_HEAD, CatalogFault, CatalogKind, CatalogObject},
    crc::crc64,
};

fn samples() -> Vec<CatalogObject> {
    let changes = vec![
        created(1),
        added(1, 0, 0, 10),
        added(1, 1, 10, 25),
        trimmed(1, 12),
        created(2),
    ];
    let whole = catalog(&changes);
    vec![
        CatalogObject {
            head: head(CatalogKind::Claim, 1, 1),
            body: Body::Whole(whole.clone()),
        },
        CatalogObject {
            head: head(CatalogKind::Publication, 2, 1),
            body: Body::Changes(changes),
        },
        CatalogObject {
            head: head(CatalogKind::Publication, 3, 3),
            body: Body::Whole(whole),
        },
        CatalogObject {
            head: head(CatalogKind::Tombstone, 4, 0),
            body: Body::None,
        },
    ]
}

/// Makes the checksums right again after a change of the others.
fn mend(bytes: &mut [u8]) {
    let body = crc64(&[&bytes[CATALOG_HEAD..]]);
    bytes[104..112].copy_from_slice(&body.to_le_bytes());
    let head = crc64(&[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&head.to_le_bytes());
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_object_is_noticed() {
    for object in samples() {
        let good = object.encode();
        assert_eq!(CatalogObject::decode(&good), Ok(object));
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = CatalogObject::decode(&bytes);
            assert!(
                matches!(found, Err(CatalogFault::Damaged(_))),
                "bit {bit}: {found:?}"
            );
        }
        for len in 0..good.len() {
            let found = CatalogObject::decode(&good[..len]);
            assert!(
                matches!(found, Err(CatalogFault::Damaged(_))),
                "cut at {len}"
            );
        }
        CatalogObject::decode(&[&good[..], &[0]].concat()).unwrap_err();
    }
}

#[test]
fn a_newer_version_is_told_from_damage_and_a_strange_place_from_both() {
    let mut bytes = samples()[0].encode();
    assert_eq!(
        CatalogObject::decode_at(2, &bytes),
        Err(CatalogFault::Misplaced {
            found: 1,
            expected: 2
        })
    );
    bytes[8] = 2;
    assert!(matches!(
        CatalogObject::decode(&bytes),
        Err(CatalogFault::Damaged(_))
    ));
    mend(&mut bytes);
    assert_eq!(
        CatalogObject::decode(&bytes),
        Err(CatalogFault::NewerVersion(2))
    );
}

#[test]
fn counts_that_lie_are_refused_before_anything_is_made_of_them() {
    // A count of items, of segments in a stream, and the length of a name.
    for (object, at, len) in [
        (0, 112, 8),
        (1, 112, 8),
        (0, 128 + 16 + 2 + 8 + 24, 8),
        (0, 144, 2),
    ] {
        let mut bytes = samples()[object].encode();
        for lie in [0, 0xff] {
            bytes[at..at + len].fill(lie);
            mend(&mut bytes);
            let found = CatalogObject::decode(&bytes);
            assert!(
                matches!(found, Err(CatalogFault::Damaged(_))),
                "{at}: {found:?}"
            );
        }
    }
}

#[test]
fn a_kind_a_place_and_a_body_that_do_not_go_together_are_refused() {
    let [claim, changes, whole, tombstone] = &samples()[..] else {
        unreachable!()
    };
    let of = |head, object: &CatalogObject| CatalogObject {
        head,
        body: object.body.clone(),
    };
    for wrong in [
        of(head(CatalogKind::Claim, 5, 5), changes),
        of(head(CatalogKind::Claim, 5, 4), claim),
        of(head(CatalogKind::Claim, 5, 5), tombstone),
        of(head(CatalogKind::Publication, 5, 5), changes),
        of(head(CatalogKind::Publication, 5, 0), changes),
        of(head(CatalogKind::Publication, 5, 6), changes),
        of(head(CatalogKind::Publication, 5, 4), whole),
        of(head(CatalogKind::Publication, 5, 5), tombstone),
        of(head(CatalogKind::Tombstone, 5, 5), tombstone),
        of(head(CatalogKind::Tombstone, 5, 0), whole),
        of(head(CatalogKind::Claim, 0, 0), claim),
    ] {
        let found = CatalogObject::decode(&wrong.encode());
        assert!(found.is_err(), "{:?}", wrong.head);
    }
}

proptest! {
    #[test]
    fn an_object_is_read_back(object in objects()) {
        let bytes = object.encode();
        prop_assert_eq!(CatalogObject::decode_at(object.head.number, &bytes), Ok(object));
    }

    #[test]
    fn an_object_has_one_spelling(
        object in objects(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = object.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        mend(&mut bytes);
        if let Ok(object) = CatalogObject::decode(&bytes) {
            prop_assert_eq!(object.encode(), bytes);
        }
    }
}
