//! Bugs that are planted, one at a time, as in `tests/loom`.

use std::{
    env,
    process::{Command, Stdio},
};

/// A bug, and the test that has to fail with it.
const BUGS: [(&str, &str); 3] = [
    (
        "early_ack",
        "follow::followers_see_what_was_acked_while_segments_are_sealed_and_let_go",
    ),
    (
        "lost_wake_up",
        "follow::appenders_that_wait_for_room_all_get_it",
    ),
    (
        "lane_emptied_before_the_door",
        "follow::what_is_handed_back_is_appended_again_and_nothing_is_there_twice",
    ),
];

#[test]
fn every_bug_is_caught() {
    if !cfg!(feature = "planted-bugs") {
        panic!("built without the bugs");
    }
    for (bug, test) in BUGS {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", test, "--test-threads", "1"]);
        command
            .env("TIERLOG_PLANTED", bug)
            .env("RUST_BACKTRACE", "0");
        let out = command.stdin(Stdio::null()).output().expect("it starts");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.contains(&format!("planted: {bug}")),
            "it does not come by: {bug}"
        );
        assert!(!out.status.success(), "not caught: {bug} by {test}\n{said}");
    }
}
