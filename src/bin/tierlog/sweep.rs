//! `sweep [--dry-run]`: objects of Tier 2 that nothing names.

use tierlog::{Fate, SweepReport, SweptObject};

use crate::exit::Ending;
use crate::output::{bytes_text, counted};
use crate::recovery::Tells;
use crate::session::Session;

pub(crate) async fn run(mut session: Session, dry_run: bool) -> Result<(), Ending> {
    if session.settings.cold.is_none() {
        let what = "there is no Tier 2 to be swept";
        return Err(Ending::usage(what, "set `cold`"));
    }
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
    for object in &report.told {
        let SweptObject {
            key,
            len,
            fate,
            why,
        } = object;
        let fate = match (fate, report.dry_run) {
            (Fate::Removed, false) => "removed",
            (Fate::Removed, true) => "would remove",
            (Fate::Quarantined, _) => "not explained, left there:",
        };
        let len = bytes_text(*len);
        session
            .out
            .line(format_args!("{fate} {key} ({len}): {why}"))?;
    }
    let removed = match report.dry_run {
        false => "removed",
        true => "would be removed",
    };
    session.out.line(format_args!(
        "swept {} ({}): {} named, {} of the catalog, {} {removed} ({}), {} not explained, {} for a later \
         sweep, {} foreign",
        counted(report.objects, "object"),
        bytes_text(report.bytes),
        report.named,
        report.catalog,
        report.removed,
        bytes_text(report.removed_bytes),
        report.quarantined,
        report.later,
        report.foreign,
    ))?;
    session.out.flush()
}
