//! Rules for the bugs that are planted on purpose: each has a test that catches it, and nobody ships one.

use std::collections::BTreeSet;

use crate::{
    lexer::Kind,
    source::{Breach, Source},
};

/// Where they are listed: those that ordinary tests catch, and those that models catch.
pub const LISTS: [&str; 2] = ["tests/planted/bugs", "tests/loom/bugs"];
/// The feature without which there are none.
const FEATURE: &str = "planted-bugs";

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub bug: String,
    pub what: String,
    /// The name of the test alone.
    pub test: String,
}

/// The lines of a list; one that is not whole is a breach.
pub fn rows(path: &str, list: &str) -> Result<Vec<Row>, Breach> {
    let lines = list.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let row = |(number, line): (usize, &str)| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [bug, what, _lesson, test] = cells[..] else {
            return Err(Breach {
                place: format!("{path}:{}", number + 1),
                what: "a line has four cells".to_owned(),
            });
        };
        let test = test.rsplit("::").next().unwrap_or(test);
        Ok(Row {
            bug: bug.to_owned(),
            what: what.to_owned(),
            test: test.to_owned(),
        })
    };
    lines.map(row).collect()
}

/// The bugs that a file plants, with their lines.
pub fn planted(source: &Source) -> Vec<(usize, String)> {
    let calls = source.tokens.windows(6);
    let calls = calls.filter(|t| {
        let path = t[0].is("planted") && t[1].is(":") && t[2].is(":") && t[3].is("is");
        path && t[4].is("(") && t[5].kind == Kind::Text
    });
    calls.map(|t| (t[5].line, t[5].text.clone())).collect()
}

/// The names of all tests and functions of test code.
pub fn test_functions(source: &Source) -> BTreeSet<String> {
    let pairs = source.tokens.windows(2).zip(&source.test);
    pairs
        .filter(|(pair, test)| **test && pair[0].is("fn"))
        .map(|(pair, _)| pair[1].text.clone())
        .collect()
}

/// Whether a page has a row of a table with the bug, what is done, and the test.
pub fn is_told(page: &str, row: &Row) -> bool {
    page.lines().any(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        line.starts_with(&format!("| `{}` |", row.bug))
            && cells.get(1) == Some(&row.what.as_str())
            && cells.get(2) == Some(&format!("`{}`", row.test).as_str())
    })
}

/// Lines of a `Cargo.toml` that turn the bugs on: only features of that very name may.
pub fn shipped(path: &str, text: &str) -> Vec<Breach> {
    let (mut table, mut key) = ("", "");
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = code.strip_prefix('[').and_then(|c| c.strip_suffix(']')) {
            (table, key) = (name, "");
        } else if let Some((name, _)) = code.split_once(" = ") {
            key = name;
        }
        let own = table == "features" && key == FEATURE;
        if code.contains(FEATURE) && !own {
            found.push(Breach {
                place: format!("{path}:{}", number + 1),
                what: format!("`{key}` turns on `{FEATURE}`"),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_ships_planted_bugs_is_found() {
        let count = |text| shipped("Cargo.toml", text).len();
        assert_eq!(
            count("[features]\nplanted-bugs = [\n  \"a/planted-bugs\",\n]"),
            0
        );
        assert_eq!(count("[features]\n# planted-bugs\ndefault = []"), 0);
        assert_eq!(count("[features]\ndefault = [\"planted-bugs\"]"), 1);
        assert_eq!(count("[features]\ncli = [\n  \"a/planted-bugs\",\n]"), 1);
        assert_eq!(
            count("[dependencies]\na = { path = \".\", features = [\"planted-bugs\"] }"),
            1
        );
    }

    #[test]
    fn a_bug_is_found_where_it_is_planted_and_where_it_is_told() {
        let source = Source::new("src/x.rs", "if planted::is(\"a_b\") { return; }");
        assert_eq!(planted(&source), [(1, "a_b".to_owned())]);
        let rows = rows("x", "# x\na_b | it goes | a lesson | y::z\n").expect("whole");
        assert_eq!((&*rows[0].bug, &*rows[0].test), ("a_b", "z"));
        assert!(is_told("| `a_b` | it goes | `z` | 0.10 |", &rows[0]));
        assert!(!is_told("| `a_b` | it stays | `z` | 0.10 |", &rows[0]));
        assert!(!is_told("| `a_b` | it goes | `y` | 0.10 |", &rows[0]));
        assert!(super::rows("x", "a_b | c").is_err());
    }
}
