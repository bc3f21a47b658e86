//! What every command starts from: the settings in effect, the output, Ctrl-C, and the two ways to
//! get at a log.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tierlog::{
    ColdUri, Error, Kind, ReadOnly, RecoveryReport, Settings, SettingsError, Supervisor, is_plain,
};

use crate::args::{Command, GlobalArgs, Manifest, Retain};
use crate::exit::{Ending, say};
use crate::output::{Output, counted};
use crate::plain::json_text;
use crate::recovery::{self, Tells};
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
    /// Tier 2 as a flag names it, or says that there is none.
    pub(crate) cold_flag: Option<Option<ColdUri>>,
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
        let (mut data_flag, mut cold_flag) = (None, None);
        for (key, value) in &global.set {
            settings
                .set(key, value)
                .map_err(|error| Ending::usage(format!("--set {key}: {error}"), error.advice()))?;
            match key.as_str() {
                "data" => data_flag = Some(settings.data.clone()),
                "cold" => cold_flag = Some(settings.cold.clone()),
                _ => {}
            }
        }
        if let Some(data) = &global.data {
            settings.data.clone_from(data);
            data_flag = Some(data.clone());
        }
        let named = match command {
            Command::Restore { from } => from.as_ref().map(|uri| ("--from", uri)),
            Command::Demo { cold, .. } => cold.as_ref().map(|uri| ("--cold", uri)),
            _ => None,
        };
        if let Some((flag, uri)) = named {
            let wrong =
                |error: SettingsError| Ending::usage(format!("{flag}: {error}"), error.advice());
            settings.set("cold", uri).map_err(wrong)?;
            cold_flag = Some(settings.cold.clone());
        }
        if matches!(command, Command::Restore { .. }) && settings.cold.is_none() {
            let what = "restore needs to know where Tier 2 is";
            return Err(Ending::usage(what, "give --from URI, or set `cold`"));
        }
        // `demo` fills in what nobody set, and checks the whole.
        if !matches!(command, Command::Demo { .. }) {
            settings.validate()?;
        }
        Ok(Self {
            settings,
            data_flag,
            cold_flag,
            json: global.json,
            interrupt: Interrupt::listen(command.holds())?,
            out: Output::stdout()?,
        })
    }

    /// A line for people on stderr, which is no error.
    pub(crate) fn note(&self, text: &str) {
        note(self.json, text);
    }

    /// Opens the log for writing. Ctrl-C ends it, also while it waits for Tier 2: what it has begun by then
    /// is what a crash would leave.
    pub(crate) async fn open(&self) -> Result<Supervisor, Ending> {
        self.interrupt.cut(self.open_to_the_end()).await
    }

    /// [`open`](Self::open), whatever happens meanwhile: for who removes the directory afterwards, and must
    /// not do so while it is still being made.
    pub(crate) async fn open_to_the_end(&self) -> Result<Supervisor, Ending> {
        let opened = Supervisor::open(self.settings.clone()).await;
        let supervisor = opened.map_err(|error| self.about_tier_2(error))?;
        self.tell_recovery(&supervisor.recovery(), Tells::Everything);
        Ok(supervisor)
    }

    /// An error of a call that Tier 2 had to answer: for a new log it is more likely a slip than weather.
    pub(crate) fn about_tier_2(&self, error: Error) -> Ending {
        match (&error, &self.settings.cold) {
            (Error::Unavailable { .. }, Some(_)) => Ending::advised(
                &error,
                "check what `cold` says and who may read and write there, or try again",
            ),
            _ => error.into(),
        }
    }

    /// Opens for writing a log that has this stream. It is looked up without touching anything
    /// first: an unknown stream must not make a log, nor cost a running one its epoch.
    pub(crate) async fn open_existing(&self, stream: &str) -> Result<Supervisor, Ending> {
        self.attach_silently().await?.stream(stream)?;
        self.open().await
    }

    /// Attaches for reading: no lock, no write, beside a live writer or without one.
    pub(crate) async fn attach(&self, tells: Tells) -> Result<ReadOnly, Ending> {
        let view = self.attach_silently().await?;
        let report = view.recovery();
        if !recovery::is_torn(&report) {
            self.tell_recovery(&report, tells);
            return Ok(view);
        }
        // Beside a writer, a torn end may be a write that is on its way: a tear stays where it is.
        tokio::time::sleep(SECOND_LOOK).await;
        let view = self.attach_silently().await?;
        let mut again = view.recovery();
        recovery::keep_tears(&mut again, &report);
        self.tell_recovery(&again, tells);
        Ok(view)
    }

    /// Refuses a name that no new stream may have, unless there is such a stream.
    pub(crate) async fn check_new_name(&self, name: &str) -> Result<(), Ending> {
        let Some(c) = name.chars().find(|c| !is_plain(*c)) else {
            return Ok(());
        };
        let view = self.attach_silently().await;
        match view.is_ok_and(|view| view.stream(name).is_ok()) {
            true => Ok(()),
            false => Err(Ending::usage(
                format!(
                    "a new stream's name can't have U+{:04X}, which a terminal obeys",
                    u32::from(c)
                ),
                "leave it out",
            )),
        }
    }

    async fn attach_silently(&self) -> Result<ReadOnly, Ending> {
        Ok(ReadOnly::attach_with(self.settings.clone()).await?)
    }

    /// A tear that was cut is no failure, but nobody should have to guess that it was there.
    fn tell_recovery(&self, report: &RecoveryReport, tells: Tells) {
        let news = recovery::news(report, tells);
        match (news.as_slice(), self.json) {
            ([], _) => {}
            (_, true) => say(&json_text(&json!({"recovery": report}))),
            (news, false) => news.iter().for_each(|line| note(false, line)),
        }
    }

    /// Closes after a failure that is told already: whatever else goes wrong now follows from it.
    pub(crate) async fn abandon(&self, supervisor: Supervisor) {
        let _ = supervisor.shutdown(DRAIN).await;
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
                what: format!(
                    "{} of {stream} could not be made durable in time",
                    counted(*records, "record")
                ),
                kind: "reopen",
                advice: "open the log again and read the stream to see which it has".into(),
            }),
        }
    }
}

