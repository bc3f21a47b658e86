//! The public futures, as the sources have them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    lexer::Token,
    source::{Source, closing},
};

/// Traits whose implementations can be awaited, or polled for items.
const TRAITS: [&str; 3] = ["Future", "IntoFuture", "Stream"];

/// `Type::function` of each public async function of what an app calls, and `Type: Trait` of each type
/// that is a future, becomes one, or is a stream of items.
pub fn futures() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = shown(root);
    let mut found = BTreeSet::new();
    for (folder, all) in [("src", true), ("actors/src", false)] {
        for path in files(&root.join(folder)) {
            let below = path.strip_prefix(root).expect("it lies below");
            let below = below.to_string_lossy();
            if below.starts_with("src/bin/") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let source = Source::new(&below, &text);
            found.extend(of(&source, &|name| all || shown.contains(name)));
        }
    }
    found
}

/// The types of the actors' crate that the public one shows.
fn shown(root: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(root.join("src/lib.rs")).expect("the root of the crate");
    let source = Source::new("src/lib.rs", &text);
    // What tests of this workspace reach for is no part of it.
    let mut hidden = source.tokens.windows(2);
    let hidden = hidden.find(|pair| pair[0].is("mod") && pair[1].is("testing"));
    let hidden = hidden.map_or(usize::MAX, |pair| pair[0].line);
    let paths = source.paths.iter().filter(|path| path.line < hidden);
    let of_actors = paths.filter(|path| path.parts[0] == "tierlog_actors");
    of_actors
        .filter_map(|path| path.parts.last().cloned())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

fn of(source: &Source, is_public: &dyn Fn(&str) -> bool) -> Vec<String> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if !tokens[at].is("impl") || source.test[at] {
            continue;
        }
        let Some(open) = (at..tokens.len()).find(|i| tokens[*i].is("{") || tokens[*i].is(";"))
        else {
            continue;
        };
        let head = &tokens[at + 1..open];
        // An `impl Trait` in a signature is no block of its own.
        let begins_item = at == 0
            || ["}", ";", "]", "{"]
                .iter()
                .any(|mark| tokens[at - 1].is(mark));
        if !begins_item {
            continue;
        }
        let (of_trait, name) = names(head);
        if !is_public(&name) {
            continue;
        }
        match of_trait {
            Some(of_trait) if TRAITS.contains(&of_trait.as_str()) => {
                found.push(format!("{name}: {of_trait}"));
            }
            Some(_) => {}
            None => {
                let body = &tokens[open..closing(tokens, open)];
                let functions = body.windows(4).filter(|t| {
                    t[0].is("pub") && t[1].is("async") && t[2].is("fn") && t[3].is_word()
                });
                found.extend(functions.map(|t| format!("{name}::{}", t[3].text)));
            }
        }
    }
    found
}

/// The trait of an `impl`, if it is of one, and the type.
fn names(head: &[Token]) -> (Option<String>, String) {
    let split = head.iter().position(|token| token.is("for"));
    let last = |tokens: &[Token]| {
        let mut depth = 0_usize;
        let mut name = String::new();
        for token in tokens {
            if token.is("<") {
                depth += 1;
            } else if token.is(">") {
                depth = depth.saturating_sub(1);
            } else if token.is("where") {
                break;
            } else if depth == 0 && token.is_word() {
                name.clone_from(&token.text);
            }
        }
        name
    };
    match split {
        Some(at) => (Some(last(&head[..at])), last(&head[at + 1..])),
        None => (None, last(head)),
    }
}

#[test]
fn a_scan_of_the_sources_finds_public_futures_and_nothing_else() {
    let found = |text: &str| of(&Source::new("src/x.rs", text), &|name| name != "Hidden");
    assert_eq!(
        found("impl A { pub async fn b(&self) {} async fn c() {} pub fn d() {} }"),
        ["A::b"]
    );
    assert_eq!(found("impl A { pub(crate) async fn b(&self) {} }"), [""; 0]);
    assert_eq!(
        found("impl<T> std::future::Future for A<'_, T> {}"),
        ["A: Future"]
    );
    assert_eq!(found("impl Drop for A { fn drop(&mut self) {} }"), [""; 0]);
    assert_eq!(found("impl Hidden { pub async fn b(&self) {} }"), [""; 0]);
    assert_eq!(
        found("fn f(x: impl Fn()) { } impl A { pub async fn b() {} }"),
        ["A::b"]
    );
}
