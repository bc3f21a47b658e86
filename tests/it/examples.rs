//! The examples run, and say what they are there to show.

use std::{path::PathBuf, process::Command};

/// Where cargo puts examples. `cargo test` builds them before it runs any test; they are missing only
/// where one test binary alone was asked for, and then there is nothing to run.
fn example(name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().expect("a path");
    let built = this.parent()?.parent()?.join("examples").join(name);
    built.exists().then_some(built)
}

fn run(name: &str, says: &[&str]) {
    let Some(path) = example(name) else { return };
    let output = Command::new(path).output().expect("it starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{name}: {out}{err}");
    for line in says {
        assert!(out.contains(line), "{name} does not say {line:?}:\n{out}");
    }
}

#[test]
fn quickstart_reads_back_what_it_appended() {
    run(
        "quickstart",
        &["1: one tea", "10003 records after reopening"],
    );
}

#[test]
fn backpressure_is_refused_and_then_accepted() {
    run(
        "backpressure",
        &["WouldBlock(", "the refused record is now record"],
    );
}

#[test]
fn tail_is_followed_within_and_beside() {
    let both = [
        "the owner's reader saw 1000",
        "the attached reader saw 1000",
    ];
    run("tail", &both);
}

#[test]
fn crash_recovery_kills_and_reads_back() {
    let says = [
        "killed it after its ack of record 499",
        "records back, in order",
    ];
    run("crash_recovery", &says);
}

#[test]
fn tiered_reads_through_all_three_tiers() {
    let says = [
        "record 2000 is archived",
        "compressed files hold",
        "one reader read all 2001 from three tiers",
    ];
    run("tiered", &says);
}

#[test]
fn restore_goes_on_from_the_bucket_and_the_old_directory_is_refused() {
    let says = [
        "restored 101 records",
        "the next record has offset 101",
        "the old directory is refused",
        "it can be read: 102 records",
    ];
    run("restore", &says);
}
