//! Who may know whom: src -> actors -> cold -> storage, and actors by their handles alone.

use std::collections::BTreeSet;

use crate::source::{Breach, Source};

/// Crates that run things at the same time or send messages. Storage is plain calls.
const RUNTIMES: [&str; 13] = [
    "tokio",
    "kameo",
    "flume",
    "futures",
    "async_std",
    "smol",
    "async_channel",
    "crossbeam",
    "crossbeam_channel",
    "rayon",
    "tierlog_actors",
    "tierlog_cold",
    "opendal",
];

/// Crates that call the operating system for files.
const FILE_CRATES: [&str; 5] = ["rustix", "libc", "nix", "memmap2", "tempfile"];

/// Methods of paths that look at a disk behind everybody's back.
const PATH_CALLS: [&str; 6] = [
    "canonicalize",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "try_exists",
    "exists",
];

/// The file that holds settings is read before there is a log, on the word of the user.
const SETTINGS_FILE: &str = "src/settings/source.rs";

/// Storage knows no runtime, no actors and no public API, and nothing in it waits.
pub fn storage_is_plain(source: &Source) -> Vec<Breach> {
    if !source.is_in("storage") {
        return Vec::new();
    }
    let up = RUNTIMES.iter().copied().chain(["tierlog"]);
    let mut found = crates_named(source, &up.collect::<Vec<_>>());
    let waits = |token: &&crate::lexer::Token| token.is("async") || token.is("await");
    let waits = source.tokens.iter().filter(waits);
    found.extend(waits.map(|t| source.breach(t.line, format!("`{}` in storage", t.text))));
    found
}

/// Actors know storage and not what stands above them; what an app calls knows no mailbox.
pub fn layers_above(source: &Source) -> Vec<Breach> {
    if source.is_in("actors") {
        return crates_named(source, &["tierlog"]);
    }
    if source.is_in("cold") {
        return crates_named(source, &["tierlog", "tierlog_actors", "kameo"]);
    }
    if source.is_in("src") {
        return crates_named(source, &["kameo", "flume"]);
    }
    Vec::new()
}

fn crates_named(source: &Source, crates: &[&str]) -> Vec<Breach> {
    let named = source.paths.iter().filter(|path| {
        let first = path.parts.first().map_or("", String::as_str);
        // A lone word may be a variable; a crate is named by `crate::…` or by `use crate`.
        let imported = path.parts.len() == 1 && is_imported(source, path.end);
        crates.contains(&first) && (path.parts.len() > 1 || imported)
    });
    named
        .map(|path| source.breach(path.line, format!("`{}`", path.parts.join("::"))))
        .collect()
}

fn is_imported(source: &Source, at: usize) -> bool {
    at > 0 && (source.tokens[at - 1].is("use") || source.tokens[at - 1].is("crate"))
}

/// Files are touched in the disk module alone: only there can a fault latch and a test inject one.
pub fn files_are_the_disks(source: &Source) -> Vec<Breach> {
    if source.is_in("storage/src/disk") || source.is_program() || source.path == SETTINGS_FILE {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in source.paths.iter().filter(|path| !source.test[path.end]) {
        let is_fs = path.parts.len() > 1 && path.parts[1] == "fs" && path.parts[0] != "crate";
        // The priority of a thread is no file.
        let is_thread = ["process", "thread"].map(|of| path.starts_with(&["rustix", of]));
        let is_crate = path.parts.len() > 1 && FILE_CRATES.contains(&path.parts[0].as_str());
        let is_crate = is_crate && !is_thread.contains(&true);
        let renamed = path.starts_with(&["std", "*"]) || path.starts_with(&["std", "os", "fd"]);
        let opens = path.parts.len() == 2
            && path.parts[0] == "File"
            && ["open", "create", "create_new", "options"].contains(&path.last());
        if is_fs || is_crate || renamed || opens {
            found.push(source.breach(path.line, format!("`{}`", path.parts.join("::"))));
        }
    }
    for at in 1..source.tokens.len() {
        let token = &source.tokens[at];
        let is_call = source.tokens[at - 1].is(".")
            && source.tokens.get(at + 1).is_some_and(|next| next.is("("));
        if is_call && !source.test[at] && PATH_CALLS.contains(&token.text.as_str()) {
            found.push(source.breach(token.line, format!("`.{}()` looks at a disk", token.text)));
        }
    }
    found
}

/// The folders that hold an actor.
pub fn actor_folders<'a>(sources: impl Iterator<Item = &'a Source>) -> BTreeSet<String> {
    let loops = sources.filter_map(|s| s.path.strip_suffix("/actor.rs"));
    loops
        .filter_map(|folder| folder.strip_prefix("actors/src/"))
        .map(str::to_owned)
        .collect()
}

