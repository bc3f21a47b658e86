//! `retain`: how much a stream keeps.

use serde_json::json;
use tierlog::{Keep, Log, Offset, Retention, Settings};

use crate::args::Retain;
use crate::exit::Ending;
use crate::recovery::Tells;
use crate::session::Session;

pub(crate) async fn run(mut session: Session, args: Retain) -> Result<(), Ending> {
    let retention = match (args.age, args.bytes) {
        (None, None) => look(&session, &args.stream).await?,
        _ => set(&session, &args).await?,
    };
    tell(&mut session, &args.stream, retention)
}

async fn look(session: &Session, stream: &str) -> Result<Retention, Ending> {
    let interrupt = session.interrupt.clone();
    let look = async { Ok(session.attach(Tells::Everything).await?.stream(stream)?) };
    Ok(interrupt.cut(look).await?.retention())
}

/// What is not named stays as it is.
async fn set(session: &Session, args: &Retain) -> Result<Retention, Ending> {
    let supervisor = session.open_existing(&args.stream).await?;
    let log = supervisor.log();
    match session.interrupt.cut(change(&log, args)).await {
        Ok(retention) => {
            session.close(supervisor).await?;
            Ok(retention)
        }
        Err(ending) => {
            session.abandon(supervisor).await;
            Err(ending)
        }
    }
}

async fn change(log: &Log, args: &Retain) -> Result<Retention, Ending> {
    let stream = log.existing(&args.stream).await?;
    let before = stream.retention();
    let retention = Retention {
        age: args.age.unwrap_or(before.age),
        bytes: args.bytes.unwrap_or(before.bytes),
    };
    stream.set_retention(retention).await?;
    // A trim of nothing has its turn behind the one that the log begins now: who looks at the disk next
    // finds what is over the limits gone.
    stream.trim(Offset::ZERO).await?;
    Ok(retention)
}

fn tell(session: &mut Session, stream: &str, retention: Retention) -> Result<(), Ending> {
    let Retention { age, bytes } = retention;
    let Settings {
        retain_age,
        retain_bytes,
        ..
    } = session.settings;
    let effect = (in_effect(age, retain_age), in_effect(bytes, retain_bytes));
    let (age, bytes) = (age.to_string(), bytes.to_string());
    match session.json {
        true => session.out.json(&json!({
            "stream": stream,
            "age": age, "age_in_effect": effect.0,
            "bytes": bytes, "bytes_in_effect": effect.1,
        }))?,
        false => {
            let of = |keep: &str, effect: &str| match keep == effect {
                true => keep.to_owned(),
                false => format!("{effect} ({keep})"),
            };
            let (age, bytes) = (of(&age, &effect.0), of(&bytes, &effect.1));
            let line = format_args!("{stream}: age {age}, bytes {bytes}");
            session.out.line(line)?;
        }
    }
    session.out.flush()
}

/// The limit that counts.
fn in_effect<T: Copy>(keep: Keep<T>, setting: Option<T>) -> String
where
    Keep<T>: std::fmt::Display,
{
    keep.limit(setting)
        .map_or(Keep::All, Keep::AtMost)
        .to_string()
}
