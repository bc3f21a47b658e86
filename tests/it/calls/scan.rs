//! Where the crates call a disk, as their sources have it.

use std::{fs, path::Path};

use tierlog::testing::storage::disk::fault::CallKind;

use crate::{
    lexer::Token,
    source::{Source, closing},
};

/// Where calls of a disk may stand. The disk module itself is below all of them.
const CRATES: [&str; 4] = ["storage/src", "actors/src", "cold/src", "src"];
const DISK: &str = "storage/src/disk/";
/// What is beside the library.
const PROGRAM: &str = "src/bin/";

/// A call, from where its chain begins to its closing bracket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub file: String,
    pub first: usize,
    pub last: usize,
    pub kind: CallKind,
}

/// The calls of a disk by name; `true` for names that other things have as well.
const METHODS: [(&str, CallKind, bool); 20] = [
    ("create_new", CallKind::CreateNew, false),
    ("open", CallKind::Open, true),
    ("create_dir", CallKind::CreateDir, false),
    ("rename", CallKind::Rename, false),
    ("link", CallKind::Link, false),
    ("remove", CallKind::Remove, true),
    ("remove_dir", CallKind::RemoveDir, true),
    ("list", CallKind::List, true),
    ("sync_dir", CallKind::SyncDir, false),
    ("lock", CallKind::Lock, true),
    ("space", CallKind::Space, false),
    ("read_at", CallKind::ReadAt, false),
    ("read_behind", CallKind::ReadAt, false),
    ("write_at", CallKind::WriteAt, false),
    ("allocate", CallKind::Allocate, false),
    ("set_len", CallKind::SetLen, true),
    ("sync_data", CallKind::SyncData, false),
    ("sync", CallKind::SyncData, false),
    ("len", CallKind::Len, true),
    ("map_read_only", CallKind::Map, false),
];

/// Every call of a disk in the sources that users build.
pub fn sites() -> Vec<Site> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sites = Vec::new();
    for name in CRATES {
        files(root, &root.join(name), &mut |path, text| {
            if !path.starts_with(DISK) && !path.starts_with(PROGRAM) {
                sites.extend(sites_of(&Source::new(path, text)));
            }
        });
    }
    sites.sort();
    sites
}

fn files(root: &Path, folder: &Path, each: &mut impl FnMut(&str, &str)) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(root, &path, each);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let below = path.strip_prefix(root).expect("it lies below");
            let text = fs::read_to_string(&path).expect("a source file");
            each(&below.to_string_lossy(), &text);
        }
    }
}

fn sites_of(source: &Source) -> Vec<Site> {
    let tokens = &source.tokens;
    let planted = planted_regions(tokens);
    let mut sites = Vec::new();
    for at in 1..tokens.len().saturating_sub(1) {
        let is_call = tokens[at - 1].is(".") && tokens[at + 1].is("(");
        if !is_call || source.test[at] || planted.iter().any(|region| region.contains(&at)) {
            continue;
        }
        let name = &tokens[at].text;
        let Some((_, kind, shared)) = METHODS.iter().find(|(method, ..)| method == name) else {
            continue;
        };
        let (begin, receiver) = receiver(tokens, at - 1);
        let is_opened = tokens[at - 2].is("?") || tokens[at - 2].is(")");
        let holds_a_disk = match receiver.as_str() {
            "disk" | "file" => true,
            "open" => is_opened,
            _ => false,
        };
        // What somebody does by himself calls a disk elsewhere.
        if receiver == "self" || (*shared && !holds_a_disk) {
            continue;
        }
        let end = closing(tokens, at + 1).min(tokens.len() - 1);
        sites.push(Site {
            file: source.path.clone(),
            first: tokens[begin].line,
            last: tokens[end].line,
            kind: *kind,
        });
    }
    sites
}

/// Where the chain in front of the dot at `dot` begins, and its last name.
fn receiver(tokens: &[Token], dot: usize) -> (usize, String) {
    let (mut at, mut last) = (dot, None);
    while at > 0 {
        let before = &tokens[at - 1];
        if before.is(")") || before.is("]") {
            at = opening(tokens, at - 1);
        } else if before.is_word() {
            last.get_or_insert_with(|| before.text.clone());
            at -= 1;
        } else if before.is(".") || before.is("?") {
            at -= 1;
        } else {
            break;
        }
    }
    (at, last.unwrap_or_default())
}

fn opening(tokens: &[Token], close: usize) -> usize {
    let mut depth = 0_usize;
    for at in (0..=close).rev() {
        if [")", "]", "}"].iter().any(|mark| tokens[at].is(mark)) {
            depth += 1;
        } else if ["(", "[", "{"].iter().any(|mark| tokens[at].is(mark)) {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    0
}

/// The blocks behind `if planted::is(…)`, which are in no build that is shipped.
fn planted_regions(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let begins = tokens.windows(4).enumerate();
    let begins = begins.filter(|(_, t)| t[0].is("planted") && t[1].is(":") && t[3].is("is"));
    begins
        .filter_map(|(at, _)| {
            let block = closing(tokens, at + 4) + 1;
            let is_block = tokens.get(block)?.is("{");
            is_block.then(|| block..closing(tokens, block))
        })
        .collect()
}

#[test]
fn a_scan_of_the_sources_finds_calls_of_a_disk_and_nothing_else() {
    let found = |text: &str| {
        let source = Source::new("storage/src/x.rs", text);
        let sites = sites_of(&source).into_iter();
        sites
            .map(|site| (site.kind, site.first, site.last))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("fn f() { disk.open(&path, x)?; }"),
        [(CallKind::Open, 1, 1)]
    );
    assert_eq!(
        found("fn f() { self\n.disk\n.remove(\npath\n) }"),
        [(CallKind::Remove, 1, 5)]
    );
    assert_eq!(found("fn f() { map.remove(&key); list.len(); }"), []);
    assert_eq!(found("fn f() { self.allocate(1, 2); }"), []);
    assert_eq!(found("fn f() { a.file.len()?; }"), [(CallKind::Len, 1, 1)]);
    assert_eq!(
        found("fn f() { if planted::is(\"x\") { disk.remove(p); } }"),
        []
    );
    assert_eq!(
        found("#[cfg(test)] mod t { fn f() { disk.remove(p); } }"),
        []
    );
    assert_eq!(
        found("fn f() { segment.sync()?; }"),
        [(CallKind::SyncData, 1, 1)]
    );
}
