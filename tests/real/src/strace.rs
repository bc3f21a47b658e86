//! System calls that fail, as strace makes them: one of each kind, or all from some on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use fastrand::Rng;
use rustix::process::Signal;

use crate::{
    driven::Driven,
    driver::Order,
    machine::{Place, Running, command},
    options::Options,
};

/// Calls, the error that they meet, and the highest number of a call of a thread that is tried. strace counts the calls
/// of each thread for itself. The log opens its files by `open` where there is such a call, the loader and the runtime
/// theirs by `openat`.
const FAULTS: [(&str, &str, u64); 9] = [
    ("fdatasync", "EIO", 60),
    ("fdatasync", "ENOSPC", 20),
    ("fsync", "EIO", 8),
    ("pwrite64", "EIO", 90),
    ("pwrite64", "ENOSPC", 60),
    ("fallocate", "ENOSPC", 6),
    ("fallocate", "EIO", 6),
    ("renameat2,?rename,?renameat", "EIO", 2),
    (OPENS, "EMFILE", 40),
];
/// What opens the files of the log: machines that came after `openat` have no `open`. There the loader meets the fault as
/// well, and the process ends before it has begun.
const OPENS: &str = "open";
const HAS_OPENS: bool = cfg!(target_arch = "x86_64");
/// What is looked at besides; not each machine has those with a question mark.
const TRACED: &str =
    "fdatasync,fsync,pwrite64,fallocate,renameat2,?rename,?renameat,?open,openat,openat2";

/// What came of all runs.
#[derive(Debug, Default)]
struct Sum {
    runs: usize,
    /// Runs that gave up, records that were told to have failed, acks.
    ended: usize,
    failed: usize,
    acks: usize,
    /// Calls that were made to fail, by what they met.
    met: BTreeMap<String, usize>,
}

/// Each kind of fault some times. An error says why it can't be tried.
pub fn run(place: &Place, options: &Options) -> Result<String, String> {
    // As in a container without the right to trace.
    command("strace", ["-f", "--seccomp-bpf", "-qq", "true"])?;
    let mut rng = Rng::with_seed(options.seed);
    let mut sum = Sum::default();
    for life in 1..=options.rounds.div_ceil(6) as u64 {
        for (calls, error, most) in FAULTS {
            if calls == OPENS && !HAS_OPENS {
                continue;
            }
            let mut when = rng.u64(1..=most).to_string();
            if rng.u32(0..3) == 0 {
                when.push('+');
            }
            let inject = format!("inject={calls}:error={error}:when={when}");
            let window = rng.choice([1, 8]).expect("one");
            // The making of a log is in the first life, a recovery behind a kill in one that follows another.
            let acks = rng.bool().then(|| rng.u32(1..300));
            let place = place.folder("log");
            let met = one_log(&place, &inject, life, window, acks, &mut sum);
            let call = calls.split(',').next().unwrap_or_default();
            *sum.met.entry(format!("{call} {error}")).or_default() += met;
            place.clear();
        }
    }
    // Few runs may miss a kind by their numbers; many that never meet one try something that is not there.
    let missed = sum.met.iter().find(|(_, count)| **count == 0);
    assert!(
        !options.is_long() || missed.is_none(),
        "never met: {missed:?}"
    );
    let met = sum
        .met
        .iter()
        .map(|(what, count)| format!("{what} {count}"));
    let met: Vec<String> = met.collect();
    Ok(format!(
        "{} runs, calls that failed: {}; {} runs gave up, {} records were told to have failed, {} acks",
        sum.runs,
        met.join(", "),
        sum.ended,
        sum.failed,
        sum.acks
    ))
}

/// A log that lives once with the fault and once without, and once before, where it is to be killed behind so many `acks`;
/// gives how many calls failed.
fn one_log(
    place: &Place,
    inject: &str,
    life: u64,
    window: usize,
    acks: Option<u32>,
    sum: &mut Sum,
) -> usize {
    let data = place.dir.join("log");
    let mut driven = Driven::default();
    if let Some(acks) = acks {
        killed(place, &mut driven, acks);
    }
    let met = live(place, &mut driven, inject, life, window);
    driven.look(&data);
    let before = driven.acks();
    let order = Order {
        life: life + 1_000,
        records: 20,
        window: 4,
        stall_ms: 30_000,
    };
    let child = place.role("driver", order.words(&data));
    for line in child.rest() {
        driven.take(order.life, &line);
    }
    let status = child.end();
    let goes_on = status.success() && driven.acks() == before + 20;
    assert!(goes_on, "{inject}: it does not go on behind it");
    driven.look(&data);
    sum.runs += 1;
    sum.ended += driven.ended;
    sum.failed += driven.failures;
    sum.acks += driven.acks();
    met
}

/// A life before all others that ends with a kill behind so many acks.
fn killed(place: &Place, driven: &mut Driven, acks: u32) {
    let order = Order {
        life: 0,
        records: 1_000_000,
        window: 8,
        stall_ms: 30_000,
    };
    let child = place.role("driver", order.words(&place.dir.join("log")));
    let mut left = acks;
    while left > 0 {
        let line = child.line().expect("it goes on until it is killed");
        left -= u32::from(driven.take(order.life, &line));
    }
    child.signal(Signal::KILL);
    for line in child.rest() {
        driven.take(order.life, &line);
    }
    child.end();
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
        records: 120,
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

/// A file that was opened again behind a failed sync is written from its head before anything else is done to it.
fn from_its_head(call: &str, path: &str, reopened: &mut BTreeSet<&str>, inject: &str) {
    let is_change = |name: &&str| call.starts_with(*name);
    let changes = ["pwrite64(", "fdatasync(", "fallocate("];
    if !changes.iter().any(is_change) || !reopened.remove(path) {
        return;
    }
    assert!(
        call.starts_with("pwrite64(") && call.contains(", 0) = "),
        "{inject}: {path} was opened again behind a failed sync, and not written from its head: {call}"
    );
}

/// No file is synced again whose sync has failed, nor written: but for the one write that may be under way, whose thread
/// was on its way to the call when the sync came back.
fn judge(trace: &Path, inject: &str) -> usize {
    let text = fs::read_to_string(trace).expect("a trace");
    // Files whose sync has failed, and the writes to each since.
    let mut given_up: BTreeMap<&str, usize> = BTreeMap::new();
    // Those that were opened again since, until they are written anew from their head.
    let mut reopened: BTreeSet<&str> = BTreeSet::new();
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
            // A recovery that finds no room for a copy opens the file and writes all that it keeps of it once more, head
            // first, before it syncs: nobody else opens one to write that is there.
            if call.starts_with("open(") && call.contains("O_RDWR") && !call.contains("O_EXCL") {
                let name = call.split('"').nth(1).unwrap_or_default();
                if let Some((path, _)) = given_up.remove_entry(name) {
                    reopened.insert(path);
                }
            }
            from_its_head(call, path, &mut reopened, inject);
            // A file that is made anew under that name is another one.
            if call.starts_with("open") && call.contains("O_EXCL") {
                let name = call
                    .split('"')
                    .nth(1)
                    .and_then(|path| path.rsplit('/').next());
                let is_another = |path: &str| name.is_none_or(|name| !path.ends_with(name));
                given_up.retain(|path, _| is_another(path));
                reopened.retain(|path| is_another(path));
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
