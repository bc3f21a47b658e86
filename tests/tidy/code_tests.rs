//! Each rule on a piece of code that breaks it and on one that only looks like it.

use super::*;

fn lines(rule: fn(&Source) -> Vec<Breach>, path: &str, text: &str) -> Vec<String> {
    let found = rule(&Source::new(path, text));
    found.into_iter().map(|breach| breach.place).collect()
}

#[track_caller]
fn breaks(rule: fn(&Source) -> Vec<Breach>, text: &str) {
    assert_eq!(lines(rule, "src/x.rs", text).len(), 1, "{text}");
}

#[track_caller]
fn keeps(rule: fn(&Source) -> Vec<Breach>, text: &str) {
    assert_eq!(lines(rule, "src/x.rs", text), [""; 0], "{text}");
}

#[test]
fn a_file_may_have_its_limit_and_no_line_more() {
    keeps(long_files, &"\n".repeat(FILE_LINES));
    breaks(long_files, &"\n".repeat(FILE_LINES + 1));
}

#[test]
fn a_function_is_measured_to_its_own_closing_brace() {
    let function = |lines: usize| format!("fn f() {{{}}}", "\n".repeat(lines - 1));
    keeps(long_functions, &function(FUNCTION_LINES));
    breaks(long_functions, &function(FUNCTION_LINES + 1));
    keeps(
        long_functions,
        &format!("impl X {{ {0} {0} }}", function(40)),
    );
    let text = format!(
        "fn f() {{ let a = \"}}\"; // }}\n {} }}",
        "\n".repeat(FUNCTION_LINES)
    );
    breaks(long_functions, &text);
}

#[test]
fn the_length_of_an_array_is_no_body() {
    let text = format!("fn f(x: [u8; {{ 4 }}]);{}", "\n".repeat(FUNCTION_LINES + 1));
    keeps(long_functions, &format!("{text} {{}}"));
    keeps(long_functions, "type F = fn(u8) -> u8; fn");
}

#[test]
fn a_channel_without_a_bound_is_found_under_any_name() {
    breaks(boundless, "let (a, b) = flume::unbounded();");
    breaks(
        boundless,
        "use tokio::sync::mpsc::{Sender, unbounded_channel as channel};",
    );
    breaks(boundless, "fn f(to: UnboundedSender<u8>) {}");
    breaks(boundless, "use crossbeam::queue::SegQueue;");
    breaks(boundless, "let (a, b) = std::sync::mpsc::channel();");
    breaks(boundless, "let (a, b) = mpsc::channel::<()>();");
    breaks(boundless, "let (a, b) = mpsc::channel::<Vec<(u8, u8)>>();");
}

#[test]
fn a_channel_with_a_bound_is_fine() {
    keeps(boundless, "let (a, b) = flume::bounded(4);");
    keeps(boundless, "let (a, b) = mpsc::channel::<()>(4);");
    keeps(boundless, "let (a, b) = oneshot::channel();");
    keeps(boundless, "let (a, b) = watch::channel(());");
    keeps(boundless, "let a = \"unbounded\"; // unbounded");
}

#[test]
fn unsafe_stands_in_one_file() {
    breaks(raw_memory, "fn f() { unsafe { g() } }");
    breaks(raw_memory, "#![allow(unsafe_code)]");
    assert!(lines(raw_memory, UNSAFE, "unsafe {}").is_empty());
}

#[test]
fn an_unwrap_is_for_tests() {
    breaks(unwraps, "fn f() { x\n.unwrap() }");
    breaks(unwraps, "fn f() { x.unwrap_err() }");
    keeps(unwraps, "#[cfg(test)] mod tests { fn f() { x.unwrap() } }");
    keeps(unwraps, "fn f() { x.unwrap_or_default() }");
    keeps(unwraps, "fn unwrap() { unwrap() }");
}

#[test]
fn an_expect_gives_its_reason() {
    breaks(unwraps, "fn f() { x.expect(\"\") }");
    breaks(unwraps, "fn f() { x.expect(why) }");
    keeps(unwraps, "fn f() { x.expect(\"a batch is never empty\") }");
}

#[test]
fn no_reason_makes_io_an_invariant() {
    breaks(unwraps, "fn f() { file.read_at(b, 0).expect(\"fits\") }");
    breaks(
        unwraps,
        "fn f() { File::open(p)?.sync_data().map_err(|e| g(e)).expect(\"fits\") }",
    );
    breaks(
        unwraps,
        "fn f() { disk.open(p).await.expect(\"is there\") }",
    );
    breaks(
        unwraps,
        "fn f() { std::fs::rename(a, b).expect(\"same disk\") }",
    );
    keeps(
        unwraps,
        "fn f() { g(file.len()).checked_add(1).expect(\"below 2^63\") }",
    );
}

#[test]
fn unfinished_work_and_prints_are_found() {
    breaks(macros, "fn f() { todo!() }");
    breaks(macros, "fn f() { dbg!(x) }");
    breaks(macros, "fn f() { println!(\"\") }");
    keeps(macros, "fn f() { writeln!(out, \"todo!\") }");
    assert!(lines(macros, "src/bin/tierlog/main.rs", "println!()").is_empty());
    assert_eq!(lines(macros, "src/bin/tierlog/main.rs", "todo!()").len(), 1);
}

#[test]
fn only_tests_must_not_sleep() {
    let text = "tokio::time::sleep(backoff).await";
    keeps(waits_by_the_clock, text);
    assert_eq!(lines(waits_by_the_clock, "tests/it/x.rs", text).len(), 1);
    assert_eq!(
        lines(
            waits_by_the_clock,
            "tests/it/x.rs",
            "Command::new(\"sleep\")"
        )
        .len(),
        1
    );
    assert!(
        lines(
            waits_by_the_clock,
            "tests/it/x.rs",
            "// sleep\n\"to sleep\""
        )
        .is_empty()
    );
}

#[test]
fn an_ignored_test_is_found_in_each_of_its_forms() {
    breaks(ignored_tests, "#[test] #[ignore] fn f() {}");
    breaks(ignored_tests, "#[test] #[ignore = \"slow\"] fn f() {}");
    breaks(ignored_tests, "#[cfg_attr(unix, ignore)] fn f() {}");
    breaks(ignored_tests, "/// ```ignore\n/// ```\nfn f() {}");
    breaks(ignored_tests, "//! ```rust,ignore\n//! ```");
    keeps(
        ignored_tests,
        "/// ```text\n/// ignore\n/// ```\nfn ignore() {}",
    );
}

#[test]
fn a_name_that_says_nothing_is_found() {
    breaks(nameless, "mod utils;");
    breaks(nameless, "mod string_helpers { }");
    breaks(nameless, "struct SegmentManager;");
    keeps(
        nameless,
        "mod commons_law; struct Communal; fn manager() {}",
    );
    assert_eq!(lines(nameless, "src/common/mod.rs", "").len(), 1);
}
