//! `seal`, `flush` and `trim`: one call each on a stream that is there.

use serde_json::json;
use tierlog::{Error, Offset, Stream};

use crate::exit::Ending;
use crate::session::Session;

pub(crate) async fn seal(session: Session, stream: &str) -> Result<(), Ending> {
    let call = async |stream: Stream| stream.seal().await;
    let (mut session, end) = on_existing(session, stream, call).await?;
    tell(&mut session, stream, "end", end, "sealed up to offset")
}

pub(crate) async fn flush(session: Session, stream: &str) -> Result<(), Ending> {
    let call = async |stream: Stream| stream.flush().await;
    let (mut session, durable) = on_existing(session, stream, call).await?;
    tell(
        &mut session,
        stream,
        "durable",
        durable,
        "durable up to offset",
    )
}

pub(crate) async fn trim(session: Session, stream: &str, before: u64) -> Result<(), Ending> {
    let call = async |stream: Stream| stream.trim(Offset(before)).await;
    let (mut session, start) = on_existing(session, stream, call).await?;
    tell(&mut session, stream, "start", start, "begins at offset")
}

/// Opens the log, makes the call and closes again; Ctrl-C drops the call, which is safe, and still
/// closes.
async fn on_existing(
    session: Session,
    name: &str,
    call: impl AsyncFnOnce(Stream) -> Result<Offset, Error>,
) -> Result<(Session, Offset), Ending> {
    let supervisor = session.open_existing(name).await?;
    let log = supervisor.log();
    let made = session
        .interrupt
        .cut(async { Ok(call(log.existing(name).await?).await?) })
        .await;
    match made {
        Ok(offset) => {
            session.close(supervisor).await?;
            Ok((session, offset))
        }
        Err(ending) => {
            session.abandon(supervisor).await;
            Err(ending)
        }
    }
}

fn tell(
    session: &mut Session,
    stream: &str,
    key: &str,
    offset: Offset,
    words: &str,
) -> Result<(), Ending> {
    match session.json {
        true => session.out.json(&json!({"stream": stream, key: offset}))?,
        false => session
            .out
            .line(format_args!("{stream}: {words} {offset}"))?,
    }
    session.out.flush()
}
