//! What a refusal says: one line, in terms of the command line, that tells what to do.

use std::os::unix::fs::symlink;

use crate::harness::{Place, SMALL, numbered};

#[test]
fn a_refusal_says_what_to_type_instead() {
    let place = Place::new();
    place.append("s", "a\nb\nc\n");
    place.run(["trim", "s", "--before", "1"]).expect_code(0);
    for (args, words) in [
        (
            &["read", "nope"][..],
            &["no stream named \"nope\"", "`tierlog streams`"][..],
        ),
        (&["segments", "nope"], &["`tierlog streams`"]),
        (&["verify", "nope"], &["`tierlog streams`"]),
        (&["seal", "nope"], &["`tierlog streams`"]),
        (
            &["read", "s", "--from", "0"],
            &["offset 0 was trimmed", "from 1 on", "`earliest`"],
        ),
        (
            &["read", "s", "--from", "9"],
            &[
                "offset 9 is not there yet",
                "the next one is 3",
                "up to that",
            ],
        ),
        (
            &["trim", "s", "--before", "9"],
            &["the durable end is 3", "up to that"],
        ),
    ] {
        let run = place.run(args).expect_line(1, words);
        assert!(!run.err.contains("correct the call"), "{}", run.err);
    }
}

#[test]
fn a_number_or_moment_that_is_none_is_told_how_one_looks() {
    let place = Place::new();
    place.append("s", "a\n");
    for (args, words) in [
        (
            &["trim", "s", "--before", "x"][..],
            &["--before", "whole number"][..],
        ),
        (
            &["trim", "s", "--before", "-1"],
            &["--before", "whole number"],
        ),
        (
            &["read", "s", "--count", "-1"],
            &["--count", "whole number"],
        ),
        (&["read", "s", "--from", "-1"], &["--from", "an offset"]),
        (
            &["read", "s", "--from", "2026-01-01T00:00:00"],
            &["with its zone", "2026-03-14T09:26:53Z"],
        ),
        (&["--set", "=x", "config"], &["KEY=VALUE"]),
        (
            &["--set", "segment_size=1.5MiB", "config"],
            &["whole number", "1536KiB"],
        ),
        (&["--set", "idle_mark=1.5s", "config"], &["1500ms"]),
        (
            &["--set", "io_threads=99999999999999999999", "config"],
            &["more than can be counted"],
        ),
    ] {
        place.run(args).expect_line(2, words);
    }
}

#[test]
fn a_directory_that_is_no_log_says_how_one_is_named_and_made() {
    let place = Place::new();
    let file = place.file("hostname", "a file\n");
    for args in [
        &["streams"][..],
        &["read", "s"],
        &["manifest", "inspect"],
        &["seal", "s"],
    ] {
        place
            .run(args)
            .expect_line(1, &["is not a tierlog directory", "--data", "`append`"]);
    }
    std::fs::create_dir(place.log()).unwrap();
    for args in [&["streams"][..], &["manifest", "inspect"]] {
        place
            .run(args)
            .expect_line(1, &["is not a tierlog directory"]);
    }
    // Also one that a creation had begun.
    std::fs::create_dir(place.log().join("manifest")).unwrap();
    for args in [&["streams"][..], &["manifest", "inspect"]] {
        place
            .run(args)
            .expect_line(1, &["is not a tierlog directory"]);
    }
    let mut command = crate::harness::tierlog_on(&file, ["append", "s"]);
    command.env_remove("TIERLOG_DATA");
    crate::harness::run(command, b"").expect_line(1, &["Not a directory", "check the path"]);
}

