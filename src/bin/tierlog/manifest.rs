//! `manifest inspect`: the manifest's files, chunks and entries, and what is wrong with them.

use tierlog::{InspectedChunk, InspectedFile, ManifestInspection, ReadOnly};

use crate::exit::Ending;
use crate::output::{Output, Table, bytes_text, count_text};
use crate::session::Session;

pub(crate) async fn inspect(mut session: Session) -> Result<(), Ending> {
    let found = ReadOnly::inspect_manifest(&session.settings.data)?;
    match session.json {
        true => session.out.json(&found)?,
        false => print(&found, &mut session.out)?,
    }
    session.out.flush()?;
    match is_damaged(&found) {
        true => Err(Ending::Told),
        false => Ok(()),
    }
}

/// What stands at the end of the last chunk may be a torn commit, or one that a live writer is in
/// the middle of; which of them, a recovery decides. Anything else that is wrong is damage.
fn is_damaged(found: &ManifestInspection) -> bool {
    let file_damaged = |file: &InspectedFile| {
        let inner = file.chunks.split_last().map_or(&[][..], |(_, inner)| inner);
        !file.damage.is_empty() || inner.iter().any(|chunk| !chunk.damage.is_empty())
    };
    !found.damage.is_empty()
        || found
            .files
            .iter()
            .filter(|file| file.current)
            .any(file_damaged)
}

fn print(found: &ManifestInspection, out: &mut Output) -> Result<(), Ending> {
    for damage in &found.damage {
        out.line(format_args!("damage: CURRENT: {damage}"))?;
    }
    for (n, file) in found.files.iter().enumerate() {
        if n > 0 {
            out.line("")?;
        }
        print_file(file, out)?;
    }
    Ok(())
}

fn print_file(file: &InspectedFile, out: &mut Output) -> Result<(), Ending> {
    let current = if file.current {
        "current"
    } else {
        "not current"
    };
    out.line(format_args!("manifest {} ({current})", file.number))?;
    for damage in &file.damage {
        out.line(format_args!("damage: {damage}"))?;
    }
    let mut chunks = Table::new([
        "CHUNK",
        "FIRST ENTRY",
        "COMMITS",
        "ENTRIES",
        "USED",
        "STATE",
    ]);
    for chunk in &file.chunks {
        chunks.row([
            chunk.index.to_string(),
            chunk
                .first_seq
                .map_or_else(|| "-".into(), |seq| seq.0.to_string()),
            count_text(chunk.commits),
            count_text(chunk.entries),
            bytes_text(chunk.used),
            state(chunk).into(),
        ]);
    }
    chunks.print(out)?;
    for chunk in &file.chunks {
        for damage in &chunk.damage {
            out.line(format_args!("chunk {}: {damage}", chunk.index))?;
        }
    }
    out.line("")?;
    let mut entries = Table::new(["ENTRY", "COUNT"]);
    for (name, count) in &file.entries_by_type {
        entries.row([(*name).to_string(), count_text(*count)]);
    }
    entries.print(out)
}

fn state(chunk: &InspectedChunk) -> &'static str {
    match (chunk.crc_ok, chunk.sealed) {
        (false, _) => "torn or damaged",
        (true, true) => "full",
        (true, false) => "open",
    }
}
