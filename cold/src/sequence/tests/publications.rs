use tierlog_storage::{
    LogId, StreamId,
    catalog::{Catalog, Change, catalog_key},
};

use super::{
    bucket::{Bucket, Fault},
    directory::Directory,
    schedule::{cut_short, now},
};
use crate::sequence::{PublishError, Published, Sequence, WHOLE_EVERY, find};

fn opened() -> (Bucket, Directory, Sequence) {
    let (bucket, directory) = (Bucket::new(1), Directory::new());
    let (sequence, _) = now(directory.open(&bucket)).unwrap();
    (bucket, directory, sequence)
}

fn found(bucket: &Bucket) -> Catalog {
    now(find(bucket)).unwrap().unwrap().catalog
}

#[test]
fn a_lost_answer_or_request_leaves_the_attempt_open_until_it_is_settled() {
    let (bucket, directory, mut sequence) = opened();
    let faults = [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::Refused,
        Fault::Garbled,
    ];
    for (salt, fault) in (0..).zip(faults.iter().cycle().take(12)) {
        directory.upload(1, salt);
        let due = directory.due(sequence.catalog());
        let before = sequence.head();
        bucket.next(&[*fault, Fault::Refused, Fault::AnswerLost]);
        for _ in 0..3 {
            now(directory.publish(&bucket, &mut sequence)).unwrap_err();
            assert_eq!(sequence.pending(), Some((before + 1, &due[..])));
            assert_eq!(sequence.head(), before);
            // Nothing else is published before it is known what became of that.
            let more = now(sequence.publish(Vec::new())).unwrap_err();
            assert!(matches!(more, PublishError::Unsettled { number } if number == before + 1));
        }
        // What was lost arrives; the attempts were one and the same.
        bucket.land();
        let settled = now(sequence.settle()).unwrap().unwrap();
        let expected = Published {
            number: before + 1,
            changes: due,
        };
        assert_eq!(settled, expected);
        assert_eq!(now(sequence.settle()).unwrap(), None);
        assert_eq!(
            bucket.history(|history| history.last()),
            before + 1,
            "made once"
        );
        assert_eq!(&found(&bucket), sequence.catalog());
    }
}

#[test]
fn a_publication_that_is_dropped_half_way_is_made_once() {
    for polls in 0..20 {
        let bucket = Bucket::slow(polls, super::bucket::Trouble::NONE);
        let directory = Directory::new();
        let (mut sequence, _) = now(directory.open(&bucket)).unwrap();
        directory.upload(1, polls);
        let due = directory.due(sequence.catalog());
        let polls = usize::try_from(polls).unwrap();
        let done = cut_short(sequence.publish(due.clone()), polls);
        match done {
            Some(published) => assert_eq!(published.unwrap().changes, due),
            // It was never begun.
            None if sequence.pending().is_none() => assert_eq!(polls, 0),
            None => {
                if polls % 2 == 1 {
                    bucket.land();
                }
                // The call that is to end it may be dropped as well.
                let ended = cut_short(sequence.settle(), 1 + polls / 2);
                assert!(ended.is_none_or(|ended| ended.is_ok()));
                if let Some(settled) = now(sequence.settle()).unwrap() {
                    assert_eq!(settled.changes, due);
                }
                bucket.land();
                assert_eq!((sequence.head(), sequence.pending()), (2, None));
                assert_eq!(bucket.history(|history| history.last()), 2);
                assert_eq!(sequence.catalog(), &directory.manifest().local);
            }
        }
    }
}

#[test]
fn what_is_open_at_a_crash_is_published_once_by_the_next_life() {
    for (fault, landing) in [
        (Fault::AnswerLost, false),
        (Fault::RequestLost, false),
        (Fault::RequestLost, true),
    ] {
        let (bucket, directory, mut sequence) = opened();
        directory.note(&sequence);
        directory.upload(1, 1);
        bucket.next(&[fault]);
        now(directory.publish(&bucket, &mut sequence)).unwrap_err();
        drop(sequence);
        if landing {
            bucket.land();
        }
        let (mut sequence, adopted) = now(directory.open(&bucket)).unwrap();
        bucket.land();
        let landed = landing || fault == Fault::AnswerLost;
        assert_eq!(adopted.numbers.len(), usize::from(landed));
        let due = directory.due(sequence.catalog());
        assert_eq!(due.is_empty(), landed);
        directory.upload(1, 2);
        now(directory.publish(&bucket, &mut sequence)).unwrap();
        assert_eq!(found(&bucket), directory.manifest().local);
    }
}

#[test]
fn changes_that_make_no_sense_are_refused_and_nothing_is_tried() {
    let (bucket, directory, mut sequence) = opened();
    directory.upload(1, 1);
    let mut due = directory.due(sequence.catalog());
    due.push(Change::Trimmed {
        stream: StreamId::from_bytes([9; 16]),
        start: tierlog_storage::Offset(1),
    });
    let calls = bucket.calls();
    let refused = now(sequence.publish(due)).unwrap_err();
    assert!(matches!(refused, PublishError::Refused(_)), "{refused:?}");
    assert_eq!((bucket.calls(), sequence.pending()), (calls, None));
    now(directory.publish(&bucket, &mut sequence)).unwrap();
}

#[test]
fn the_whole_is_published_now_and_then() {
    let (bucket, directory, mut sequence) = opened();
    // Many small ones: as many objects as may stand behind a whole.
    for salt in 0..60 {
        directory.upload(1, salt);
    }
    now(directory.publish(&bucket, &mut sequence)).unwrap();
    now(directory.publish(&bucket, &mut sequence)).unwrap();
    assert_eq!(bucket.history(|history| history.wholes()), [1, 3]);
    for _ in 0..WHOLE_EVERY {
        now(sequence.publish(Vec::new())).map(drop).unwrap();
    }
    assert_eq!(bucket.history(|history| history.wholes()), [1, 3]);
    now(sequence.publish(Vec::new())).map(drop).unwrap();
    assert_eq!(
        bucket.history(|history| history.wholes()),
        [1, 3, 4 + WHOLE_EVERY]
    );
    assert_eq!(&found(&bucket), sequence.catalog());
    // Many bytes: no more than the whole has.
    let mut since = 0;
    for salt in 0..400 {
        directory.upload(2, salt);
        now(directory.publish(&bucket, &mut sequence)).unwrap();
        let wholes = bucket.history(|history| history.wholes());
        let last = *wholes.last().unwrap();
        let size = |number| bucket.read(&catalog_key(number)).unwrap().len() - 128;
        since = match last == sequence.head() {
            true => 0,
            false => since + size(sequence.head()),
        };
        assert!(
            since <= size(last) + 400,
            "{since} behind one of {}",
            size(last)
        );
    }
    assert_eq!(&found(&bucket), sequence.catalog());
}

#[test]
fn a_number_that_another_log_has_taken_ends_it_too() {
    let (bucket, directory, mut sequence) = opened();
    let mut theirs = bucket.read(&catalog_key(1)).unwrap().to_vec();
    let mut object = tierlog_storage::catalog::CatalogObject::decode(&theirs).unwrap();
    object.head.log = LogId::from_bytes([1; 16]);
    (object.head.number, object.head.whole_at) = (2, 2);
    theirs = object.encode();
    bucket.put(&catalog_key(2), Some(theirs.into()));
    directory.upload(1, 1);
    for _ in 0..2 {
        let ended = now(sequence.publish(directory.due(sequence.catalog()))).unwrap_err();
        assert!(
            matches!(ended, PublishError::OtherLog { number: 2, .. }),
            "{ended:?}"
        );
    }
    assert!(sequence.is_fenced());
}
