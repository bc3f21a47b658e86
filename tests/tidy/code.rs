//! Rules that every Rust file keeps.

use crate::{
    lexer::{Kind, Token},
    source::{Breach, Source, closing},
};

/// The longest file, in lines.
pub const FILE_LINES: usize = 500;
/// The longest function, from its `fn` to its closing brace.
pub const FUNCTION_LINES: usize = 70;

/// The one place where `unsafe` stands.
const UNSAFE: &str = "storage/src/disk/map.rs";

/// Names that say that somebody did not know what a thing is.
const NAMELESS: [&str; 11] = [
    "util",
    "utils",
    "utility",
    "utilities",
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "stuff",
];

/// Calls that reach a disk, a socket or a process: what they answer is the world's, and no reason
/// makes it an invariant.
const IO_CALLS: [&str; 28] = [
    "allocate",
    "create",
    "create_dir",
    "create_dir_all",
    "create_new",
    "flush",
    "link",
    "list",
    "lock",
    "map_read_only",
    "open",
    "read_at",
    "read_exact",
    "read_to_end",
    "read_to_string",
    "remove_file",
    "rename",
    "seek",
    "set_len",
    "space",
    "spawn",
    "sync",
    "sync_all",
    "sync_data",
    "sync_dir",
    "write_all",
    "write_at",
    "from_file",
];

pub fn long_files(source: &Source) -> Vec<Breach> {
    let lines = source.text.lines().count();
    let what = format!("{lines} lines, and {FILE_LINES} are the limit: split it by meaning");
    let breach = (lines > FILE_LINES).then(|| source.breach(1, what));
    breach.into_iter().collect()
}

pub fn long_functions(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let named = |at: usize| tokens[at].is("fn") && tokens.get(at + 1).is_some_and(Token::is_word);
    let heads = (0..tokens.len()).filter(|at| named(*at));
    let long = heads.filter_map(|at| {
        let end = function_end(tokens, at)?;
        let lines = tokens[end].line - tokens[at].line + 1;
        let name = &tokens[at + 1].text;
        let what = format!("`{name}` has {lines} lines, and {FUNCTION_LINES} are the limit");
        (lines > FUNCTION_LINES).then(|| source.breach(tokens[at].line, what))
    });
    long.collect()
}

/// The closing brace of the function at `at`; none if it has no body.
fn function_end(tokens: &[Token], mut at: usize) -> Option<usize> {
    loop {
        let token = tokens.get(at)?;
        if token.is("{") {
            let end = closing(tokens, at);
            return (end < tokens.len()).then_some(end);
        }
        if token.is(";") {
            return None;
        }
        let opens = token.is("(") || token.is("[");
        at = 1 + if opens { closing(tokens, at) } else { at };
    }
}

/// Any unbounded channel or queue of any crate, under whatever name it is imported.
pub fn boundless(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for path in &source.paths {
        let named = path.parts.iter().find(|part| {
            part.to_lowercase().contains("unbounded")
                || ["SegQueue", "Injector"].contains(&&***part)
        });
        if let Some(part) = named {
            found.push(source.breach(path.line, format!("`{part}` has no bound")));
        }
        // std's `channel()` is unbounded and doesn't say so; one that takes a bound is another.
        let is_channel = path.last() == "channel" || path.last() == "mpsc_channel";
        let one_shot = path.parts.iter().any(|part| part == "oneshot");
        if is_channel && !one_shot && called_without_arguments(tokens, path.end) {
            found.push(source.breach(path.line, "`channel()` without a bound"));
        }
    }
    found
}

fn called_without_arguments(tokens: &[Token], name: usize) -> bool {
    let mut at = name + 1;
    // Over a turbofish.
    if tokens.get(at).is_some_and(|t| t.is(":")) {
        while tokens.get(at).is_some_and(|t| !t.is("(") && !t.is(";")) {
            // `channel::<()>` has a pair of its own.
            at += 1;
            if tokens.get(at).is_some_and(|t| t.is("(")) && tokens[at - 1].is("<") {
                at = closing(tokens, at) + 1;
            }
        }
    }
    tokens.get(at).is_some_and(|t| t.is("(")) && tokens.get(at + 1).is_some_and(|t| t.is(")"))
}

pub fn raw_memory(source: &Source) -> Vec<Breach> {
    let words = source.tokens.iter().filter(|_| source.path != UNSAFE);
    words
        .filter(|token| token.is("unsafe") || token.is("unsafe_code"))
        .map(|token| source.breach(token.line, format!("unsafe code outside {UNSAFE}")))
        .collect()
}

/// `unwrap` outside tests, and `expect` without a reason or on what the world answers.
pub fn unwraps(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in 1..tokens.len() {
        let is_call = tokens.get(at + 1).is_some_and(|t| t.is("("));
        if source.test[at] || !tokens[at - 1].is(".") || !is_call {
            continue;
        }
        let line = tokens[at].line;
        match tokens[at].text.as_str() {
            "unwrap" | "unwrap_err" | "unwrap_unchecked" | "expect_err" => {
                found.push(source.breach(line, format!("`.{}()`", tokens[at].text)));
            }
            "expect" => {
                let reason = &tokens[at + 2];
                if reason.kind != Kind::Text || reason.text.trim().is_empty() {
                    found.push(source.breach(line, "`.expect()` has to say why it can't fail"));
                }
                // A bench or a fuzzer whose disk fails has nothing to tell: it may end there.
                let ends = |part| part == "benches" || part == "fuzz";
                let is_bench = source.path.split('/').any(ends);
                let call = chain(tokens, at - 1).find(|c| IO_CALLS.contains(&c.as_str()));
                if let (Some(call), false) = (call, is_bench) {
                    found.push(source.breach(line, format!("`.expect()` on I/O (`{call}`)")));
                }
            }
            _ => {}
        }
    }
    found
}

