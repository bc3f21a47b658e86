//! What becomes of a segment while it is uploaded.

use super::transitions::{S, archived, closed, filled, numbers, refused, trimmed, truncated};
use crate::{ids::SegmentNo, manifest::Entry};

/// A segment was cut while it was uploaded, and its rest sealed and compressed before the upload came
/// back. The object, of all that it had been, then stood for the rest: published, so that the compressed
/// file went, and no reader took the object for what it was said to be.
#[test]
fn a_segment_that_is_being_uploaded_is_not_cut() {
    let mut state = filled(2);
    let (stream, segment) = (S, SegmentNo(1));
    let cut = truncated(15, 2);
    let mut idle = state.clone();
    idle.apply(&cut).unwrap();
    idle.apply(&closed(1, 10, 15)).unwrap();
    state
        .apply(&Entry::UploadStarted {
            stream,
            segment,
            key: "k".into(),
            upload_id: "1".into(),
        })
        .unwrap();
    state.apply(&cut).unwrap();
    refused(&mut state, &closed(1, 10, 15));
}

/// A segment was trimmed while its upload was under way, so that it stayed known for its object's sake. It
/// passed for a hole: nothing behind it could ever be archived, nor Tier 2 be claimed again.
#[test]
fn what_was_trimmed_during_its_upload_is_no_hole_in_the_archive() {
    let mut state = filled(3);
    let upload = |no: u64| Entry::UploadStarted {
        stream: S,
        segment: SegmentNo(no),
        key: "k".into(),
        upload_id: "1".into(),
    };
    let uploaded = |no: u64| Entry::Uploaded {
        stream: S,
        segment: SegmentNo(no),
        key: "k".into(),
        len: 1,
        crc: 2,
    };
    state.apply(&uploaded(0)).unwrap();
    state.apply(&archived(10)).unwrap();
    state.apply(&upload(1)).unwrap();
    state.apply(&uploaded(2)).unwrap();
    refused(&mut state, &archived(30));
    state.apply(&trimmed(20)).unwrap();
    assert_eq!(
        numbers(&state),
        [0, 1, 2, 3],
        "their objects are to be deleted"
    );
    state.apply(&archived(30)).unwrap();
}
