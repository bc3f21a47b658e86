//! Rules of this repository that a compiler does not know. Each bans a kind of thing, not a name:
//! a rule against one library's unbounded channel only moves people to another library's.
//!
//! `tests/tidy/` holds the scanner and the rules, each with tests of its own.

use std::{collections::BTreeSet, sync::OnceLock};

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/source.rs"]
mod source;

use manifests::Manifest;
use source::{Breach, Source, Tree};

/// The repository, read once for all rules.
fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(Tree::read)
}

#[track_caller]
fn none(breaches: impl IntoIterator<Item = Breach>) {
    let lines = breaches.into_iter();
    let lines: Vec<_> = lines
        .map(|b| format!("  {}: {}\n", b.place, b.what))
        .collect();
    assert!(
        lines.is_empty(),
        "{} broken:\n{}",
        lines.len(),
        lines.concat()
    );
}

#[track_caller]
fn everywhere(rule: fn(&Source) -> Vec<Breach>) {
    none(tree().rust.iter().flat_map(rule));
}

#[test]
fn the_tree_is_seen() {
    let tree = tree();
    let seen = |path: &str| tree.rust.iter().any(|source| source.path == path);
    for path in [
        "src/lib.rs",
        "actors/src/lib.rs",
        "cold/src/lib.rs",
        "storage/src/lib.rs",
        "tests/tidy.rs",
    ] {
        assert!(seen(path), "{path} was not read, so no rule holds for it");
    }
}

#[test]
fn files_are_short() {
    everywhere(code::long_files);
}

#[test]
fn functions_are_short() {
    everywhere(code::long_functions);
}

#[test]
fn channels_are_bounded() {
    everywhere(code::boundless);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    everywhere(code::raw_memory);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    everywhere(code::unwraps);
}

#[test]
fn nothing_is_unfinished_and_libraries_do_not_print() {
    everywhere(code::macros);
}

#[test]
fn tests_do_not_sleep() {
    everywhere(code::waits_by_the_clock);
}

#[test]
fn tests_are_not_ignored() {
    everywhere(code::ignored_tests);
}

#[test]
fn names_say_what_things_are() {
    everywhere(code::nameless);
}

#[test]
fn storage_is_plain_calls() {
    everywhere(layers::storage_is_plain);
}

