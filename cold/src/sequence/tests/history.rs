//! All that was ever created, and what has to be true of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tierlog_storage::{
    OwnerId,
    catalog::{Body, Catalog, CatalogHead, CatalogKind, CatalogObject, Change, catalog_number},
};

/// The objects in the order of their numbers, as they were before any was collected.
#[derive(Debug, Default)]
pub(super) struct History {
    objects: Vec<CatalogHead>,
    catalogs: Vec<Catalog>,
    believed: BTreeMap<u64, OwnerId>,
}

impl History {
    /// Something was created.
    pub(super) fn created(&mut self, key: &str, bytes: &Bytes) {
        let number = catalog_number(key).expect("nothing else is created");
        assert_eq!(number, self.last() + 1, "numbers are dense");
        let CatalogObject { head, body } = CatalogObject::decode_at(number, bytes).unwrap();
        let before = self.catalogs.last().cloned().unwrap_or_default();
        let catalog = match (&body, self.objects.last()) {
            (Body::Whole(whole), last) if head.kind == CatalogKind::Claim => {
                assert!(
                    last.is_none_or(|last| last.epoch < head.epoch),
                    "epochs grow"
                );
                holds_no_less(whole, &before);
                whole.clone()
            }
            (_, None) => panic!("a history begins with a claim"),
            (body, Some(last)) => {
                let owner = |head: &CatalogHead| (head.log, head.owner, head.epoch);
                assert_eq!(owner(&head), owner(last), "{number} is not the owner's");
                self.publication(before, body, &head)
            }
        };
        let attempt = |object: &CatalogHead| object.attempt == head.attempt;
        assert!(
            !self.objects.iter().any(attempt),
            "an attempt has one number"
        );
        self.objects.push(head);
        self.catalogs.push(catalog);
    }

    fn publication(&self, before: Catalog, body: &Body, head: &CatalogHead) -> Catalog {
        match body {
            Body::Changes(changes) => {
                assert_eq!(Some(&head.whole_at), self.wholes().last());
                let mut after = before;
                after.apply_all(changes).unwrap();
                after
            }
            Body::Whole(whole) => {
                holds_no_less(whole, &before);
                whole.clone()
            }
            Body::None => panic!("tombstones are not created"),
        }
    }

    /// Something was replaced.
    pub(super) fn replaced(&self, key: &str, bytes: &Bytes) {
        let number = catalog_number(key).expect("nothing else is replaced");
        let head = CatalogHead::decode_at(number, bytes).unwrap();
        assert_eq!(head.kind, CatalogKind::Tombstone);
        let wholes = self.wholes();
        let second = wholes.len().checked_sub(2).map(|at| wholes[at]);
        assert!(
            Some(number) < second,
            "{number} is needed; wholes at {wholes:?}"
        );
    }

    /// Somebody takes this number for its own, and this for what it holds.
    pub(super) fn believed(&mut self, number: u64, owner: OwnerId, catalog: &Catalog) {
        let other = self.believed.insert(number, owner);
        assert_eq!(
            other.filter(|other| *other != owner),
            None,
            "two owners of {number}"
        );
        assert_eq!(self.owner(number), owner, "whose {number} is");
        assert_eq!(self.catalog(number), catalog, "what {number} says");
    }

    pub(super) fn last(&self) -> u64 {
        self.objects.len() as u64
    }

    pub(super) fn head(&self, number: u64) -> &CatalogHead {
        &self.objects[usize::try_from(number - 1).unwrap()]
    }

    pub(super) fn owner(&self, number: u64) -> OwnerId {
        self.head(number).owner
    }

    pub(super) fn catalog(&self, number: u64) -> &Catalog {
        &self.catalogs[usize::try_from(number - 1).unwrap()]
    }

    /// The numbers of all objects that hold the whole catalog.
    pub(super) fn wholes(&self) -> Vec<u64> {
        let wholes = self
            .objects
            .iter()
            .filter(|head| head.whole_at == head.number);
        wholes.map(|head| head.number).collect()
    }

    /// How many objects an owner has made.
    pub(super) fn made_by(&self, owner: OwnerId) -> usize {
        self.objects
            .iter()
            .filter(|head| head.owner == owner)
            .count()
    }
}

/// A claim may be ahead of what was published, by streams and by trims; it never forgets anything.
fn holds_no_less(whole: &Catalog, before: &Catalog) {
    let mut both = whole.clone();
    both.adopt_whole(before).unwrap();
    assert_eq!(&both, whole, "something was forgotten");
}

/// Whether a catalog says all that a change says.
pub(super) fn says(catalog: &Catalog, change: &Change) -> bool {
    let known = |stream| catalog.streams.get(stream);
    match change {
        Change::Stream { stream, name, .. } => {
            known(stream).is_some_and(|known| known.name == *name)
        }
        Change::Trimmed { stream, start } => {
            known(stream).is_some_and(|known| *start <= known.start)
        }
        Change::Segment {
            stream,
            segment,
            archived,
        } => known(stream).is_some_and(|known| {
            archived.facts.end <= known.start || known.segments.get(segment) == Some(archived)
        }),
    }
}
