//! `demo`: any file goes in and comes back, and nothing stays that nobody asked for.

use crate::harness::{Place, Running, run};

#[path = "../../examples/make_demo_log.rs"]
mod maker;

#[test]
fn the_shipped_file_is_what_its_maker_makes() {
    let shipped: &[u8] = include_bytes!("../../assets/demo.log");
    assert!(
        maker::demo_log() == shipped,
        "run: cargo run --example make_demo_log"
    );
}

#[test]
fn the_demo_needs_nothing_and_leaves_nothing() {
    let place = Place::new();
    let tmp = place.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
    command.arg("demo").env("TMPDIR", &tmp).current_dir(&tmp);
    let run = run(command, b"").expect_code(0);
    for row in [
        "SEGMENT",
        "READ FROM THERE",
        "records",
        "bytes",
        "segments",
        "append",
        "upload",
        "read",
        "fsyncs",
        "group size",
        "recovery",
        "3,000,618 bytes are the same",
    ] {
        assert!(run.text().contains(row), "no {row} in:\n{}", run.text());
    }
    assert!(
        run.text()
            .lines()
            .filter(|line| line.contains(" sealed "))
            .count()
            > 3
    );
    assert!(
        run.err.is_empty(),
        "no bar and no noise off a terminal: {}",
        run.err
    );
    assert_eq!(
        std::fs::read_dir(&tmp).unwrap().count(),
        0,
        "the throwaway log is gone"
    );
}

#[test]
fn every_kind_of_file_comes_back_byte_for_byte() {
    let place = Place::new();
    let noise: Vec<u8> = (0..700_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let no_newline: Vec<u8> = noise
        .iter()
        .map(|byte| if *byte == b'\n' { 0 } else { *byte })
        .collect();
    for (name, content) in [
        ("empty", Vec::new()),
        ("one newline", b"\n".to_vec()),
        ("no newline at the end", b"a\nb".to_vec()),
        ("empty lines", b"\n\n\n\n".to_vec()),
        ("noise", noise),
        ("no newline at all", no_newline),
        ("newlines", vec![b'\n'; 300_000]),
        ("exactly a piece", vec![b'x'; 64 * 1024]),
        (
            "a piece and a newline",
            [vec![b'x'; 64 * 1024], b"\n".to_vec()].concat(),
        ),
    ] {
        let file = place.file("input", &content);
        let args = ["demo", file.to_str().unwrap(), "--json"];
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
        command.args(args).env("TMPDIR", place.path(""));
        let run = run(command, b"").expect_code(0);
        let report = &run.json()[0];
        assert_eq!(report["identical"], true, "{name}: {report}");
        assert_eq!(report["bytes"], content.len(), "{name}");
    }
}

/// Once, three runs in a hundred failed: `shutdown` answered while a job of the log was still being
/// put away, which kept the directory locked a moment longer, and the demo opened it at once.
#[test]
fn a_log_opens_again_the_moment_its_shutdown_has_returned() {
    let place = Place::new();
    for _ in 0..60 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
        let args = ["demo", "--set", "cold=none"];
        command.args(args).env("TMPDIR", place.path(""));
        run(command, b"").expect_code(0);
    }
}

fn reads_the_shipped_file(place: &Place, cold: &str) {
    let shipped: &[u8] = include_bytes!("../../assets/demo.log");
    let args = ["read", "demo", "--set", &format!("cold={cold}")];
    let read = place.run(args).expect_code(0).out;
    // `read` ends each record with a newline, also the pieces of a long line.
    let letters = |text: &[u8]| -> Vec<u8> {
        let letters = text.iter().filter(|byte| **byte != b'\n');
        letters.copied().collect()
    };
    assert!(letters(&read) == letters(shipped), "what was archived");
}

/// What the demo says of each tier, from a report in JSON.
fn tiers(report: &serde_json::Value) -> Vec<(u64, u64, u64)> {
    let tiers = report["tiers"].as_array().expect("the tiers").iter();
    let number = |tier: &serde_json::Value, key: &str| tier[key].as_u64().expect("a number");
    let of = |tier| {
        let names = ["segments", "records", "stored_bytes"];
        let [segments, records, stored] = names.map(|name| number(tier, name));
        (segments, records, stored)
    };
    tiers.map(of).collect()
}

#[test]
fn a_demo_reads_the_file_back_from_all_three_tiers_whatever_it_compresses_to() {
    let place = Place::new();
    let noise: Vec<u8> = (0..3_000_000u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8)
        .collect();
    let log = include_bytes!("../../assets/demo.log").to_vec();
    for (name, content) in [
        ("log", log),
        ("noise", noise),
        ("zeros", vec![0; 3_000_000]),
    ] {
        let file = place.file("input", &content);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
        let args = ["demo", file.to_str().unwrap(), "--json"];
        command.args(args).env("TMPDIR", place.path(""));
        let report = run(command, b"").expect_code(0).json().remove(0);
        assert_eq!(report["identical"], true, "{name}: {report}");
        let tiers = tiers(&report);
        for (segments, records, stored) in &tiers {
            assert!(
                *segments > 0 && *records > 0 && *stored > 0,
                "{name}: {tiers:?}"
            );
        }
        let records: u64 = tiers.iter().map(|(_, records, _)| records).sum();
        assert_eq!(report["records"], records, "{name}");
        let segments: u64 = tiers.iter().map(|(segments, ..)| segments).sum();
        assert_eq!(report["upload"]["objects"], segments, "{name}");
    }
}

