use std::time::Duration;

use tierlog_storage::{Epoch, SegmentNo, manifest::ColdCopy};

use super::{
    super::{
        super::table::{Archive, Table},
        Wait, will_free,
    },
    *,
};

const STREAM: StreamId = StreamId::from_bytes([1; 16]);

fn id(no: u64) -> Id {
    (STREAM, SegmentNo(no))
}

/// The object of a segment of ten records.
pub fn object(no: u64) -> ColdCopy {
    let key = SegmentKey {
        stream: STREAM,
        base: Offset(no * 10),
        epoch: Epoch(3),
        segment: SegmentNo(no),
    };
    ColdCopy {
        key: key.to_string(),
        len: 40,
        crc: 1,
        dropped: false,
    }
}

/// What is known of Tier 2.
pub fn archive(table: &mut Table, archived: u64, published: Option<u64>, outlives: bool) {
    let mut state = tierlog_storage::manifest::StreamState::new("s".into(), 7);
    state.archived = Offset(archived);
    table.take_stream(STREAM, &state);
    table.outlives = outlives;
    if let Some(archive) = table.archive_mut(STREAM) {
        archive.published = published.map(Offset);
    }
}

/// Segments of ten records each: whether there is a segment file, a compressed one, an object.
fn segments(all: &[(bool, bool, bool)]) -> Table {
    let mut table = Table::default();
    for (no, &(hot, warm, cold)) in (0..).zip(all) {
        let mut known = super::super::tests::sealed(no, 90);
        known.residency.hot = hot;
        known.residency.warm = warm.then_some(tierlog_storage::manifest::WarmCopy {
            file_len: 40,
            crc: 1,
        });
        known.residency.cold = cold.then(|| object(no));
        table.put(id(no), known);
    }
    table
}

const LIMITS: Limits = Limits {
    archives: true,
    outlives: true,
    archives_now: true,
    transfers: 2,
    ..super::super::tests::LIMITS
};

fn named(changes: &[Change]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Stream { .. } => "stream".to_owned(),
        Change::Segment { segment, .. } => format!("segment {segment}"),
        Change::Trimmed { start, .. } => format!("start {start}"),
    };
    changes.iter().map(name).collect()
}

#[test]
fn what_is_compressed_is_uploaded_the_oldest_first_as_far_as_there_are_hands() {
    let mut table = segments(&[
        (true, true, true),
        (true, true, false),
        (false, true, false),
        (true, false, false),
        (false, true, false),
    ]);
    archive(&mut table, 10, Some(0), true);
    let now = Instant::now();
    let begun = |limits: &Limits| transfers(&table, limits, now);
    assert_eq!(begun(&LIMITS), [Move::Upload(id(1)), Move::Upload(id(2))]);
    let none = Limits {
        transfers: 0,
        ..LIMITS
    };
    assert_eq!(begun(&none), []);
}

#[test]
fn one_that_just_failed_is_not_uploaded_and_may_be_moved_otherwise() {
    let mut table = segments(&[(true, true, false)]);
    archive(&mut table, 0, Some(0), true);
    let now = Instant::now();
    table.change(&id(0), |known| {
        known.upload.not_before = Some(now + Duration::from_secs(1));
    });
    assert_eq!(transfers(&table, &LIMITS, now), []);
    let full = Limits {
        hot_used: 950,
        ..LIMITS
    };
    let moves = super::super::plan(&table, &full, now);
    assert_eq!(moves, [Move::DropHot(id(0))]);
}

#[test]
fn a_compressed_file_goes_only_for_room_and_only_where_a_published_object_stands_for_it() {
    let mut table = segments(&[
        (false, true, true),
        (false, true, true),
        (false, true, false),
    ]);
    archive(&mut table, 10, Some(0), true);
    let now = Instant::now();
    let limits = |warm| Limits {
        warm: Some(warm),
        ..LIMITS
    };
    assert_eq!(drop_warm(&table, &limits(120), 0, now), []);
    let dropped = drop_warm(&table, &limits(120), 1, now);
    assert_eq!(dropped, [Move::DropWarm(id(0))]);
    assert_eq!(
        drop_warm(&table, &limits(0), 500, now),
        [Move::DropWarm(id(0))],
        "the second one is there, and not published"
    );
    table.outlives = false;
    assert_eq!(
        drop_warm(&table, &limits(0), 500, now),
        [],
        "it may be gone any time"
    );
}

