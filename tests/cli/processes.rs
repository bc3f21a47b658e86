//! The binary among other processes: a second owner, Ctrl-C, pipes that close, kill -9.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Place, Running, SMALL, numbered};

#[test]
fn a_second_writer_gets_one_clear_line_at_once_and_readers_do_not() {
    let place = Place::new();
    let mut owner = Running::start(place.tierlog(["append", "s", "--print-acks"]));
    let mut stdin = owner.stdin().unwrap();
    writeln!(stdin, "first").unwrap();
    assert_eq!(owner.line().as_deref(), Some("0"));
    for args in [
        &["append", "s"][..],
        &["seal", "s"],
        &["flush", "s"],
        &["trim", "s", "--before", "0"],
    ] {
        let log = place.log();
        let words = ["in use", log.to_str().unwrap(), "`verify` work beside it"];
        place.run(args).expect_line(1, &words);
    }
    assert_eq!(place.read("s"), b"first\n");
    assert_eq!(place.json(["streams"])[0]["name"], "s");
    place.run(["verify"]).expect_code(0);
    writeln!(stdin, "second").unwrap();
    assert_eq!(owner.line().as_deref(), Some("1"), "the owner goes on");
    drop(stdin);
    owner.end().expect_code(0);
    assert_eq!(place.read("s"), b"first\nsecond\n");
}

