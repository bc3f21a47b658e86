//! What the documents say about tests and settings is so.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tierlog::Settings;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The names of all tests of the repository: functions right behind an attribute that says so.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(root(), &mut files);
    let text = |path: &PathBuf| fs::read_to_string(path).expect("a source file");
    let mut names = BTreeSet::new();
    for text in files.iter().map(text) {
        let mut before = "";
        for piece in text.split("fn ") {
            let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
            if attributes.contains("#[test]") || attributes.contains("#[tokio::test") {
                names.insert(piece.chars().take_while(is_name).collect());
            }
            before = piece;
        }
    }
    names
}

/// Where events and spans of the program say that they come from; each says it.
fn targets() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["src", "actors/src", "storage/src"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut targets = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a source file");
        for piece in text.split("tracing::").skip(1) {
            let Some((name, arguments)) = piece.split_once("!(") else {
                continue;
            };
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let target = arguments.trim_start().strip_prefix("target: \"tierlog::");
            let target = target.and_then(|target| target.split('"').next());
            let target = target.unwrap_or_else(|| panic!("{}: {name}!", path.display()));
            targets.insert(format!("tierlog::{target}"));
        }
    }
    targets
}

/// What stands in backticks and looks like the name of a test: three words or more.
fn tests_named(page: &str) -> BTreeSet<&str> {
    let words = page.split('`').skip(1).step_by(2);
    words
        .filter(|word| word.matches('_').count() >= 3)
        .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect()
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let tests = tests();
    for page in ["ARCHITECTURE.md", "tests/README.md"] {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        let named = tests_named(&text);
        assert!(named.len() > 20, "{page} names {} tests", named.len());
        let gone: Vec<_> = named
            .iter()
            .filter(|name| !tests.contains(**name))
            .collect();
        assert!(
            gone.is_empty(),
            "{page} names tests that are not there: {gone:#?}"
        );
    }
}

/// What the page says about each defect that other systems had: its tests, or that it belongs to a
/// tier that is not there.
#[test]
fn every_defect_of_earlier_systems_has_a_test() {
    let page = fs::read_to_string(root().join("tests/README.md")).expect("a page");
    let (_, section) = page
        .split_once("\n## Defects of earlier systems\n")
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let tests = tests();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<_> = rows.filter(|row| !row.ends_with("| test |")).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let [_, named] = cells[..] else {
            panic!("two cells: {row}");
        };
        let mut names = named.split('`').skip(1).step_by(2).peekable();
        let elsewhere = named.contains("no such tier in this version");
        assert!(elsewhere || names.peek().is_some(), "no test: {row}");
        let gone: Vec<_> = names.filter(|name| !tests.contains(*name)).collect();
        assert!(gone.is_empty(), "not tests: {gone:?}");
    }
}

#[test]
fn the_table_of_settings_has_every_key_with_its_default() {
    let page = fs::read_to_string(root().join("docs/operations.md")).expect("the page");
    let missing: Vec<_> = Settings::keys()
        .iter()
        .map(|key| format!("| `{}` | `{}` |", key.name, key.default))
        .filter(|row| !page.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:#?}");
}

#[test]
fn the_table_of_log_lines_has_every_target() {
    let page = fs::read_to_string(root().join("docs/operations.md")).expect("the page");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `tierlog::"));
    let listed = rows.filter_map(|row| Some(format!("tierlog::{}", row.split('`').next()?)));
    assert_eq!(listed.collect::<BTreeSet<_>>(), targets());
}
