//! Finds the paths that code names: `a::b::c`, and each leaf of a `use` tree.

use crate::lexer::Token;

/// A path and the line on which it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub parts: Vec<String>,
    pub line: usize,
    /// The index of its last token.
    pub end: usize,
}

impl Path {
    pub fn starts_with(&self, parts: &[&str]) -> bool {
        self.parts.len() >= parts.len() && self.parts.iter().zip(parts).all(|(a, b)| a == b)
    }

    pub fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }
}

/// All paths in `tokens`, in order. A name alone is a path of one part.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("use") {
            at = tree(tokens, at + 1, &[], &mut found);
        } else if tokens[at].is_word() {
            at = plain(tokens, at, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_colons(tokens: &[Token], at: usize) -> bool {
    at + 1 < tokens.len() && tokens[at].is(":") && tokens[at + 1].is(":")
}

/// One path outside a `use`; answers where it ends.
fn plain(tokens: &[Token], mut at: usize, found: &mut Vec<Path>) -> usize {
    let mut parts = vec![tokens[at].text.clone()];
    while is_colons(tokens, at + 1) && tokens.get(at + 3).is_some_and(Token::is_word) {
        at += 3;
        parts.push(tokens[at].text.clone());
    }
    found.push(Path {
        parts,
        line: tokens[at].line,
        end: at,
    });
    at + 1
}

/// One branch of a `use` tree behind `prefix`; answers where it ends.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut parts = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.is("as") {
            // The new name is no part of the path.
            at += 2;
        } else if token.is_word() || token.is("*") {
            parts.push(token.text.clone());
            at += 1;
        } else if is_colons(tokens, at) {
            at += 2;
        } else if token.is("{") {
            at = branches(tokens, at + 1, &parts, found);
            return at;
        } else {
            break;
        }
    }
    if parts.len() > prefix.len() {
        // `{self}` names the module itself.
        if parts.last().is_some_and(|part| part == "self") && parts.len() > 1 {
            parts.pop();
        }
        let end = at.saturating_sub(1);
        let line = tokens.get(end).map_or(0, |token| token.line);
        found.push(Path { parts, line, end });
    }
    at
}

fn branches(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    while at < tokens.len() && !tokens[at].is("}") {
        let next = tree(tokens, at, prefix, found);
        // A comma, or something that has no place in a tree: go on, never stand still.
        at = if tokens.get(next).is_some_and(|t| t.is("}")) {
            next
        } else {
            next.max(at) + 1
        };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn found(source: &str) -> Vec<String> {
        let paths = paths(&tokens(source)).into_iter();
        paths.map(|path| path.parts.join("::")).collect()
    }

    #[test]
    fn a_use_tree_is_read_to_its_leaves() {
        let source = "use crate::{a::b, c::{self, d as e, f::*}, g}; x";
        let expected = ["crate::a::b", "crate::c", "crate::c::d", "crate::c::f::*"];
        assert_eq!(found(source)[..4], expected);
        assert_eq!(found(source)[4..], ["crate::g", "x"]);
    }

    #[test]
    fn code_names_paths_too() {
        assert_eq!(
            found("let a = std::fs::read(b)?;"),
            ["let", "a", "std::fs::read", "b"]
        );
        assert_eq!(
            found("Vec::<u8>::new()"),
            ["Vec", "u8", "new"],
            "generics part a path"
        );
    }

    #[test]
    fn an_unfinished_tree_ends() {
        for source in [
            "use",
            "use a::{",
            "use a::{b,,",
            "use {{{",
            "use a::{;}",
            "use a as",
        ] {
            found(source);
        }
    }
}
