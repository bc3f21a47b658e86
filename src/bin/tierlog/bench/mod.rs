//! `bench`: what a log does on this disk, beside a plain file that is written and synced the same way in
//! the same run.
//!
//! It works in a throwaway directory beside `--data`, so on the same file system, and touches nothing
//! else. Each measurement ends after `--seconds`, or when it has written as much as a bench may.

mod ours;
mod plain;
mod report;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tempfile::TempDir;
use tierlog::{ErrorKind, FlushPolicy, ReadOnly, Settings, Size, Stream, Supervisor};

use crate::args::Bench;
use crate::exit::Ending;
use crate::session::Session;

use report::{Measured, Pair, Report};

/// The most that a measurement writes: a fast disk must not be filled for the sake of a figure.
const MOST: u64 = 1 << 30;
/// What is written without waiting is synced each time that so much has come together.
const SYNC_EACH: u64 = 8 << 20;

/// What each measurement is told.
#[derive(Debug, Clone)]
struct Load {
    time: Duration,
    size: usize,
    tasks: usize,
    /// Set when somebody ends the bench.
    stop: Arc<AtomicBool>,
}

impl Load {
    fn payload(&self) -> Vec<u8> {
        vec![b'x'; self.size]
    }

    /// How many records a measurement writes at most.
    fn most(&self) -> u64 {
        MOST / (self.size as u64 + 64)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(crate) async fn run(mut session: Session, args: Bench) -> Result<(), Ending> {
    let limit = session.settings.max_record.bytes();
    if args.size as u64 > limit {
        return Err(Ending::usage(
            format!("--size {} is over the limit of {limit} bytes", args.size),
            "raise `max_record`",
        ));
    }
    let home = home(&session.settings.data).await?;
    let load = Load {
        time: Duration::from_secs_f64(args.seconds),
        size: args.size,
        tasks: args.tasks,
        stop: Arc::default(),
    };
    let bar = bar(session.json);
    let measured = measure(&session, &load, home.path(), &bar).await;
    bar.finish_and_clear();
    let report = measured?;
    report.print(&mut session)
}

async fn measure(
    session: &Session,
    load: &Load,
    home: &Path,
    bar: &ProgressBar,
) -> Result<Report, Ending> {
    let rolling = Settings {
        flush: FlushPolicy::Bytes(Size::new(
            SYNC_EACH.min(session.settings.unsynced_bytes.bytes()),
        )),
        data: home.join("append"),
        ..session.settings.clone()
    };
    let each = Settings {
        flush: FlushPolicy::Always,
        data: home.join("durable"),
        ..session.settings.clone()
    };
    let path = home.join("plain");
    step(bar, "append, a plain file");
    let append = threads(session, load, plain::append, &path).await?;
    step(bar, "scan, a plain file");
    let scan = threads(session, load, plain::scan, &path).await?;
    step(bar, "durable, a plain file");
    let durable = threads(session, load, plain::durable, &home.join("synced")).await?;
    step(bar, "append and scan");
    let (appended, scanned) =
        on_a_log(session, rolling, |stream| ours::append(stream, load)).await?;
    step(bar, "durable");
    let acked = on_a_log(session, each, |stream| ours::durable(stream, load)).await?;
    let pair = |tierlog, plain| Pair { tierlog, plain };
    Ok(Report {
        size: load.size,
        tasks: load.tasks,
        append: pair(appended, append),
        durable: pair(acked, durable),
        scan: pair(scanned, scan),
    })
}

/// Measures on a log of its own, which is closed whatever comes of it: its directory is to be removed.
async fn on_a_log<T, F: Future<Output = Result<T, Ending>>>(
    session: &Session,
    settings: Settings,
    work: impl FnOnce(Stream) -> F,
) -> Result<T, Ending> {
    let supervisor = Supervisor::open(settings).await?;
    let measured = async { work(supervisor.log().stream("bench").await?).await };
    let outcome = session.interrupt.cut(measured).await;
    let closed = session.close(supervisor).await;
    let outcome = outcome?;
    closed.map(|()| outcome)
}

/// Measures on threads of its own, which have ended when this returns.
async fn threads(
    session: &Session,
    load: &Load,
    work: fn(&Load, &Path) -> std::io::Result<Measured>,
    path: &Path,
) -> Result<Measured, Ending> {
    let (load, path) = (load.clone(), path.to_owned());
    let stop = Arc::clone(&load.stop);
    let mut measured = tokio::task::spawn_blocking(move || work(&load, &path));
    let stopped = tokio::select! {
        biased;
        stopped = session.interrupt.fired() => Some(stopped),
        outcome = &mut measured => return landed(outcome),
    };
    stop.store(true, Ordering::Relaxed);
    let outcome = landed(measured.await);
    stopped.map_or(outcome, Err)
}

fn landed(
    outcome: Result<std::io::Result<Measured>, tokio::task::JoinError>,
) -> Result<Measured, Ending> {
    let why = match outcome {
        Ok(Ok(measured)) => return Ok(measured),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let what = format!("the plain file that is measured beside could not be used: {why}");
    Err(Ending::failed(what, "make room where --data is"))
}

/// A directory of its own beside `--data`. What is there already has to be a log, as for every other
/// command, but is not looked into any further.
async fn home(data: &Path) -> Result<TempDir, Ending> {
    let holds_something = std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something
        && let Err(error) = ReadOnly::attach(data).await
        && error.kind() == ErrorKind::FixInput
    {
        return Err(error.into());
    }
    let above = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let there = above.ancestors().skip(1).find(|path| path.is_dir());
    let there = there.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let made = tempfile::Builder::new()
        .prefix("tierlog-bench-")
        .tempdir_in(&there);
    made.map_err(|error| {
        let what = format!("cannot make a directory in {}: {error}", there.display());
        Ending::failed(what, "give a place for one with --data")
    })
}

fn step(bar: &ProgressBar, what: &'static str) {
    bar.inc(1);
    bar.set_message(what);
}

/// On stderr, if that is a terminal and nobody asked for JSON.
fn bar(json: bool) -> ProgressBar {
    let target = match json || !std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(5), target);
    if let Ok(style) = ProgressStyle::with_template("{msg:22} {wide_bar} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
