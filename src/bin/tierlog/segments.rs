//! `segments STREAM`: where each segment lives, its state, sizes and range.

use tierlog::SegmentInfo;

use crate::exit::Ending;
use crate::output::{Output, Table, bytes_text};
use crate::recovery::Tells;
use crate::session::Session;
use crate::time_text;

pub(crate) async fn run(mut session: Session, stream: &str) -> Result<(), Ending> {
    let interrupt = session.interrupt.clone();
    let segments = interrupt
        .cut(async {
            Ok(session
                .attach(Tells::Everything)
                .await?
                .stream(stream)?
                .segments())
        })
        .await?;
    if session.json {
        for segment in &segments {
            session.out.json(segment)?;
        }
        return session.out.flush();
    }
    print(&segments, &mut session.out)?;
    session.out.flush()
}

/// The table, which `demo` prints as well.
pub(crate) fn print(segments: &[SegmentInfo], out: &mut Output) -> Result<(), Ending> {
    let head = [
        "SEGMENT",
        "STATE",
        "TIER",
        "FROM",
        "TO",
        "DATA",
        "FILE",
        "COMPRESSED",
        "FIRST RECORD",
        "WHERE",
    ];
    let mut table = Table::new(head);
    for segment in segments {
        table.row([
            segment.segment.to_string(),
            segment.state.to_string(),
            segment.tier.to_string(),
            segment.base.to_string(),
            segment.end.to_string(),
            bytes_text(segment.bytes),
            bytes_text(segment.file_len),
            // An object is the compressed file as it was.
            segment
                .compressed_len
                .or(segment.object_len)
                .map_or_else(|| "-".into(), bytes_text),
            segment
                .first_timestamp
                .map_or_else(|| "-".into(), time_text::show),
            match &segment.object_key {
                Some(key) if segment.tier == 2 => key.clone(),
                _ => segment.path.display().to_string(),
            },
        ]);
    }
    table.print(out)
}
