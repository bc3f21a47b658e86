//! Owners that wake up late.

use super::{
    bucket::{Bucket, Fault},
    directory::Directory,
    schedule::now,
};
use crate::sequence::{ClaimError, PublishError, find};

/// What happens while the owner sleeps.
struct While {
    publications: u64,
    collected: bool,
    /// The owner had a publication on its way.
    open: Option<Fault>,
}

fn wake_after(what: &While) {
    let bucket = Bucket::new(1);
    let dormant = Directory::new();
    let (mut asleep, _) = now(dormant.open(&bucket)).unwrap();
    dormant.upload(1, 1);
    now(dormant.publish(&bucket, &mut asleep)).unwrap();
    dormant.note(&asleep);
    let successor = dormant.copy();
    let published = asleep.catalog().clone();
    // Nobody but the one that is asleep knows of this one.
    dormant.upload(2, 2);
    if let Some(fault) = what.open {
        bucket.next(&[fault]);
        now(dormant.publish(&bucket, &mut asleep)).unwrap_err();
    }

    let (mut awake, _) = now(successor.open(&bucket)).unwrap();
    successor.note(&awake);
    for salt in 0..what.publications {
        successor.upload(1, salt);
        successor.trim(1, 5);
        now(successor.publish(&bucket, &mut awake)).unwrap();
        successor.note(&awake);
        if what.collected {
            let known = awake.head();
            now(awake.collect(known, u64::MAX)).unwrap();
        }
    }

    let before = bucket.history(|history| history.last());
    bucket.land();
    let made = bucket.history(|history| history.made_by(asleep.owner()));
    for _ in 0..3 {
        let fenced = now(dormant.publish(&bucket, &mut asleep)).unwrap_err();
        assert!(
            matches!(fenced, PublishError::Fenced { number: 3, .. }),
            "{fenced:?}"
        );
    }
    let fenced = now(asleep.collect(u64::MAX, 10)).unwrap_err();
    assert!(
        matches!(fenced, PublishError::Fenced { number: 3, .. }),
        "{fenced:?}"
    );
    let fenced = now(dormant.open(&bucket)).unwrap_err();
    assert!(
        matches!(fenced, ClaimError::Fenced { number: 3, .. }),
        "{fenced:?}"
    );

    bucket.history(|history| {
        assert_eq!(history.last(), before, "nothing was added to the history");
        assert_eq!((made, history.made_by(asleep.owner())), (2, 2));
    });
    let found = now(find(&bucket)).unwrap().unwrap();
    assert_eq!(&found.catalog, awake.catalog());
    assert!(published.streams.keys().eq(found.catalog.streams.keys()));
    successor.upload(1, 1);
    now(successor.publish(&bucket, &mut awake)).unwrap();
}

#[test]
fn an_owner_that_slept_through_any_number_of_publications_is_fenced() {
    for publications in [0, 1, 2, 1_000] {
        for collected in [false, true] {
            for open in [None, Some(Fault::RequestLost), Some(Fault::Refused)] {
                wake_after(&While {
                    publications,
                    collected,
                    open,
                });
            }
        }
    }
}

#[test]
fn an_owner_that_was_overtaken_and_collects_removes_nothing_that_is_needed() {
    let bucket = Bucket::new(1);
    let dormant = Directory::new();
    let (mut asleep, _) = now(dormant.open(&bucket)).unwrap();
    for salt in 0..40 {
        dormant.upload(1, salt);
        now(dormant.publish(&bucket, &mut asleep)).unwrap();
    }
    dormant.note(&asleep);
    let successor = dormant.copy();
    let (awake, _) = now(successor.open(&bucket)).unwrap();
    // It does not know yet; the bucket checks each number that it replaces.
    let collected = now(asleep.collect(u64::MAX, u64::MAX)).unwrap();
    assert!(collected.replaced > 0 && !collected.more);
    let found = now(find(&bucket)).unwrap().unwrap();
    assert_eq!(
        (found.owner, &found.catalog),
        (awake.owner(), awake.catalog())
    );
}
