//! `demo [FILE]`: the main job on real input with no set-up.
//!
//! The file goes into a log line by line and is archived, the log is closed and opened again, everything is
//! read back from each tier and compared byte for byte with the file, and tables show where it lives and
//! how fast that was. Small budgets, so that even the shipped file of 3 MB crosses all tiers. The second
//! pass reads the file again, so memory stays bounded for files of any size.

mod compare;
mod home;
mod ingest;
mod pieces;
mod report;
mod source;
mod tiers;

use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use tierlog::{ReadOnly, RecoveryReport, SegmentInfo, Settings, Supervisor};
use tokio::time::timeout;

use crate::exit::Ending;
use crate::session::Session;

use compare::Verdict;
use home::Home;
use ingest::Ingested;
use report::Report;
use source::Source;
use tiers::Archived;

/// The stream that holds the file.
const STREAM: &str = "demo";

/// An open that waits for nobody has ended by then.
const OPENED_BY: Duration = Duration::from_secs(2);

pub(crate) async fn run(mut session: Session, file: Option<PathBuf>) -> Result<(), Ending> {
    let source = Source::new(file)?;
    let mut home = Home::choose(session.data_flag.as_deref(), session.cold_flag.as_ref())?;
    let settings = &mut session.settings;
    settings.data = home.data().to_owned();
    settings.cold = home.bucket.uri().cloned();
    let spreads = settings.warm_budget == Settings::default().warm_budget;
    tiers::shrink(settings, source.len());
    settings.validate()?;
    let interrupt = session.interrupt.clone();

    let supervisor = open(&session, &mut home).await?;
    let taken = interrupt.cut(take_in(&supervisor, &session, &source)).await;
    let closed = session.close(supervisor).await;
    let taken = taken?;
    closed?;

    if spreads && taken.archived.is_some() {
        tiers::spread(&mut session.settings, &taken.segments);
    }
    let began = Instant::now();
    let supervisor = open(&session, &mut home).await?;
    let reopened = began.elapsed();
    let checked = interrupt.cut(check(&supervisor, &session, &source)).await;
    let recovery = supervisor.recovery();
    let closed = session.close(supervisor).await;
    let (verdict, segments) = checked?;
    closed?;

    let report = Report {
        source: source.name(),
        kept: home.kept(),
        kept_bucket: home.kept_bucket().map(|uri| uri.to_string()),
        ingested: taken.ingested,
        archived: taken.archived,
        verdict,
        segments,
        reopened,
        attached: taken.attached,
        recovery,
    };
    report.print(&mut session)
}

/// Opens the log, which may wait for Tier 2. Ctrl-C ends that, and says so: nothing was to be seen yet.
async fn open(session: &Session, home: &mut Home) -> Result<Supervisor, Ending> {
    let mut opening = pin!(session.open_to_the_end());
    let opened = session.interrupt.cut(opening.as_mut()).await;
    if matches!(opened, Err(Ending::Stopped(_))) {
        session.note("stopped while the log was being opened");
        // It makes its directory anew for as long as it goes on, unless it waits for Tier 2 by now.
        if let Ok(Ok(supervisor)) = timeout(OPENED_BY, opening).await {
            let _ = supervisor.shutdown(OPENED_BY).await;
        }
        home.discard().await;
    }
    opened
}

/// What the first half of a demo did.
struct TakenIn {
    ingested: Ingested,
    archived: Option<Archived>,
    segments: Vec<SegmentInfo>,
    attached: Duration,
}

/// The file into the log, and on into Tier 2.
async fn take_in(
    supervisor: &Supervisor,
    session: &Session,
    source: &Source,
) -> Result<TakenIn, Ending> {
    let ingested = ingest::run(supervisor, &session.settings, source, session.json).await?;
    let attached = time_attach(session).await?;
    let stream = supervisor.log().existing(STREAM).await?;
    let archived = match &session.settings.cold {
        Some(_) => Some(tiers::archive(supervisor, &stream, session.json).await?),
        None => None,
    };
    Ok(TakenIn {
        ingested,
        archived,
        segments: stream.segments().await?,
        attached,
    })
}

/// Looks where it lives, and reads everything back from there.
async fn check(
    supervisor: &Supervisor,
    session: &Session,
    source: &Source,
) -> Result<(Verdict, Vec<SegmentInfo>), Ending> {
    let stream = supervisor.log().existing(STREAM).await?;
    if session.settings.cold.is_some() {
        tiers::settle(&stream, &session.settings).await?;
    }
    let segments = stream.segments().await?;
    let verdict = compare::run(&stream, &segments, source, session.json).await?;
    Ok((verdict, segments))
}

/// How long it takes to make sense of the files while their writer still runs: what a process that
/// comes after a kill -9 has to read.
async fn time_attach(session: &Session) -> Result<Duration, Ending> {
    let began = Instant::now();
    let view = ReadOnly::attach_with(session.settings.clone()).await?;
    let _: RecoveryReport = view.recovery();
    Ok(began.elapsed())
}
