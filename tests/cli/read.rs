//! `read`: from where, how many, in which form; and what it does when there is nothing to read.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::harness::{Place, Running, SMALL, numbered};

#[test]
fn reading_begins_where_it_is_told_and_ends_after_the_count() {
    let place = Place::new();
    let args = SMALL.iter().chain(&["append", "s"]);
    place.feed(args, numbered(4000)).expect_code(0);
    let all = numbered(4000);
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    for (from, count) in [
        (0, 1),
        (0, 4000),
        (1, 10),
        (1999, 500),
        (3999, 5),
        (4000, 5),
    ] {
        let run = place
            .run([
                "read",
                "s",
                "--from",
                &from.to_string(),
                "--count",
                &count.to_string(),
            ])
            .expect_code(0);
        let to = (from + count).min(4000);
        assert_eq!(run.text(), lines[from..to].concat(), "{count} from {from}");
    }
    assert_eq!(
        place
            .run(["read", "s", "--count", "0"])
            .expect_code(0)
            .text(),
        ""
    );
    assert_eq!(
        place
            .run(["read", "s", "--from", "latest"])
            .expect_code(0)
            .text(),
        ""
    );
    assert_eq!(
        place
            .run(["read", "s", "--from", "earliest"])
            .expect_code(0)
            .text(),
        all
    );
    assert_eq!(place.run(["read", "s"]).expect_code(0).text(), all);
}

#[test]
fn a_moment_finds_the_first_record_at_or_after_it() {
    let place = Place::new();
    place.append("s", "early\n");
    place.append("s", "late\n");
    let records = place.json(["read", "s"]);
    let late = records[1]["timestamp"].as_str().unwrap();
    assert_eq!(
        place
            .run(["read", "s", "--from", late])
            .expect_code(0)
            .text(),
        "late\n"
    );
    for (moment, text) in [
        ("1970-01-01T00:00:00Z", "early\nlate\n"),
        ("1999-12-31T23:59:59-11:00", "early\nlate\n"),
        ("2400-01-01T00:00:00.5Z", ""),
    ] {
        let run = place.run(["read", "s", "--from", moment]).expect_code(0);
        assert_eq!(run.text(), text, "{moment}");
    }
}

#[test]
fn json_carries_every_byte_and_text_only_where_it_is_text() {
    let place = Place::new();
    place.append("s", b"h\xc3\xa9\n\xff\xfe\n\n");
    let lines = place.json(["read", "s"]);
    assert_eq!(lines.len(), 3);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["offset"], n);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(line["ext_id"].is_null() && line["key"].is_null());
    }
    assert_eq!(lines[0]["text"], "hé");
    assert_eq!(lines[0]["payload"], "aMOp");
    assert_eq!(lines[1]["payload"], "//4=");
    assert!(lines[1].get("text").is_none());
    assert_eq!(lines[2]["text"], "");
}

#[test]
fn an_unknown_stream_and_a_directory_that_is_no_log_are_one_line_and_nothing_is_made() {
    let place = Place::new();
    let reading: [&[&str]; 8] = [
        &["read", "nobody"],
        &["segments", "nobody"],
        &["verify", "nobody"],
        &["seal", "nobody"],
        &["flush", "nobody"],
        &["trim", "nobody", "--before", "1"],
        &["retain", "nobody"],
        &["retain", "nobody", "--age", "1d"],
    ];
    for args in reading {
        place.run(args).expect_line(1, &["log"]);
        assert!(!place.log().exists(), "{args:?}");
    }
    for args in [&["streams"][..], &["verify"], &["manifest", "inspect"]] {
        place.run(args).expect_line(1, &["log"]);
        assert!(!place.log().exists(), "{args:?}");
    }
    place.append("somebody", "x\n");
    for args in reading {
        place.run(args).expect_line(1, &["nobody"]);
    }
    assert_eq!(
        place.json(["streams"]).len(),
        1,
        "asking for a stream does not make it"
    );
}

#[test]
fn following_prints_what_a_live_writer_appends_and_ends_with_130_at_ctrl_c() {
    let place = Place::new();
    place.append("s", "before\n");
    let mut follower = Running::start(place.tierlog(["read", "s", "--follow"]));
    assert_eq!(follower.line().as_deref(), Some("before"));
    let mut writer = Running::start(place.tierlog(["append", "s", "--print-acks"]));
    let mut stdin = writer.stdin().unwrap();
    for n in 0..50 {
        writeln!(stdin, "live {n}").unwrap();
        assert_eq!(writer.line(), Some((n + 1).to_string()));
        assert_eq!(follower.line(), Some(format!("live {n}")));
    }
    drop(stdin);
    writer.end().expect_code(0);
    follower.signal(Signal::INT);
    let run = follower.end().expect_code(130);
    assert!(run.out.is_empty() && run.err.is_empty(), "{run:?}");
}

#[test]
fn following_from_the_latest_prints_only_what_comes_and_ends_after_the_count() {
    let place = Place::new();
    place.append("s", "before\n");
    let args = ["read", "s", "--follow", "--from", "latest", "--count", "2"];
    let follower = Running::start(place.tierlog(args));
    // Nobody can tell when it has attached, so lines come until it has its two.
    let done = Arc::new(AtomicBool::new(false));
    let mut writer = Running::start(place.tierlog(["append", "s", "--print-acks"]));
    let mut stdin = writer.stdin().unwrap();
    let feed = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::Relaxed) {
                writeln!(stdin, "after").unwrap();
                assert!(writer.line().is_some());
            }
            drop(stdin);
            writer.end().expect_code(0);
        }
    });
    let run = follower.end();
    done.store(true, Ordering::Relaxed);
    feed.join().unwrap();
    assert_eq!(run.expect_code(0).text(), "after\nafter\n");
}

#[test]
fn a_trimmed_beginning_is_an_error_for_an_offset_and_none_for_the_earliest() {
    let place = Place::new();
    let args = SMALL.iter().chain(&["append", "s"]);
    place.feed(args, numbered(4000)).expect_code(0);
    place.run(["trim", "s", "--before", "3000"]).expect_code(0);
    place
        .run(["read", "s", "--from", "10"])
        .expect_line(1, &["10", "3000"]);
    let run = place.run(["read", "s"]).expect_code(0);
    assert!(
        run.text().starts_with("line 3000 of"),
        "{}",
        run.text().lines().next().unwrap()
    );
    assert_eq!(run.text().lines().count(), 1000);
}
