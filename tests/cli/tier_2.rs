//! Tier 2 from a shell: what is no Tier 2 is told at once, a restore says how to use what it made, and
//! an owner that was overtaken hears of it.

use std::io::Write;
use std::process::Command;

use crate::harness::{Place, Run, Running, numbered, run};

/// A folder of a place, as the setting that names it.
fn cold(place: &Place, name: &str) -> String {
    format!("cold=fs://{}", place.path(name).display())
}

fn uri(place: &Place, name: &str) -> String {
    format!("fs://{}", place.path(name).display())
}

/// A log whose two records are in this folder.
fn archived(place: &Place, name: &str) {
    let args = ["append", "s", "--ack", "archived", "--set"];
    let cold = cold(place, name);
    let args = args.into_iter().chain([cold.as_str()]);
    let args: Vec<&str> = args.collect();
    on(place, "log", &args, "one\ntwo\n").expect_code(0);
}

/// Segments end for an `Archived` ack at once.
fn quickly(command: &mut Command) {
    command.env("TIERLOG_ARCHIVE_AFTER", "20ms");
}

fn on(place: &Place, data: &str, args: &[&str], input: &str) -> Run {
    let mut command = place.tierlog(args);
    command.arg("--data").arg(place.path(data));
    quickly(&mut command);
    run(command, input.as_bytes())
}

#[test]
fn archived_acks_that_would_never_come_are_refused_before_anything_is_appended() {
    let place = Place::new();
    let append = |more: &[&str]| {
        let args = [&["append", "s", "--ack", "archived"], more].concat();
        place.feed(args, "one\n")
    };
    append(&[]).expect_line(2, &["`cold` is not set", "--ack durable"]);
    append(&["--set", "cold=memory://"]).expect_line(2, &["memory://", "--ack durable"]);
    assert!(!place.log().exists(), "no log is made for it");
    place.append("s", "here\n");
    append(&["--set", "cold=memory://"]).expect_line(2, &["gone with the process"]);
    append(&[]).expect_line(2, &["`cold` is not set"]);
    assert_eq!(place.read("s"), b"here\n");
}

/// Once, each window of 4,096 records waited for `archive_after`.
#[test]
fn archived_acks_do_not_wait_for_segments_that_nothing_more_comes_to() {
    let place = Place::new();
    let cold = cold(&place, "bucket");
    let append = |more: &[&str], input: &str| {
        let args = ["append", "s", "--ack", "archived", "--print-acks"];
        let hour = ["--set", "archive_after=1h", "--set", &cold];
        let run = place.feed([&args[..], &hour, more].concat(), input);
        run.expect_code(0).text().lines().count()
    };
    assert_eq!(append(&[], "one\n"), 1, "at the end of the input");
    assert_eq!(
        append(&["--window", "100"], &numbered(1000)),
        1000,
        "at the end of a window"
    );
    let segments = place.json(["segments", "s"]).len();
    assert!(
        (3..=30).contains(&segments),
        "{segments} segments for eleven windows"
    );
}

#[test]
fn what_is_no_tier_2_is_told_in_one_line() {
    let place = Place::new();
    archived(&place, "taken");
    place.file("file", "");
    let file = cold(&place, "file");
    let taken = cold(&place, "taken");
    for (set, code, words) in [
        ("cold=ftp://bucket", 2, &["there are fs, memory, s3"][..]),
        ("cold=bucket", 2, &["fs:///folder, s3://bucket/prefix"]),
        ("cold=fs://relative", 2, &["absolute path"]),
        ("cold=fs:///folder?region=x", 2, &["takes no options"]),
        ("cold=s3://", 2, &["names no bucket"]),
        (
            "cold=s3://bucket?secret=hunter22",
            2,
            &["an option that s3 has not"],
        ),
        (
            file.as_str(),
            1,
            &[
                "Tier 2 at fs:///",
                "Not a directory",
                "check what `cold` says",
            ],
        ),
        (
            taken.as_str(),
            1,
            &["belongs to log", "check what `cold` says"],
        ),
    ] {
        let args = ["append", "s", "--set", "cold_wait=5s", "--set", set];
        let told = on(&place, "other", &args, "lost?\n").expect_line(code, words);
        assert!(!told.err.contains("hunter22"), "{}", told.err);
    }
    // Whatever was made there holds nothing.
    let read = on(&place, "other", &["read", "s"], "");
    assert_eq!((read.code, read.out), (Some(1), Vec::new()), "{}", read.err);
}

