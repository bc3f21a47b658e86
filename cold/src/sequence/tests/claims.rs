use bytes::Bytes;
use futures::future::BoxFuture;
use tierlog_storage::{
    AttemptId, Epoch, LogId, OwnerId,
    catalog::{Body, Catalog, CatalogHead, CatalogKind, CatalogObject, Change, catalog_key},
};

use super::{
    bucket::{Bucket, Fault, Trouble},
    directory::{Directory, LOG, stream_of},
    schedule::{interleaved, now},
};
use crate::{
    sequence::{Claim, ClaimError, Found, PublishError, Sequence, find},
    store::{StoreError, StoreErrorKind},
};

type Opened = Result<Sequence, ClaimError<String>>;

async fn open(directory: &Directory, bucket: &Bucket) -> Opened {
    directory.open(bucket).await.map(|(sequence, _)| sequence)
}

/// Opens all of them at once, each again until it has an answer.
fn race(directories: &[Directory], bucket: &Bucket, rng: &mut fastrand::Rng) -> Vec<Opened> {
    let opening = directories
        .iter()
        .map(|directory| -> BoxFuture<'_, Opened> {
            Box::pin(async move {
                loop {
                    match open(directory, bucket).await {
                        Err(ClaimError::Store(_)) => {}
                        answer => return answer,
                    }
                }
            })
        });
    interleaved(opening.collect(), rng)
}

