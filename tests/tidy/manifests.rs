//! Rules for the `Cargo.toml` files.

use std::collections::BTreeMap;

use crate::source::Breach;

/// A `Cargo.toml`.
#[derive(Debug)]
pub struct Manifest {
    path: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    /// The table that it stands in, as written between the brackets.
    table: String,
    key: String,
    value: String,
    /// What a comment on the line, or right above it, says.
    reason: String,
}

impl Manifest {
    pub fn parse(path: &str, text: &str) -> Self {
        let (mut table, mut above) = (String::new(), String::new());
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (code, comment) = without_comment(line);
            let code = code.trim();
            if let Some(name) = code.strip_prefix('[').and_then(|c| c.strip_suffix(']')) {
                table = name.trim().to_owned();
            } else if let Some((key, value)) = code.split_once('=') {
                lines.push(Line {
                    number: number + 1,
                    table: table.clone(),
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                    reason: format!("{above}{comment}").trim().to_owned(),
                });
            }
            // A comment speaks for the line right below it alone.
            above = if code.is_empty() {
                comment.to_owned()
            } else {
                String::new()
            };
        }
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach {
            place: format!("{}:{line}", self.path),
            what: what.into(),
        }
    }

    fn dependencies(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| {
            let table = line.table.rsplit('.').next().unwrap_or_default();
            ["dependencies", "dev-dependencies", "build-dependencies"].contains(&table)
        })
    }

    /// The crates that it depends on, whatever for.
    pub fn dependency_names(&self, with_dev: bool) -> Vec<&str> {
        let lines = self.dependencies();
        lines
            .filter(|line| with_dev || !line.table.contains("dev-"))
            .map(|line| line.key.split('.').next().unwrap_or_default())
            .collect()
    }

    fn is_member(&self) -> bool {
        self.lines.iter().any(|line| line.table == "package")
    }
}

/// Splits off what stands behind a `#` outside quotes.
fn without_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        quoted ^= c == '"';
        if c == '#' && !quoted {
            return (&line[..at], line[at + 1..].trim());
        }
    }
    (line, "")
}

/// Every package takes the lints of the workspace.
pub fn lints(manifest: &Manifest) -> Vec<Breach> {
    let takes = |line: &Line| {
        (line.table == "lints" && line.key == "workspace" && line.value == "true")
            || (line.table.is_empty() && line.key == "lints.workspace")
    };
    let breach = (manifest.is_member() && !manifest.lines.iter().any(takes))
        .then(|| manifest.breach(1, "`[lints] workspace = true` is missing"));
    breach.into_iter().collect()
}

/// Every dependency says what it is for, where its version stands.
pub fn reasons(manifest: &Manifest) -> Vec<Breach> {
    let own = manifest.dependencies().filter(|line| {
        // What is inherited as it is has its reason in the workspace's table.
        let inherited = line.key.ends_with(".workspace") || line.value.contains("workspace = true");
        !inherited && line.reason.split_whitespace().count() < 2
    });
    own.map(|line| manifest.breach(line.number, format!("`{}` says no reason", line.key)))
        .collect()
}

/// A version stands in the workspace's table alone, so that two crates can't differ.
pub fn inherited(manifest: &Manifest) -> Vec<Breach> {
    let members = manifest
        .dependencies()
        .filter(|line| line.table != "workspace.dependencies");
    let own = members.filter(|line| {
        let local = line.value.contains("path = ");
        !line.key.ends_with(".workspace") && !line.value.contains("workspace = true") && !local
    });
    own.map(|line| manifest.breach(line.number, format!("`{}` has its own version", line.key)))
        .collect()
}

/// What the workspace's table lists and nobody uses.
pub fn unused(workspace: &Manifest, members: &[Manifest]) -> Vec<Breach> {
    let listed = workspace
        .dependencies()
        .filter(|line| line.table == "workspace.dependencies");
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        let lines = member
            .dependencies()
            .filter(|line| line.table != "workspace.dependencies");
        for line in lines {
            *uses
                .entry(line.key.split('.').next().unwrap_or_default())
                .or_default() += 1;
        }
    }
    listed
        .filter(|line| !uses.contains_key(line.key.as_str()))
        .map(|line| workspace.breach(line.number, format!("nobody uses `{}`", line.key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rule: fn(&Manifest) -> Vec<Breach>, text: &str) -> usize {
        rule(&Manifest::parse("Cargo.toml", text)).len()
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        assert_eq!(count(lints, "[package]\nname = \"x\""), 1);
        assert_eq!(
            count(lints, "[package]\nname = \"x\"\n[lints]\nworkspace = true"),
            0
        );
        assert_eq!(count(lints, "[workspace]\nmembers = []"), 0);
    }

    #[test]
    fn a_reason_stands_on_the_line_or_right_above_it() {
        assert_eq!(count(reasons, "[dependencies]\na = \"1\""), 1);
        assert_eq!(
            count(reasons, "[dependencies]\na = \"1\" # why it is here"),
            0
        );
        assert_eq!(
            count(
                reasons,
                "[dependencies]\n# why it is here\na = \"1\"\nb = \"1\""
            ),
            1
        );
        assert_eq!(
            count(reasons, "[dependencies]\na = \"#1 why so\""),
            1,
            "no comment"
        );
        assert_eq!(count(reasons, "[dependencies]\na.workspace = true"), 0);
        assert_eq!(
            count(reasons, "[target.'cfg(unix)'.dependencies]\na = \"1\""),
            1
        );
        assert_eq!(count(reasons, "[package]\nname = \"x\""), 0);
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        assert_eq!(count(inherited, "[dependencies]\na = \"1\""), 1);
        assert_eq!(count(inherited, "[dependencies]\na = { path = \".\" }"), 0);
        assert_eq!(count(inherited, "[workspace.dependencies]\na = \"1\""), 0);
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_found() {
        let workspace = Manifest::parse("x", "[workspace.dependencies]\na = \"1\"\nb = \"1\"");
        let member = Manifest::parse("y", "[dev-dependencies]\na.workspace = true");
        assert_eq!(unused(&workspace, &[member]).len(), 1);
    }
}
