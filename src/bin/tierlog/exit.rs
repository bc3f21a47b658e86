//! How a command ends, and what it says then.
//!
//! One error is one line on stderr: what is wrong; what to do. Scripts rely on the codes: 0 done,
//! 1 failed or damage found, 2 usage or bad settings, 130 Ctrl-C (143 SIGTERM, 129 SIGHUP). An output
//! that nobody reads any more is no error: `tierlog read orders | head` ends with 0.

use std::io;
use std::process::ExitCode;

use serde_json::json;
use tierlog::{AppendError, Error, ErrorKind, SettingsError, StorageError};

use crate::plain::{json_text, shown};
use crate::signal::Stop;

/// Every way for a command to end before its work is done.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Something went wrong.
    Failed {
        what: String,
        kind: &'static str,
        advice: String,
    },
    /// The command line or the settings make no sense.
    Usage { what: String, advice: String },
    /// What is wrong was the output itself: damage that was listed, bytes that differ.
    Told,
    /// Ctrl-C, or another signal that asks to end.
    Stopped(Stop),
    /// Nobody reads the output any more.
    OutputClosed,
}

impl Ending {
    /// A failure of the surroundings: a file, a pipe.
    pub(crate) fn failed(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            kind: "fix_input",
            advice: advice.into(),
        }
    }

    /// An error of the log in better words than its own.
    pub(crate) fn damaged(what: String, error: &Error) -> Self {
        Self::Failed {
            what,
            kind: kind_name(error.kind()),
            advice: error.advice().to_owned(),
        }
    }

    /// An error of the log, with better advice than its own.
    pub(crate) fn advised(error: &Error, advice: &str) -> Self {
        Self::Failed {
            what: error.to_string(),
            kind: kind_name(error.kind()),
            advice: advice.to_owned(),
        }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// What a failed write to stdout means.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed {
                what: format!("cannot write the output: {error}"),
                kind: "output",
                advice: "make room where it goes".into(),
            },
        }
    }

    /// Says it on stderr and gives the code to end with.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let (what, kind, advice, code) = match self {
            Self::Failed { what, kind, advice } => (what, *kind, advice, 1),
            Self::Usage { what, advice } => (what, "usage", advice, 2),
            Self::Told => return ExitCode::from(1),
            Self::Stopped(stop) => return ExitCode::from(stop.code()),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        let (what, advice) = (one_line(what), one_line(advice));
        if json {
            say(&json_text(
                &json!({"error": what, "kind": kind, "advice": advice}),
            ));
        } else if advice.is_empty() {
            say(&format!("tierlog: {what}"));
        } else {
            say(&format!("tierlog: {what}; {advice}"));
        }
        ExitCode::from(code)
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        let what = error.to_string();
        let advice = advice(&error);
        match &error {
            Error::Settings { .. } => Self::Usage { what, advice },
            _ => Self::Failed {
                what,
                kind: kind_name(error.kind()),
                advice,
            },
        }
    }
}

/// What to do, in terms of the command line where the library speaks of calls.
fn advice(error: &Error) -> String {
    match error {
        Error::UnknownStream { .. } => "`tierlog streams` lists those that there are".into(),
        Error::Trimmed { start, .. } => format!("read from {start} on, or from `earliest`"),
        Error::Settings { .. } => "change the setting that it names".into(),
        Error::InvalidInput { .. } => "give an offset up to that one".into(),
        Error::Storage(storage) => match **storage {
            StorageError::Locked { .. } => {
                "end whatever has it open; `read`, `streams`, `segments` and `verify` work beside it"
            }
            StorageError::NotALog { .. } => {
                "give the directory of a log with --data; `append` makes a new one, where there is \
                 nothing yet"
            }
            _ => error.advice(),
        }
        .into(),
        _ => match error.kind() {
            ErrorKind::Reopen => "read the end of the stream to see what it has, then go on".into(),
            _ => error.advice().into(),
        },
    }
}

impl From<AppendError> for Ending {
    fn from(refused: AppendError) -> Self {
        refused.error.into()
    }
}

impl From<SettingsError> for Ending {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string(), error.advice())
    }
}

/// The kind as scripts see it.
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::BackOff => "back_off",
        ErrorKind::FixInput => "fix_input",
        ErrorKind::Moved => "moved",
        ErrorKind::Reopen => "reopen",
        ErrorKind::Restore => "restore",
        ErrorKind::Closed => "closed",
        _ => "other",
    }
}

/// Paths and names come from outside; none of them may make two lines of one, or steer a terminal.
fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(clean).collect()
}

/// A line for people on stderr. A stderr that is gone must not end a command whose work goes on,
/// which `eprintln!` would do by a panic.
pub(crate) fn say(line: &str) {
    use io::Write as _;
    // In one write, so that the lines of two processes don't run into one another.
    let _ = io::stderr()
        .lock()
        .write_all(format!("{}\n", shown(line)).as_bytes());
}