/// What an actor is made of is private to its folder: others hold its handle.
pub fn actors_are_private(source: &Source, folders: &BTreeSet<String>) -> Vec<Breach> {
    let below = source.path.strip_prefix("actors/src/");
    let home = below
        .and_then(|path| path.split_once('/'))
        .map(|(folder, _)| folder);
    let mut found = reaches(source, folders, home);
    let is_front = home.is_some_and(|home| folders.contains(home)) && {
        below.is_some_and(|path| path.ends_with("/mod.rs") && path.matches('/').count() == 1)
    };
    if is_front {
        found.extend(open_parts(source));
    }
    found
}

/// Paths into the private parts of an actor's folder from outside it.
fn reaches(source: &Source, folders: &BTreeSet<String>, home: Option<&str>) -> Vec<Breach> {
    let mut found = Vec::new();
    for path in &source.paths {
        for pair in path.parts.windows(2) {
            let into = folders.contains(&pair[0]) && home != Some(pair[0].as_str());
            if into && pair[1] == "actor" {
                found.push(source.breach(path.line, format!("`{}`", path.parts.join("::"))));
            }
        }
        // The type of an actor has no name outside its folder, however it got there.
        let foreign = |part: &String| folders.contains(part) && home != Some(part.as_str());
        let named = path
            .parts
            .iter()
            .find(|part| part.len() > 5 && part.ends_with("Actor"));
        if let (true, Some(name)) = (path.parts.iter().any(foreign), named) {
            found.push(source.breach(path.line, format!("`{name}` is an actor's type")));
        }
    }
    found
}

