use proptest::prelude::*;

use super::support::*;
use crate::{
    catalog::{ArchivedStream, Catalog, Change, is_known},
    ids::{Epoch, LogId, Offset, SegmentNo, StreamId},
    manifest::{Entry, ManifestState, SegmentStatus},
};

fn three() -> Vec<Change> {
    vec![
        created(1),
        added(1, 0, 0, 10),
        added(1, 1, 10, 25),
        added(1, 4, 25, 30),
    ]
}

#[track_caller]
fn refused(before: &[Change], change: &Change) {
    let before = catalog(before);
    let mut after = before.clone();
    let refused = after.apply(change);
    assert!(refused.is_err(), "{change:?} was taken");
    assert_eq!(after, before, "a refusal changes nothing");
}

#[test]
fn a_change_that_makes_no_sense_changes_nothing() {
    let three = three();
    refused(&three, &created(1));
    refused(&three, &added(2, 0, 0, 10));
    refused(&three, &trimmed(2, 0));
    // Not where the archive ends: a gap, an overlap, one that is there already.
    refused(&three, &added(1, 5, 31, 40));
    refused(&three, &added(1, 5, 29, 40));
    refused(&three, &added(1, 4, 25, 30));
    // A number that was used, and the last one there is.
    refused(&three, &added(1, 3, 30, 40));
    refused(&three, &added(1, u64::MAX, 30, 40));
    // No record, and bounds that are the wrong way round.
    refused(&three, &added(1, 5, 30, 30));
    let mut wrong = archived(30, 40);
    wrong.facts.data_end = wrong.facts.file_len + 1;
    let wrong = Change::Segment {
        stream: stream(1),
        segment: SegmentNo(5),
        archived: wrong,
    };
    refused(&three, &wrong);
    let moved = [three.clone(), vec![trimmed(1, 12)]].concat();
    refused(&moved, &trimmed(1, 11));
    for name in ["stream 1", "", "two\nlines"] {
        let change = Change::Stream {
            stream: stream(2),
            name: name.into(),
            created_ns: 1,
        };
        refused(&three, &change);
    }
}

#[test]
fn the_first_segment_of_a_trimmed_stream_holds_its_start() {
    let begun = [created(1), trimmed(1, 15)];
    for (base, end) in [(0, 15), (16, 20), (15, 15)] {
        refused(&begun, &added(1, 3, base, end));
    }
    for (base, end) in [(0, 16), (15, 20), (10, 25)] {
        let mut catalog = catalog(&begun);
        catalog.apply(&added(1, 3, base, end)).unwrap();
        assert_eq!(catalog.archived_end(stream(1)), Offset(end));
    }
}

#[test]
fn a_trim_drops_whole_segments_alone() {
    for (start, left, end) in [
        (0, 3, 30),
        (9, 3, 30),
        (10, 2, 30),
        (24, 2, 30),
        (29, 1, 30),
        (30, 0, 30),
        // Behind what is archived: it will never be.
        (41, 0, 41),
    ] {
        let catalog = catalog(&[three(), vec![trimmed(1, start)]].concat());
        let known = &catalog.streams[&stream(1)];
        assert_eq!(
            (known.segments.len(), known.end()),
            (left, Offset(end)),
            "{start}"
        );
        assert_eq!(
            (known.start, known.next_segment),
            (Offset(start), SegmentNo(5))
        );
    }
}

#[test]
fn changes_are_taken_in_all_or_none() {
    let before = catalog(&three());
    let mut after = before.clone();
    let changes = [
        created(2),
        added(2, 0, 0, 7),
        added(1, 5, 30, 33),
        trimmed(1, 26),
        added(1, 6, 34, 40),
    ];
    after.apply_all(&changes).unwrap_err();
    assert_eq!(after, before);
    after.with(&changes, |_| ()).unwrap_err();
    assert_eq!(after, before);
    let seen = after.with(&changes[..4], Clone::clone).unwrap();
    assert_eq!(after, before, "it was only looked at");
    after.apply_all(&changes[..4]).unwrap();
    assert_eq!(after, seen);
}

#[test]
fn what_an_earlier_life_published_is_taken_in_though_the_manifest_is_ahead_of_it() {
    let published = [
        three(),
        vec![trimmed(1, 5), added(1, 5, 30, 33), trimmed(1, 12)],
    ]
    .concat();
    // The manifest knows of the stream, of nothing archived, and of a trim that was not published yet.
    let mut local = catalog(&[created(1), trimmed(1, 27)]);
    for change in &published {
        local.adopt(change).unwrap();
    }
    let mut expected = catalog(&[published, vec![trimmed(1, 27)]].concat());
    assert_eq!(local, expected);
    local.adopt_whole(&catalog(&three())).unwrap();
    assert_eq!(local, expected);
    // What contradicts it is refused all the same.
    for change in [added(1, 5, 30, 34), added(1, 7, 35, 36)] {
        local.adopt(&change).unwrap_err();
    }
    expected.apply(&added(1, 6, 33, 40)).unwrap();
    local.adopt_whole(&expected).unwrap();
    assert_eq!(local, expected);
}

