use tierlog_storage::catalog::{CatalogHead, CatalogKind, catalog_key};

use super::{
    bucket::{Bucket, Trouble},
    directory::Directory,
    schedule::now,
};
use crate::sequence::{Collected, Sequence, find};

/// A sequence with some wholes.
fn grown(bucket: &Bucket) -> (Directory, Sequence) {
    let directory = Directory::new();
    let (mut sequence, _) = now(directory.open(bucket)).unwrap();
    for salt in 0..100 {
        directory.upload(1, salt);
        now(directory.publish(bucket, &mut sequence)).unwrap();
    }
    directory.note(&sequence);
    (directory, sequence)
}

/// The numbers of all tombstones.
fn tombstones(bucket: &Bucket) -> Vec<u64> {
    let kind = |number| {
        let bytes = bucket.read(&catalog_key(number)).unwrap();
        CatalogHead::decode_at(number, &bytes).unwrap().kind
    };
    let last = bucket.history(|history| history.last());
    (1..=last)
        .filter(|&number| kind(number) == CatalogKind::Tombstone)
        .collect()
}

fn second_latest_whole(bucket: &Bucket) -> u64 {
    let wholes = bucket.history(|history| history.wholes());
    wholes[wholes.len() - 2]
}

#[test]
fn all_below_the_whole_before_the_latest_becomes_tombstones_and_nothing_else() {
    let bucket = Bucket::new(1);
    let (directory, mut sequence) = grown(&bucket);
    let second = second_latest_whole(&bucket);
    assert!(second > 10, "{second}");
    let head = sequence.head();
    let some = now(sequence.collect(head, 7)).unwrap();
    assert_eq!(
        some,
        Collected {
            replaced: 7,
            more: true
        }
    );
    assert_eq!(tombstones(&bucket), (1..=7).collect::<Vec<_>>());
    let rest = now(sequence.collect(head, u64::MAX)).unwrap();
    let replaced = second - 8;
    assert_eq!(
        rest,
        Collected {
            replaced,
            more: false
        }
    );
    assert_eq!(tombstones(&bucket), (1..second).collect::<Vec<_>>());
    let none = Collected {
        replaced: 0,
        more: false,
    };
    assert_eq!(now(sequence.collect(head, u64::MAX)).unwrap(), none);
    assert_eq!(
        &now(find(&bucket)).unwrap().unwrap().catalog,
        sequence.catalog()
    );
    // The next life finds out by itself how far that has got.
    let (mut sequence, _) = now(directory.open(&bucket)).unwrap();
    let calls = bucket.calls();
    let head = sequence.head();
    let after = now(sequence.collect(head, u64::MAX)).unwrap();
    assert_eq!(after.replaced, second_latest_whole(&bucket) - second);
    let looked = bucket.calls() - calls - usize::try_from(after.replaced).unwrap();
    assert!(looked <= 8, "{looked} looks at a hundred objects");
}

#[test]
fn what_the_directory_has_not_noted_is_not_collected() {
    let bucket = Bucket::new(1);
    let (directory, mut sequence) = grown(&bucket);
    directory.manifest().known = Some(5);
    now(sequence.collect(5, u64::MAX)).unwrap();
    assert_eq!(tombstones(&bucket), [1, 2, 3, 4]);
    // It dies before it notes any more, and its next life is not shut out.
    let (mut next, adopted) = now(directory.open(&bucket)).unwrap();
    assert_eq!(adopted.numbers, (6..=sequence.head()).collect::<Vec<_>>());
    let head = next.head();
    now(next.collect(head, u64::MAX)).unwrap();
    let second = second_latest_whole(&bucket);
    assert_eq!(tombstones(&bucket), (1..second).collect::<Vec<_>>());
}

#[test]
fn collecting_goes_on_where_the_store_did_not_answer() {
    for seed in 0..50 {
        let bucket = Bucket::new(seed);
        let (directory, mut sequence) = grown(&bucket);
        let (head, second) = (sequence.head(), second_latest_whole(&bucket));
        bucket.trouble(Trouble::SOME);
        let mut lives = 0;
        while tombstones(&bucket).len() as u64 != second - 1 {
            let before = tombstones(&bucket).len();
            let _ = now(sequence.collect(head, 10));
            let after = tombstones(&bucket);
            assert_eq!(
                after,
                (1..=after.len() as u64).collect::<Vec<_>>(),
                "oldest first"
            );
            assert!(after.len() >= before);
            lives += 1;
            if lives % 3 == 0 {
                sequence.collected.forget();
            }
        }
        bucket.trouble(Trouble::NONE);
        let (sequence, _) = now(directory.open(&bucket)).unwrap();
        assert_eq!(
            &now(find(&bucket)).unwrap().unwrap().catalog,
            sequence.catalog()
        );
    }
}

#[test]
fn a_sequence_with_one_whole_has_nothing_to_collect() {
    let bucket = Bucket::new(1);
    let directory = Directory::new();
    let (mut sequence, _) = now(directory.open(&bucket)).unwrap();
    let none = Collected {
        replaced: 0,
        more: false,
    };
    assert_eq!(now(sequence.collect(u64::MAX, 10)).unwrap(), none);
    directory.upload(1, 1);
    now(directory.publish(&bucket, &mut sequence)).unwrap();
    assert_eq!(now(sequence.collect(u64::MAX, 10)).unwrap(), none);
}