#[test]
fn layers_do_not_look_up() {
    everywhere(layers::layers_above);
    let tree = tree();
    let ours = |path: &str| {
        let manifest = Manifest::parse(path, &tree.text(path));
        let names: Vec<String> = manifest
            .dependency_names(false)
            .into_iter()
            .map(str::to_owned)
            .collect();
        names
            .into_iter()
            .filter(|name| name.starts_with("tierlog"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ours("storage/Cargo.toml"), [""; 0]);
    assert_eq!(ours("cold/Cargo.toml"), ["tierlog-storage"]);
    assert_eq!(
        ours("actors/Cargo.toml"),
        ["tierlog-cold", "tierlog-storage"]
    );
}

#[test]
fn files_are_touched_by_the_disk_alone() {
    everywhere(layers::files_are_the_disks);
}

#[test]
fn actors_are_known_by_their_handles() {
    let tree = tree();
    let folders = layers::actor_folders(tree.rust.iter());
    for folder in ["writer", "flusher", "coordinator", "manifest", "supervisor"] {
        assert!(
            folders.contains(folder),
            "{folder} has no actor.rs: {folders:?}"
        );
    }
    none(
        tree.rust
            .iter()
            .flat_map(|source| layers::actors_are_private(source, &folders)),
    );
}

#[test]
fn every_package_takes_the_lints_and_every_dependency_has_a_reason() {
    let tree = tree();
    let manifests: Vec<_> = tree
        .with_ending("Cargo.toml")
        .map(|path| (path, Manifest::parse(path, &tree.text(path))))
        .collect();
    none(
        manifests
            .iter()
            .flat_map(|(_, manifest)| manifests::reasons(manifest)),
    );
    // What is built with other flags is a workspace of its own: nothing there can be inherited.
    let apart = [
        "fuzz/",
        "tests/loom/",
        "tests/real/",
        "tests/seeds/",
        "tests/shuttle/",
    ];
    let is_apart = |path: &str| apart.iter().any(|folder| path.starts_with(folder));
    let members = manifests.into_iter().filter(|(path, _)| !is_apart(path));
    let members: Vec<_> = members.map(|(_, manifest)| manifest).collect();
    none(members.iter().flat_map(manifests::lints));
    none(members.iter().flat_map(manifests::inherited));
    let workspace = Manifest::parse("Cargo.toml", &tree.text("Cargo.toml"));
    none(manifests::unused(&workspace, &members));
}

#[test]
fn what_people_look_for_is_there() {
    let tree = tree();
    let missing = docs::REQUIRED
        .iter()
        .filter(|path| !tree.files.contains(**path));
    none(missing.map(|path| Breach {
        place: (*path).to_owned(),
        what: "is missing".to_owned(),
    }));
}

#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    let tree = tree();
    let pages = docs::pages(tree);
    none(
        pages
            .iter()
            .flat_map(|page| docs::dead_links(page, &pages, &tree.files)),
    );
    none(
        tree.rust
            .iter()
            .flat_map(|source| docs::dead_mentions(source, &tree.files)),
    );
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let tree = tree();
    let page = tree.text("docs/operations.md");
    let named = docs::metrics_named(&page);
    let mut emitted = BTreeSet::new();
    for source in &tree.rust {
        for (line, metric) in docs::metrics_of(source) {
            let place = format!("{}:{line}", source.path);
            assert!(
                named.contains(&metric),
                "{place}: docs/operations.md has no `{metric}`"
            );
            emitted.insert(metric);
        }
    }
    let invented: Vec<_> = named.difference(&emitted).collect();
    assert!(
        invented.is_empty(),
        "nothing emits {invented:?}, which docs/operations.md names"
    );
}

#[test]
fn every_setting_is_documented() {
    let page = tree().text("docs/operations.md");
    let keys = tierlog::Settings::keys().iter();
    let silent: Vec<_> = keys
        .filter(|key| !docs::names(&page, key.name))
        .map(|key| key.name)
        .collect();
    assert!(
        silent.is_empty(),
        "docs/operations.md says nothing of {silent:?}"
    );
}

#[test]
fn every_planted_bug_has_a_test_and_stands_in_the_documents() {
    let tree = tree();
    let rows = planted::LISTS.iter().flat_map(|path| {
        let rows = planted::rows(path, &tree.text(path));
        rows.unwrap_or_else(|breach| panic!("{breach:?}"))
    });
    let rows: Vec<_> = rows.collect();
    let listed: BTreeSet<_> = rows.iter().map(|row| row.bug.clone()).collect();
    assert!(listed.len() >= 14, "only {} bugs", listed.len());
    let mut there = BTreeSet::new();
    for source in tree.rust.iter().filter(|source| !source.is_in("tests")) {
        for (line, bug) in planted::planted(source) {
            let place = format!("{}:{line}", source.path);
            assert!(
                listed.contains(&bug),
                "{place}: {:?} have no `{bug}`",
                planted::LISTS
            );
            there.insert(bug);
        }
    }
    assert_eq!(there, listed, "planted, and listed");
    let tests: BTreeSet<_> = tree.rust.iter().flat_map(planted::test_functions).collect();
    let page = tree.text("docs/durability.md");
    for row in &rows {
        assert!(tests.contains(&row.test), "there is no test {}", row.test);
        assert!(
            planted::is_told(&page, row),
            "docs/durability.md has no {row:?}"
        );
    }
}

#[test]
fn nothing_that_is_shipped_plants_bugs() {
    let tree = tree();
    let manifests = tree.with_ending("Cargo.toml");
    none(manifests.flat_map(|path| planted::shipped(path, &tree.text(path))));
}
