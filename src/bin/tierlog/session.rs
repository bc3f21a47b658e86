//! What every command starts from: the settings in effect, the output, Ctrl-C, and the two ways to
//! get at a log.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tierlog::{ReadOnly, RecoveryReport, Settings, Supervisor};

use crate::args::{Command, GlobalArgs, Manifest};
use crate::exit::{Ending, say};
use crate::output::Output;
use crate::signal::{Holds, Interrupt};

/// What a shutdown gets to make everything durable. A disk that needs longer has its own problem,
/// which the report names.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// One run of one command.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    /// The directory that a flag names, if one does.
    pub(crate) data_flag: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) interrupt: Interrupt,
    pub(crate) out: Output,
}

impl Session {
    /// Puts the settings together: file, then environment, then flags.
    pub(crate) fn new(global: &GlobalArgs, command: &Command) -> Result<Self, Ending> {
        let mut settings = match &global.config {
            Some(path) => Settings::from_file(path)?,
            None => Settings::default(),
        };
        settings.apply_env()?;
        let mut data_flag = None;
        for (key, value) in &global.set {
            settings
                .set(key, value)
                .map_err(|error| Ending::usage(format!("--set {key}: {error}"), error.advice()))?;
            if key == "data" {
                data_flag = Some(settings.data.clone());
            }
        }
        if let Some(data) = &global.data {
            settings.data.clone_from(data);
            data_flag = Some(data.clone());
        }
        // `demo` fills in what nobody set, and checks the whole.
        if !matches!(command, Command::Demo { .. }) {
            settings.validate()?;
        }
        Ok(Self {
            settings,
            data_flag,
            json: global.json,
            interrupt: Interrupt::listen(command.holds())?,
            out: Output::stdout()?,
        })
    }

    /// A line for people on stderr, which is no error.
    pub(crate) fn note(&self, text: &str) {
        note(self.json, text);
    }

    /// Opens the log for writing.
    pub(crate) async fn open(&self) -> Result<Supervisor, Ending> {
        let supervisor = Supervisor::open(self.settings.clone()).await?;
        self.tell_recovery(&supervisor.recovery());
        Ok(supervisor)
    }

    /// Opens for writing a log that has this stream. It is looked up without touching anything
    /// first: an unknown stream must not make a log, nor cost a running one its epoch.
    pub(crate) async fn open_existing(&self, stream: &str) -> Result<Supervisor, Ending> {
        self.attach_silently().await?.stream(stream)?;
        self.open().await
    }

    /// Attaches for reading: no lock, no write, beside a live writer or without one.
    pub(crate) async fn attach(&self) -> Result<ReadOnly, Ending> {
        let view = self.attach_silently().await?;
        self.tell_recovery(&view.recovery());
        Ok(view)
    }

    async fn attach_silently(&self) -> Result<ReadOnly, Ending> {
        Ok(ReadOnly::attach_with(self.settings.clone()).await?)
    }

    /// A tear that was cut is no failure, but nobody should have to guess that it was there.
    fn tell_recovery(&self, report: &RecoveryReport) {
        if !has_news(report) {
            return;
        }
        if self.json {
            say(&json!({"recovery": report}).to_string());
            return;
        }
        for line in report.to_string().lines() {
            say(&format!("tierlog: {line}"));
        }
    }

    /// Drains and closes.
    pub(crate) async fn close(&self, supervisor: Supervisor) -> Result<(), Ending> {
        let report = supervisor.shutdown(DRAIN).await?;
        for problem in &report.problems {
            self.note(problem);
        }
        match report.undrained.as_slice() {
            [] => Ok(()),
            [(stream, records), ..] => Err(Ending::Failed {
                what: format!("{records} records of {stream} could not be made durable in time"),
                kind: "reopen",
                advice: "open the log again and read the stream to see which it has".into(),
            }),
        }
    }
}

/// A wait for room shorter than this is how a fast producer and a log keep step, and no news.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says once that the log has no room, when a wait for it takes long.
#[derive(Debug)]
pub(crate) struct Patience {
    json: bool,
    told: bool,
}

impl Patience {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, told: false }
    }

    /// Waits for `room`, which is short of `what`. As safe to cancel as `room` is.
    pub(crate) async fn wait<T>(&mut self, what: &str, room: impl Future<Output = T>) -> T {
        tokio::pin!(room);
        if !self.told {
            tokio::select! {
                biased;
                done = &mut room => return done,
                () = tokio::time::sleep(PATIENCE) => {}
            }
            self.told = true;
            let text = format!("waiting: the log has no room now ({what}); Ctrl-C ends");
            note(self.json, &text);
        }
        room.await
    }
}

/// Whether a recovery found what somebody should know of. That a log was not closed in order is no
/// news by itself: nothing is lost by it.
fn has_news(report: &RecoveryReport) -> bool {
    report.streams.iter().any(|stream| stream.cut.is_some())
        || report.damage().next().is_some()
        || report
            .manifest
            .as_ref()
            .is_some_and(|manifest| manifest.torn)
        || !report.quarantined.is_empty()
        || !report.foreign.is_empty()
}

/// See [`Session::note`].
pub(crate) fn note(json: bool, text: &str) {
    match json {
        true => say(&json!({"note": text}).to_string()),
        false => say(&format!("tierlog: {text}")),
    }
}

impl Command {
    fn holds(&self) -> Holds {
        match self {
            Self::Read(_)
            | Self::Streams
            | Self::Segments { .. }
            | Self::Verify { .. }
            | Self::Manifest {
                command: Manifest::Inspect,
            }
            | Self::Config => Holds::Nothing,
            Self::Demo { .. }
            | Self::Append(_)
            | Self::Seal { .. }
            | Self::Flush { .. }
            | Self::Trim { .. } => Holds::Log,
        }
    }
}
