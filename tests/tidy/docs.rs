//! Rules for what people read: it names only what exists, and all that they need.

use std::collections::BTreeSet;

use crate::{
    lexer::Kind,
    source::{Breach, Source, Tree},
};

/// What the root and `docs/` have.
pub const REQUIRED: [&str; 14] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.lock",
    "docs/guide.md",
    "docs/format.md",
    "docs/protocol.md",
    "docs/durability.md",
    "docs/operations.md",
    "tests/README.md",
    "benches/README.md",
];

/// Folders of the repository: a text in backticks that begins with one is a path.
const FOLDERS: [&str; 8] = [
    "src/",
    "actors/",
    "storage/",
    "tests/",
    "docs/",
    "benches/",
    "examples/",
    "fuzz/",
];

/// A Markdown file, by lines, with what stands in fences taken out.
#[derive(Debug)]
pub struct Page {
    pub path: String,
    lines: Vec<String>,
}

impl Page {
    pub fn new(path: &str, text: &str) -> Self {
        let mut fenced = false;
        let line = |line: &str| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            if fenced || is_fence {
                String::new()
            } else {
                line.to_owned()
            }
        };
        Self {
            path: path.to_owned(),
            lines: text.lines().map(line).collect(),
        }
    }

    fn breach(&self, line: usize, what: String) -> Breach {
        Breach {
            place: format!("{}:{line}", self.path),
            what,
        }
    }

    /// Targets of links, with their lines.
    fn links(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let line = without_code(line);
            for piece in line.split("](").skip(1) {
                let target = piece.split([')', ' ']).next().unwrap_or_default();
                found.push((number + 1, target.to_owned()));
            }
        }
        found
    }

    /// Paths of the repository that stand in backticks, with their lines.
    fn named_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            for code in line.split('`').skip(1).step_by(2) {
                let plain = code
                    .chars()
                    .all(|c| c.is_alphanumeric() || "_-./".contains(c));
                if plain && FOLDERS.iter().any(|folder| code.starts_with(folder)) {
                    found.push((number + 1, code.to_owned()));
                }
            }
        }
        found
    }

    /// What a `#target` may name: GitHub's form of each heading.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.lines.iter().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#')))
            .collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The line with what stands in backticks taken out: code has brackets of its own.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

pub fn pages(tree: &Tree) -> Vec<Page> {
    let pages = tree.with_ending(".md");
    pages
        .map(|path| Page::new(path, &tree.text(path)))
        .collect()
}

/// Links and paths of `page` that lead nowhere. `files` are all files of the repository.
pub fn dead_links(page: &Page, pages: &[Page], files: &BTreeSet<String>) -> Vec<Breach> {
    let mut found = Vec::new();
    for (line, target) in page.links() {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
        let path = if file.is_empty() {
            page.path.clone()
        } else {
            resolve(&page.path, file)
        };
        if !exists(&path, files) {
            found.push(page.breach(line, format!("link to {target}: there is no {path}")));
        } else if !heading.is_empty() {
            let there = pages.iter().find(|other| other.path == path);
            if there.is_some_and(|other| !other.anchors().contains(heading)) {
                found.push(page.breach(line, format!("{path} has no heading for #{heading}")));
            }
        }
    }
    for (line, path) in page.named_paths() {
        if !exists(path.trim_end_matches('/'), files) {
            found.push(page.breach(line, format!("there is no {path}")));
        }
    }
    found
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(path: &str, files: &BTreeSet<String>) -> bool {
    let folder = format!("{path}/");
    path.is_empty() || files.contains(path) || files.iter().any(|f| f.starts_with(&folder))
}

/// Pages that comments and messages send people to, and that are not there.
pub fn dead_mentions(source: &Source, files: &BTreeSet<String>) -> Vec<Breach> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for piece in line.split("docs/").skip(1) {
            let name = |c: char| c.is_alphanumeric() || "-_/".contains(c);
            let stem: String = piece.chars().take_while(|c| name(*c)).collect();
            let path = format!("docs/{stem}.md");
            let is_page = piece[stem.len()..].starts_with(".md");
            if is_page && !source.is_in("tests/tidy") && !files.contains(&path) {
                found.push(source.breach(number + 1, format!("there is no {path}")));
            }
        }
    }
    found
}

/// The names of metrics that product code emits.
pub fn metrics_of(source: &Source) -> Vec<(usize, String)> {
    let texts = source.tokens.iter().zip(&source.test);
    texts
        .filter(|(token, test)| !**test && token.kind == Kind::Text && is_metric(&token.text))
        .map(|(token, _)| (token.line, token.text.clone()))
        .collect()
}

fn is_metric(text: &str) -> bool {
    let rest = text.strip_prefix("tierlog_");
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_lowercase() || c == '_'))
}

/// The metrics that a page names in backticks.
pub fn metrics_named(page: &str) -> BTreeSet<String> {
    let codes = page.split('`').skip(1).step_by(2);
    let names = codes.map(|code| code.split('{').next().unwrap_or_default());
    names
        .filter(|name| is_metric(name))
        .map(str::to_owned)
        .collect()
}

/// Whether a page names `word` in backticks.
pub fn names(page: &str, word: &str) -> bool {
    page.contains(&format!("`{word}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(text: &str) -> usize {
        let files = ["docs/a.md", "docs/b.md", "src/lib.rs"]
            .map(str::to_owned)
            .into();
        let pages = [
            Page::new("docs/a.md", text),
            Page::new("docs/b.md", "## What `is` it?\n"),
        ];
        dead_links(&pages[0], &pages, &files).len()
    }

    #[test]
    fn a_link_leads_to_a_file_and_to_a_heading() {
        assert_eq!(
            dead("[b](b.md) [lib](../src/lib.rs) [src](../src) [web](https://x.y)"),
            0
        );
        assert_eq!(dead("[c](c.md)"), 1);
        assert_eq!(dead("[b](b.md#what-is-it)"), 0);
        assert_eq!(dead("[b](b.md#what-it-is)"), 1);
        assert_eq!(dead("# Here\n[a](#here) [b](#there)"), 1);
    }

    #[test]
    fn a_path_in_backticks_exists() {
        assert_eq!(
            dead("`src/lib.rs`, `src/`, `docs/*.md`, `src/{a}`, `lib.rs`"),
            0
        );
        assert_eq!(dead("`src/gone.rs`"), 1);
    }

    #[test]
    fn code_has_no_links() {
        assert_eq!(dead("```\n[c](c.md) `src/gone.rs`\n```\n`a[0](c.md)`"), 0);
    }

    #[test]
    fn a_comment_sends_nobody_to_a_page_that_is_not_there() {
        let files = ["docs/a.md".to_owned()].into();
        let dead = |text| dead_mentions(&Source::new("src/x.rs", text), &files).len();
        assert_eq!(dead("// see docs/a.md, or `docs/`"), 0);
        assert_eq!(dead("/// see docs/adr/b.md"), 1);
    }

    #[test]
    fn a_metric_is_a_text_with_its_prefix() {
        let text = "counter!(\"tierlog_x_total\"); f(\"tierlog\"); g(\"tierlog::x\")";
        let found = metrics_of(&Source::new("src/x.rs", text));
        assert_eq!(found, [(1, "tierlog_x_total".to_owned())]);
        let named = metrics_named("| `tierlog_a_total{kind}` | `tierlog_b` | tierlog_c |");
        assert_eq!(
            named,
            ["tierlog_a_total", "tierlog_b"].map(str::to_owned).into()
        );
    }
}
