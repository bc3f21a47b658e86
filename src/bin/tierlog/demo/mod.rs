//! `demo [FILE]`: the main job on real input with no set-up.
//!
//! The file goes into a log line by line, the log is closed and opened again, everything is read
//! back and compared byte for byte with the file, and a table shows where it lives and how fast
//! that was. Small budgets, so that even the shipped file of 3 MB rolls segments over and most of it is
//! compressed and read back from there. The second
//! pass reads the file again, so memory stays bounded for files of any size.

mod compare;
mod ingest;
mod pieces;
mod report;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tierlog::{ReadOnly, RecoveryReport, SegmentInfo, Settings, Size, Supervisor};

use crate::exit::Ending;
use crate::session::Session;

use compare::Verdict;
use report::Report;
use source::Source;

/// The stream that holds the file.
const STREAM: &str = "demo";

pub(crate) async fn run(mut session: Session, file: Option<PathBuf>) -> Result<(), Ending> {
    let source = Source::new(file)?;
    let home = Home::choose(session.data_flag.as_deref())?;
    shrink(&mut session.settings, source.len());
    session.settings.data = home.path().to_owned();
    session.settings.validate()?;
    let interrupt = session.interrupt.clone();

    let supervisor = session.open().await?;
    let ingested = interrupt
        .cut(ingest::run(
            &supervisor,
            &session.settings,
            &source,
            session.json,
        ))
        .await;
    let ingested = match ingested {
        Ok(ingested) => time_attach(&session)
            .await
            .map(|attached| (ingested, attached)),
        Err(ending) => Err(ending),
    };
    let closed = session.close(supervisor).await;
    let (ingested, attached) = ingested?;
    closed?;

    let began = Instant::now();
    let supervisor = session.open().await?;
    let reopened = began.elapsed();
    let checked = interrupt
        .cut(check(&supervisor, &source, session.json))
        .await;
    let recovery = supervisor.recovery();
    let closed = session.close(supervisor).await;
    let (verdict, segments) = checked?;
    closed?;

    let report = Report {
        source: source.name(),
        kept: home.kept(),
        ingested,
        verdict,
        segments,
        reopened,
        attached,
        recovery,
    };
    report.print(&mut session)
}

/// Reads everything back and looks where it lives.
async fn check(
    supervisor: &Supervisor,
    source: &Source,
    json: bool,
) -> Result<(Verdict, Vec<SegmentInfo>), Ending> {
    let stream = supervisor.log().existing(STREAM).await?;
    let verdict = compare::run(&stream, source, json).await?;
    Ok((verdict, stream.segments().await?))
}

/// How long it takes to make sense of the files while their writer still runs: what a process that
/// comes after a kill -9 has to read.
async fn time_attach(session: &Session) -> Result<Duration, Ending> {
    let began = Instant::now();
    let view = ReadOnly::attach_with(session.settings.clone()).await?;
    let _: RecoveryReport = view.recovery();
    Ok(began.elapsed())
}

/// Small budgets for whatever nobody set: eight segments or more, of at least 512 KiB.
fn shrink(settings: &mut Settings, input: u64) {
    let default = Settings::default();
    if settings.max_record == default.max_record {
        settings.max_record = Size::kib(256);
    }
    if settings.segment_size == default.segment_size {
        let eighth = (input / 8).next_multiple_of(64 << 10);
        let size = eighth.clamp(512 << 10, default.segment_size.bytes());
        settings.segment_size = Size::new(size);
    }
    if settings.hot_budget == default.hot_budget {
        settings.hot_budget = Some(Size::new(4 * settings.segment_size.bytes()));
    }
    if settings.unsynced_bytes == default.unsynced_bytes {
        settings.unsynced_bytes = Size::mib(8);
    }
    if settings.tail_cache == default.tail_cache {
        settings.tail_cache = Size::mib(4);
    }
    if settings.read_cache == default.read_cache {
        settings.read_cache = Size::mib(8);
    }
}

/// The directory of a demo.
enum Home {
    /// Removed when the demo ends, however it ends.
    Throwaway(TempDir),
    /// Kept: somebody named it.
    Given(PathBuf),
}

impl Home {
    /// A given directory must be missing or empty: the demo never adds to somebody's log.
    fn choose(given: Option<&Path>) -> Result<Self, Ending> {
        let Some(given) = given else {
            let made = tempfile::Builder::new().prefix("tierlog-demo-").tempdir();
            return made.map(Self::Throwaway).map_err(|error| {
                let what = format!("cannot make a temporary directory: {error}");
                Ending::failed(what, "give one with --data")
            });
        };
        match fs::read_dir(given) {
            Ok(mut entries) => match entries.next() {
                None => Ok(Self::Given(given.to_owned())),
                Some(_) => Err(Ending::failed(
                    format!("{} is not empty", given.display()),
                    "give the demo a new directory, or none",
                )),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::Given(given.to_owned()))
            }
            Err(error) => Err(Ending::failed(
                format!("cannot use {}: {error}", given.display()),
                "give the demo a new directory, or none",
            )),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Throwaway(dir) => dir.path(),
            Self::Given(path) => path,
        }
    }

    /// The directory, if it stays.
    fn kept(&self) -> Option<PathBuf> {
        match self {
            Self::Throwaway(_) => None,
            Self::Given(path) => Some(path.clone()),
        }
    }
}
