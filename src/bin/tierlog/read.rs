//! `read STREAM`: the records of a stream, from anywhere in it.

use std::future::poll_fn;
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;
use tierlog::{Damage, Error, Reader, Record};

use crate::args::{Format, Read};
use crate::exit::{Ending, say};
use crate::output::{Output, damage_json, damage_text};
use crate::plain::json_text;
use crate::recovery::Tells;
use crate::session::Session;
use crate::signal;
use crate::time_text;

/// Records asked for at once.
const BATCH: usize = 4096;

pub(crate) async fn run(mut session: Session, args: Read) -> Result<(), Ending> {
    let interrupt = session.interrupt.clone();
    let done = interrupt.cut(print(&mut session, &args)).await;
    // What was printed before a failure is right, and must come before the word about it.
    let flushed = session.out.flush();
    done.and(flushed)
}

async fn print(session: &mut Session, args: &Read) -> Result<(), Ending> {
    let view = session.attach(Tells::Tears).await?;
    let stream = view.stream(&args.stream)?;
    let mut reader = stream.reader(args.from);
    if args.follow {
        reader = reader.follow();
    }
    if args.skip_damage {
        reader = reader.skip_damage();
    }
    let mut reader = reader.await?;
    let format = match args.format {
        Some(format) => format,
        None if session.json => Format::Json,
        None => Format::Raw,
    };
    let closed = async {
        match args.follow {
            true => signal::output_closed().await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = closed => return Err(Ending::OutputClosed),
        printed = records(&mut reader, format, args, &mut session.out) => printed?,
    }
    session.out.flush()?;
    match reader.gaps() {
        [] => Ok(()),
        gaps => {
            for gap in gaps {
                tell_gap(session.json, &args.stream, gap);
            }
            Err(Ending::Told)
        }
    }
}

async fn records(
    reader: &mut Reader,
    format: Format,
    args: &Read,
    out: &mut Output,
) -> Result<(), Ending> {
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        let batch = next_batch(reader, want, args, out).await?;
        if batch.is_empty() {
            break;
        }
        left -= batch.len() as u64;
        for record in &batch {
            write(record, format, out)?;
        }
    }
    Ok(())
}

/// The next records. While following, what was printed is sent on before a wait.
async fn next_batch(
    reader: &mut Reader,
    want: usize,
    args: &Read,
    out: &mut Output,
) -> Result<Vec<Record>, Ending> {
    let stream = &args.stream;
    let next = reader.next_batch(want);
    tokio::pin!(next);
    if args.follow {
        let now = poll_fn(|cx| match next.as_mut().poll(cx) {
            Poll::Ready(batch) => Poll::Ready(Some(batch)),
            Poll::Pending => Poll::Ready(None),
        });
        match now.await {
            Some(batch) => return batch.map_err(|error| failed(error, stream)),
            None => out.flush()?,
        }
    }
    next.await.map_err(|error| failed(error, stream))
}

/// Damage by the name of its stream; the log itself knows it by a number.
fn failed(error: Error, stream: &str) -> Ending {
    match &error {
        Error::Corrupt(damage) => Ending::damaged(damage_text(stream, damage), &error),
        _ => error.into(),
    }
}

fn write(record: &Record, format: Format, out: &mut Output) -> Result<(), Ending> {
    match format {
        Format::Raw => {
            out.bytes(&record.payload)?;
            out.bytes(b"\n")
        }
        Format::Len32 => {
            // A record is at most 64 MiB.
            out.bytes(&(record.payload.len() as u32).to_le_bytes())?;
            out.bytes(&record.payload)
        }
        Format::Json => out.json(&Line {
            offset: record.offset.get(),
            timestamp: time_text::show(record.timestamp),
            ext_id: record.ext_id,
            key: record.key.as_ref().map(|key| STANDARD.encode(key)),
            payload: STANDARD.encode(&record.payload),
            text: std::str::from_utf8(&record.payload).ok(),
        }),
    }
}

/// A record as a line of JSON. Bytes are base64, because JSON has none.
#[derive(Serialize)]
struct Line<'a> {
    offset: u64,
    timestamp: String,
    ext_id: Option<u64>,
    key: Option<String>,
    payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

fn tell_gap(json: bool, stream: &str, gap: &Damage) {
    match json {
        true => say(&json_text(&json!({"gap": damage_json(stream, gap)}))),
        false => say(&format!(
            "tierlog: skipped damage: {}",
            damage_text(stream, gap)
        )),
    }
}
