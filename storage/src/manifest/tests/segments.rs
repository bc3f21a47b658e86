//! What entries about a stream look at of its segments, and that they miss none.

use proptest::prelude::*;

use super::{
    arbitrary::{entry_for, state_after, steps},
    transitions::{S, archived, closed, filled, numbers, trimmed, truncated},
};
use crate::{
    ids::{Offset, SegmentNo},
    manifest::{Entry, ManifestState, SegmentStatus, Segments, StreamState, segments::LOOKS},
};

/// Applies an entry; gives how many segments it looked at.
fn looks(state: &mut ManifestState, entry: &Entry) -> u64 {
    let before = LOOKS.get();
    state.apply(entry).expect("it makes sense");
    LOOKS.get() - before
}

fn uploaded(no: u64) -> Entry {
    Entry::Uploaded {
        stream: S,
        segment: SegmentNo(no),
        key: format!("key {no}"),
        len: 1,
        crc: 1,
    }
}

/// Segments of which a search by halves comes by one each time, and a few more.
const SOME: u64 = 16;

#[test]
fn a_trim_looks_at_what_it_frees_however_many_segments_there_are() {
    let mut state = filled(4_000);
    for (start, freed) in [
        (10, 1),
        (15, 0),
        (20, 1),
        (520, 50),
        (520, 0),
        (10_000, 948),
    ] {
        let looked = looks(&mut state, &trimmed(start));
        assert!(
            looked <= freed,
            "{looked} up to {start}, and {freed} are free"
        );
        let first = numbers(&state)[0];
        assert_eq!(first, start / 10);
    }
    // The same again of what is replayed.
    let mut again = filled(4_000);
    let before = LOOKS.get();
    let trims: Vec<_> = (1..=1_000).map(|n| trimmed(n * 10)).collect();
    again.apply_all(&trims).expect("they make sense");
    assert!(LOOKS.get() - before <= 1_000);
    assert_eq!(again, state);
}

#[test]
fn a_trim_does_not_look_again_at_what_waits_for_its_object_to_be_deleted() {
    let mut state = filled(2_000);
    for no in 0..1_000 {
        state.apply(&uploaded(no)).expect("it makes sense");
    }
    let looked = looks(&mut state, &trimmed(9_000));
    assert!(looked <= 900, "{looked}");
    assert_eq!(numbers(&state).len(), 2_001, "each has an object");
    let looked = looks(&mut state, &trimmed(9_010));
    assert!(looked <= 1, "{looked}");
    // What is found damaged meanwhile has something to be forgotten again.
    let damaged = Entry::NeedsRecovery {
        stream: S,
        segment: SegmentNo(7),
    };
    state.apply(&damaged).expect("it makes sense");
    let looked = looks(&mut state, &trimmed(9_010));
    assert!(looked <= 1, "{looked}");
    let copies = &state
        .segment(S, SegmentNo(7))
        .expect("it is known")
        .residency;
    assert!(!copies.needs_recovery && !copies.hot && copies.is_cold());
}

#[test]
fn a_trim_frees_what_ended_late_and_what_ended_empty_wherever_it_stands() {
    let mut state = filled(3);
    let open = |no, state: &mut ManifestState| {
        let entry = Entry::SegmentCreated {
            stream: S,
            segment: SegmentNo(no),
            salt: no,
            capacity: 1,
            epoch: state.epoch,
            incarnation: state.streams[&S].incarnation,
        };
        state.apply(&entry).expect("it makes sense");
    };
    open(4, &mut state);
    open(5, &mut state);
    state.apply(&closed(4, 5, 5)).expect("it makes sense");
    // It holds more than the manifest knows.
    state.apply(&trimmed(40)).expect("it makes sense");
    assert_eq!(numbers(&state), [3, 5]);
    state.apply(&closed(3, 30, 38)).expect("it makes sense");
    let looked = looks(&mut state, &trimmed(40));
    assert!(looked <= 1, "{looked}");
    assert_eq!(numbers(&state), [5]);
}

#[test]
fn archiving_looks_at_what_it_archives_and_at_a_logarithm_of_what_there_is() {
    let mut state = filled(4_000);
    for no in 0..4_000 {
        state.apply(&uploaded(no)).expect("it makes sense");
        let looked = looks(&mut state, &archived(no * 10 + 10));
        assert!(looked <= SOME, "{looked} for segment {no}");
    }
    let mut at_once = filled(4_000);
    for no in 0..4_000 {
        at_once.apply(&uploaded(no)).expect("it makes sense");
    }
    let looked = looks(&mut at_once, &archived(40_000));
    assert!(looked <= 4_000 + SOME, "{looked}");
    assert_eq!(at_once, state);
}

/// A refused commit is taken back, and what is looked up beside the segments with it.
#[test]
fn what_a_refused_commit_trimmed_is_freed_by_the_next_trim() {
    let mut state = filled(20);
    state.apply(&uploaded(4)).expect("it makes sense");
    let before = state.clone();
    let refused = [trimmed(100), truncated(50, 9)];
    assert!(state.apply_all(&refused).is_err());
    assert_eq!(state, before);
    state.apply(&trimmed(100)).expect("it makes sense");
    assert_eq!(numbers(&state)[..2], [4, 10]);
}

/// What a trim leaves, by looking at every segment.
fn after_trim(before: &StreamState, start: Offset) -> Segments {
    let mut left = Segments::new();
    for (&no, segment) in &before.segments {
        let mut segment = segment.clone();
        if segment.status.range().is_some_and(|(_, end)| end <= start) {
            let copies = &mut segment.residency;
            if copies.cold.is_none() && copies.upload.is_none() {
                continue;
            }
            (copies.hot, copies.warm, copies.needs_recovery) = (false, None, false);
        }
        left.insert(no, segment);
    }
    left
}

/// Whether a stream can be archived up to there, by looking at every segment.
fn can_be_archived(stream: &StreamState, to: Offset) -> bool {
    let fits = |(status, is_there): (SegmentStatus, bool)| {
        let Some((base, end)) = status.range().filter(|(base, end)| base < end) else {
            return true;
        };
        let meant = base < to && end > stream.archived && end > stream.start;
        !meant || end <= to && matches!(status, SegmentStatus::Sealed(_)) && is_there
    };
    let mut all = stream.segments.values().map(|segment| {
        let copies = &segment.residency;
        (segment.status, copies.cold.is_some())
    });
    stream.archived < to && to <= stream.next && all.all(fits)
}

proptest! {
    #[test]
    fn trims_and_archives_do_what_a_look_at_every_segment_would(steps in steps(120), ends in steps(20)) {
        let mut state = state_after(&steps);
        for step in ends {
            let _refused = state.apply(&entry_for(&state, step));
            let streams: Vec<_> = state.streams.iter().map(|(id, known)| (*id, known.clone())).collect();
            for (stream, known) in streams {
                for off in [0, 1, 20, 60] {
                    let start = known.start.plus(off);
                    let mut trimmed = state.clone();
                    trimmed.apply(&Entry::Trimmed { stream, start }).unwrap();
                    prop_assert_eq!(&trimmed.streams[&stream].segments, &after_trim(&known, start));
                    for end in [known.next, known.archived.plus(off)] {
                        let archived = state.clone().apply(&Entry::Archived { stream, end });
                        prop_assert_eq!(archived.is_ok(), can_be_archived(&known, end));
                    }
                }
            }
        }
    }
}