#[test]
fn a_demo_takes_the_tier_2_of_the_command_line_and_no_other() {
    let place = Place::new();
    let (mine, somebody_elses) = (place.path("mine"), place.path("else"));
    let uri = format!("fs://{}", mine.display());
    let demo = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
        command.arg("demo").args(args).env("TMPDIR", place.path(""));
        let cold = format!("fs://{}", somebody_elses.display());
        command.env("TIERLOG_COLD", cold);
        run(command, b"")
    };
    demo(&[]).expect_code(0);
    assert!(!somebody_elses.exists(), "the bucket of some other log");
    let first = demo(&["--cold", &uri]).expect_code(0);
    assert!(first.text().contains(&uri), "{}", first.text());
    assert!(!somebody_elses.exists());
    // The log is gone, and what it had archived is not.
    place.run(["restore", "--from", &uri]).expect_code(0);
    reads_the_shipped_file(&place, &uri);
    // A second log has no business there.
    demo(&["--cold", &uri]).expect_line(1, &["belongs to log", "check what `cold` says"]);
    demo(&["--cold", "memory://"]).expect_line(2, &["keeps nothing"]);
    demo(&["--cold", "ftp://x"]).expect_line(2, &["--cold", "there are fs"]);
    let report = demo(&["--set", "cold=none", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(tiers(&report[0])[2], (0, 0, 0), "without Tier 2");
}

#[test]
fn what_a_demo_kept_is_read_with_the_tier_2_that_it_names() {
    let place = Place::new();
    let demo = place
        .run(["demo", "--json"])
        .expect_code(0)
        .json()
        .remove(0);
    let cold = demo["cold"].as_str().expect("a folder next to the log");
    assert!(cold.ends_with("log.cold"), "{cold}");
    reads_the_shipped_file(&place, cold);
    std::fs::remove_dir_all(place.log()).unwrap();
    place
        .run(["demo"])
        .expect_line(1, &["log.cold is not empty"]);
    assert!(!place.log().exists());
}

#[test]
fn a_given_directory_is_kept_and_one_that_is_not_empty_is_refused() {
    let place = Place::new();
    let file = place.file("input", "one\ntwo\n");
    let args = ["demo", file.to_str().unwrap()];
    let run = place.run(args).expect_code(0);
    assert!(
        run.text().contains(place.log().to_str().unwrap()),
        "{}",
        run.text()
    );
    assert_eq!(place.read("demo"), b"one\ntwo\n");
    place.run(args).expect_line(1, &["not empty"]);
    assert_eq!(place.read("demo"), b"one\ntwo\n");
}

#[test]
fn a_file_that_cannot_be_read_twice_is_refused() {
    let place = Place::new();
    for (file, words) in [
        ("/nowhere/at/all", "/nowhere/at/all"),
        ("/dev/null", "twice"),
        ("/tmp", "directory"),
    ] {
        place.run(["demo", file]).expect_line(1, &[words]);
    }
    assert!(!place.log().exists());
}

#[test]
fn ctrl_c_ends_a_demo_with_130_and_leaves_nothing() {
    stopped_by(rustix::process::Signal::INT, 130);
}

/// Whoever closes the terminal should not find gigabytes in a temporary directory later.
#[test]
fn a_terminal_that_goes_away_ends_a_demo_that_leaves_nothing() {
    stopped_by(rustix::process::Signal::HUP, 129);
}

fn stopped_by(signal: rustix::process::Signal, code: i32) {
    let place = Place::new();
    let tmp = place.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let file = place.file("input", include_bytes!("../../assets/demo.log").repeat(20));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
    command.arg("demo").arg(&file).env("TMPDIR", &tmp);
    let demo = Running::start(command);
    // Its directory is made after it began to listen for Ctrl-C, and long before it is done.
    while std::fs::read_dir(&tmp).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    demo.signal(signal);
    let run = demo.end().expect_code(code);
    // A line only where it came before there was anything to be seen.
    let said = |line: &str| line.contains("while the log was being opened");
    assert!(run.out.is_empty() && run.err.lines().all(said), "{run:?}");
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
}

/// A bucket that can't be asked, as while its disk is away: the demo waits for it to open its log.
#[test]
fn ctrl_c_ends_a_demo_that_still_waits_for_tier_2_with_130_and_one_line() {
    let place = Place::new();
    let tmp = place.path("tmp");
    let bucket = place.path("bucket");
    for dir in [&tmp, &bucket] {
        std::fs::create_dir(dir).unwrap();
    }
    place.file("bucket/catalog", "no folder");
    let cold = format!("fs://{}", bucket.display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
    command
        .args(["--set", "cold_wait=60s", "demo", "--cold", &cold])
        .env("TMPDIR", &tmp);
    let demo = Running::start(command);
    // From here on it can do nothing but ask.
    let is_made = || {
        let made = std::fs::read_dir(&tmp).unwrap().next();
        made.is_some_and(|home| home.unwrap().path().join("log/CURRENT").exists())
    };
    while !is_made() {
        std::thread::yield_now();
    }
    demo.signal(rustix::process::Signal::INT);
    demo.end()
        .expect_line(130, &["stopped while the log was being opened"]);
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn the_demo_keeps_away_from_the_log_that_the_environment_names() {
    let place = Place::new();
    place.append("s", "precious\n");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tierlog"));
    command
        .arg("demo")
        .env("TIERLOG_DATA", place.log())
        .env("TMPDIR", place.path(""));
    run(command, b"").expect_code(0);
    assert_eq!(place.json(["streams"]).len(), 1);
    assert_eq!(place.read("s"), b"precious\n");
}