#[test]
fn streams_that_contradict_themselves_or_each_other_are_no_catalog() {
    let good = catalog(&three()).streams.remove(&stream(1)).unwrap();
    let one = |change: fn(&mut ArchivedStream)| {
        let mut stream = good.clone();
        change(&mut stream);
        stream
    };
    Catalog::new([(stream(1), good.clone())]).unwrap();
    for bad in [
        one(|s| s.segments.retain(|no, _| no.get() != 1)),
        one(|s| s.next_segment = SegmentNo(4)),
        one(|s| s.start = Offset(10)),
        one(|s| s.name.clear()),
    ] {
        Catalog::new([(stream(1), bad)]).unwrap_err();
    }
    Catalog::new([(stream(1), good.clone()), (stream(2), good)]).unwrap_err();
}

fn restored(catalog: &Catalog) -> ManifestState {
    let mut state = ManifestState::new(LogId::from_bytes([7; 16]));
    state
        .apply_all(&catalog.entries(Epoch(9), 16 << 20))
        .expect("the manifest takes it");
    state
}

#[test]
fn a_manifest_whose_objects_leave_a_gap_or_are_called_otherwise_is_refused() {
    let end = |_: StreamId| Offset(30);
    let good = restored(&catalog(&three()));
    assert_eq!(Catalog::of(&good, end).unwrap(), catalog(&three()));
    let segment = |state: &mut ManifestState, f: fn(&mut crate::manifest::SegmentState)| {
        let stream = state.streams.get_mut(&stream(1)).unwrap();
        stream.segments.change(SegmentNo(1), f);
    };
    let changes: [fn(&mut crate::manifest::SegmentState); 4] = [
        |state| state.residency.cold = None,
        |state| state.residency.cold.as_mut().unwrap().dropped = true,
        |state| state.residency.cold.as_mut().unwrap().key.push('x'),
        |state| state.status = SegmentStatus::Open,
    ];
    for change in changes {
        let mut state = good.clone();
        segment(&mut state, change);
        Catalog::of(&state, end).unwrap_err();
    }
}

#[test]
fn a_change_is_known_where_the_manifest_says_the_same_of_it() {
    let state = restored(&catalog(&[three(), vec![trimmed(1, 12)]].concat()));
    let mut other = archived(25, 30);
    other.epoch = Epoch(99);
    let other = Change::Segment {
        stream: stream(1),
        segment: SegmentNo(4),
        archived: other,
    };
    for (change, known) in [
        (created(1), true),
        (created(2), false),
        (added(1, 0, 0, 10), true),
        (added(1, 1, 10, 25), true),
        (added(1, 1, 10, 26), false),
        (added(1, 4, 25, 30), true),
        (other, false),
        (added(1, 5, 30, 31), false),
        (added(2, 0, 0, 10), false),
        (trimmed(1, 12), true),
        (trimmed(1, 13), false),
        (trimmed(2, 0), false),
    ] {
        assert_eq!(is_known(&state, &change), known, "{change:?}");
    }
}

#[test]
fn only_what_is_published_counts_as_archived_in_a_manifest() {
    let state = restored(&catalog(&three()));
    let mut found = Catalog::of(&state, |_| Offset(25)).unwrap();
    let known = &found.streams[&stream(1)];
    assert_eq!(known.segments.len(), 2, "the last object is not named yet");
    assert_eq!(
        (known.end(), known.next_segment),
        (Offset(25), SegmentNo(4))
    );
    found.apply(&three()[3]).unwrap();
    assert_eq!(found, catalog(&three()));
    // Trimmed behind all that is archived: the object is there until it is deleted.
    let mut state = state;
    let trim = Entry::Trimmed {
        stream: stream(1),
        start: Offset(30),
    };
    state.apply(&trim).unwrap();
    let found = Catalog::of(&state, |_| Offset(25)).unwrap();
    assert_eq!(found.archived_end(stream(1)), Offset(30));
    assert!(found.streams[&stream(1)].segments.is_empty());
}

proptest! {
    #[test]
    fn a_catalog_is_one_stretch_a_stream_whatever_changes_come(changes in changes()) {
        let mut catalog = Catalog::default();
        for change in &changes {
            let before = catalog.clone();
            if catalog.apply(change).is_err() {
                prop_assert_eq!(&catalog, &before);
            }
            prop_assert_eq!(&Catalog::new(catalog.streams.clone()).unwrap(), &catalog);
        }
    }

    #[test]
    fn what_is_looked_at_is_what_is_applied(whole in whole(), changes in changes()) {
        let mut looked = whole.clone();
        let mut applied = whole.clone();
        let seen = looked.with(&changes, Clone::clone).ok();
        prop_assert_eq!(&looked, &whole);
        let done = applied.apply_all(&changes).is_ok();
        prop_assert_eq!(seen.is_some(), done);
        prop_assert_eq!(&applied, seen.as_ref().unwrap_or(&whole));
    }

    #[test]
    fn a_restored_manifest_says_what_the_catalog_says(whole in whole()) {
        let state = restored(&whole);
        for (stream, known) in &whole.streams {
            let local = &state.streams[stream];
            prop_assert_eq!((local.start, local.next), (known.start, known.end()));
            prop_assert!(local.segments.values().all(|s| s.residency.is_cold() && !s.residency.hot));
        }
        prop_assert_eq!(Catalog::of(&state, |stream| whole.archived_end(stream)).unwrap(), whole);
    }
}
