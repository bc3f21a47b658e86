use std::{pin::pin, task::Poll};

use bytes::Bytes;
use tierlog_storage::{
    LogId, OwnerId,
    catalog::{Body, CatalogKind, CatalogObject, catalog_key},
};

use super::{
    bucket::{Bucket, Trouble},
    directory::Directory,
    schedule::{now, once},
};
use crate::sequence::{FindError, Found, Sequence, find};

fn grown(bucket: &Bucket, publications: u64) -> (Directory, Sequence) {
    let directory = Directory::new();
    let (mut sequence, _) = now(directory.open(bucket)).unwrap();
    for salt in 0..publications {
        directory.upload(1, salt);
        now(directory.publish(bucket, &mut sequence)).unwrap();
    }
    (directory, sequence)
}

#[test]
fn an_empty_prefix_holds_nothing() {
    assert_eq!(now(find(&Bucket::new(1))).unwrap(), None);
}

#[test]
fn the_end_and_the_catalog_are_found_at_every_length() {
    let bucket = Bucket::new(1);
    let (directory, mut sequence) = grown(&bucket, 0);
    for salt in 0..300 {
        let calls = bucket.calls();
        let found = now(find(&bucket)).unwrap().unwrap();
        assert_eq!(
            (found.head, found.owner),
            (sequence.head(), sequence.owner())
        );
        assert_eq!(
            (&found.catalog, found.epoch),
            (sequence.catalog(), sequence.epoch())
        );
        assert!(
            bucket.calls() - calls <= 100,
            "{} calls",
            bucket.calls() - calls
        );
        directory.upload(u8::try_from(salt % 3).unwrap(), salt);
        directory.trim(1, salt % 12);
        now(directory.publish(&bucket, &mut sequence)).unwrap();
    }
}

#[test]
fn whoever_reads_while_the_sequence_grows_and_is_collected_finds_what_it_was_at_some_time() {
    for seed in 0..60 {
        let bucket = Bucket::slow(seed, Trouble::NONE);
        let rng = &mut fastrand::Rng::with_seed(seed);
        let (directory, mut sequence) = grown(&bucket, 1 + seed % 9);
        let before = sequence.head();
        let mut finding = pin!(find(&bucket));
        let found = loop {
            if let Poll::Ready(found) = once(finding.as_mut()) {
                break found.unwrap().unwrap();
            }
            // Up to so many new objects at each of its steps; it is begun anew a few times at most.
            if rng.u32(..20) == 0 {
                for salt in 0..rng.u64(..90) {
                    directory.upload(1, salt);
                    directory.trim(1, 5);
                    now(directory.publish(&bucket, &mut sequence)).unwrap();
                }
                let head = sequence.head();
                now(sequence.collect(head, u64::MAX)).unwrap();
            }
        };
        assert!(before <= found.head && found.head <= sequence.head());
        bucket.history(|history| {
            assert_eq!(history.catalog(found.head), &found.catalog, "seed {seed}");
            assert_eq!(history.owner(found.head), found.owner);
        });
    }
}

fn altered(bytes: &Bytes, alter: impl FnOnce(&mut CatalogObject)) -> Bytes {
    let mut object = CatalogObject::decode(bytes).unwrap();
    alter(&mut object);
    object.encode().into()
}

/// Seven objects, of which the third holds the whole, and those behind it changes.
fn seven() -> Bucket {
    let bucket = Bucket::new(1);
    let (directory, mut sequence) = grown(&bucket, 0);
    for salt in 0..40 {
        directory.upload(1, salt);
    }
    for _ in 0..2 {
        now(directory.publish(&bucket, &mut sequence)).unwrap();
    }
    for salt in 0..4 {
        directory.upload(1, salt);
        now(directory.publish(&bucket, &mut sequence)).unwrap();
    }
    let wholes = bucket.history(|history| history.wholes());
    assert_eq!((sequence.head(), wholes), (7, vec![1, 3]));
    bucket
}

fn good(bucket: &Bucket, number: u64) -> Bytes {
    bucket.read(&catalog_key(number)).unwrap()
}

/// What is found with something else in the place of an object.
fn with(bucket: &Bucket, number: u64, bytes: Option<Bytes>) -> Result<Option<Found>, FindError> {
    let before = good(bucket, number);
    bucket.put(&catalog_key(number), bytes);
    let found = now(find(bucket));
    bucket.put(&catalog_key(number), Some(before));
    found
}

#[test]
fn whatever_is_wrong_with_an_object_that_counts_is_told_with_its_number() {
    let bucket = &seven();
    for number in [3, 5, 7] {
        let mut flipped = good(bucket, number).to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let before = good(bucket, number - 1);
        for bytes in [flipped.into(), before] {
            let found = with(bucket, number, Some(bytes));
            assert!(
                matches!(found, Err(FindError::Damaged { number: at, .. }) if at == number),
                "{found:?}"
            );
        }
        let tombstone = altered(&good(bucket, number), |object| {
            object.body = Body::None;
            object.head.whole_at = 0;
            object.head.kind = CatalogKind::Tombstone;
        });
        let found = with(bucket, number, Some(tombstone));
        assert!(
            matches!(found, Err(FindError::Collected { number: at }) if at == number),
            "{found:?}"
        );
    }
    // Below the end of a longer sequence, what is missing is told.
    for number in [3, 6] {
        match with(bucket, number, None) {
            Err(FindError::Missing { number: at }) => assert_eq!(at, number),
            // Whoever asks for this number takes the one before for the last.
            found => assert_eq!(found.unwrap().unwrap().head, number - 1),
        }
    }
}

#[test]
fn an_object_that_does_not_follow_from_those_before_it_is_told() {
    let bucket = &seven();
    let fifth = good(bucket, 5);
    let fourth = CatalogObject::decode(&good(bucket, 4)).unwrap();
    for bytes in [
        // Somebody who never claimed; another log; changes that were made already.
        altered(&fifth, |object| object.head.owner = OwnerId::generate()),
        altered(&fifth, |object| {
            object.head.log = LogId::from_bytes([9; 16])
        }),
        altered(&fifth, |object| object.body = fourth.body),
    ] {
        let found = with(bucket, 5, Some(bytes));
        assert!(
            matches!(found, Err(FindError::Contradiction { number: 5, .. })),
            "{found:?}"
        );
    }
}

#[test]
fn a_store_that_does_not_answer_is_told_from_an_empty_one() {
    for seed in 0..200 {
        let bucket = Bucket::new(seed);
        let (_, sequence) = grown(&bucket, seed % 20);
        bucket.trouble(Trouble::SOME);
        match now(find(&bucket)) {
            Ok(Some(found)) => assert_eq!(&found.catalog, sequence.catalog()),
            Ok(None) => panic!("it is not empty"),
            Err(error) => assert!(matches!(error, FindError::Store(_)), "{error}"),
        }
    }
}
