//! `streams`, `segments`, `seal`, `flush`, `trim`, `retain`, `verify`, `manifest inspect`: what they show, and
//! that they change only what they say.

use crate::harness::{Place, SMALL, numbered};

fn place_with_segments() -> Place {
    let place = Place::new();
    place
        .feed(SMALL.iter().chain(&["append", "s"]), numbered(4000))
        .expect_code(0);
    place
}

#[test]
fn streams_shows_how_far_each_has_come() {
    let place = Place::new();
    place.append("orders", "a\nb\nc\n");
    place.append("a name with spaces", "x\n");
    let streams = place.json(["streams"]);
    assert_eq!(streams.len(), 2);
    let orders = streams
        .iter()
        .find(|stream| stream["name"] == "orders")
        .unwrap();
    assert_eq!(orders["watermarks"]["durable"], 3, "{orders}");
    assert_eq!(orders["watermarks"]["start"], 0);
    let run = place.run(["streams"]).expect_code(0);
    assert!(run.text().starts_with("STREAM"), "{}", run.text());
    assert_eq!(run.text().lines().count(), 3);
    assert!(run.text().contains("a name with spaces"));
    assert!(run.err.is_empty(), "{}", run.err);
}

#[test]
fn segments_shows_a_chain_without_gaps_and_files_that_are_there() {
    let place = place_with_segments();
    let segments = place.json(["segments", "s"]);
    assert!(segments.len() >= 3, "{}", segments.len());
    let mut end = 0;
    for segment in segments
        .iter()
        .filter(|segment| segment["base"] != segment["end"])
    {
        assert_eq!(segment["base"], end, "{segment}");
        end = segment["end"].as_u64().unwrap();
        assert_eq!(segment["tier"], 0);
        let path = segment["path"].as_str().unwrap();
        let len = std::fs::metadata(path).unwrap().len();
        assert_eq!(segment["file_len"], len, "{segment}");
        assert!(segment["object_key"].is_null());
    }
    assert_eq!(end, 4000);
    assert!(
        segments
            .iter()
            .filter(|segment| segment["state"] == "sealed")
            .count()
            >= 2
    );
    let run = place.run(["segments", "s"]).expect_code(0);
    assert_eq!(run.text().lines().count(), 1 + segments.len());
}

#[test]
fn seal_ends_the_open_segment_and_the_stream_goes_on_behind_it() {
    let place = Place::new();
    place.append("s", "a\nb\n");
    let run = place.run(["seal", "s"]).expect_code(0);
    assert!(run.text().contains('2'), "{}", run.text());
    let segments = place.json(["segments", "s"]);
    let sealed: Vec<_> = segments
        .iter()
        .filter(|segment| segment["state"] == "sealed")
        .collect();
    assert_eq!(sealed.len(), 1, "{segments:?}");
    assert_eq!(sealed[0]["end"], 2);
    place.append("s", "c\n");
    assert_eq!(place.read("s"), b"a\nb\nc\n");
    assert_eq!(place.json(["seal", "s"])[0]["end"], 3);
    assert_eq!(place.json(["flush", "s"])[0]["durable"], 3);
}

#[test]
fn trim_moves_the_start_frees_whole_segments_and_never_goes_back() {
    let place = place_with_segments();
    let before = place.json(["segments", "s"]).len();
    assert_eq!(
        place.json(["trim", "s", "--before", "2500"])[0]["start"],
        2500
    );
    assert_eq!(place.json(["streams"])[0]["watermarks"]["start"], 2500);
    let segments = place.json(["segments", "s"]);
    assert!(segments.len() < before);
    for segment in &segments {
        assert!(segment["end"].as_u64().unwrap() > 2500 || segment["state"] != "sealed");
    }
    let tail: String = numbered(4000).split_inclusive('\n').skip(2500).collect();
    assert_eq!(place.run(["read", "s"]).expect_code(0).text(), tail);
    // Back, or beyond the end: nothing is freed that holds records behind the start.
    assert_eq!(
        place.json(["trim", "s", "--before", "10"])[0]["start"],
        2500
    );
    assert_eq!(place.run(["read", "s"]).expect_code(0).text(), tail);
    place.append("s", "new\n");
    assert_eq!(
        place.run(["read", "s"]).expect_code(0).text(),
        tail + "new\n"
    );
}

#[test]
fn retain_shows_and_sets_how_much_a_stream_keeps() {
    let place = place_with_segments();
    let shown = |args: &[&str]| {
        let run = place.run(["retain", "s"].iter().chain(args)).expect_code(0);
        run.text().trim_end().to_owned()
    };
    let all = "s: age never (default), bytes unlimited (default)";
    assert_eq!(shown(&[]), all);
    let setting = ["--set", "retain_age=3d"];
    assert_eq!(
        shown(&setting),
        "s: age 3d (default), bytes unlimited (default)"
    );
    let before = place.json(["segments", "s"]).len();
    let limit = ["--bytes", "0B", "--age", "7d"];
    assert_eq!(shown(&limit), "s: age 7d, bytes 0");
    let segments = place.json(["segments", "s"]);
    assert!(segments.len() < before, "{segments:?}");
    let start = place.json(["streams"])[0]["watermarks"]["start"].as_u64();
    let start = usize::try_from(start.unwrap()).unwrap();
    let tail: String = numbered(4000).split_inclusive('\n').skip(start).collect();
    assert_eq!(place.run(["read", "s"]).expect_code(0).text(), tail);
    // One limit at a time; the other stays.
    assert_eq!(shown(&["--age", "never"]), "s: age never, bytes 0");
    let json = &place.json(["retain", "s", "--bytes", "default"])[0];
    assert_eq!(json["age"], "never", "{json}");
    assert_eq!(json["bytes"], "default");
    assert_eq!(json["bytes_in_effect"], "unlimited");
    assert_eq!(shown(&["--age", "default"]), all);
}

#[test]
fn verify_of_a_sound_log_says_how_much_it_checked() {
    let place = place_with_segments();
    place.append("other", "x\n");
    let report = &place.json(["verify"])[0];
    assert_eq!(report["damage"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(report["records"], 4001, "{report}");
    let report = &place.json(["verify", "s"])[0];
    assert_eq!(report["records"], 4000, "{report}");
    let run = place.run(["verify"]).expect_code(0);
    assert!(run.text().contains("4,001"), "{}", run.text());
}

#[test]
fn manifest_inspect_shows_files_chunks_and_entries() {
    let place = place_with_segments();
    let inspection = &place.json(["manifest", "inspect"])[0];
    let files = inspection["files"].as_array().unwrap();
    assert!(
        files.iter().any(|file| file["current"] == true),
        "{inspection}"
    );
    let run = place.run(["manifest", "inspect"]).expect_code(0);
    assert!(run.text().contains("CHUNK"), "{}", run.text());
    assert!(run.text().contains("SegmentCreated"), "{}", run.text());
}

#[test]
fn commands_that_read_change_no_byte_of_the_log() {
    let place = place_with_segments();
    let snapshot = || {
        let mut files = Vec::new();
        let mut dirs = vec![place.log()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false => files.push((path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        files.sort();
        files
    };
    let before = snapshot();
    for args in [
        &["read", "s"][..],
        &["streams"],
        &["segments", "s"],
        &["verify"],
        &["manifest", "inspect"],
        &["config"],
    ] {
        place.run(args).expect_code(0);
        assert!(snapshot() == before, "{args:?} changed something");
    }
}