#[test]
fn ctrl_c_while_waiting_for_stdin_ends_at_once_and_keeps_what_was_acked() {
    let place = Place::new();
    let ends = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    for (round, (signal, code)) in ends.into_iter().enumerate() {
        let mut child = Running::start(place.tierlog(["append", "s", "--print-acks"]));
        let mut stdin = child.stdin().unwrap();
        writeln!(stdin, "kept").unwrap();
        assert_eq!(child.line(), Some(round.to_string()));
        write!(stdin, "half a line").unwrap();
        stdin.flush().unwrap();
        child.signal(signal);
        // stdin stays open: nothing but the signal can end it.
        let run = child.end_with_stdin_open().expect_code(code);
        drop(stdin);
        assert!(run.out.is_empty());
        assert!(run.err.contains("1 record,"), "{}", run.err);
        assert_eq!(place.read("s"), "kept\n".repeat(round + 1).as_bytes());
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_file_prints_the_acks_of_what_was_sent_and_keeps_them() {
    let place = Place::new();
    let file = place.file("in.txt", numbered(400_000));
    let args = SMALL
        .iter()
        .chain(&["append", "s", "--print-acks", "--window", "64"]);
    let mut command = place.tierlog(args);
    command.arg(&file);
    let mut child = Running::start(command);
    assert_eq!(child.line().as_deref(), Some("0"));
    child.signal(Signal::INT);
    let run = child.end();
    assert!(matches!(run.code, Some(130)), "{:?}: {}", run.code, run.err);
    let acked = 1 + run.text().lines().count();
    for (n, line) in run.text().lines().enumerate() {
        assert_eq!(line, (n + 1).to_string(), "in order, without a gap");
    }
    let kept = place.read("s");
    let all = numbered(400_000);
    assert!(
        all.as_bytes().starts_with(&kept),
        "what is kept is a beginning of the file"
    );
    let records = kept.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(
        records, acked,
        "what was sent is acked, and what is acked is kept"
    );
}

#[test]
fn who_only_reads_starts_no_thread_for_writes() {
    let place = Place::new();
    place.append("s", "only\n");
    let mut reader = Running::start(place.tierlog(["read", "s", "--follow"]));
    assert_eq!(reader.line().as_deref(), Some("only"));
    let threads = reader.threads();
    let are_there = |name| threads.iter().any(|thread| thread.starts_with(name));
    assert!(are_there("tierlog-read-"), "{threads:?}");
    assert!(!are_there("tierlog-write-"), "{threads:?}");
    reader.signal(Signal::INT);
    reader.end().expect_code(130);
}

#[test]
fn a_reader_whose_pipe_closes_ends_with_0() {
    let place = Place::new();
    place.append("s", numbered(100_000));
    let mut child = place
        .tierlog(["read", "s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Less than a pipe holds is printed, so it is in the middle of its work.
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_follower_whose_pipe_closes_ends_with_0_though_nothing_is_appended() {
    let place = Place::new();
    place.append("s", "only\n");
    let mut child = place
        .tierlog(["read", "s", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut line).unwrap();
    assert_eq!(&line, b"only\n");
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_appender_whose_acks_nobody_reads_ends_with_0_and_keeps_what_was_acked() {
    let place = Place::new();
    let mut child = place
        .tierlog(["append", "s", "--print-acks"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    writeln!(stdin, "acked").unwrap();
    let mut ack = [0; 2];
    std::io::Read::read_exact(&mut stdout, &mut ack).unwrap();
    assert_eq!(&ack, b"0\n");
    drop(stdout);
    writeln!(stdin, "and one more").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let kept = place.read("s");
    assert!(
        kept.starts_with(b"acked\n"),
        "{}",
        String::from_utf8_lossy(&kept)
    );
}

#[test]
fn nothing_acked_is_lost_to_kill_9() {
    let place = Place::new();
    let mut acked = 0;
    let mut sent = String::new();
    for round in 0..5 {
        // What is there is a beginning of everything that was ever sent, in order; a round begins
        // where the log really ends.
        let before = if round == 0 {
            Vec::new()
        } else {
            place.read("s")
        };
        assert!(sent.as_bytes().starts_with(&before), "round {round}");
        let args = SMALL.iter().chain(&["append", "s", "--print-acks"]);
        let mut child = Running::start(place.tierlog(args));
        let mut stdin = child.stdin().unwrap();
        let records = before.iter().filter(|byte| **byte == b'\n').count();
        assert!(
            records >= acked,
            "round {round}: {records} of {acked} acked records are there"
        );
        sent.truncate(before.len());
        let mut batch = String::new();
        for n in 0..1500 {
            writeln!(batch, "round {round} record {n}").unwrap();
        }
        sent.push_str(&batch);
        stdin.write_all(batch.as_bytes()).unwrap();
        for _ in 0..200 + 37 * round {
            acked = 1 + child.line().unwrap().parse::<usize>().unwrap();
        }
        child.signal(Signal::KILL);
        child.end_with_stdin_open();
    }
    let kept = place.read("s");
    assert!(sent.as_bytes().starts_with(&kept));
    assert!(kept.iter().filter(|byte| **byte == b'\n').count() >= acked);
    place.run(["verify"]).expect_code(0);
}

/// `nohup`, and a shell's background jobs, start a command with signals ignored. Catching them all the
/// same once made the end of a terminal session the end of the command.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    let mut child = Running::start(under_sh(
        "trap '' HUP INT",
        place.tierlog(["append", "s", "--print-acks"]),
    ));
    let mut stdin = child.stdin().unwrap();
    writeln!(stdin, "before").unwrap();
    assert_eq!(child.line().as_deref(), Some("0"));
    child.signal(Signal::HUP);
    child.signal(Signal::INT);
    writeln!(stdin, "after").unwrap();
    assert_eq!(child.line().as_deref(), Some("1"));
    drop(stdin);
    child.end().expect_code(0);
    assert_eq!(place.read("s"), b"before\nafter\n");
}

/// A limit on the size of files kills whoever passes it, unless that signal is caught.
#[test]
fn a_limit_on_file_sizes_is_a_full_disk_and_not_a_death() {
    let place = Place::new();
    let settings = ["--set", "segment_size=16MiB", "--set", "max_record=1MiB"];
    let args = settings.iter().chain(&["append", "s", "--print-acks"]);
    // Blocks of 512 bytes or of 1,024, as the shell likes.
    let mut child = Running::start(under_sh("ulimit -f 4096", place.tierlog(args)));
    let mut stdin = child.stdin().unwrap();
    let lines = numbered(200_000);
    let all = lines.clone();
    let feeder = std::thread::spawn(move || {
        // It ends before it has read everything.
        let _ = stdin.write_all(lines.as_bytes());
    });
    child.wait_for_err("the log has no room");
    child.signal(Signal::INT);
    let run = child.end_with_stdin_open().expect_code(130);
    feeder.join().unwrap();
    let acked = run.text().lines().count();
    let kept = place.read("s");
    assert!(acked > 0 && all.as_bytes().starts_with(&kept));
    assert_eq!(kept.iter().filter(|byte| **byte == b'\n').count(), acked);
    place.run(["verify"]).expect_code(0);
}

/// The same command, started by a shell that does something first.
fn under_sh(first: &str, command: Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{first}; exec \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    shell
}
