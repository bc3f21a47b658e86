//! `sweep [--dry-run]`: files and objects that nothing names.

use tierlog::{Fate, SweepReport, SweptDirectory, SweptTier2};

use crate::exit::Ending;
use crate::output::{bytes_text, counted};
use crate::recovery::Tells;
use crate::session::Session;

pub(crate) async fn run(mut session: Session, dry_run: bool) -> Result<(), Ending> {
    // A log that is not there is not made.
    let interrupt = session.interrupt.clone();
    interrupt.cut(session.attach(Tells::NoDamage)).await?;
    let supervisor = session.open().await?;
    let log = supervisor.log();
    let swept = session.interrupt.cut(async {
        Ok(match dry_run {
            true => log.sweep_dry().await?,
            false => log.sweep().await?,
        })
    });
    let report = match swept.await {
        Ok(report) => report,
        Err(ending) => {
            session.abandon(supervisor).await;
            return Err(ending);
        }
    };
    session.close(supervisor).await?;
    tell(&mut session, &report)
}

fn tell(session: &mut Session, report: &SweepReport) -> Result<(), Ending> {
    if session.json {
        session.out.json(report)?;
        return session.out.flush();
    }
    tell_directory(session, &report.directory, report.dry_run)?;
    if let Some(swept) = &report.tier_2 {
        tell_tier_2(session, swept, report.dry_run)?;
    }
    session.out.flush()
}

fn removed(dry_run: bool) -> &'static str {
    match dry_run {
        false => "removed",
        true => "would be removed",
    }
}

fn tell_directory(
    session: &mut Session,
    swept: &SweptDirectory,
    dry_run: bool,
) -> Result<(), Ending> {
    for file in &swept.told {
        let fate = match (file.fate, dry_run, &file.now) {
            (Fate::Removed, false, _) => "removed".to_owned(),
            (Fate::Removed, true, _) => "would remove".to_owned(),
            (Fate::Quarantined, false, Some(now)) => format!("not explained, now {now}:"),
            (Fate::Quarantined, false, None) => "not explained, no room to move it:".to_owned(),
            (Fate::Quarantined, true, _) => "not explained, would quarantine".to_owned(),
        };
        let (path, len, why) = (&file.path, bytes_text(file.len), &file.why);
        session
            .out
            .line(format_args!("{fate} {path} ({len}): {why}"))?;
    }
    session.out.line(format_args!(
        "swept {} here: {} named, {} {} ({}), {} not explained, {} in use, {} foreign, {} in the quarantine \
         before",
        counted(swept.files, "file"),
        swept.named,
        swept.removed,
        removed(dry_run),
        bytes_text(swept.removed_bytes),
        swept.quarantined,
        swept.under_way,
        swept.foreign,
        swept.in_quarantine,
    ))
}

fn tell_tier_2(session: &mut Session, swept: &SweptTier2, dry_run: bool) -> Result<(), Ending> {
    for object in &swept.told {
        let fate = match (object.fate, dry_run) {
            (Fate::Removed, false) => "removed",
            (Fate::Removed, true) => "would remove",
            (Fate::Quarantined, _) => "not explained, left there:",
        };
        let (key, len, why) = (&object.key, bytes_text(object.len), &object.why);
        session
            .out
            .line(format_args!("{fate} {key} ({len}): {why}"))?;
    }
    session.out.line(format_args!(
        "swept {} in Tier 2 ({}): {} named, {} of the catalog, {} {} ({}), {} not explained, {} for a later \
         sweep, {} foreign",
        counted(swept.objects, "object"),
        bytes_text(swept.bytes),
        swept.named,
        swept.catalog,
        swept.removed,
        removed(dry_run),
        bytes_text(swept.removed_bytes),
        swept.quarantined,
        swept.later,
        swept.foreign,
    ))
}
