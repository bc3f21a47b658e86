//! Uploads in parts, as the manifest tells of them.

use super::arbitrary::LOG;
use crate::{
    error::StorageError,
    ids::Epoch,
    manifest::{
        Entry, ManifestState, PARTS_MAX, PartsState, Seq, UPLOAD_ID_MAX, UploadId,
        entry::FLAG_OPTIONAL,
    },
};

fn id(id: &str) -> UploadId {
    UploadId::new(id).unwrap()
}

fn begun(key: &str, upload: &str) -> Entry {
    Entry::PartsBegun {
        key: key.into(),
        id: id(upload),
    }
}

fn gone(key: &str, upload: &str) -> Entry {
    Entry::PartsGone {
        key: key.into(),
        id: id(upload),
    }
}

fn known(state: &ManifestState) -> Vec<(&str, &str)> {
    let parts = state.parts.iter();
    parts
        .map(|parts| (parts.key.as_str(), parts.id.as_str()))
        .collect()
}

#[track_caller]
fn refused(state: &mut ManifestState, entry: &Entry) {
    let before = state.clone();
    let error = state.apply(entry).expect_err("must be refused");
    assert!(matches!(error, StorageError::Invalid { .. }), "{error}");
    assert_eq!(*state, before);
}

#[test]
fn an_upload_in_parts_is_known_until_nothing_is_left_of_it() {
    let mut state = ManifestState::new(LOG);
    for entry in [begun("a", "1"), begun("a", "2"), begun("b", "1")] {
        state.apply(&entry).unwrap();
    }
    refused(&mut state, &begun("a", "2"));
    refused(&mut state, &gone("b", "2"));
    state.apply(&gone("a", "1")).unwrap();
    refused(&mut state, &gone("a", "1"));
    assert_eq!(known(&state), [("a", "2"), ("b", "1")]);
}

#[test]
fn so_many_uploads_in_parts_are_remembered_and_no_more() {
    let mut state = ManifestState::new(LOG);
    for n in 0..PARTS_MAX {
        state.apply(&begun("a", &n.to_string())).unwrap();
    }
    refused(&mut state, &begun("a", "one more"));
    let instead = [gone("a", "0"), begun("a", "one more")];
    state.apply_all(&instead).unwrap();
    assert_eq!(state.parts.len(), PARTS_MAX);
}

#[test]
fn a_snapshot_tells_of_uploads_in_parts() {
    let mut state = ManifestState::new(LOG);
    state.epoch = Epoch(1);
    for entry in [begun("a", "1"), begun("b", "2")] {
        state.apply(&entry).unwrap();
    }
    let mut again = ManifestState::new(LOG);
    again.apply_all(&state.snapshot()).unwrap();
    assert_eq!(again, state);
}

/// A program of before they existed skips the two entries, and leaves parts where they are.
#[test]
fn what_is_said_of_parts_may_be_skipped() {
    for entry in [begun("a", "1"), gone("a", "1")] {
        let mut bytes = Vec::new();
        entry.encode(Seq(1), &mut bytes);
        assert_eq!(bytes[2..4], FLAG_OPTIONAL.to_le_bytes());
    }
}

/// With Google Cloud Storage whoever knows it may go on with the upload.
#[test]
fn what_a_store_calls_an_upload_is_not_shown() {
    let entry = begun("a", "canary-7");
    let state = PartsState {
        key: "a".into(),
        id: id("canary-7"),
    };
    for shown in [
        format!("{entry:?}"),
        serde_json::to_string(&entry).unwrap(),
        format!("{state:?}"),
        serde_json::to_string(&state).unwrap(),
    ] {
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("8 bytes, not shown"), "{shown}");
    }
}

#[test]
fn the_name_of_an_upload_has_bounds() {
    assert_eq!(UploadId::new(""), None);
    assert_eq!(UploadId::new("x".repeat(UPLOAD_ID_MAX + 1)), None);
    let longest = "x".repeat(UPLOAD_ID_MAX);
    assert_eq!(id(&longest).as_str(), longest);
}
