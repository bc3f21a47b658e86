//! What the machine can do, and the processes that are started on it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// How long anything may take that must come: a hang is a failure with a name.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of a process that nobody has taken yet; it waits when there are more.
const LINES_AHEAD: usize = 1 << 16;

/// Runs a program to its end; what it says on stderr is the error.
pub fn command<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}: {}", output.status, why.trim()))
        }
    }
}

/// Whether there is such a program.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Why it can't be done here, if so: the first thing that is missing.
pub fn lacks(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(Need::is_missing)
}

/// What a scenario needs.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// To be root.
    Root,
    /// A file of the system, and what it is.
    File(&'static str, &'static str),
    /// A program, and the package that brings it.
    Program(&'static str, &'static str),
    /// A kernel that knows this file system.
    FileSystem(&'static str),
}

impl Need {
    fn is_missing(&self) -> Option<String> {
        match *self {
            Self::Root => {
                let root = rustix::process::geteuid().is_root();
                (!root).then(|| "it mounts file systems, which needs root".to_owned())
            }
            Self::File(path, what) => {
                (!Path::new(path).exists()).then(|| format!("there is no {path}: {what}"))
            }
            Self::Program(program, package) => {
                (!has(program)).then(|| format!("there is no {program}: apt-get install {package}"))
            }
            Self::FileSystem(name) => {
                let known = |text: String| text.split_whitespace().any(|word| word == name);
                let mut there = fs::read_to_string("/proc/filesystems").is_ok_and(known);
                if !there && has("modprobe") {
                    there = command("modprobe", [name]).is_ok();
                }
                (!there).then(|| format!("this kernel knows no {name}"))
            }
        }
    }
}

/// A folder for all that is made in a run. Whoever started it removes it, and what is mounted in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder.
    pub dir: PathBuf,
}

impl Place {
    /// A new folder in it.
    pub fn folder(&self, name: &str) -> Self {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("room for a folder");
        Self { dir }
    }

    /// Removes what was made in it.
    pub fn clear(&self) {
        // What is still mounted below is for the script to remove.
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// Starts this program in another role.
    pub fn role<S: AsRef<OsStr>>(&self, role: &str, args: impl IntoIterator<Item = S>) -> Running {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["role", role]).args(args);
        Running::start(command, &self.dir)
    }
}

/// A process whose lines are read, killed when it goes out of scope.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    note: PathBuf,
}

impl Running {
    /// Starts it, and leaves a note of it in `dir` for whoever cleans up after us.
    pub fn start(mut command: Command, dir: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        // Ctrl-C is for us: a disk that dies of it would take what stands on it along.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let note = dir.join(format!("pid.{}", child.id()));
        fs::write(&note, "").expect("room for a note");
        let out = child.stdout.take().expect("it is piped");
        let (to, lines) = sync_channel(LINES_AHEAD);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, note }
    }

    /// The next line; none when it has ended.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing came for {PATIENCE:?}"),
        }
    }

    /// Takes the lines that come within this time.
    pub fn lines_for(&self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut taken = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => taken.push(line),
                Err(_) => return taken,
            }
        }
    }

    /// All lines that are still to come.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it is ours");
    }

    /// Waits for its exit; its lines are at their end by then.
    pub fn end(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "a process did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.note);
    }
}
