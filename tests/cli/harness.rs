//! A directory, the binary, and ways to talk to it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing that is waited for takes this long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a child that may wait for their test.
const LINES_AHEAD: usize = 1 << 16;

/// A place for one log.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the log is; missing at first.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("log")
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file in a temporary directory");
        path
    }

    /// The binary, on this log.
    pub(crate) fn tierlog<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        tierlog_on(&self.log(), args)
    }

    /// Runs it to its end.
    pub(crate) fn run<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Run {
        run(self.tierlog(args), b"")
    }

    /// Runs it to its end with something on stdin.
    pub(crate) fn feed<I: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = I>,
        input: impl AsRef<[u8]>,
    ) -> Run {
        run(self.tierlog(args), input.as_ref())
    }

    /// Appends these lines and expects it to work.
    pub(crate) fn append(&self, stream: &str, input: impl AsRef<[u8]>) {
        self.feed(["append", stream], input).expect_code(0);
    }

    /// Every payload of a stream, as `read` prints it.
    pub(crate) fn read(&self, stream: &str) -> Vec<u8> {
        self.run(["read", stream, "--from", "0", "--format", "raw"])
            .expect_code(0)
            .out
    }

    /// What a command prints as JSON, an object a line.
    pub(crate) fn json<I: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = I>,
    ) -> Vec<serde_json::Value> {
        let mut command = self.tierlog(args);
        command.arg("--json");
        run(command, b"").expect_code(0).json()
    }
}

/// The binary on a log, with an environment that holds no setting.
pub(crate) fn tierlog_on<I: AsRef<OsStr>>(
    data: &Path,
    args: impl IntoIterator<Item = I>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierlog"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TIERLOG_") {
            command.env_remove(name);
        }
    }
    command.arg("--data").arg(data).args(args);
    command
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        let out = String::from_utf8_lossy(&self.out[..self.out.len().min(2000)]);
        assert_eq!(self.code, Some(code), "stdout: {out}\nstderr: {}", self.err);
        self
    }

    /// Failed with one line on stderr, which says all of `words`.
    #[track_caller]
    pub(crate) fn expect_line(self, code: i32, words: &[&str]) -> Self {
        let run = self.expect_code(code);
        assert_eq!(
            run.err.lines().count(),
            1,
            "one error is one line: {}",
            run.err
        );
        assert!(run.err.starts_with("tierlog: "), "{}", run.err);
        for word in words {
            assert!(run.err.contains(word), "no `{word}` in: {}", run.err);
        }
        run
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text on stdout")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        self.text().lines().map(parse).collect()
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: Command, input: &[u8]) -> Run {
    let mut child = Running::start(command);
    if let Some(mut stdin) = child.stdin() {
        // A command that refuses its input closes it.
        let _ = stdin.write_all(input);
    }
    child.end()
}

/// A child with its output being read, killed when its test is over.
pub(crate) struct Running {
    child: Child,
    out: Receiver<Vec<u8>>,
    err: Receiver<Vec<u8>>,
    /// What was taken from `err` already.
    seen: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let out = lines(child.stdout.take().expect("piped"));
        let err = lines(child.stderr.take().expect("piped"));
        Self {
            child,
            out,
            err,
            seen: String::new(),
        }
    }

    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The next line of stdout, without its newline; `None` at the end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Option<String> {
        next(&self.out)
    }

    /// Waits for a line on stderr that says this.
    #[track_caller]
    pub(crate) fn wait_for_err(&mut self, word: &str) {
        while let Some(line) = next(&self.err) {
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(word) {
                return;
            }
        }
        panic!("no `{word}` on stderr: {}", self.seen);
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).expect("it runs");
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .map(|name| name.trim().to_owned())
            .collect()
    }

    /// The most that was resident so far, in bytes. Asked of the system while the child runs: what
    /// `wait4` tells of it holds the pages of the test, from which it was forked.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.expect("a peak").trim().trim_end_matches(" kB");
        peak.parse::<usize>().expect("a number") * 1024
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the child is there");
    }

    /// As [`Running::end`], for a child whose stdin the test holds open. A name of its own, because
    /// what ends the child is the point then.
    #[track_caller]
    pub(crate) fn end_with_stdin_open(self) -> Run {
        assert!(self.child.stdin.is_none(), "the test holds it");
        self.end()
    }

    /// Closes stdin, takes the rest of the output and waits for the exit.
    #[track_caller]
    pub(crate) fn end(mut self) -> Run {
        drop(self.child.stdin.take());
        let mut out = Vec::new();
        while let Some(part) = next_bytes(&self.out) {
            out.extend(part);
        }
        while let Some(line) = next_bytes(&self.err) {
            self.seen.push_str(&String::from_utf8_lossy(&line));
        }
        let status = self.status();
        Run {
            code: status.code(),
            out,
            err: std::mem::take(&mut self.seen),
        }
    }

    /// The exit alone. The output is at its end before the process is, so this hardly waits.
    #[track_caller]
    fn status(&mut self) -> ExitStatus {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            std::thread::yield_now();
        }
        panic!("the command did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe on a thread, line by line.
fn lines(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (to, lines) = sync_channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            match from.read_until(b'\n', &mut line) {
                Ok(1..) if to.send(line).is_ok() => {}
                _ => return,
            }
        }
    });
    lines
}

#[track_caller]
fn next_bytes(from: &Receiver<Vec<u8>>) -> Option<Vec<u8>> {
    match from.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing came for {PATIENCE:?}"),
    }
}

#[track_caller]
fn next(from: &Receiver<Vec<u8>>) -> Option<String> {
    let line = next_bytes(from)?;
    let line = String::from_utf8(line).expect("lines of text");
    Some(line.trim_end_matches('\n').to_owned())
}

/// `count` lines that differ, each with its newline.
pub(crate) fn numbered(count: usize) -> String {
    (0..count)
        .map(|n| format!("line {n} of a test, with some text behind it\n"))
        .collect()
}

/// Settings that roll a segment over every few hundred records.
pub(crate) const SMALL: [&str; 6] = [
    "--set",
    "segment_size=80KiB",
    "--set",
    "max_record=16KiB",
    "--set",
    "unsynced_bytes=1MiB",
];
