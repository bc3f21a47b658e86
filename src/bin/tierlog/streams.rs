//! `streams`: the streams of a log and how far each has come.

use crate::exit::Ending;
use crate::output::{Table, bytes_text};
use crate::recovery::Tells;
use crate::session::Session;

pub(crate) async fn run(mut session: Session) -> Result<(), Ending> {
    let interrupt = session.interrupt.clone();
    let streams = interrupt
        .cut(async { Ok(session.attach(Tells::Everything).await?.streams()) })
        .await?;
    if session.json {
        for stream in &streams {
            session.out.json(stream)?;
        }
        return session.out.flush();
    }
    let mut table = Table::new(["STREAM", "START", "DURABLE", "NEXT", "SEGMENTS", "SIZE"]);
    for stream in &streams {
        table.row([
            stream.name.clone(),
            stream.watermarks.start.to_string(),
            stream.watermarks.durable.to_string(),
            stream.watermarks.next.to_string(),
            stream.segments.to_string(),
            bytes_text(stream.bytes),
        ]);
    }
    table.print(&mut session.out)?;
    session.out.flush()
}
