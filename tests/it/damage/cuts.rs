//! Every file, cut to every length that it could have.

use std::path::Path;

use super::sample::{Fate, Sample};
use crate::sim;

struct CutTo<'a>(&'a Path, u64);

impl std::fmt::Display for CutTo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cut to {} bytes", self.0.display(), self.1)
    }
}

/// Cuts a file to each length and looks.
fn try_cuts(sample: &Sample, path: &Path, step: usize, may: impl Fn(u64, Fate) -> bool) {
    let bytes = sample.bytes(path);
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    // Each length up to the last byte that is set; of the zeros behind it a few.
    let lengths = (0..used).chain((used..bytes.len()).step_by(step));
    sim::run(async {
        for len in lengths {
            let len = len as u64;
            sample.cut(path, len);
            let fate = sample.fate(&CutTo(path, len)).await;
            sample.write(path, len, &bytes[len as usize..]);
            assert!(may(len, fate), "{}: {fate:?}", CutTo(path, len));
        }
        assert_eq!(sample.fate(&"put back").await, Fate::Unnoticed);
    });
}

#[test]
fn a_segment_cut_to_any_length_is_read_up_to_there_and_no_further_in_silence() {
    let sample = Sample::make();
    for name in ["a", "b"] {
        for path in sample.segments(name) {
            let bytes = sample.bytes(&path);
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            try_cuts(&sample, &path, 97, |len, fate| {
                // The zeros at the end of a file that was allocated ahead are nobody's.
                (fate != Fate::Unnoticed && fate != Fate::Refused) || len as usize >= used
            });
        }
    }
}

#[test]
fn a_manifest_or_pointer_cut_to_any_length_is_refused() {
    let sample = Sample::make();
    for (path, len) in sample.files() {
        if path.ends_with("CURRENT") {
            try_cuts(&sample, &path, 1, |cut, fate| {
                fate == Fate::Refused || cut == len
            });
        }
        if path.extension().is_some_and(|end| end == "tlm") {
            let bytes = sample.bytes(&path);
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            // Commits end at multiples of 8; a zero or two belongs to the last one.
            try_cuts(&sample, &path, 499, |cut, fate| {
                fate == Fate::Refused || (fate == Fate::Unnoticed && cut as usize >= used)
            });
        }
    }
}

#[test]
fn claims_cut_to_any_length_cost_nothing_after_a_clean_close() {
    let sample = Sample::make();
    let claims = super::sample::layout().claims();
    try_cuts(&sample, &claims, 13, |_, fate| fate == Fate::Unnoticed);
}

#[test]
fn opening_a_log_with_a_file_that_was_cut_makes_nothing_worse() {
    let sample = Sample::make();
    for (path, len) in sample.files() {
        if path.ends_with("reserve") {
            continue;
        }
        let bytes = sample.bytes(&path);
        for cut in (0..len).step_by(61) {
            sample.cut(&path, cut);
            super::flips::opens_without_making_it_worse(&sample, &CutTo(&path, cut));
            sample.write(&path, cut, &bytes[cut as usize..]);
        }
    }
}