/// What looks torn is looked at again after this long.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// A wait for room shorter than this is how a fast producer and a log keep step, and no news.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

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

    /// Waits for `room`, for which `why` says what has to happen. As safe to cancel as `room` is.
    pub(crate) async fn wait<T>(&mut self, why: &str, room: impl Future<Output = T>) -> T {
        tokio::pin!(room);
        if !self.told {
            tokio::select! {
                biased;
                done = &mut room => return done,
                () = tokio::time::sleep(PATIENCE) => {}
            }
            self.told = true;
            let text = format!(
                "waiting: the log has no room now: {why}; it goes on by itself, Ctrl-C ends it"
            );
            note(self.json, &text);
        }
        room.await
    }
}

/// See [`Session::note`].
pub(crate) fn note(json: bool, text: &str) {
    match json {
        true => say(&json_text(&json!({"note": text}))),
        false => say(&format!("tierlog: {text}")),
    }
}

/// What the log waits for when it is short of something, for people.
pub(crate) fn room_for(kind: Kind) -> &'static str {
    match kind {
        Kind::Admission => "the disk is full or slow, or `hot_budget` is used up (admission)",
        Kind::Flush => "the disk is slower than the input (flush)",
        Kind::Rollover => "the next segment is still being made (rollover)",
        Kind::Manifest => "the manifest is still being written (manifest)",
        Kind::Upload => "Tier 2 has to take what is here, and does not (upload)",
        _ => "the log is short of something",
    }
}

impl Command {
    fn holds(&self) -> Holds {
        match self {
            Self::Read(_)
            | Self::Streams
            | Self::Segments { .. }
            | Self::Retain(Retain {
                age: None,
                bytes: None,
                ..
            })
            | Self::Verify { .. }
            | Self::Manifest {
                command: Manifest::Inspect,
            }
            | Self::Config => Holds::Nothing,
            Self::Demo { .. }
            | Self::Append(_)
            | Self::Restore { .. }
            | Self::Seal { .. }
            | Self::Sweep { .. }
            | Self::Flush { .. }
            | Self::Retain(_)
            | Self::Trim { .. }
            | Self::Bench(_) => Holds::Log,
        }
    }
}
