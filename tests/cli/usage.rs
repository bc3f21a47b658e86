//! Command lines and settings: what makes no sense ends with 2 and one line, and nothing is made.

use crate::harness::{Place, run};

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_and_one_line() {
    let place = Place::new();
    for (args, words) in [
        (&[][..], &["command is missing"][..]),
        (&["frobnicate"], &["frobnicate"]),
        (&["append"], &["STREAM"]),
        (
            &["read", "s", "--from", "yesterday"],
            &["yesterday", "--from"],
        ),
        (
            &["read", "s", "--from", "18446744073709551616"],
            &["beyond the last offset"],
        ),
        (&["read", "s", "--count", "-1"], &["-1"]),
        (&["read", "s", "--format", "xml"], &["xml"]),
        (&["append", "s", "--window", "0"], &["--window"]),
        (&["append", "s", "--ack", "maybe"], &["maybe"]),
        (&["append", "s", "--ack", "archived"], &["Tier 2"]),
        (&["restore"], &["--from"]),
        (&["restore", "--from", "sftp://host/x"], &["--from"]),
        (&["append", "s", "--delimiter", "tab"], &["tab"]),
        (&["trim", "s"], &["--before"]),
        (&["trim", "s", "--before", "soon"], &["soon"]),
        (&["retain"], &["STREAM"]),
        (
            &["retain", "s", "--age", "7"],
            &["--age", "unit", "`default`"],
        ),
        (
            &["retain", "s", "--bytes", "lots"],
            &["--bytes", "lots", "`unlimited`"],
        ),
        (&["verify", "--cold"], &["Tier 2"]),
        (&["manifest"], &["command is missing"]),
        (&["streams", "extra"], &["extra"]),
    ] {
        let run = place.run(args).expect_line(2, words);
        assert!(run.out.is_empty(), "{args:?}");
    }
    assert!(!place.log().exists());
}

#[test]
fn a_stream_name_that_is_empty_too_long_or_has_control_characters_is_refused() {
    let place = Place::new();
    for (name, words) in [
        (String::new(), "1 to 255 bytes"),
        ("x".repeat(256), "256"),
        // 86 characters, but 258 bytes.
        ("日".repeat(86), "258"),
        ("two\nlines".into(), "control characters"),
        ("bell\u{7}".into(), "control characters"),
        ("c1\u{85}".into(), "control characters"),
    ] {
        for command in ["append", "read", "seal"] {
            let run = place.feed([command, &name], "x\n").expect_line(2, &[words]);
            assert!(run.out.is_empty());
        }
    }
    assert!(!place.log().exists(), "a refused name makes no log");

    for name in [
        "x".repeat(255),
        "日".repeat(85),
        "../../etc/passwd".into(),
        "a b ♞".into(),
    ] {
        place.append(&name, "hello\n");
        assert_eq!(place.read(&name), b"hello\n");
    }
    let entries = std::fs::read_dir(place.log().parent().unwrap()).unwrap();
    assert_eq!(
        entries.count(),
        1,
        "no name leaves the directory of the log"
    );
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Place::new();
    for args in [
        &["--help"][..],
        &["-h"],
        &["append", "--help"],
        &["--version"],
    ] {
        let run = place.run(args).expect_code(0);
        assert!(run.err.is_empty());
        assert!(run.text().contains("tierlog"));
    }
}

