//! Disks that are full or can't be written. They need a mount, which needs root: where that is not
//! allowed, the tests say so and pass.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Place, Running, run, tierlog_on};

/// A small file system of its own, unmounted when its test is over.
struct Mount {
    // Unmounted before the directory that it stands in is removed.
    at: PathBuf,
    _place: Place,
}

impl Mount {
    fn tmpfs(size: &str) -> Option<Self> {
        let place = Place::new();
        let at = place.path("mount");
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&at)
            .output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self { at, _place: place }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // Past the capture of test output: a test that was not run must not look like one that was.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: it needs a tmpfs, and mount says: {why}"
        );
        None
    }

    fn read_only(&self, yes: bool) {
        let option = if yes { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount")
            .args(["-o", option])
            .arg(&self.at)
            .status();
        assert!(status.unwrap().success(), "{option}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Settings under which a log fits a disk of a few megabytes.
const TINY: [&str; 10] = [
    "--set",
    "segment_size=512KiB",
    "--set",
    "max_record=16KiB",
    "--set",
    "unsynced_bytes=256KiB",
    "--set",
    "manifest_chunk=16KiB",
    "--set",
    "manifest_rotate=64KiB",
];

#[test]
fn a_full_disk_is_waited_out_and_reads_go_on_meanwhile() {
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let log = disk.at.join("log");
    let ballast = disk.at.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();

    // 5 MB: more than fits beside the ballast, less than fits without it.
    const LINES: usize = 5000;
    let line = |n: usize| format!("{n:06} {}", "x".repeat(992));
    let args = TINY.iter().chain(&["append", "s", "--print-acks"]);
    let mut appender = Running::start(tierlog_on(&log, args));
    let mut stdin = appender.stdin().unwrap();
    let feeder = std::thread::spawn(move || {
        for n in 0..LINES {
            writeln!(stdin, "{}", line(n)).unwrap();
        }
    });
    appender.wait_for_err("waiting: the log has no room");

    let read = run(tierlog_on(&log, ["read", "s", "--from", "0"]), b"").expect_code(0);
    let there = read.text().lines().count();
    assert!(there > 500 && there < LINES, "{there}");
    for (n, text) in read.text().lines().enumerate() {
        assert_eq!(text, line(n));
    }
    run(tierlog_on(&log, ["verify"]), b"").expect_code(0);

    std::fs::remove_file(&ballast).unwrap();
    for n in 0..LINES {
        assert_eq!(
            appender.line(),
            Some(n.to_string()),
            "in order, across the full disk"
        );
    }
    feeder.join().unwrap();
    let ended = appender.end().expect_code(0);
    let waits = ended
        .err
        .lines()
        .filter(|line| line.contains("waiting"))
        .count();
    assert_eq!(waits, 1, "said once: {}", ended.err);
    let read = run(tierlog_on(&log, ["read", "s"]), b"").expect_code(0);
    assert_eq!(read.text().lines().count(), LINES);
    for (n, text) in read.text().lines().enumerate() {
        assert_eq!(text, line(n));
    }
}

#[test]
fn ctrl_c_ends_a_wait_for_room_and_keeps_what_was_acked() {
    let Some(disk) = Mount::tmpfs("4m") else {
        return;
    };
    let log = disk.at.join("log");
    let args = TINY.iter().chain(&["append", "s", "--print-acks"]);
    let mut appender = Running::start(tierlog_on(&log, args));
    let mut stdin = appender.stdin().unwrap();
    let feeder = std::thread::spawn(move || {
        // Ends with a closed pipe.
        while writeln!(stdin, "{}", "y".repeat(1000)).is_ok() {}
    });
    appender.wait_for_err("waiting: the log has no room");
    appender.signal(rustix::process::Signal::INT);
    let ended = appender.end_with_stdin_open().expect_code(130);
    feeder.join().unwrap();
    let acked = ended.text().lines().count();
    let read = run(tierlog_on(&log, ["read", "s"]), b"").expect_code(0);
    assert!(read.text().lines().count() >= acked);
    // Trimming needs no room, and makes some.
    let before = (acked / 2).to_string();
    let mut command = tierlog_on(&log, TINY);
    command.args(["trim", "s", "--before", &before]);
    run(command, b"").expect_code(0);
    let args = TINY.iter().chain(&["append", "s"]);
    run(tierlog_on(&log, args), b"more\n").expect_code(0);
}

#[test]
fn a_log_that_does_not_fit_at_all_is_an_error_and_not_a_hang() {
    let Some(disk) = Mount::tmpfs("64k") else {
        return;
    };
    std::fs::write(disk.at.join("ballast"), vec![1; 60 << 10]).unwrap();
    let args = TINY.iter().chain(&["append", "s"]);
    run(tierlog_on(&disk.at.join("log"), args), b"x\n").expect_line(1, &["space"]);
}

#[test]
fn a_read_only_directory_is_an_error_for_who_writes_and_none_for_who_reads() {
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let log = disk.at.join("log");
    let tiny = |args: &[&str]| {
        let args: Vec<&str> = TINY.iter().chain(args).copied().collect();
        tierlog_on(&log, args)
    };
    run(tiny(&["append", "s"]), b"before\n").expect_code(0);
    disk.read_only(true);
    for args in [
        &["append", "s"][..],
        &["seal", "s"],
        &["trim", "s", "--before", "1"],
    ] {
        run(tiny(args), b"x\n").expect_line(1, &[log.to_str().unwrap()]);
    }
    let other = disk.at.join("other");
    run(tierlog_on(&other, ["append", "s"]), b"x\n").expect_line(1, &["ead-only"]);
    let read = run(tiny(&["read", "s"]), b"").expect_code(0);
    assert_eq!(read.text(), "before\n");
    for args in [
        &["streams"][..],
        &["segments", "s"],
        &["verify"],
        &["manifest", "inspect"],
    ] {
        run(tiny(args), b"").expect_code(0);
    }
    disk.read_only(false);
    run(tiny(&["append", "s"]), b"after\n").expect_code(0);
    assert_eq!(
        run(tiny(&["read", "s"]), b"").expect_code(0).text(),
        "before\nafter\n"
    );
}