/// The calls in front of the dot at `dot`, the nearest first: `a.b(x)?.c()` before `.d` gives c, b.
fn chain(tokens: &[Token], mut dot: usize) -> impl Iterator<Item = String> {
    let mut calls = Vec::new();
    while dot > 0 {
        let mut at = dot - 1;
        while at > 0 && (tokens[at].is("?") || tokens[at].is("await") || tokens[at].is(".")) {
            at -= 1;
        }
        if tokens[at].is(")") {
            at = opening(tokens, at).saturating_sub(1);
        }
        if !tokens[at].is_word() {
            break;
        }
        calls.push(tokens[at].text.clone());
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        match before {
            Some(token) if token.is(".") => dot = at - 1,
            // `File::open(x)` ends with the call; what stands before it is a type.
            _ => break,
        }
    }
    calls.into_iter()
}

fn opening(tokens: &[Token], close: usize) -> usize {
    let mut depth = 0_usize;
    for at in (0..=close).rev() {
        if [")", "]", "}"].iter().any(|mark| tokens[at].is(mark)) {
            depth += 1;
        } else if ["(", "[", "{"].iter().any(|mark| tokens[at].is(mark)) {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    0
}

/// Macros of unfinished work everywhere; printing where somebody else's program runs us.
pub fn macros(source: &Source) -> Vec<Breach> {
    let calls = source.tokens.windows(2).filter(|pair| pair[1].is("!"));
    calls
        .filter(|pair| match pair[0].text.as_str() {
            "todo" | "unimplemented" | "dbg" => true,
            "println" | "print" | "eprintln" | "eprint" => !source.is_program(),
            _ => false,
        })
        .map(|pair| source.breach(pair[0].line, format!("`{}!`", pair[0].text)))
        .collect()
}

/// A test that sleeps is slow when the machine is fast, and wrong when it is slow.
pub fn waits_by_the_clock(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let program = |at: usize| at > 1 && tokens[at - 1].is("(") && tokens[at - 2].is("new");
    let dozes = |at: usize| match tokens[at].kind {
        Kind::Word => ["sleep", "park_timeout"]
            .iter()
            .any(|word| tokens[at].text.starts_with(word)),
        Kind::Text => tokens[at].text == "sleep" && program(at),
        _ => false,
    };
    let what = "a test sleeps: wait for what it waits for";
    // Time is virtual there, and passes when nothing else can be done.
    if source.is_in("tests/seeds") {
        return Vec::new();
    }
    (0..tokens.len())
        .filter(|at| source.test[*at] && dozes(*at))
        .map(|at| source.breach(tokens[at].line, what))
        .collect()
}

/// A test that does not run tells nothing.
pub fn ignored_tests(source: &Source) -> Vec<Breach> {
    let tokens = &source.tokens;
    let attributes = (1..tokens.len()).filter(|at| tokens[*at].is("[") && tokens[at - 1].is("#"));
    let ignored = attributes.filter(|at| {
        let inside = &tokens[*at..closing(tokens, *at)];
        inside.iter().any(|token| token.is("ignore"))
    });
    let mut found: Vec<_> = ignored
        .map(|at| source.breach(tokens[at].line, "`#[ignore]`"))
        .collect();
    for (number, line) in source.text.lines().enumerate() {
        let doc = line.trim_start();
        let fence = doc.strip_prefix("///").or(doc.strip_prefix("//!"));
        let fence = fence.and_then(|doc| doc.trim_start().strip_prefix("```"));
        if fence.is_some_and(|words| words.split(',').any(|word| word.starts_with("ignore"))) {
            found.push(source.breach(number + 1, "a doctest that is ignored"));
        }
    }
    found
}

/// Modules and types whose name does not say what they are.
pub fn nameless(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    let parts = source.path.trim_end_matches(".rs").split('/');
    for part in parts.filter(|part| is_nameless(part)) {
        found.push(source.breach(1, format!("`{part}` does not say what is in it")));
    }
    for pair in source.tokens.windows(2).filter(|pair| pair[1].is_word()) {
        let declares = ["mod", "struct", "enum", "trait", "type"];
        let name = &pair[1].text;
        if declares.iter().any(|word| pair[0].is(word)) && is_nameless(name) {
            found.push(source.breach(pair[1].line, format!("`{name}` does not say what it is")));
        }
    }
    found
}

/// Whether a word of a `snake_case` or `CamelCase` name is one of the empty ones.
fn is_nameless(name: &str) -> bool {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push('_');
        }
        words.extend(c.to_lowercase());
    }
    words.split('_').any(|word| NAMELESS.contains(&word))
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
