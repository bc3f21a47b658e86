//! System calls that fail, as strace makes them: one of each kind, or all from some on.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use fastrand::Rng;

use crate::{
    driven::Driven,
    driver::Order,
    machine::{Place, Running, command},
    options::Options,
};

/// Calls, the error that they meet, and the highest number of a call of a thread that is tried. strace counts the calls
/// of each thread for itself.
const FAULTS: [(&str, &str, u64); 9] = [
    ("fdatasync", "EIO", 60),
    ("fdatasync", "ENOSPC", 20),
    ("fsync", "EIO", 8),
    ("pwrite64", "EIO", 90),
    ("pwrite64", "ENOSPC", 60),
    ("fallocate", "ENOSPC", 6),
    ("fallocate", "EIO", 6),
    ("renameat2,rename,renameat", "EIO", 2),
    ("openat", "EMFILE", 60),
];
/// What is looked at besides.
const TRACED: &str = "fdatasync,fsync,pwrite64,fallocate,renameat2,rename,renameat,openat";

/// Each kind of fault some times.
pub fn run(place: &Place, options: &Options) -> String {
    if let Err(why) = command("strace", ["-f", "--seccomp-bpf", "-qq", "true"]) {
        // As in a container without the right to trace.
        return format!("NOT TRIED, since strace does not work here: {why}");
    }
    let mut rng = Rng::with_seed(options.seed);
    let (mut runs, mut failed) = (0, 0);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut driven = Driven::default();
    for round in 0..options.rounds.div_ceil(6) {
        for (calls, error, most) in FAULTS {
            // Every log is as old as one round, so that its making is in it as well.
            let place = place.folder("log");
            let mut own = Driven::default();
            let when = rng.u64(1..=most);
            let when = if rng.u32(0..3) == 0 {
                format!("{when}+")
            } else {
                when.to_string()
            };
            let inject = format!("inject={calls}:error={error}:when={when}");
            let injected = live(
                &place,
                &mut own,
                &inject,
                round as u64,
                rng.choice([1, 8]).expect("one"),
            );
            runs += 1;
            *met.entry(format!(
                "{} {error}",
                calls.split(',').next().unwrap_or_default()
            ))
            .or_default() += injected;
            own.look(&place.dir.join("log"));
            // And without it all goes on.
            let before = own.acks();
            let order = Order {
                life: round as u64 + 1_000,
                records: 20,
                window: 4,
                stall_ms: 30_000,
            };
            let child = place.role("driver", order.words(&place.dir.join("log")));
            for line in child.rest() {
                own.take(order.life, &line);
            }
            assert!(
                child.end().success() && own.acks() == before + 20,
                "{inject}: it does not go on"
            );
            own.look(&place.dir.join("log"));
            failed += own.failures;
            driven.ended += own.ended;
            driven.failures += own.acks();
            place.clear();
        }
    }
    let met: Vec<String> = met
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    let (acks, ended) = (driven.failures, driven.ended);
    format!(
        "{runs} runs, calls that failed: {}; {ended} runs gave up, {failed} records were told to have failed, {acks} acks",
        met.join(", ")
    )
}

/// One life below strace; gives how many calls were made to fail.
fn live(place: &Place, driven: &mut Driven, inject: &str, life: u64, window: usize) -> usize {
    let trace = place.dir.join("trace");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-e",
        &format!("trace={TRACED}"),
        "-e",
        inject,
        "-o",
    ]);
    command
        .arg(&trace)
        .arg(std::env::current_exe().expect("this binary"));
    let order = Order {
        life,
        records: 150,
        window,
        stall_ms: 30_000,
    };
    command
        .args(["role", "driver"])
        .args(order.words(&place.dir.join("log")));
    let child = Running::start(command, &place.dir);
    for line in child.rest() {
        driven.take(life, &line);
    }
    let status = child.end();
    assert!(status.success(), "{inject}: it ended with {status}");
    judge(&trace, inject)
}

/// No file is synced again whose sync has failed, nor written: but for the one write that may be under way, whose thread
/// was on its way to the call when the sync came back.
fn judge(trace: &Path, inject: &str) -> usize {
    let text = fs::read_to_string(trace).expect("a trace");
    // Files whose sync has failed, and the writes to each since.
    let mut given_up: BTreeMap<&str, usize> = BTreeMap::new();
    // The file of the call that each thread is in.
    let mut within: BTreeMap<&str, &str> = BTreeMap::new();
    let mut injected = 0;
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let resumed = call.starts_with("<... ");
        if !resumed {
            let path = call
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            let path = path.map_or("", |(path, _)| path);
            if let Some(writes) = given_up.get_mut(path) {
                *writes += usize::from(call.starts_with("pwrite64("));
                let changes = ["fdatasync(", "fallocate("]
                    .iter()
                    .any(|name| call.starts_with(name));
                assert!(
                    !changes && *writes <= 1,
                    "{inject}: {path} was touched again behind a failed sync: {call}"
                );
            }
            // A file that is made anew under that name is another one.
            if call.starts_with("openat(") && call.contains("O_EXCL") {
                let name = call
                    .split('"')
                    .nth(1)
                    .and_then(|path| path.rsplit('/').next());
                given_up.retain(|path, _| name.is_none_or(|name| !path.ends_with(name)));
            }
            within.insert(thread, path);
        }
        if call.ends_with("(INJECTED)") {
            injected += 1;
            let synced = call.starts_with("fdatasync(") || call.starts_with("<... fdatasync");
            let path = within.get(thread).copied().unwrap_or_default();
            if synced && !path.is_empty() {
                given_up.entry(path).or_default();
            }
        }
    }
    injected
}
