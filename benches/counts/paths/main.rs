//! Instructions of the hot paths, counted by callgrind, beside those of a baseline.
//!
//! `cargo bench -p tierlog-counts --bench counts` compares with `benches/counts/baseline.txt` and ends with 1
//! where a path takes more than the tolerance over it. Words behind `--`:
//!
//! - `save` writes that file, `save=PATH` another one;
//! - `against=PATH` compares with another one;
//! - `tolerance=PERCENT`;
//! - `spread` counts each path three times and prints how far the counts lie apart;
//! - any other word leaves only paths whose name has it.
//!
//! Each path runs in a process of its own, in one thread, with the real disk and a clock that goes on by
//! the same step whenever it is asked; what the kernel does is not counted. Without valgrind it says so and
//! ends with 0. Without `--bench`, as under `cargo test`, a little of each path runs and nothing is counted.

mod append;
mod codec;
mod manifest;
mod scan;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use tierlog_counts::{
    baseline::{Baseline, Count, change},
    callgrind, is_measured,
};

/// A path: its name, how much of it is counted, and what does it and gives how many units that was.
type HotPath = (&'static str, usize, fn(usize) -> usize);

const PATHS: [HotPath; 15] = [
    ("append/appender", 20_000, append::appender),
    ("append/try_append", 10_000, append::try_append),
    ("append/awaited_written", 2_000, append::written),
    ("append/awaited_durable", 1_000, append::durable),
    ("append/batch_of_100", 20_000, append::batch),
    ("scan/visit", 50_000, scan::visit),
    ("scan/next_batch", 50_000, scan::next_batch),
    ("scan/next_batch_map", 50_000, scan::next_batch_of_a_map),
    ("frame/encode", 20_000, codec::encode),
    ("frame/encode_key_ext", 20_000, codec::encode_with_key),
    ("frame/decode", 20_000, codec::decode),
    ("frame/decode_owned", 20_000, codec::decode_owned),
    ("manifest/replay_commits", 2_000, manifest::replay_commits),
    (
        "manifest/replay_snapshot",
        20_000,
        manifest::replay_snapshot,
    ),
    ("manifest/commit", 1_000, manifest::commits),
];

/// What runs one path and is what valgrind runs.
const CHILD: &str = "child=";
/// How much more than the baseline is no regression yet, in percent.
const TOLERANCE: f64 = 3.0;
const ROUNDS_OF_SPREAD: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(name) = words.iter().find_map(|word| word.strip_prefix(CHILD)) {
        let (_, count, path) = found(name);
        println!("{}", path(*count));
        return ExitCode::SUCCESS;
    }
    if !is_measured() {
        for (name, count, path) in &PATHS {
            assert!(path(count / 50) > 0, "{name} did nothing");
        }
        return ExitCode::SUCCESS;
    }
    if let Err(why) = callgrind::version() {
        eprintln!("\n== counts SKIPPED: {why}");
        return ExitCode::SUCCESS;
    }
    match Request::of(&words).and_then(|request| request.answer()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("counts: {why}");
            ExitCode::from(2)
        }
    }
}

fn found(name: &str) -> &'static HotPath {
    let mut paths = PATHS.iter();
    paths.find(|path| path.0 == name).expect("a path's name")
}

/// What the words behind `--` ask for.
#[derive(Debug)]
struct Request {
    paths: Vec<&'static HotPath>,
    save: Option<PathBuf>,
    against: PathBuf,
    tolerance: f64,
    spread: bool,
}

impl Request {
    fn of(words: &[String]) -> Result<Self, String> {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt");
        let mut request = Self {
            paths: Vec::new(),
            save: None,
            against: committed.clone(),
            tolerance: TOLERANCE,
            spread: false,
        };
        let mut names = Vec::new();
        for word in words.iter().filter(|word| *word != "--bench") {
            match word.split_once('=') {
                Some(("save", path)) => request.save = Some(path.into()),
                Some(("against", path)) => request.against = path.into(),
                Some(("tolerance", percent)) => {
                    let percent = percent.parse().ok().filter(|p: &f64| *p >= 0.0);
                    request.tolerance = percent.ok_or(format!("{word}: no percentage"))?;
                }
                None if word == "save" => request.save = Some(committed.clone()),
                None if word == "spread" => request.spread = true,
                None if !word.starts_with('-') => names.push(word),
                _ => return Err(format!("{word}: no such word; see benches/README.md")),
            }
        }
        let wanted =
            |path: &&HotPath| names.is_empty() || names.iter().any(|n| path.0.contains(*n));
        request.paths = PATHS.iter().filter(wanted).collect();
        if request.paths.is_empty() {
            return Err(format!("no path has {names:?} in its name"));
        }
        if request.save.is_some() && request.paths.len() < PATHS.len() {
            return Err("a baseline is of all paths: save without other words".to_owned());
        }
        Ok(request)
    }

