//! The judge itself: what keeps a promise, what breaks it, and whether workloads come by all that is to be
//! judged.

use std::collections::BTreeSet;

use crate::{
    plan::Plan,
    promises::{Found, Promised},
    workload,
};

/// Ten records of which 4..7 are a batch; six are durable, two archived, one was trimmed.
fn promised() -> Promised {
    let mut promised = Promised {
        created: true,
        durable: 6,
        archived: 2,
        trimmed: 1,
        trimming: 2,
        ..Promised::default()
    };
    (0..4).for_each(|n| promised.submit(100 + n));
    promised.submit_batch(&[104, 105, 106]);
    (7..10).for_each(|n| promised.submit(100 + n));
    promised
}

fn found(range: std::ops::Range<u64>) -> Found {
    Found {
        start: range.start,
        archived: 2,
        records: range.map(|n| 100 + n).collect(),
    }
}

#[track_caller]
fn breaks(promised: &Promised, found: Option<Found>, what: &str) {
    let told = promised.check(found.as_ref());
    let told = told.expect_err("a promise is broken");
    assert!(told.contains(what), "{told}");
}

#[test]
fn any_end_from_what_is_durable_to_what_was_handed_over_keeps_the_promises() {
    for (start, end) in [(1, 7), (1, 8), (2, 9), (1, 10)] {
        assert_eq!(promised().check(Some(&found(start..end))), Ok(()));
    }
}

#[test]
fn a_durable_record_that_is_lost_breaks_a_promise() {
    breaks(&promised(), Some(found(1..4)), "called durable");
    breaks(&promised(), None, "it is gone");
}

#[test]
fn a_record_that_nobody_handed_over_breaks_a_promise() {
    breaks(&promised(), Some(found(1..11)), "10 were handed over");
    let mut other = found(1..9);
    other.records[3] += 1;
    breaks(&promised(), Some(other), "the record at 4");
    let mut swapped = found(1..9);
    swapped.records.swap(1, 2);
    breaks(&promised(), Some(swapped), "the record at 2");
    let mut doubled = found(1..9);
    doubled.records[5] = doubled.records[4];
    breaks(&promised(), Some(doubled), "the record at 6");
}

#[test]
fn half_a_batch_breaks_a_promise() {
    let mut early = promised();
    early.durable = 3;
    assert_eq!(early.check(Some(&found(1..4))), Ok(()));
    for end in [5, 6] {
        breaks(&early, Some(found(1..end)), "within the batch");
    }
}

#[test]
fn a_trim_that_is_undone_or_goes_too_far_breaks_a_promise() {
    breaks(&promised(), Some(found(0..8)), "it starts at 0");
    breaks(&promised(), Some(found(3..8)), "it starts at 3");
}

#[test]
fn an_archived_record_that_is_so_no_more_breaks_a_promise() {
    let mut forgotten = found(1..8);
    forgotten.archived = 1;
    breaks(&promised(), Some(forgotten), "archived up to 1");
}

#[test]
fn a_truncation_under_way_allows_its_own_end_and_no_other() {
    let mut cutting = promised();
    cutting.cutting = Some(5);
    assert_eq!(cutting.check(Some(&found(1..5))), Ok(()));
    assert_eq!(cutting.check(Some(&found(1..9))), Ok(()));
    breaks(&cutting, Some(found(1..4)), "called durable");
    cutting.ends(5);
    breaks(&cutting, Some(found(1..9)), "5 were handed over");
    breaks(&cutting, Some(found(1..4)), "called durable");
    assert_eq!(cutting.check(Some(&found(1..5))), Ok(()));
}

/// The calls of a workload, without the names that are never the same, and without lengths: what has such
/// names in it is compressed to this or that many bytes.
fn calls(seed: u64) -> Vec<String> {
    let plan = Plan {
        with_creation: true,
        ..Plan::of(seed)
    };
    let is_of_one = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_identity = |part: &&str| part.len() >= 32 && part.bytes().all(is_of_one);
    let told = workload::run(&plan).into_iter().map(|boundary| {
        let call = boundary.before.split(" at ").next().unwrap_or_default();
        let parts = call.split('/');
        let parts = parts.map(|part| if is_identity(&part) { "ID" } else { part });
        parts.collect::<Vec<_>>().join("/")
    });
    told.collect()
}

#[test]
fn a_seed_makes_the_same_calls_each_time() {
    for seed in 0..24 {
        let (once, again) = (calls(seed), calls(seed));
        let mut both = once.iter().zip(&again).enumerate();
        let other = both.find(|(_, (a, b))| a != b);
        assert!(
            once == again,
            "seed {seed}: {} calls and {}; {other:?}",
            once.len(),
            again.len()
        );
    }
}

#[test]
fn workloads_promise_all_that_can_be_broken() {
    let plans = (0..48).map(Plan::of);
    let moments: Vec<_> = plans.flat_map(|plan| workload::run(&plan)).collect();
    let promised = |of: fn(&Promised) -> bool| {
        let mut all = moments.iter().flat_map(|moment| moment.promises.values());
        all.any(of)
    };
    assert!(promised(|it| it.durable > 0 && it.durable < it.next()));
    assert!(promised(|it| it
        .batches
        .iter()
        .any(|batch| batch.1 > it.durable)));
    assert!(promised(|it| it.trimmed > 0 && it.trimming > it.trimmed));
    assert!(promised(|it| it.archived > it.trimming));
    assert!(promised(|it| it
        .cutting
        .is_some_and(|end| end < it.durable)));
    // What a sync that failed has forgotten is seen, and is not kept.
    let forgot = moments.iter().filter(|moment| {
        let choices = moment.disk.choices();
        choices.cut(&choices.kept()).image() != moment.disk.image()
    });
    assert!(forgot.count() > 10);
}

#[test]
fn workloads_come_by_all_kinds_of_work() {
    let all: BTreeSet<String> = (0..48).flat_map(calls).collect();
    let wanted = [
        ("a segment is made", "CreateNew", "tls"),
        ("a segment is cut to its length", "SetLen", "tls"),
        ("a segment goes", "Remove", "tls"),
        ("one that was only closed is sealed", "Rename", "tls"),
        ("a compressed file is made", "CreateNew", "tlz"),
        ("a compressed file goes", "Remove", "tlz"),
        ("a file is set aside", "Rename", "quarantine"),
        ("a manifest is made", "CreateNew", "tlm"),
        ("a manifest goes", "Remove", "tlm"),
        ("the pointer is replaced", "Rename", "CURRENT"),
        ("a durable end is claimed", "WriteAt", "claims"),
        ("a segment is uploaded", "create", "streams/"),
        ("an object is deleted", "delete", "streams/"),
        ("a publication", "create", "catalog/"),
        ("a tombstone", "replace", "catalog/"),
    ];
    for (what, call, of) in wanted {
        let is_there = all.iter().any(|told| {
            told.split_once(' ')
                .is_some_and(|(kind, path)| kind == call && path.contains(of))
        });
        assert!(is_there, "never: {what}");
    }
}
