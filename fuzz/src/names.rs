//! Names that stand for something: keys of objects, names of files and folders, places of stores. What
//! is read from one gives that name again, so that no two names stand for one thing.
//!
//! Byte 0: bit 0 chooses the place of a store; otherwise the rest is a name.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tierlog::testing::cold::place::Place;

use crate::{
    disk::{STREAM, layout},
    storage::{
        catalog::{SegmentKey, catalog_key, catalog_number},
        layout::{
            parse_manifest_name, parse_segment_name, parse_segment_tmp_name, parse_stream_dir,
            parse_warm_name,
        },
    },
    take,
};

/// What nobody may see again, as it stands in a place and as it is meant.
const SECRET: (&str, &str) = ("kEePtHiS%2Btoo", "kEePtHiS");

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let data = &data[..data.len().min(1 << 10)];
    if mode & 1 == 0 {
        file(OsStr::from_bytes(data));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if mode & 1 == 0 {
        key(text);
    } else {
        place(text);
    }
}

fn key(text: &str) {
    if let Some(key) = SegmentKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Some(number) = catalog_number(text) {
        assert_eq!(catalog_key(number), text);
    }
}

fn file(name: &OsStr) {
    let layout = layout();
    let is = |path: PathBuf| assert_eq!(path.file_name(), Some(name));
    if let Some(number) = parse_manifest_name(name) {
        is(layout.manifest(number));
    }
    if let Some(number) = parse_segment_name(name) {
        is(layout.segment(STREAM, number));
    }
    if let Some(number) = parse_warm_name(name) {
        is(layout.warm(STREAM, number));
    }
    if let Some(number) = parse_segment_tmp_name(name) {
        is(layout.segment_tmp(STREAM, number));
    }
    if let Some(stream) = parse_stream_dir(name) {
        is(layout.stream_dir(stream));
    }
}

fn place(text: &str) {
    if let Some(shown) = shown(text) {
        let again = Place::parse(shown.trim()).expect("what is shown is a place");
        assert_eq!(again.to_string(), shown);
    }
    if let Ok(folder) = Place::folder(Path::new(text)) {
        let again = Place::parse(folder.to_string().trim());
        assert_eq!(again.as_ref(), Ok(&folder));
    }
    // The same with a credential, as an option of this store or of another one.
    if !text.contains(SECRET.1) {
        let mark = if text.contains('?') { '&' } else { '?' };
        for option in ["secret_access_key", "account_key", "token", "slip"] {
            let line = format!("{text}{mark}{option}={}", SECRET.0);
            hides(&line);
        }
    }
}

/// A place as people see it; none where it is refused.
fn shown(line: &str) -> Option<String> {
    let (text, _) = told(line);
    Place::parse(line).is_ok().then_some(text)
}

/// What people see of a place, or of why it is refused, in one line; and what a log of ours shows.
fn told(line: &str) -> (String, String) {
    let (text, debug) = match Place::parse(line) {
        Ok(place) => (place.to_string(), format!("{place:?}")),
        Err(error) => (error.to_string(), format!("{error:?}")),
    };
    assert!(
        !text.contains(char::is_control),
        "one line, and nothing that moves it: {text:?}"
    );
    (text, debug)
}

/// A place that must not tell what it was given as a credential.
fn hides(line: &str) {
    let (text, debug) = told(line);
    let tells = |text: &str| text.contains(SECRET.1);
    assert!(!tells(&text) && !tells(&debug), "{text:?}, {debug:?}");
}