fn one_won(opened: Vec<Opened>, seed: u64) -> Sequence {
    let mut won = Vec::new();
    for answer in opened {
        match answer {
            Ok(sequence) => won.push(sequence),
            Err(ClaimError::Fenced { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert_eq!(won.len(), 1, "seed {seed}");
    won.remove(0)
}

#[test]
fn of_sixteen_claims_that_race_for_one_prefix_one_wins() {
    for seed in 0..300 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let trouble = [Trouble::NONE, Trouble::SOME][usize::from(seed % 2 == 1)];
        let bucket = Bucket::slow(seed, trouble);
        let directories: Vec<_> = (0..16).map(|_| Directory::new()).collect();
        let winner = one_won(race(&directories, &bucket, rng), seed);
        bucket.trouble(Trouble::NONE);
        bucket.land();
        let found = now(find(&bucket)).unwrap().unwrap();
        assert_eq!(found.owner, winner.owner(), "seed {seed}");
        // Whatever was made, late requests included, is the winner's directory's.
        let recorded = |directory: &Directory, owner| {
            let manifest = directory.manifest();
            manifest.recorded.iter().any(|(_, own)| *own == owner)
        };
        let mut winners = directories.iter().filter(|d| recorded(d, winner.owner()));
        let directory = winners.next().expect("its owner was recorded");
        bucket.history(|history| {
            for number in 1..=history.last() {
                assert!(recorded(directory, history.owner(number)), "seed {seed}");
            }
        });
    }
}

#[test]
fn of_sixteen_copies_of_a_directory_that_are_opened_at_once_one_wins() {
    for seed in 0..300 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let bucket = Bucket::slow(seed, Trouble::NONE);
        let original = Directory::new();
        let mut sequence = now(open(&original, &bucket)).unwrap();
        for salt in 0..3 {
            original.upload(1, salt);
            now(original.publish(&bucket, &mut sequence)).unwrap();
            if salt == seed % 3 {
                original.note(&sequence);
            }
        }
        if seed % 2 == 1 {
            bucket.trouble(Trouble::SOME);
        }
        let copies: Vec<_> = (0..16).map(|_| original.copy()).collect();
        let winner = one_won(race(&copies, &bucket, rng), seed);
        assert_eq!(winner.catalog(), sequence.catalog());
        bucket.trouble(Trouble::NONE);
        // Whoever had it before is told at its next word, and so are the other copies.
        original.upload(1, 9);
        let fenced = now(original.publish(&bucket, &mut sequence));
        assert!(
            matches!(fenced, Err(PublishError::Fenced { .. })),
            "{fenced:?}"
        );
        let again = race(&copies[..4], &bucket, rng);
        let winners = again.iter().filter(|answer| answer.is_ok()).count();
        assert!(winners <= 1, "only the winner's own directory");
    }
}

#[test]
fn a_copy_of_a_directory_does_not_take_in_what_the_original_has_published_since() {
    let bucket = Bucket::new(1);
    let original = Directory::new();
    let mut sequence = now(open(&original, &bucket)).unwrap();
    original.note(&sequence);
    original.upload(1, 1);
    let copy = original.copy();
    // Both directories know of the upload and of the owner that publishes it.
    now(original.publish(&bucket, &mut sequence)).unwrap();
    let same = original.copy();
    original.upload(1, 2);
    now(original.publish(&bucket, &mut sequence)).unwrap();
    for stale in [copy, same] {
        let refused = now(open(&stale, &bucket));
        assert!(
            matches!(refused, Err(ClaimError::Fenced { number: 3, .. })),
            "{refused:?}"
        );
        assert_eq!(
            bucket.history(|history| history.last()),
            3,
            "nothing was claimed"
        );
    }
    now(original.publish(&bucket, &mut sequence)).unwrap();
}

#[test]
fn a_copy_that_knows_all_that_was_published_takes_over() {
    let bucket = Bucket::new(1);
    let original = Directory::new();
    let mut sequence = now(open(&original, &bucket)).unwrap();
    original.upload(1, 1);
    now(original.publish(&bucket, &mut sequence)).unwrap();
    original.upload(1, 2);
    let copy = original.copy();
    let mut taken = now(open(&copy, &bucket)).unwrap();
    assert_eq!(taken.head(), 3);
    now(copy.publish(&bucket, &mut taken)).unwrap();
    let fenced = now(original.publish(&bucket, &mut sequence)).unwrap_err();
    assert!(
        matches!(fenced, PublishError::Fenced { number: 3, .. }),
        "{fenced:?}"
    );
    assert!(sequence.is_fenced());
    let fenced = now(open(&original, &bucket)).unwrap_err();
    assert!(
        matches!(fenced, ClaimError::Fenced { number: 3, .. }),
        "{fenced:?}"
    );
}

#[test]
fn what_earlier_lives_have_left_is_taken_in() {
    let bucket = Bucket::new(1);
    let directory = Directory::new();
    // Claims whose answers are lost: each life finds those of the ones before.
    for life in 1..=5 {
        bucket.next(&[Fault::AnswerLost]);
        let unknown = now(open(&directory, &bucket)).unwrap_err();
        assert!(matches!(unknown, ClaimError::Store(_)), "{unknown:?}");
        assert_eq!(bucket.history(|history| history.last()), life);
    }
    let (mut sequence, adopted) = now(directory.open(&bucket)).unwrap();
    assert_eq!(adopted.numbers, [1, 2, 3, 4, 5]);
    assert_eq!(sequence.head(), 6);
    directory.note(&sequence);
    // Publications that are made, and of which the manifest never hears, with a trim ahead of them.
    for salt in 0..4 {
        directory.upload(1, salt);
        now(directory.publish(&bucket, &mut sequence)).unwrap();
    }
    directory.upload(1, 4);
    bucket.next(&[Fault::AnswerLost]);
    now(directory.publish(&bucket, &mut sequence)).unwrap_err();
    directory.trim(1, 12);
    let (sequence, adopted) = now(directory.open(&bucket)).unwrap();
    assert_eq!(adopted.numbers, [7, 8, 9, 10, 11]);
    assert_eq!(sequence.catalog(), &directory.manifest().local);
    assert_eq!(directory.due(sequence.catalog()), []);
}

#[test]
fn a_claim_that_lands_late_takes_nothing_from_a_later_one() {
    let bucket = Bucket::new(1);
    let (first, other) = (Directory::new(), Directory::new());
    bucket.next(&[Fault::RequestLost, Fault::RequestLost]);
    now(open(&first, &bucket)).unwrap_err();
    now(open(&first, &bucket)).unwrap_err();
    let mut owner = now(open(&other, &bucket)).unwrap();
    bucket.land();
    other.upload(1, 1);
    now(other.publish(&bucket, &mut owner)).unwrap();
    let fenced = now(open(&first, &bucket)).unwrap_err();
    assert!(
        matches!(fenced, ClaimError::Fenced { number: 1, .. }),
        "{fenced:?}"
    );
    bucket.history(|history| assert_eq!(history.made_by(owner.owner()), 2));
}

#[test]
fn a_claim_that_lands_before_another_directory_tries_is_the_claim() {
    let bucket = Bucket::new(1);
    let (first, other) = (Directory::new(), Directory::new());
    bucket.next(&[Fault::RequestLost]);
    now(open(&first, &bucket)).unwrap_err();
    bucket.land();
    let fenced = now(open(&other, &bucket)).unwrap_err();
    assert!(
        matches!(fenced, ClaimError::Fenced { number: 1, .. }),
        "{fenced:?}"
    );
    let (sequence, adopted) = now(first.open(&bucket)).unwrap();
    assert_eq!((sequence.head(), adopted.numbers), (2, vec![1]));
}

fn object(log: LogId, owner: OwnerId, epoch: u64, number: u64, body: Body) -> Bytes {
    let (kind, whole_at) = match body {
        Body::Whole(_) => (CatalogKind::Claim, number),
        Body::Changes(_) => (CatalogKind::Publication, 1),
        Body::None => (CatalogKind::Tombstone, 0),
    };
    let attempt = AttemptId::generate();
    let epoch = Epoch(epoch);
    let head = CatalogHead {
        log,
        number,
        owner,
        epoch,
        attempt,
        kind,
        whole_at,
    };
    CatalogObject { head, body }.encode().into()
}

fn claim(known: Option<u64>, ours: &[OwnerId]) -> Claim {
    Claim {
        log: LOG,
        epoch: Epoch(5),
        owner: OwnerId::generate(),
        known,
        ours: ours.to_vec(),
        catalog: Catalog::default(),
    }
}

/// Claims; answers with the numbers that were recorded as well.
fn try_claim(bucket: &Bucket, claim: Claim) -> (Opened, Vec<u64>) {
    let mut recorded = Vec::new();
    let record = |number| -> BoxFuture<'static, _> {
        recorded.push(number);
        Box::pin(std::future::ready(Ok(())))
    };
    let claimed = now(Sequence::claim(
        bucket.objects(),
        claim,
        |_: &Change| true,
        record,
    ));
    (claimed.map(|(sequence, _)| sequence), recorded)
}

#[test]
fn nothing_is_claimed_where_the_bucket_is_not_the_one_that_is_known() {
    let (me, other) = (OwnerId::generate(), OwnerId::generate());
    let foreign = LogId::from_bytes([9; 16]);
    let whole = || Body::Whole(Catalog::default());
    let refused = |known, objects: &[Bytes]| {
        let bucket = Bucket::new(1);
        for (number, bytes) in (1..).zip(objects) {
            bucket.put(&catalog_key(number), Some(bytes.clone()));
        }
        let (claimed, recorded) = try_claim(&bucket, claim(known, &[me]));
        assert_eq!(recorded, [0; 0], "nothing was about to be claimed");
        claimed.unwrap_err()
    };
    let mine = object(LOG, me, 3, 1, whole());
    let lost = refused(Some(2), std::slice::from_ref(&mine));
    assert!(matches!(lost, ClaimError::Lost { number: 2 }), "{lost:?}");
    let empty = refused(Some(2), &[]);
    assert!(matches!(empty, ClaimError::Lost { number: 2 }), "{empty:?}");
    for (known, at) in [(None, 1), (Some(1), 1)] {
        let theirs = refused(known, &[object(foreign, me, 3, 1, whole())]);
        assert!(
            matches!(theirs, ClaimError::OtherLog { log, number } if log == foreign && number == at),
            "{theirs:?}"
        );
    }
    for body in [whole(), Body::None, Body::Changes(Vec::new())] {
        let by = if body == Body::None { me } else { other };
        let fenced = refused(Some(1), &[mine.clone(), object(LOG, by, 4, 2, body)]);
        assert!(
            matches!(
                fenced,
                ClaimError::Fenced {
                    by: Epoch(4),
                    number: 2
                }
            ),
            "{fenced:?}"
        );
    }
    let first = refused(None, &[object(LOG, other, 4, 1, whole())]);
    assert!(
        matches!(first, ClaimError::Fenced { number: 1, .. }),
        "{first:?}"
    );
    for known in [None, Some(1)] {
        let damaged = refused(known, &[mine.slice(..100)]);
        assert!(
            matches!(damaged, ClaimError::Damaged { number: 1, .. }),
            "{damaged:?}"
        );
        let behind = refused(known, &[object(LOG, me, 5, 1, whole())]);
        assert!(
            matches!(behind, ClaimError::EpochBehind { seen: Epoch(5) }),
            "{behind:?}"
        );
    }
    let strange = refused(None, &[object(LOG, me, 4, 2, whole())]);
    assert!(
        matches!(strange, ClaimError::Damaged { number: 1, .. }),
        "{strange:?}"
    );
}

#[test]
fn a_claim_is_recorded_before_it_is_made_and_not_made_if_that_fails() {
    let bucket = Bucket::new(1);
    let failed = now(Sequence::claim(
        bucket.objects(),
        claim(None, &[]),
        |_: &Change| true,
        |number| -> BoxFuture<'static, Result<(), StoreError>> {
            assert_eq!((number, bucket.history(|history| history.last())), (1, 0));
            let full = StoreError::new(StoreErrorKind::Busy, "the disk is full");
            Box::pin(std::future::ready(Err(full)))
        },
    ));
    assert!(matches!(failed, Err(ClaimError::Record(_))), "{failed:?}");
    assert_eq!(bucket.history(|history| history.last()), 0);
    let (claimed, recorded) = try_claim(&bucket, claim(None, &[]));
    assert_eq!((claimed.unwrap().head(), recorded), (1, vec![1]));
}