/// A path through a link (`/var/run`, or `/tmp` on some systems) could not be opened at all, and said
/// that something is not a directory which is one.
#[test]
fn a_directory_behind_a_link_is_as_good_as_any() {
    let place = Place::new();
    std::fs::create_dir(place.path("real")).unwrap();
    symlink("real", place.path("link")).unwrap();
    symlink("real/log", place.path("to-log")).unwrap();
    let on = |name: &str, args: &[&str], input: &str| {
        let command = crate::harness::tierlog_on(&place.path(name), args);
        crate::harness::run(command, input.as_bytes()).expect_code(0)
    };
    on("link/log", &["append", "s"], "one\n");
    on("to-log", &["append", "s"], "two\n");
    for name in ["real/log", "link/log", "to-log"] {
        assert_eq!(on(name, &["read", "s"], "").text(), "one\ntwo\n");
        on(name, &["verify"], "");
        on(name, &["manifest", "inspect"], "");
    }
}

#[test]
fn a_manifest_that_nobody_can_find_is_no_manifest_in_order() {
    let place = Place::new();
    place.append("s", "x\n");
    let manifest = || {
        let folder = std::fs::read_dir(place.log().join("manifest")).unwrap();
        folder.map(|entry| entry.unwrap().path()).next().unwrap()
    };
    let current = place.log().join("CURRENT");
    std::fs::rename(&current, place.path("CURRENT")).unwrap();
    let run = place.run(["manifest", "inspect"]).expect_code(1);
    assert!(run.text().contains("CURRENT"), "{}", run.text());
    std::fs::rename(place.path("CURRENT"), &current).unwrap();
    place.run(["manifest", "inspect"]).expect_code(0);
    std::fs::remove_file(manifest()).unwrap();
    let run = place.run(["manifest", "inspect"]).expect_code(1);
    assert!(run.text().contains("not there"), "{}", run.text());
}

/// What differs from a log of this version in its version alone is damaged, since its checksum does
/// not match; but whoever looks for a newer program should learn of the version.
#[test]
fn a_version_that_no_checksum_confirms_is_named_all_the_same() {
    for file in ["CURRENT", "manifest/00000000000000000001.tlm"] {
        let place = Place::new();
        place.append("s", "x\n");
        let path = place.log().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 2;
        std::fs::write(&path, &bytes).unwrap();
        for args in [
            &["append", "s"][..],
            &["read", "s"],
            &["streams"],
            &["verify"],
        ] {
            place
                .run(args)
                .expect_line(1, &[file, "checksum does not match", "version 2"]);
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn one_of_a_thing_is_not_many() {
    let place = Place::new();
    let run = place.feed(["append", "s"], "x\n").expect_code(0);
    assert!(run.err.contains("1 record, 1 byte to s"), "{}", run.err);
    let run = place.run(["verify"]).expect_code(0);
    let text = run.text();
    assert!(
        text.contains("1 record ") && text.contains("1 segment of 1 stream:"),
        "{text}"
    );
}

/// Damage in the tail was told by the recovery, in three lines, and then once more by the command.
#[test]
fn damage_in_an_open_segment_is_one_line_of_a_read_and_one_of_a_verify() {
    let place = Place::new();
    place
        .feed(SMALL.iter().chain(&["append", "s"]), numbered(1000))
        .expect_code(0);
    let open = place.json(["segments", "s"]).pop().unwrap();
    assert_eq!(open["state"], "open");
    let (path, from) = (open["path"].as_str().unwrap(), open["base"].to_string());
    let mut bytes = std::fs::read(path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(path, bytes).unwrap();
    place
        .run(["read", "s"])
        .expect_line(1, &["stream s", "offsets"]);
    place
        .run(["read", "s", "--skip-damage"])
        .expect_line(1, &["skipped damage"]);
    // What lies before it is nobody's trouble.
    if from != "0" {
        let run = place.run(["read", "s", "--count", "1"]).expect_code(0);
        assert_eq!(run.err, "");
    }
    let run = place.run(["verify"]).expect_code(1);
    assert_eq!(run.err, "");
    let listed = run
        .text()
        .lines()
        .filter(|line| line.starts_with("damage: "));
    assert_eq!(listed.count(), 1, "{}", run.text());
    // Who looks at the whole is told, in one line.
    let run = place.run(["streams"]).expect_code(0);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.contains("damage: stream s"), "{}", run.err);
}
