//! Damaged logs: named with their exact range, never read past in silence, never made worse.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::harness::{Place, Running, SMALL, numbered};

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// A log of several sealed segments, and the file of the second one with its range of offsets.
fn sealed() -> (Place, PathBuf, std::ops::Range<usize>) {
    let place = Place::new();
    place
        .feed(SMALL.iter().chain(&["append", "s"]), numbered(4000))
        .expect_code(0);
    let segments = place.json(["segments", "s"]);
    let second = &segments[1];
    assert_eq!(second["state"], "sealed");
    let offset = |key: &str| second[key].as_u64().unwrap() as usize;
    let path = second["path"].as_str().unwrap().into();
    (place, path, offset("base")..offset("end"))
}

#[test]
fn reading_stops_at_damage_with_1_and_one_line_and_what_came_before_is_printed() {
    let (place, path, range) = sealed();
    flip(&path, 20_000);
    let run = place
        .run(["read", "s"])
        .expect_line(1, &["s", "segment", "offset"]);
    let printed = run.text().lines().count();
    assert!(
        range.contains(&printed) || printed == range.start,
        "{printed} of {range:?}"
    );
    assert!(
        numbered(4000).starts_with(run.text()),
        "what is printed is right"
    );
    // What lies behind stays readable.
    let from = range.end.to_string();
    let behind = place.run(["read", "s", "--from", &from]).expect_code(0);
    assert_eq!(behind.text().lines().count(), 4000 - range.end);
}

#[test]
fn skipping_damage_prints_all_the_rest_and_reports_the_gap() {
    let (place, path, range) = sealed();
    flip(&path, 20_000);
    let run = place
        .run(["read", "s", "--skip-damage"])
        .expect_line(1, &["damage", "s"]);
    let all = numbered(4000);
    let lines: Vec<&str> = all.lines().collect();
    let printed: Vec<usize> = run
        .text()
        .lines()
        .map(|line| {
            lines
                .iter()
                .position(|known| *known == line)
                .expect("nothing is invented")
        })
        .collect();
    assert!(printed.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert!(printed.len() < 4000 && printed.len() >= 4000 - range.len());
    let mut command = place.tierlog(["read", "s", "--skip-damage", "--json"]);
    command.args(["--count", "4000"]);
    let run = crate::harness::run(command, b"").expect_code(1);
    let gap: serde_json::Value = serde_json::from_str(run.err.trim()).unwrap();
    let (from, to) = (&gap["gap"]["from"], &gap["gap"]["to"]);
    let missing = to.as_u64().unwrap() - from.as_u64().unwrap();
    assert_eq!(
        missing as usize,
        4000 - printed.len(),
        "the gap is exactly what is missing"
    );
}

#[test]
fn verify_lists_all_damage_and_ends_with_1() {
    let (place, second, _) = sealed();
    let segments = place.json(["segments", "s"]);
    let third = PathBuf::from(segments[2]["path"].as_str().unwrap());
    flip(&second, 20_000);
    flip(&third, 40_000);
    let run = place.run(["verify"]).expect_code(1);
    let listed = run
        .text()
        .lines()
        .filter(|line| line.contains("damage"))
        .count();
    assert!(listed >= 2, "{}", run.text());
    let mut command = place.tierlog(["verify", "s"]);
    command.arg("--json");
    let run = crate::harness::run(command, b"").expect_code(1);
    assert!(run.json()[0]["damage"].as_array().unwrap().len() >= 2);
    // Reading or verifying a damaged log makes nothing worse.
    flip(&second, 20_000);
    flip(&third, 40_000);
    place.run(["verify"]).expect_code(0);
    assert_eq!(place.read("s"), numbered(4000).as_bytes());
}

#[test]
fn a_missing_segment_is_damage_and_not_an_end() {
    let (place, path, range) = sealed();
    std::fs::remove_file(&path).unwrap();
    let run = place.run(["read", "s"]).expect_code(1);
    assert_eq!(run.text().lines().count(), range.start);
    place.run(["verify"]).expect_code(1);
    let from = range.end.to_string();
    place.run(["read", "s", "--from", &from]).expect_code(0);
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.log()).unwrap();
    let theirs = place.log().join("thesis.txt");
    std::fs::write(&theirs, "years of work").unwrap();
    let log = place.log();
    let log = log.to_str().unwrap();
    for args in [
        &["append", "s"][..],
        &["read", "s"],
        &["streams"],
        &["verify"],
    ] {
        place.run(args).expect_line(1, &[log]);
        assert_eq!(std::fs::read(&theirs).unwrap(), b"years of work");
        let entries = std::fs::read_dir(place.log()).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["thesis.txt"], "{args:?}");
    }
    // A file in place of the directory.
    let place = Place::new();
    std::fs::write(place.log(), "a file").unwrap();
    for args in [&["append", "s"][..], &["streams"]] {
        place.run(args).expect_code(1);
        assert_eq!(std::fs::read(place.log()).unwrap(), b"a file");
    }
}

