//! `restore --from URI`: a log from its bucket alone.

use serde_json::json;
use tierlog::{Restored, Supervisor};

use crate::exit::Ending;
use crate::output::{bytes_text, counted};
use crate::progress::progress;
use crate::session::Session;

pub(crate) async fn run(mut session: Session) -> Result<(), Ending> {
    let bar = progress(
        session.json,
        "looking at objects {wide_bar} {pos}/{len} {eta}",
    );
    let restoring = Supervisor::restore(session.settings.clone(), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let interrupt = session.interrupt.clone();
    let restored = interrupt.cut(async { Ok(restoring.await?) }).await;
    bar.finish_and_clear();
    let restored = restored?;
    let Restored {
        log,
        streams,
        segments,
        records,
        bytes,
        ..
    } = &restored;
    if session.json {
        session.out.json(&restored)?;
        return session.out.flush();
    }
    session.out.line(format_args!(
        "restored log {log} in {}: {} in {} of {} ({} in Tier 2, read from there)",
        session.settings.data.display(),
        counted(*records, "record"),
        counted(*segments as u64, "segment"),
        counted(*streams as u64, "stream"),
        bytes_text(*bytes),
    ))?;
    session.out.flush()?;
    let place = session.settings.cold.as_ref();
    let place = place.map_or_else(|| json!(null).to_string(), ToString::to_string);
    session.note(&format!(
        "use it with --set cold={place}; whoever opens it for writing takes that over"
    ));
    Ok(())
}