#[test]
fn a_stream_is_published_without_a_hole() {
    let mut table = segments(&[
        (false, true, true),
        (false, true, true),
        (false, true, false),
        (false, true, true),
    ]);
    archive(&mut table, 0, None, true);
    let changes = publication(&table);
    assert_eq!(named(&changes), ["stream", "segment 0", "segment 1"]);
    archive(&mut table, 20, Some(0), true);
    assert_eq!(named(&publication(&table)), [""; 0]);
    table.change(&id(2), |known| known.residency.cold = Some(object(2)));
    let changes = publication(&table);
    assert_eq!(named(&changes), ["segment 2", "segment 3"]);
}

#[test]
fn a_trim_is_published_before_its_objects_go() {
    let mut table = segments(&[
        (false, false, true),
        (false, true, true),
        (false, true, true),
    ]);
    archive(&mut table, 30, Some(0), true);
    let now = Instant::now();
    let archive: &mut Archive = table.archive_mut(STREAM).expect("it is known");
    archive.start = Offset(15);
    table.change(&id(0), |known| known.trimmed = true);
    assert_eq!(transfers(&table, &LIMITS, now), [], "the catalog names it");
    assert_eq!(named(&publication(&table)), ["start 15"]);
    table.publishing = true;
    assert_eq!(transfers(&table, &LIMITS, now), []);
    table.publishing = false;
    table.archive_mut(STREAM).expect("known").published = Some(Offset(15));
    assert_eq!(transfers(&table, &LIMITS, now), [Move::DropCold(id(0))]);
    assert_eq!(named(&publication(&table)), [""; 0]);
}

/// An owner that had been overtaken, and did not know, trimmed and deleted an object that it had not
/// published. Its rival, from a copy of the directory, had: a restore found it missing.
#[test]
fn an_object_that_was_never_published_stays_until_a_publication_tells_of_the_trim() {
    for (published, told) in [
        (Some(0), &["start 10"][..]),
        (None, &["stream", "start 10"]),
    ] {
        let mut table = segments(&[(false, false, true)]);
        archive(&mut table, 0, published, true);
        assert_eq!(
            named(&publication(&table)).len(),
            2 - usize::from(published.is_some())
        );
        table.archive_mut(STREAM).expect("known").start = Offset(10);
        table.change(&id(0), |known| known.trimmed = true);
        let now = Instant::now();
        assert_eq!(
            transfers(&table, &LIMITS, now),
            [],
            "somebody else may have named it"
        );
        assert_eq!(named(&publication(&table)), told);
        table.archive_mut(STREAM).expect("known").published = Some(Offset(10));
        assert_eq!(transfers(&table, &LIMITS, now), [Move::DropCold(id(0))]);
    }
}

#[test]
fn a_wish_is_met_where_there_is_room_and_else_what_is_colder_goes_first() {
    let mut table = segments(&[
        (false, false, true),
        (false, true, true),
        (false, true, true),
    ]);
    archive(&mut table, 30, Some(0), true);
    for (no, used) in [(0, 9), (1, 3), (2, 20)] {
        table.change(&id(no), |known| known.used.touch(used));
    }
    let now = Instant::now();
    let limits = |warm| Limits {
        warm: Some(warm),
        ..LIMITS
    };
    assert_eq!(
        fetch(&table, &limits(120), id(0), now),
        [Move::Fetch(id(0))]
    );
    assert_eq!(
        fetch(&table, &limits(110), id(0), now),
        [Move::DropWarm(id(1))]
    );
    assert_eq!(fetch(&table, &limits(110), id(7), now), [], "it is gone");
}

/// With a bucket that does not answer, those who wait for room are told what they wait for.
#[test]
fn room_waits_for_uploads_where_nothing_else_can_make_it() {
    let mut table = segments(&[(false, true, false), (true, false, false)]);
    archive(&mut table, 0, Some(0), true);
    let now = Instant::now();
    let limits = |warm, archives_now| Limits {
        warm: Some(warm),
        archives_now,
        ..LIMITS
    };
    assert_eq!(will_free(&table, &limits(130, false), now), Wait::Time);
    assert_eq!(will_free(&table, &limits(129, false), now), Wait::Upload);
    assert_eq!(will_free(&table, &limits(129, true), now), Wait::Time);
    assert_eq!(
        will_free(&table, &limits(80, false), now),
        Wait::Upload,
        "it takes all of it"
    );
    assert_eq!(
        will_free(&table, &limits(0, false), now),
        Wait::Room,
        "none are compressed"
    );
    table.change(&id(0), |known| known.upload.failures = 9);
    assert_eq!(
        will_free(&table, &limits(129, true), now),
        Wait::Upload,
        "it fails again and again"
    );
}

