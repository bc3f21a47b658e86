//! `restore --from URI`: a log from its bucket alone.

use tierlog::{Error, Restored, StorageError, Supervisor};

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
    let restored = interrupt.cut(async {
        let restored = restoring.await;
        restored.map_err(|error| refused(&session, error))
    });
    let restored = restored.await;
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
    if let Some(place) = &session.settings.cold {
        let set = for_shell(&format!("cold={place}"));
        session.note(&format!(
            "use it with --set {set}; whoever opens it for writing takes that over"
        ));
    }
    Ok(())
}

fn refused(session: &Session, error: Error) -> Ending {
    if let Error::Storage(storage) = &error
        && let StorageError::Invalid { .. } | StorageError::NotALog { .. } = **storage
    {
        return Ending::advised(
            &error,
            "restore into another one, with --data, that is missing or empty",
        );
    }
    session.about_tier_2(error)
}

/// One word of a shell, whatever stands in it.
fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