/// Once, Ctrl-C was heard only when `cold_wait` was over.
#[test]
fn ctrl_c_ends_the_wait_for_a_tier_2_that_does_not_answer() {
    let place = Place::new();
    place.file("file", "");
    let file = cold(&place, "file");
    let args = ["append", "s", "--set", "cold_wait=1h", "--set", &file];
    let waits = Running::start(place.tierlog(args));
    while !place.log().join("CURRENT").exists() {
        std::thread::yield_now();
    }
    waits.signal(rustix::process::Signal::INT);
    let run = waits.end().expect_code(130);
    assert!(run.out.is_empty() && run.err.is_empty(), "{run:?}");
    place.append("s", "there again\n");
    assert_eq!(place.read("s"), b"there again\n");
}

#[test]
fn a_restore_that_can_not_be_is_told_in_one_line_and_writes_nothing() {
    let place = Place::new();
    archived(&place, "bucket");
    let (bucket, nowhere) = (uri(&place, "bucket"), uri(&place, "nowhere"));
    let restore = |data: &str, from: &[&str]| on(&place, data, &[&["restore"], from].concat(), "");
    restore("new", &[]).expect_line(2, &["--from URI"]);
    restore("new", &["--from", "bucket"]).expect_line(2, &["--from", "fs:///folder"]);
    restore("new", &["--from", &nowhere])
        .expect_line(1, &["holds no log", "check what `cold` says"]);
    restore("new", &["--from", "memory://"]).expect_line(1, &["holds no log"]);
    assert!(!place.path("new").exists() && !place.path("nowhere").exists());

    let another = ["is missing or empty", "--data"];
    restore("log", &["--from", &bucket])
        .expect_line(1, &[&another[..], &["a log already"]].concat());
    assert_eq!(place.read("s"), b"one\ntwo\n");
    std::fs::create_dir(place.path("theirs")).unwrap();
    place.file("theirs/thesis.txt", "precious");
    restore("theirs", &["--from", &bucket]).expect_line(1, &another);
    assert_eq!(
        std::fs::read(place.path("theirs/thesis.txt")).unwrap(),
        b"precious"
    );
    assert_eq!(std::fs::read_dir(place.path("theirs")).unwrap().count(), 1);
}

#[test]
fn what_a_restore_says_can_be_pasted_into_a_shell_whatever_the_folder_is_called() {
    let place = Place::new();
    let name = "it's 100% $HOME?; a `bucket`";
    let encoded = name.replace('%', "%25").replace('?', "%3F");
    archived(&place, &encoded);
    assert!(place.path(name).is_dir());
    let from = uri(&place, &encoded);
    let restored = on(&place, "new", &["restore", "--from", &from], "").expect_code(0);
    assert!(restored.text().contains("2 records in 1 segment"));
    let says = restored.err.split_once("use it with ").expect("a hint").1;
    let (set, _) = says.rsplit_once("; whoever").expect("the flag alone");

    let new = place.path("new");
    // Without it the records are out of reach, and that is told.
    let read = on(&place, "new", &["read", "s"], "");
    read.expect_line(1, &["is in Tier 2, and `cold` is not set; set `cold`"]);
    let mut shell = Command::new("sh");
    let line = format!(
        "'{}' --data '{}' read s {set}",
        env!("CARGO_BIN_EXE_tierlog"),
        new.display()
    );
    shell.arg("-c").arg(line);
    assert_eq!(run(shell, b"").expect_code(0).out, b"one\ntwo\n");
}

#[test]
fn an_owner_that_was_overtaken_ends_with_one_line_and_what_it_had_can_be_read() {
    let place = Place::new();
    archived(&place, "bucket");
    let (set, from) = (cold(&place, "bucket"), uri(&place, "bucket"));
    let append = [
        "append",
        "s",
        "--ack",
        "archived",
        "--print-acks",
        "--set",
        &set,
    ];
    let mut old = place.tierlog(append);
    quickly(&mut old);
    let mut old = Running::start(old);
    let mut input = old.stdin().expect("piped");
    input.write_all(b"three\n").unwrap();
    assert_eq!(old.line().as_deref(), Some("2"), "it owns Tier 2");
    // A second process in the same directory hears that at once.
    place.feed(append, "no\n").expect_line(1, &["in use"]);
    // One elsewhere takes it over.
    on(&place, "new", &["restore", "--from", &from], "").expect_code(0);
    let new = on(&place, "new", &append, "new\n").expect_code(0);
    assert_eq!(new.text(), "3\n");
    input.write_all(b"late\n").unwrap();
    drop(input);
    let told = old
        .end()
        .expect_line(1, &["fenced", "go on there, or restore"]);
    assert!(told.out.is_empty(), "no ack that would not hold");
    place.feed(append, "later\n").expect_line(1, &["fenced"]);
    let kept = place.read("s");
    assert!(
        kept.starts_with(b"one\ntwo\nthree\n"),
        "{}",
        String::from_utf8_lossy(&kept)
    );
    let history = on(&place, "new", &["read", "s", "--set", &set], "");
    assert_eq!(history.expect_code(0).text(), "one\ntwo\nthree\nnew\n");
}