    fn answer(&self) -> Result<ExitCode, String> {
        if self.spread {
            return self.print_spread();
        }
        let with = made_with()?;
        if let Some(path) = &self.save {
            let mut baseline = Baseline {
                with,
                ..Baseline::default()
            };
            for (name, count) in self.counts() {
                let count = count?;
                println!("{name:<26} {:>12.1}", count.of_one());
                baseline.counts.insert(name.to_owned(), count);
            }
            let text = baseline.text();
            std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))?;
            println!("written to {}", path.display());
            return Ok(ExitCode::SUCCESS);
        }
        let baseline = Baseline::read(&self.against)?;
        for difference in baseline.differences(&with) {
            println!(
                "NOT COMPARABLE in {difference}\n  what changes below may not come from tierlog: \
                 save a baseline of the commit before with this machine, and compare with that"
            );
        }
        self.compare(&baseline)
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, Result<Count, String>)> {
        self.paths.iter().map(|(name, ..)| (*name, count(name)))
    }

    fn compare(&self, baseline: &Baseline) -> Result<ExitCode, String> {
        let mut over = Vec::new();
        println!(
            "instructions for one record or entry; against {}, tolerance {} %",
            self.against.display(),
            self.tolerance
        );
        println!(
            "{:<26} {:>12} {:>12} {:>9}",
            "path", "baseline", "now", "change"
        );
        for (name, now) in self.counts() {
            let now = now?;
            let Some(before) = baseline.counts.get(name) else {
                println!("{name:<26} {:>12} {:>12.1}      NEW", "", now.of_one());
                over.push(name);
                continue;
            };
            let change = change(*before, now);
            let verdict = if change > self.tolerance {
                over.push(name);
                "  MORE"
            } else {
                ""
            };
            let (before, now) = (before.of_one(), now.of_one());
            println!("{name:<26} {before:>12.1} {now:>12.1} {change:>+8.2} %{verdict}");
        }
        if over.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        println!(
            "over the tolerance, or without a baseline: {}\n\
             mend it, or say in the commit why it has to cost more and write new counts: \
             cargo bench -p tierlog-counts --bench counts -- save",
            over.join(", ")
        );
        Ok(ExitCode::FAILURE)
    }

    fn print_spread(&self) -> Result<ExitCode, String> {
        println!(
            "{:<26} {:>12} {:>12} {:>9}",
            "path", "least", "most", "spread"
        );
        for (name, ..) in &self.paths {
            let counts: Result<Vec<_>, _> = (0..ROUNDS_OF_SPREAD).map(|_| count(name)).collect();
            let mut counts = counts?;
            counts.sort_by_key(|count| count.instructions);
            let (least, most) = (counts[0], counts[ROUNDS_OF_SPREAD - 1]);
            let spread = change(least, most);
            println!(
                "{name:<26} {:>12} {:>12} {spread:>7.4} %",
                least.instructions, most.instructions
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn count(name: &str) -> Result<Count, String> {
    let counted = callgrind::count(&[format!("{CHILD}{name}")]);
    let (printed, instructions) = counted.map_err(|why| format!("{name}: {why}"))?;
    let units = printed.trim().parse();
    Ok(Count {
        instructions,
        units: units.map_err(|_| format!("{name}: it printed {printed:?}"))?,
    })
}

/// What counts depend on besides the code. Valgrind shows every program the same processor, but for what
/// the real one lacks: libc and the checksum choose their code by that.
fn made_with() -> Result<BTreeMap<String, String>, String> {
    let rustc = callgrind::output("rustc", &["--version", "--verbose"])?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let libc = callgrind::output("getconf", &["GNU_LIBC_VERSION"]);
    let with = [
        ("rustc", rustc.lines().next().unwrap_or_default().to_owned()),
        ("target", host.unwrap_or("unknown").to_owned()),
        ("libc", libc.unwrap_or_else(|_| "unknown".to_owned())),
        ("valgrind", callgrind::version()?),
        ("processor", features().join(" ")),
    ];
    Ok(with
        .map(|(what, version)| (what.to_owned(), version))
        .into())
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let has = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ];
    has.into_iter()
        .filter_map(|(name, has)| has.then_some(name))
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
