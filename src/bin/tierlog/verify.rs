//! `verify [STREAM]`: every checksum of every segment, and all damage by its range.

use std::collections::HashMap;

use serde_json::json;
use tierlog::{ReadOnly, StreamId, VerifyReport};

use crate::exit::Ending;
use crate::output::{bytes_text, count_text, counted, damage_json, damage_text};
use crate::progress::progress;
use crate::recovery::Tells;
use crate::session::Session;

pub(crate) async fn run(
    mut session: Session,
    stream: Option<&str>,
    cold: bool,
) -> Result<(), Ending> {
    if cold && session.settings.cold.is_none() {
        return Err(Ending::usage(
            "--cold needs to know where Tier 2 is",
            "set `cold`, or leave it out",
        ));
    }
    let interrupt = session.interrupt.clone();
    let checked = interrupt.cut(check(&session, stream, cold)).await;
    let (report, names) = checked?;
    let name = |id: &StreamId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
    if session.json {
        let damage = report.damage.iter();
        let damage: Vec<_> = damage.map(|d| damage_json(&name(&d.stream), d)).collect();
        session.out.json(&json!({
            "streams": report.streams,
            "segments": report.segments,
            "frames": report.frames,
            "records": report.records,
            "bytes": report.bytes,
            "objects": report.objects,
            "unread": report.unread,
            "damage": damage,
        }))?;
    } else {
        for damage in &report.damage {
            let text = damage_text(&name(&damage.stream), damage);
            session.out.line(format_args!("damage: {text}"))?;
        }
        session.out.line(format_args!(
            "checked {} ({}) in {} of {}: {}",
            counted(report.records, "record"),
            bytes_text(report.bytes),
            counted(report.segments, "segment"),
            counted(report.streams, "stream"),
            match report.damage.len() {
                0 => "no damage".to_owned(),
                1 => "1 stretch is damaged".to_owned(),
                n => format!("{} stretches are damaged", count_text(n as u64)),
            }
        ))?;
        if report.objects > 0 {
            session.out.line(format_args!(
                "checked {} in Tier 2",
                counted(report.objects, "object")
            ))?;
        }
        if report.unread > 0 {
            session.out.line(format_args!(
                "{} in Tier 2 alone: not checked without --cold",
                counted(report.unread, "segment")
            ))?;
        }
    }
    session.out.flush()?;
    match report.damage.is_empty() {
        true => Ok(()),
        false => Err(Ending::Told),
    }
}

async fn check(
    session: &Session,
    stream: Option<&str>,
    cold: bool,
) -> Result<(VerifyReport, HashMap<StreamId, String>), Ending> {
    let view: ReadOnly = session.attach(Tells::NoDamage).await?;
    let names = view.streams().into_iter();
    let names = names.map(|stream| (stream.id, stream.name)).collect();
    let bar = progress(
        session.json,
        "checking {wide_bar} {bytes}/{total_bytes} {eta}",
    );
    let shown = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = match cold {
        true => view.verify_archived(stream, shown).await,
        false => view.verify(stream, shown).await,
    };
    bar.finish_and_clear();
    Ok((report?, names))
}