/// A segment that was read least gave its compressed file up while its segment file was still there. It was
/// compressed again, since it had none, and gave it up again, for ever; nothing else got its turn.
#[test]
fn what_gave_its_compressed_file_up_is_not_compressed_again() {
    let mut table = segments(&[(true, false, true), (true, false, false)]);
    archive(&mut table, 10, Some(0), true);
    let now = Instant::now();
    let moves = super::super::plan(&table, &LIMITS, now);
    assert_eq!(moves, [Move::Warm(id(1))]);
    let full = Limits {
        hot_used: 950,
        workers: 0,
        ..LIMITS
    };
    let moves = super::super::plan(&table, &full, now);
    assert_eq!(moves, [Move::DropHot(id(0))], "the object stands for it");
}

/// A call failed while a segment was compressed. Those behind it were compressed meanwhile, and took all the
/// room; none of them could be published before it, so that none left, and it found room never again.
#[test]
fn those_behind_a_segment_that_waits_leave_it_room_in_the_warm_budget() {
    let mut table = segments(&[(true, false, false); 4]);
    archive(&mut table, 0, Some(0), true);
    let now = Instant::now();
    let later = now + Duration::from_secs(9);
    table.change(&id(0), |known| known.not_before = Some(later));
    let limits = |warm| Limits {
        warm: Some(warm),
        archives: true,
        outlives: true,
        archives_now: true,
        ..super::super::tests::LIMITS
    };
    let warmed = |warm, now| super::super::plan(&table, &limits(warm), now);
    assert_eq!(warmed(180, now), [Move::Warm(id(1))], "and no more");
    assert_eq!(warmed(179, now), [], "one alone would take its room");
    assert_eq!(will_free(&table, &limits(179), later), Wait::Time);
    let patient = Limits {
        patience: Duration::ZERO,
        ..limits(179)
    };
    assert_ne!(
        will_free(&table, &patient, now),
        Wait::Time,
        "nothing begins"
    );
    assert_eq!(warmed(179, later), [Move::Warm(id(0))], "its turn");
    assert_eq!(warmed(180, later), [Move::Warm(id(0)), Move::Warm(id(1))]);
    let alone = Limits {
        archives: false,
        ..limits(179)
    };
    assert_eq!(
        super::super::plan(&table, &alone, now),
        [Move::Warm(id(1))],
        "without Tier 2 nobody waits for anybody"
    );
}

/// Segments of an earlier run were longer than the budget of this one: they were never compressed, and so
/// never archived, and writers waited for room until they gave up.
#[test]
fn a_segment_longer_than_the_whole_warm_budget_goes_when_nothing_else_is_there() {
    let now = Instant::now();
    let limits = Limits {
        warm: Some(50),
        archives: true,
        outlives: true,
        archives_now: true,
        ..super::super::tests::LIMITS
    };
    let mut table = segments(&[(true, false, false); 3]);
    archive(&mut table, 0, Some(0), true);
    let moves = |table: &Table, limits: &Limits| super::super::plan(table, limits, now);
    assert_eq!(moves(&table, &limits), [Move::Warm(id(0))], "one at a time");
    assert_eq!(will_free(&table, &limits, now), Wait::Time);
    let taken = Limits {
        warm_under_way: 1,
        ..limits
    };
    assert_eq!(moves(&table, &taken), [], "not beside anything");
    let memory = Limits {
        outlives: false,
        ..limits
    };
    assert_eq!(moves(&table, &memory), [], "it would stay for good");
    assert_eq!(will_free(&table, &memory, now), Wait::Room);

    // What was archived makes room for the next one, all of it.
    let mut table = segments(&[(true, true, true), (true, false, false)]);
    archive(&mut table, 10, Some(0), true);
    assert_eq!(moves(&table, &limits), [Move::DropWarm(id(0))]);
    assert_eq!(will_free(&table, &limits, now), Wait::Time);
}

/// Those of other streams that are short enough would keep the budget filled, and the long one from it.
#[test]
fn nothing_is_compressed_behind_a_segment_that_waits_for_an_empty_warm_budget() {
    let now = Instant::now();
    let limits = Limits {
        warm: Some(95),
        archives: true,
        outlives: true,
        ..super::super::tests::LIMITS
    };
    let mut table = segments(&[
        (false, true, false),
        (true, false, false),
        (true, false, false),
    ]);
    let long = super::super::tests::sealed(1, 96);
    table.put(id(1), long);
    archive(&mut table, 0, Some(0), true);
    let other = (StreamId::from_bytes([9; 16]), SegmentNo(0));
    table.put(other, super::super::tests::sealed(7, 20));
    let moves = |limits: &Limits| super::super::plan(&table, limits, now);
    assert_eq!(moves(&limits), [], "first the one that waits");
    assert_eq!(
        will_free(&table, &limits, now),
        Wait::Upload,
        "and it waits for Tier 2"
    );
    let wider = Limits {
        warm: Some(96),
        ..limits
    };
    assert_eq!(moves(&wider), [Move::Warm(other)], "which fits beside it");
}
