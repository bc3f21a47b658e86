//! Segments that the system refuses to read. Whoever is root may read anything, so that the binary runs
//! as somebody else then.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Place, Run, SMALL, numbered, run};

/// Nobody, on every Linux.
const SOMEBODY_ELSE: u32 = 65_534;

/// A log of several sealed segments, which `user` may use, but for the second one.
struct Refused {
    place: Place,
    second: PathBuf,
    /// How many records come before it.
    before: usize,
    user: Option<u32>,
}

impl Refused {
    fn new() -> Option<Self> {
        let place = Place::new();
        place
            .feed(SMALL.iter().chain(&["append", "s"]), numbered(4000))
            .expect_code(0);
        let segments = place.json(["segments", "s"]);
        let second = PathBuf::from(segments[1]["path"].as_str().unwrap());
        fs::set_permissions(&second, Permissions::from_mode(0o000)).unwrap();
        let user = fs::read(&second).is_ok().then_some(SOMEBODY_ELSE);
        if let Some(user) = user {
            fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
            give(&place.log(), user);
            chown(&second, Some(0), Some(0)).unwrap();
        }
        let before = segments[1]["base"].as_u64().unwrap() as usize;
        let made = Self {
            place,
            second,
            before,
            user,
        };
        let Err(error) = made.tierlog(&["--version"]).output() else {
            return Some(made);
        };
        // Past the capture of test output: a test that was not run must not look like one that was.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: it needs to run the binary as somebody else, and: {error}"
        );
        None
    }

    fn tierlog(&self, args: &[&str]) -> Command {
        let mut command = self.place.tierlog(args);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        run(self.tierlog(args), b"")
    }
}

/// Makes somebody the owner of a directory and all in it.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn a_segment_that_may_not_be_read_is_told_as_such_and_is_no_damage() {
    let Some(refused) = Refused::new() else {
        return;
    };
    let path = refused.second.to_str().unwrap();
    let words = [path, "Permission denied", "check who may read"];
    for args in [
        &["read", "s"][..],
        &["read", "s", "--skip-damage"],
        &["read", "s", "--json"],
    ] {
        let run = refused.run(args).expect_code(1);
        assert_eq!(run.text().lines().count(), refused.before, "{args:?}");
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        for word in words {
            assert!(run.err.contains(word), "no `{word}` in: {}", run.err);
        }
    }
    let run = refused.run(&["verify", "--json"]).expect_code(1);
    let told: serde_json::Value = serde_json::from_str(&run.err).expect("one object");
    assert_eq!(told["kind"], "fix_input", "{told}");
    let run = refused.run(&["verify"]).expect_line(1, &words);
    assert!(run.out.is_empty(), "nothing is called damaged or checked");
}
