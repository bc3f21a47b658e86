//! The files of the repository, and which part of each is test code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    lexer::{Token, tokens},
    paths::{self, paths},
};

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub place: String,
    pub what: String,
}

/// A Rust file.
#[derive(Debug)]
pub struct Source {
    /// Below the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
    pub paths: Vec<paths::Path>,
    /// For each token: whether it is compiled for tests alone.
    pub test: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let test = match is_test_file(path) {
            true => vec![true; tokens.len()],
            false => test_regions(&tokens),
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            paths: paths(&tokens),
            tokens,
            test,
        }
    }

    pub fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach {
            place: format!("{}:{line}", self.path),
            what: what.into(),
        }
    }

    /// Whether it lies in this folder.
    pub fn is_in(&self, folder: &str) -> bool {
        self.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// What people run and read, beside the library: it may print.
    pub fn is_program(&self) -> bool {
        ["benches", "examples", "bin", "fuzz", "real", "seeds"]
            .iter()
            .any(|folder| self.path.split('/').any(|part| part == *folder))
    }

    /// The files that its `#[cfg(test)] mod name;` lines bring in, without their ending.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let declares = self.tokens.windows(3).zip(&self.test);
        declares
            .filter(|(t, test)| **test && t[0].is("mod") && t[2].is(";"))
            .map(|(t, _)| format!("{folder}/{}", t[1].text))
            .collect()
    }
}

fn is_test_file(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

/// Marks what stands behind `#[cfg(test)]` or `#[test]`, up to the end of the item.
fn test_regions(tokens: &[Token]) -> Vec<bool> {
    let mut test = vec![false; tokens.len()];
    let mut at = 0;
    while at < tokens.len() {
        let Some(behind) = test_attribute(tokens, at) else {
            at += 1;
            continue;
        };
        let end = item_end(tokens, behind);
        test[at..end].fill(true);
        at = end;
    }
    test
}

/// Where the attribute at `at` ends, if it is one that keeps its item for tests.
fn test_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let inside = at + 2;
    if !(tokens.get(at)?.is("#") && tokens.get(at + 1)?.is("[")) {
        return None;
    }
    let close = closing(tokens, at + 1);
    let words: Vec<&str> = tokens[inside..close]
        .iter()
        .map(|t| t.text.as_str())
        .collect();
    let names = |word| words.contains(&word);
    let is_test = match words.first() {
        // `any(test, feature = "…")` is in what users build too.
        Some(&"cfg") => names("test") && !names("not") && !names("any"),
        Some(_) => words == ["test"] || words[..words.len().min(4)] == ["tokio", ":", ":", "test"],
        None => false,
    };
    is_test.then_some(close + 1)
}

/// The index of the bracket that closes the one at `open`, or the end.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|mark| token.is(mark)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len()
}

/// Where the item that begins at `at` ends: behind its block, or behind its semicolon.
pub fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() {
        let token = &tokens[at];
        if token.is(";") {
            return at + 1;
        }
        let opens = ["(", "[", "{"].iter().any(|mark| token.is(mark));
        let close = if opens { closing(tokens, at) } else { at };
        if token.is("{") {
            return (close + 1).min(tokens.len());
        }
        at = close + 1;
    }
    tokens.len()
}

/// The repository.
#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    pub rust: Vec<Source>,
    /// Every other file, with its path below the root.
    pub files: BTreeSet<String>,
}

impl Tree {
    /// Reads what is there. Files that git would not keep are passed over by the folders' names.
    pub fn read() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut files = BTreeSet::new();
        walk(&root, &root, &mut files);
        let rust = files.iter().filter(|path| path.ends_with(".rs"));
        let rust: Vec<_> = rust
            .map(|path| Source::new(path, &read(&root.join(path))))
            .collect();
        Self {
            rust: with_test_modules(rust),
            root,
            files,
        }
    }

    pub fn text(&self, path: &str) -> String {
        read(&self.root.join(path))
    }

    pub fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a String> {
        self.files.iter().filter(move |path| path.ends_with(ending))
    }
}

/// A file that a `#[cfg(test)] mod name;` brings in is test code, and so are those below it.
fn with_test_modules(mut rust: Vec<Source>) -> Vec<Source> {
    let modules: Vec<String> = rust.iter().flat_map(Source::test_modules).collect();
    for source in &mut rust {
        let stem = source.path.trim_end_matches(".rs");
        let below = |module: &String| {
            let rest = stem.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if modules.iter().any(below) {
            source.test.fill(true);
        }
    }
    rust
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeSet<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder was just opened").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_built = matches!(&*name, "target" | "corpus" | "artifacts" | "coverage");
        if is_built || name.starts_with('.') || name.starts_with("tierlog-data") {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if let Ok(below) = path.strip_prefix(root) {
            files.insert(below.to_string_lossy().replace('\\', "/"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_words(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path, text);
        let marked = source.tokens.iter().zip(&source.test);
        marked
            .filter(|(token, test)| **test && token.is_word() && token.text.len() == 1)
            .map(|(token, _)| token.text.clone())
            .collect()
    }

    #[test]
    fn a_test_item_ends_with_its_block_or_semicolon() {
        let text = "fn a() {} #[cfg(test)] mod b { fn c() { d } } fn e() {} #[cfg(test)] mod f; g";
        assert_eq!(test_words("src/x.rs", text), ["b", "c", "d", "f"]);
    }

    #[test]
    fn what_users_build_too_is_no_test_code() {
        let text = "#[cfg(not(test))] fn a() {} #[cfg(any(test, unix))] fn b() {}";
        assert!(test_words("src/x.rs", text).is_empty());
    }

    #[test]
    fn test_functions_and_folders_are_test_code() {
        assert_eq!(test_words("src/x.rs", "#[test] fn a() {} fn b() {}"), ["a"]);
        let text = "#[tokio::test(start_paused = true)] async fn a() {} fn b() {}";
        assert_eq!(test_words("src/x.rs", text), ["a"]);
        assert_eq!(test_words("src/tests/x.rs", "fn a() {}"), ["a"]);
        assert_eq!(test_words("src/x/tests.rs", "fn a() {}"), ["a"]);
    }

    #[test]
    fn a_file_brought_in_for_tests_is_test_code() {
        let rust = vec![
            Source::new("src/x.rs", "#[cfg(test)] mod laws; mod real;"),
            Source::new("src/x/laws.rs", "a"),
            Source::new("src/x/laws/deep.rs", "a"),
            Source::new("src/x/real.rs", "a"),
        ];
        let rust = with_test_modules(rust);
        let marked: Vec<bool> = rust[1..].iter().map(|source| source.test[0]).collect();
        assert_eq!(marked, [true, true, false]);
    }

    #[test]
    fn an_array_type_does_not_end_an_item() {
        let text = "#[cfg(test)] fn f(x: [u8; 4]) -> [u8; 4] { a } b";
        assert_eq!(test_words("src/x.rs", text), ["f", "x", "a"]);
    }
}