#[test]
fn a_restored_directory_goes_on_unless_somebody_was_faster() {
    let bucket = Bucket::new(1);
    let lost = Directory::new();
    let mut sequence = now(open(&lost, &bucket)).unwrap();
    lost.upload(1, 1);
    now(lost.publish(&bucket, &mut sequence)).unwrap();
    let restored = |found: &Found| Claim {
        epoch: Epoch(found.epoch.get() + 1),
        catalog: found.catalog.clone(),
        ..claim(Some(found.head), &[])
    };
    let found = now(find(&bucket)).unwrap().unwrap();
    let (early, _) = try_claim(&bucket, restored(&found));
    let early = early.unwrap();
    assert_eq!((early.head(), early.catalog()), (3, sequence.catalog()));
    let (late, _) = try_claim(&bucket, restored(&found));
    assert!(
        matches!(late, Err(ClaimError::Fenced { number: 3, .. })),
        "{late:?}"
    );
}

#[test]
fn what_contradicts_the_directory_is_not_taken_in() {
    let bucket = Bucket::new(1);
    let me = OwnerId::generate();
    let whole = Body::Whole(stream_of(1, 3));
    bucket.put(&catalog_key(1), Some(object(LOG, me, 1, 1, whole)));
    let mut claim = claim(None, &[me]);
    claim.catalog = stream_of(2, 1);
    let (refused, _) = try_claim(&bucket, claim);
    assert!(
        matches!(refused, Err(ClaimError::Contradiction { number: 1, .. })),
        "two streams of one name: {refused:?}"
    );
}