/// In an actor's `mod.rs`: modules that are not private, and an actor's type handed out.
fn open_parts(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in 1..tokens.len() {
        // Behind `pub` or behind the bracket of `pub(crate)`.
        let shown = tokens[at - 1].is("pub") || tokens[at - 1].is(")");
        if tokens[at].is("mod") && shown && tokens.get(at + 2).is_some_and(|t| t.is(";")) {
            let what = format!("`mod {}` has to be private", tokens[at + 1].text);
            found.push(source.breach(tokens[at].line, what));
        }
        if tokens[at].is("use") && shown {
            let end = (at..tokens.len())
                .find(|i| tokens[*i].is(";"))
                .unwrap_or(tokens.len());
            let handed = tokens[at..end].iter().filter(|t| t.text.ends_with("Actor"));
            found.extend(handed.map(|t| source.breach(t.line, format!("`pub use {}`", t.text))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rule: fn(&Source) -> Vec<Breach>, path: &str, text: &str) -> usize {
        rule(&Source::new(path, text)).len()
    }

    #[test]
    fn storage_may_not_wait_nor_know_who_calls_it() {
        for text in [
            "use tokio::sync::watch;",
            "async fn f() {}",
            "use tierlog_actors::Error;",
        ] {
            assert_eq!(
                count(storage_is_plain, "storage/src/x.rs", text),
                1,
                "{text}"
            );
            assert_eq!(
                count(storage_is_plain, "actors/src/x.rs", text),
                0,
                "{text}"
            );
        }
        assert_eq!(
            count(storage_is_plain, "storage/src/x.rs", "use tierlog::Log;"),
            1
        );
        assert_eq!(
            count(
                storage_is_plain,
                "storage/src/x.rs",
                "use tierlog_storage::crc;"
            ),
            0
        );
        assert_eq!(
            count(
                storage_is_plain,
                "storage/src/x.rs",
                "let tokio = 1; // tokio::x"
            ),
            0
        );
    }

    #[test]
    fn a_layer_does_not_know_the_one_above_it() {
        assert_eq!(count(layers_above, "actors/src/x.rs", "tierlog::Log"), 1);
        assert_eq!(
            count(
                layers_above,
                "actors/src/x.rs",
                "use tierlog::{Log, Stream};"
            ),
            2
        );
        assert_eq!(
            count(
                layers_above,
                "actors/src/x.rs",
                "use tierlog_storage::Offset;"
            ),
            0
        );
        assert_eq!(count(layers_above, "src/x.rs", "use kameo::Actor;"), 1);
    }

    #[test]
    fn a_file_is_touched_by_the_disk_alone() {
        let rule = files_are_the_disks;
        for text in [
            "use std::fs;",
            "use std::{io, fs::File};",
            "tokio::fs::read(x)",
            "File::open(x)",
            "use rustix::fs::openat;",
            "if path.exists() {}",
        ] {
            assert_eq!(count(rule, "storage/src/segment/x.rs", text), 1, "{text}");
            assert_eq!(count(rule, "storage/src/disk/x.rs", text), 0, "{text}");
            assert_eq!(count(rule, "tests/it/x.rs", text), 0, "{text}");
            assert_eq!(count(rule, "src/bin/tierlog/x.rs", text), 0, "{text}");
        }
        assert_eq!(
            count(rule, "actors/src/x.rs", "rustix::thread::gettid()"),
            0
        );
        assert_eq!(
            count(rule, "src/x.rs", "ClaimsFile::create(disk, layout)"),
            0
        );
        assert_eq!(
            count(rule, "src/x.rs", "#[cfg(test)] mod t { use std::fs; }"),
            0
        );
    }

    fn reaching(path: &str, text: &str) -> usize {
        let folders = ["writer", "flusher"].map(str::to_owned).into();
        actors_are_private(&Source::new(path, text), &folders).len()
    }

    #[test]
    fn an_actor_is_known_by_its_handle() {
        let outside = "actors/src/supervisor/open.rs";
        assert_eq!(reaching(outside, "use crate::writer::actor::Start;"), 1);
        assert_eq!(
            reaching(outside, "use crate::{kind::Kind, writer::{actor::Start}};"),
            1
        );
        assert_eq!(reaching(outside, "crate::writer::WriterActor::new()"), 1);
        assert_eq!(reaching(outside, "use crate::writer::WriterActor;"), 1);
        assert_eq!(
            reaching(outside, "use crate::writer::{self, Start, WriterHandle};"),
            0
        );
        assert_eq!(
            reaching(
                "actors/src/writer/handle.rs",
                "use super::actor::WriterActor;"
            ),
            0
        );
        assert_eq!(reaching(outside, "use kameo::actor::ActorRef;"), 0);
    }

    #[test]
    fn the_front_of_an_actor_shows_no_module_and_no_actor() {
        let front = "actors/src/writer/mod.rs";
        assert_eq!(reaching(front, "pub mod actor;"), 1);
        assert_eq!(reaching(front, "pub(crate) mod queue;"), 1);
        assert_eq!(
            reaching(front, "mod actor; pub use actor::{Start, spawn};"),
            0
        );
        assert_eq!(reaching(front, "pub use actor::WriterActor;"), 1);
        assert_eq!(reaching("actors/src/stream/mod.rs", "pub mod marks;"), 0);
    }
}