#[test]
fn a_log_of_a_newer_version_is_refused_and_not_touched() {
    let place = Place::new();
    place.append("s", "x\n");
    let current = place.log().join("CURRENT");
    let mut bytes = std::fs::read(&current).unwrap();
    // The version stands behind the magic of every file, and a file of a newer version is one whose
    // checksum is right.
    bytes[8..10].copy_from_slice(&99u16.to_le_bytes());
    let crc = tierlog_storage::crc::crc64(&[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&current, &bytes).unwrap();
    for args in [&["append", "s"][..], &["read", "s"], &["streams"]] {
        place.run(args).expect_line(1, &["99", "version"]);
    }
    assert_eq!(std::fs::read(&current).unwrap(), bytes);
}

#[test]
fn a_log_without_its_pointer_is_damaged_and_not_new() {
    let place = Place::new();
    place.append("s", "x\n");
    std::fs::remove_file(place.log().join("CURRENT")).unwrap();
    for args in [&["append", "s"][..], &["read", "s"], &["streams"]] {
        place.run(args).expect_line(1, &["CURRENT"]);
    }
}

#[test]
fn a_torn_tail_is_cut_and_reported_and_is_no_failure() {
    let place = Place::new();
    let mut child = Running::start(place.tierlog(["append", "s", "--print-acks"]));
    let mut stdin = child.stdin().unwrap();
    for n in 0..3 {
        writeln!(stdin, "acked {n}").unwrap();
        assert_eq!(child.line(), Some(n.to_string()));
    }
    child.signal(rustix::process::Signal::KILL);
    child.end_with_stdin_open();
    // The beginning of a frame whose rest never came to the disk.
    let segments = place.json(["segments", "s"]);
    let open = segments.last().unwrap();
    let end = open["file_len"].as_u64().unwrap();
    let path = PathBuf::from(open["path"].as_str().unwrap());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut marker = [0; 4];
    file.read_exact_at(&mut marker, 128).unwrap();
    file.write_all_at(&marker, end).unwrap();
    file.write_all_at(&[64, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], end + 4)
        .unwrap();

    let acked = "acked 0\nacked 1\nacked 2\n";
    let read = place.run(["read", "s"]).expect_code(0);
    assert_eq!(read.text(), acked);
    assert!(read.err.contains("torn tail"), "{}", read.err);
    assert_eq!(read.err.lines().count(), 1, "{}", read.err);
    let mut command = place.tierlog(["read", "s"]);
    command.arg("--json");
    let read = crate::harness::run(command, b"").expect_code(0);
    let told: serde_json::Value = serde_json::from_str(&read.err).expect("one object");
    assert_eq!(told["recovery"]["streams"][0]["cut"]["from"], 3, "{told}");
    place.run(["verify"]).expect_code(0);
    let opened = place.feed(["append", "s"], "after\n").expect_code(0);
    assert!(opened.err.contains("torn tail"), "{}", opened.err);
    let read = place.run(["read", "s"]).expect_code(0);
    assert_eq!(read.text(), format!("{acked}after\n"));
    assert!(read.err.is_empty(), "it is cut: {}", read.err);
}

#[test]
fn verify_looks_into_tier_2_when_it_is_told_to_and_names_the_object_that_is_damaged() {
    let place = Place::new();
    let bucket = place.path("bucket");
    let cold = format!("cold=fs://{}", bucket.display());
    let with = |words: &[&str]| {
        let mut all = vec!["--set", cold.as_str()];
        all.extend(words);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let append = with(&["append", "s", "--ack", "archived"]);
    let mut words: Vec<String> = SMALL.iter().map(|word| (*word).to_owned()).collect();
    words.extend(append);
    place.feed(&words, numbered(4000)).expect_code(0);
    let run = place.run(with(&["verify", "--cold"])).expect_code(0);
    assert!(run.text().contains("no damage"), "{}", run.text());
    assert!(run.text().contains("in Tier 2"), "{}", run.text());
    place.run(["verify", "--cold"]).expect_line(2, &["cold"]);
    let segments = place.json(with(&["segments", "s"]));
    let key = segments[0]["object_key"].as_str().unwrap();
    flip(&bucket.join(key), 200);
    place.run(with(&["verify"])).expect_code(0);
    let run = place.run(with(&["verify", "--cold"])).expect_code(1);
    assert!(run.text().contains(key), "{}", run.text());
    std::fs::remove_dir_all(&bucket).unwrap();
    let run = place.run(with(&["verify", "--cold"])).expect_code(1);
    assert!(run.text().contains("is missing"), "{}", run.text());
}
