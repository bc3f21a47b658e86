//! Bugs that are planted, one at a time: a model that can't fail says nothing.

use std::{
    env,
    process::{Command, Stdio},
};

/// Name, what is done instead, the lesson, the model that has to fail.
const BUGS: &str = include_str!("../bugs");

/// Each model is run in a process of its own, since a bug is named by the environment.
#[test]
fn every_bug_is_caught() {
    if !cfg!(feature = "planted-bugs") {
        panic!("built without the bugs");
    }
    let lines = BUGS.lines().filter(|line| !line.starts_with('#'));
    let missed: Vec<_> = lines
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [bug, _what, _lesson, model] = cells[..] else {
                panic!("four cells: {line}");
            };
            let said = missed(bug, model)?;
            Some(format!("{bug} by {model}:\n{said}"))
        })
        .collect();
    assert!(missed.is_empty(), "not caught: {}", missed.join("\n"));
}

/// What the model says if it does not catch the bug.
fn missed(bug: &str, model: &str) -> Option<String> {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", model, "--test-threads", "1"]);
    command
        .env("TIERLOG_PLANTED", bug)
        .env("RUST_BACKTRACE", "0");
    let out = command.stdin(Stdio::null()).output().expect("it starts");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let came_by = said.contains(&format!("planted: {bug}"));
    // What is left of a model that failed may panic as well when it is dropped, which aborts: the first
    // word counts. It is that of a model's assertion, or of loom, which found that nobody can go on.
    let first = said.split("panicked at ").nth(1).unwrap_or_default();
    let told = first.starts_with("models/") || first.contains("deadlock; threads = ");
    (!came_by || !told || out.status.success()).then_some(said)
}
