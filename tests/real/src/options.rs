//! What the conductor is asked for, and how it goes through it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use crate::{
    cuts::Cut,
    disk, eio, full, limits,
    machine::{Need, Place, lacks},
    mounts::Kind,
    power, signals, strace,
};

/// How it is called.
pub const USAGE: &str = "\
tests/real/run [OPTION...] [SCENARIO...]

Tries the log on the kernel of this machine. Without a SCENARIO all of them: power-ext4, power-xfs, eio-ext4, eio-xfs,
full-tmpfs, full-ext4, full-xfs, strace, signals, limits. Ends with 0 if all that could run passed, 1 otherwise.

  --cuts N        power cuts for each file system (80)
  --rounds N      times that a process is killed, and stopped, and calls that strace makes fail (12)
  --seed S        another choice of everything (1)
  --long          --cuts 2500 --rounds 200
  --planted BUG   with a bug of tests/planted/bugs, which it is to catch
  --kept DIR      power-*: cuts of a record that an earlier run kept
  --only CUT      power-*: this cut alone, as 812/torn-7";

/// What it is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Power cuts a file system.
    pub cuts: usize,
    /// How often the rest is done.
    pub rounds: usize,
    /// All choices follow from it, but for what the threads of the log and the kernel do.
    pub seed: u64,
    /// A record that was kept.
    pub kept: Option<PathBuf>,
    /// One cut.
    pub only: Option<Cut>,
    /// Where everything is made.
    place: Place,
    /// Where a failure leaves what is needed to see it again.
    failed: PathBuf,
    names: Vec<String>,
}

/// What it did, or why it can't be done here. It panics where it fails.
type Tried = Result<String, String>;
type Scenario = (String, Vec<Need>, Box<dyn Fn(&Place, &Options) -> Tried>);

/// All of them, in their order.
fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs] {
        let run = move |place: &Place, options: &Options| Ok(power::run(kind, place, options));
        all.push((format!("power-{kind}"), disk::needs(kind), Box::new(run)));
    }
    for kind in [Kind::Ext4, Kind::Xfs] {
        let run = move |place: &Place, options: &Options| Ok(eio::run(kind, place, options));
        all.push((format!("eio-{kind}"), disk::needs(kind), Box::new(run)));
    }
    for kind in [Kind::Tmpfs, Kind::Ext4, Kind::Xfs] {
        let run = move |place: &Place, options: &Options| Ok(full::run(kind, place, options));
        all.push((format!("full-{kind}"), kind.needs(), Box::new(run)));
    }
    let strace = Need::Program("strace", "strace");
    all.push(("strace".into(), vec![strace], Box::new(strace::run)));
    all.push((
        "signals".into(),
        vec![],
        Box::new(|place, options| Ok(signals::run(place, options))),
    ));
    all.push((
        "limits".into(),
        vec![],
        Box::new(|place, options| Ok(limits::run(place, options))),
    ));
    all
}

/// A number that somebody typed.
pub fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// Does what the arguments say.
pub fn carry_out(arguments: &[String]) -> ExitCode {
    match Options::parse(arguments) {
        Ok(options) => options.run(),
        Err(what) => {
            eprintln!("{what}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What a panic said.
pub fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let folder = |variable: &str| {
            let set = std::env::var_os(variable).map(PathBuf::from);
            set.ok_or_else(|| format!("{variable} is not set: start it by tests/real/run"))
        };
        let mut options = Self {
            cuts: 80,
            rounds: 12,
            seed: 1,
            kept: None,
            only: None,
            place: Place {
                dir: folder("TIERLOG_REAL_PLACE")?,
            },
            failed: folder("TIERLOG_REAL_FAILED")?,
            names: Vec::new(),
        };
        let known: Vec<String> = scenarios().into_iter().map(|(name, ..)| name).collect();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: &String| text.parse().map_err(|_| format!("`{text}` is no number"));
            match argument.as_str() {
                "--cuts" => options.cuts = number(value()?)?,
                "--rounds" => options.rounds = number(value()?)?,
                "--seed" => options.seed = number(value()?)? as u64,
                "--long" => (options.cuts, options.rounds) = (2_500, 200),
                "--kept" => options.kept = Some(PathBuf::from(value()?)),
                "--only" => options.only = Some(value()?.parse()?),
                name if known.iter().any(|known| known == name) => {
                    options.names.push(name.to_owned())
                }
                other => return Err(format!("there is no `{other}`")),
            }
        }
        let power = |name: &String| name.starts_with("power-");
        match options.kept.is_none() || options.names.len() == 1 && options.names.iter().all(power)
        {
            true => Ok(options),
            false => Err("--kept needs the one scenario that it is a record of".to_owned()),
        }
    }

    fn run(&self) -> ExitCode {
        let wanted =
            |name: &str| self.names.is_empty() || self.names.iter().any(|wanted| wanted == name);
        let mut failed = Vec::new();
        for (name, needs, scenario) in scenarios() {
            if !wanted(&name) {
                continue;
            }
            if let Some(why) = lacks(&needs) {
                println!("SKIPPED {name}: {why}");
                continue;
            }
            let begun = Instant::now();
            let place = self.place.folder(&name);
            let outcome = catch_unwind(AssertUnwindSafe(|| scenario(&place, self)));
            place.clear();
            let took = begun.elapsed().as_secs_f64();
            match outcome {
                Ok(Err(why)) => println!("SKIPPED {name}: {why}"),
                Ok(Ok(told)) => println!("ok {name} ({took:.1} s): {told}"),
                Err(panic) => {
                    let (told, seed) = (words(&*panic), self.seed);
                    println!(
                        "FAILED {name} ({took:.1} s): {told}\n  again: tests/real/run --seed {seed} {name}"
                    );
                    failed.push(name);
                }
            }
        }
        match failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => {
                println!("failed: {}", failed.join(" "));
                ExitCode::FAILURE
            }
        }
    }

    /// Whether there is time for more.
    pub fn is_long(&self) -> bool {
        self.rounds >= 100
    }

    /// Keeps these files of a scenario that failed, and says where.
    pub fn keep(&self, from: &Path, name: &str, files: &[&str]) -> PathBuf {
        let to = self.failed.join(format!("{name}.{}", std::process::id()));
        power::keep(from, &to, files);
        to
    }
}