#[test]
fn settings_that_make_no_sense_end_with_2_and_name_the_key() {
    let place = Place::new();
    for (set, words) in [
        (
            "segmnt_size=1MiB",
            &["segmnt_size", "did you mean `segment_size`"][..],
        ),
        ("segment_size=1M", &["segment_size", "no unit of size"]),
        ("flush=often", &["flush", "always"]),
        ("segment_size=1MiB", &["segment_size", "max_record"]),
        ("cold=sftp://user:hunter2@bucket", &["cold"]),
        ("archive_after=1", &["archive_after"]),
        ("no equals sign", &["KEY=VALUE"]),
    ] {
        let run = place
            .run(["--set", set, "append", "s"])
            .expect_line(2, words);
        assert!(!run.err.contains("hunter2"));
    }
    let config = place.file("bad.toml", "io_threads = 2\nsegment_sice = '1MiB'\n");
    let config = config.to_str().unwrap();
    place
        .run(["--config", config, "append", "s"])
        .expect_line(2, &["bad.toml", "line 2", "segment_sice", "`segment_size`"]);
    place
        .run(["--config", "/nowhere/log.toml", "append", "s"])
        .expect_line(2, &["/nowhere/log.toml"]);
    let mut command = place.tierlog(["append", "s"]);
    command.env("TIERLOG_FLUSHH", "always");
    run(command, b"").expect_line(2, &["TIERLOG_FLUSHH", "`flush`"]);
    assert!(!place.log().exists(), "nothing was made");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let place = Place::new();
    let config = place.file(
        "log.toml",
        "data = 'from-file'\nio_threads = 2\nlane_records = 22\nflush = 'every 2ms'\n",
    );
    let mut command = place.tierlog([
        "--config",
        config.to_str().unwrap(),
        "--set",
        "flush=every 4ms",
        "config",
        "--json",
    ]);
    command.env("TIERLOG_DATA", "from-environment");
    command
        .env("TIERLOG_LANE_RECORDS", "33")
        .env("TIERLOG_FLUSH", "every 3ms");
    let shown = run(command, b"").expect_code(0).json();
    let shown = &shown[0];
    assert_eq!(shown["data"], place.log().to_str().unwrap());
    assert_eq!(shown["io_threads"], "2");
    assert_eq!(shown["lane_records"], "33");
    assert_eq!(shown["flush"], "every 4ms");
    assert_eq!(shown["max_record"], "16MiB");
}

#[test]
fn what_config_prints_is_a_file_that_config_takes() {
    let place = Place::new();
    let first = place
        .run(["--set", "flush=bytes 1MiB", "config"])
        .expect_code(0);
    let saved = place.file("saved.toml", &first.out);
    let second = place
        .run(["--config", saved.to_str().unwrap(), "config"])
        .expect_code(0);
    assert_eq!(second.text(), first.text());
    assert!(second.text().contains("flush = \"bytes 1MiB\""));
}

#[test]
fn errors_are_objects_when_json_is_asked_for() {
    let place = Place::new();
    for (args, code, kind) in [
        (&["--json", "frobnicate"][..], 2, "usage"),
        (&["--json", "--set", "x=1", "streams"], 2, "usage"),
        (
            &["--json", "append", "s", "/nowhere/at/all"],
            1,
            "fix_input",
        ),
        (&["--json", "streams"], 1, "fix_input"),
    ] {
        let run = place.run(args).expect_code(code);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
        assert_eq!(error["kind"], kind, "{error}");
        assert!(
            error["error"].is_string() && error["advice"].is_string(),
            "{error}"
        );
    }
}

#[test]
fn a_full_device_as_stdout_is_an_error_and_not_silence() {
    let place = Place::new();
    let mut command = place.tierlog(["config"]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    command.stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output"));
}

/// Those before the command were forgotten when one stood behind it, without a word.
#[test]
fn settings_count_on_both_sides_of_the_command_and_the_last_one_wins() {
    let place = Place::new();
    let run = place
        .run([
            "--set",
            "segment_size=3MiB",
            "--set",
            "max_record=1MiB",
            "config",
            "--set",
            "max_record=2MiB",
        ])
        .expect_code(0);
    for line in ["segment_size = \"3MiB\"", "max_record = \"2MiB\""] {
        assert!(run.text().contains(line), "no {line} in:\n{}", run.text());
    }
    place
        .run(["manifest", "inspect", "--set", "nonsense"])
        .expect_line(2, &["--set <KEY=VALUE>", "expected KEY=VALUE"]);
}
