//! `append`: what becomes a record, what is acked, and what is refused.

use std::io::Write;

use crate::harness::{Place, Running, SMALL, numbered};

/// Each line as `read --format json` shows it, by its text.
fn texts(place: &Place, stream: &str) -> Vec<String> {
    let lines = place.json(["read", stream]);
    lines
        .iter()
        .map(|line| line["text"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn every_line_is_a_record_also_empty_ones_and_a_last_one_without_newline() {
    let place = Place::new();
    let run = place
        .feed(["append", "s"], "one\n\ntwo\r\n\n日本\nlast")
        .expect_code(0);
    assert!(run.out.is_empty());
    assert_eq!(run.err.lines().count(), 1);
    assert!(
        run.err.contains("6 records") && run.err.contains("17 bytes"),
        "{}",
        run.err
    );
    assert_eq!(texts(&place, "s"), ["one", "", "two\r", "", "日本", "last"]);
    assert_eq!(place.read("s"), "one\n\ntwo\r\n\n日本\nlast\n".as_bytes());
}

#[test]
fn acks_are_printed_in_order_and_go_on_where_the_last_run_ended() {
    let place = Place::new();
    let offsets =
        |from: usize, to: usize| -> String { (from..to).map(|n| format!("{n}\n")).collect() };
    let file = place.file("in.txt", numbered(3000));
    let args = ["append", "s", file.to_str().unwrap(), "--print-acks"];
    assert_eq!(place.run(args).expect_code(0).text(), offsets(0, 3000));
    assert_eq!(place.run(args).expect_code(0).text(), offsets(3000, 6000));
    for (from, ack) in [(6000, "written"), (6002, "durable")] {
        let run = place.feed(["append", "s", "--print-acks", "--ack", ack], "a\nb\n");
        assert_eq!(run.expect_code(0).text(), offsets(from, from + 2));
    }
    assert_eq!(
        place.read("s"),
        (numbered(3000).repeat(2) + "a\nb\na\nb\n").into_bytes()
    );
}

#[test]
fn an_ack_comes_while_the_input_is_still_open() {
    let place = Place::new();
    for window in ["1", "4096"] {
        let args = ["append", window, "--print-acks", "--window", window];
        let mut child = Running::start(place.tierlog(args));
        let mut stdin = child.stdin().unwrap();
        for n in 0..20 {
            writeln!(stdin, "record {n}").unwrap();
            assert_eq!(child.line(), Some(n.to_string()));
        }
        drop(stdin);
        child.end().expect_code(0);
    }
}

#[test]
fn a_window_of_one_and_every_flush_policy_append_everything() {
    let place = Place::new();
    for flush in ["always", "every 5ms", "bytes 16KiB", "manual"] {
        let set = format!("flush={flush}");
        let args = [
            "--set",
            &set,
            "append",
            flush,
            "--print-acks",
            "--window",
            "3",
        ];
        let run = place.feed(args, numbered(40)).expect_code(0);
        assert_eq!(run.text().lines().count(), 40, "{flush}");
        assert_eq!(place.read(flush), numbered(40).as_bytes(), "{flush}");
    }
}

#[test]
fn records_can_be_parted_by_zero_bytes_or_by_lengths() {
    let place = Place::new();
    place
        .feed(["append", "nul", "--delimiter", "nul"], b"a\nb\0\0c")
        .expect_code(0);
    assert_eq!(texts(&place, "nul"), ["a\nb", "", "c"]);

    let bytes = b"\x03\0\0\0a\nb\0\0\0\0\x02\0\0\0\xff\0";
    place
        .feed(["append", "len", "--delimiter", "len32"], bytes)
        .expect_code(0);
    let back = place
        .run(["read", "len", "--format", "len32"])
        .expect_code(0);
    assert_eq!(
        back.out, bytes,
        "what came in by lengths goes out by lengths"
    );
}

#[test]
fn a_line_over_the_limit_is_named_and_nothing_behind_it_is_appended() {
    let place = Place::new();
    let long = "x".repeat(16 * 1024 + 1);
    let input = format!("one\ntwo\n{long}\nfour\n");
    let args = SMALL.iter().chain(&["append", "s", "--print-acks"]);
    let run = place
        .feed(args, &input)
        .expect_line(1, &["line 3", "16384"]);
    assert_eq!(run.text(), "0\n1\n", "what came before is acked");
    assert_eq!(place.read("s"), b"one\ntwo\n");

    // A line of exactly the limit is taken, with every byte of it.
    let fits = format!("{}\n", "x".repeat(16 * 1024));
    place
        .feed(SMALL.iter().chain(&["append", "fits"]), &fits)
        .expect_code(0);
    assert_eq!(place.read("fits"), fits.as_bytes());
}

#[test]
fn a_length_that_is_noise_or_cut_is_named() {
    let place = Place::new();
    let args = ["append", "s", "--delimiter", "len32"];
    place
        .feed(args, b"\x01\0\0\0a\xff\xff\xff\xff")
        .expect_line(1, &["record 2", "4294967295"]);
    place
        .feed(args, b"\x01\0\0\0b\x05\0\0\0ab")
        .expect_line(1, &["within record 2"]);
    assert_eq!(place.read("s"), b"a\nb\n");
}

#[test]
fn a_file_that_is_missing_or_a_directory_makes_no_log() {
    let place = Place::new();
    let dir = place.path("");
    for file in ["/nowhere/at/all", dir.to_str().unwrap()] {
        place
            .run(["append", "s", file])
            .expect_line(1, &[file.trim_end_matches('/')]);
    }
    assert!(!place.log().exists());
}

#[test]
fn no_input_appends_nothing_and_makes_the_stream() {
    let place = Place::new();
    let run = place.feed(["append", "s", "-"], "").expect_code(0);
    assert!(run.err.contains("0 records"), "{}", run.err);
    assert_eq!(place.read("s"), b"");
    let streams = place.json(["streams"]);
    assert_eq!(streams[0]["name"], "s");
}

#[test]
fn the_summary_is_an_object_when_json_is_asked_for() {
    let place = Place::new();
    let run = place
        .feed(["append", "s", "--print-acks", "--json"], "a\nbc\n")
        .expect_code(0);
    let lines = run.json();
    assert_eq!(lines[0]["offset"], 0);
    assert_eq!(lines[1]["offset"], 1);
    assert_eq!(lines[2]["records"], 2);
    assert_eq!(lines[2]["bytes"], 3);
    assert_eq!(lines[2]["next"], 2);
    assert!(run.err.is_empty());
}

#[test]
fn many_streams_and_many_segments_each_keep_their_order() {
    let place = Place::new();
    for stream in ["a", "b", "c"] {
        let input: String = numbered(5000).replace("line", stream);
        place
            .feed(SMALL.iter().chain(&["append", stream]), &input)
            .expect_code(0);
        assert_eq!(place.read(stream), input.as_bytes());
    }
    assert!(place.json(["segments", "a"]).len() >= 3);
}

/// Nothing more can be taken in while the window is full, so that a policy which syncs late would let
/// the command stand still: for an hour, with this one.
#[test]
fn a_full_window_does_not_wait_for_a_late_sync() {
    let place = Place::new();
    let args = ["append", "s", "--print-acks", "--window", "2"];
    let args = args.iter().chain(&["--set", "flush=every 1h"]);
    let run = place.feed(args, "a\nb\nc\n").expect_code(0);
    assert_eq!(run.text(), "0\n1\n2\n");
}
