//! P11: every wait ends. Each public future, with each actor killed or standing still at each of its
//! points; and each public future dropped wherever it waits.
//!
//! All of it runs on one thread whose clock stands still while anything can run and jumps to the next
//! timer when nothing can: a wait without an end is found at once, by a limit of that clock.

mod dropped;
mod futures;
mod killed;
mod listed;
mod world;

use std::collections::BTreeSet;

use self::futures::{CASES, FRONTS};

/// A public future that nobody has put to these tests, or a test of one that is gone.
#[test]
fn every_public_future_is_put_to_the_test() {
    let listed = listed::futures();
    assert!(listed.len() > 35, "the scan finds only {listed:?}");
    let tested = CASES.iter().map(|case| case.name);
    let fronts = FRONTS.iter().map(|(name, _)| *name);
    let known: BTreeSet<_> = tested.chain(fronts).map(str::to_owned).collect();
    assert_eq!(listed, known, "in the sources, and tested");
    for (name, behind) in FRONTS {
        let is_tested = CASES.iter().any(|case| case.name == *behind);
        assert!(is_tested, "{name} stands for {behind}, which is not tested");
    }
}

/// What each waits for, and what it means to drop it, stands in the protocol.
#[test]
fn every_public_future_says_what_it_waits_for_and_what_dropping_it_means() {
    let page = include_str!("../../../docs/protocol.md");
    let section = page
        .split("## What futures wait for, and what cancelling means")
        .nth(1);
    let section = section
        .expect("the section")
        .split("\n## ")
        .next()
        .expect("its text");
    let rows: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for name in listed::futures() {
        let short = name.rsplit("::").next().unwrap_or(&name);
        let in_backticks = [format!("`{name}`"), format!("`{short}`")];
        let told = rows.iter().any(|row| {
            let first = row.split(" | ").next().unwrap_or_default();
            let cells = row.split(" | ").count();
            cells == 3
                && in_backticks
                    .iter()
                    .any(|name| first.contains(name.as_str()))
        });
        assert!(told, "docs/protocol.md says nothing of {name}");
    }
}
