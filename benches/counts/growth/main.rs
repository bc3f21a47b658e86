//! How costs grow with the work: each at 1, 10 and 100 times the work, with the slope named.
//!
//! `cargo bench -p tierlog-counts --bench growth` does all of it; a word behind `--` leaves only what has it in
//! its name. It ends with 1 where something grows faster than it should.
//!
//! Each figure comes from a process of its own, in which one thread runs the whole log. Instructions are
//! counted by callgrind; without valgrind they are missing, and it says so. Times are shown and not judged. The
//! slope is the exponent k of `cost ~ work^k`: over all three sizes, and over the last step alone, since a fixed
//! cost hides what grows where the work is small. What is held against 0 may grow with a logarithm.

mod appends;
mod archives;
mod cases;
mod figures;
mod logs;

use std::{path::Path, process::ExitCode};

use cases::{CASES, Case, Measure, SIZES};
use figures::{Figures, HEAP, INSTRUCTIONS, TIME, UNITS, heard};
use tierlog_counts::{
    alone, callgrind, is_measured,
    slope::{is_over, last, overall},
};

/// What a child is told: its case, its measure (or that it fills), the size, the folder.
const CHILD: &str = "child";
const FILL: &str = "fill";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == CHILD) {
        child(&words[1..]);
        return ExitCode::SUCCESS;
    }
    if !is_measured() {
        CASES.iter().for_each(try_out);
        return ExitCode::SUCCESS;
    }
    let counts = callgrind::version();
    if let Err(why) = &counts {
        eprintln!("\n== instructions SKIPPED: {why}");
    }
    let words: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut over = Vec::new();
    for case in &CASES {
        let named = |measure: &&Measure| {
            let name = format!("{}: {}", case.name, measure.name);
            words.is_empty() || words.iter().any(|word| name.contains(*word))
        };
        let measures: Vec<_> = case.measures.iter().filter(named).collect();
        if measures.is_empty() {
            continue;
        }
        let sizes = SIZES.map(|times| at_size(case, &measures, case.least * times, counts.is_ok()));
        let sizes: Vec<Vec<Figures>> = match sizes.into_iter().collect() {
            Ok(sizes) => sizes,
            Err(why) => {
                eprintln!("growth: {}: {why}", case.name);
                return ExitCode::from(2);
            }
        };
        for (nth, measure) in measures.iter().enumerate() {
            let points: Vec<_> = sizes.iter().map(|size| &size[nth]).collect();
            over.extend(show(case, measure, &points));
        }
    }
    if over.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\ngrows faster than it should: {}", over.join("; "));
    ExitCode::FAILURE
}

/// A tenth of the least size, here, to see that it still runs; and segments enough to trim some.
fn try_out(case: &Case) {
    let folder = alone::folder();
    let size = (case.least / 10).max(30);
    for measure in case.measures {
        let folder = folder.path().join(measure.name.replace(' ', "-"));
        std::fs::create_dir(&folder).expect("a folder");
        (case.fill)(size, &folder);
        (measure.run)(size, &folder);
    }
}

fn child(words: &[String]) {
    let [case, measure, size, folder] = words else {
        panic!("a child is told four words, and not {words:?}");
    };
    let mut cases = CASES.iter();
    let case = cases.find(|known| known.name == case).expect("a case");
    let (size, folder) = (size.parse().expect("a size"), Path::new(folder));
    let mut measures = case.measures.iter();
    let step = measures.find(|known| known.name == measure);
    step.map_or(case.fill, |measure| measure.run)(size, folder);
}

/// The figures of each measure. What they measure is filled once, and each of them works on a copy: what was
/// opened and closed is not what it was.
fn at_size(
    case: &Case,
    measures: &[&Measure],
    size: usize,
    counts: bool,
) -> Result<Vec<Figures>, String> {
    let told = |what: &str, folder: &Path| {
        let (size, folder) = (size.to_string(), folder.to_string_lossy());
        [CHILD, case.name, what, &size, &folder].map(str::to_owned)
    };
    let filled = alone::folder();
    callgrind::plain(&told(FILL, filled.path()))?;
    let copied = || {
        let folder = alone::folder();
        copy(filled.path(), folder.path()).map_err(|why| format!("copying: {why}"))?;
        Ok::<_, String>(folder)
    };
    let figures = measures.iter().map(|measure| {
        let folder = copied()?;
        let mut figures = heard(&callgrind::plain(&told(measure.name, folder.path()))?);
        if counts {
            let folder = copied()?;
            let (printed, instructions) = callgrind::count(&told(measure.name, folder.path()))?;
            let units = heard(&printed).get(UNITS).copied().unwrap_or(1.0);
            figures.insert(INSTRUCTIONS.to_owned(), instructions as f64 / units);
        }
        Ok(figures)
    });
    figures.collect()
}

/// Copies what is in a folder.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Heap below this is not told from none: an index of the open segment, which ends with it, or a buffer.
const HEAP_FLOOR: f64 = 65536.0;

/// What is judged.
fn floored(figure: &str, line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let floor = if figure == HEAP { HEAP_FLOOR } else { 0.0 };
    line.iter().map(|(x, y)| (*x, y.max(floor))).collect()
}

/// Prints a table; gives what grows faster than it should.
fn show(case: &Case, measure: &Measure, points: &[&Figures]) -> Vec<String> {
    let sizes = SIZES.map(|times| case.least * times);
    println!("\n{}: {}", case.name, measure.name);
    println!(
        "  {:<18} {:>12} {:>12} {:>12} {:>7} {:>7} {:>7}",
        case.grows, sizes[0], sizes[1], sizes[2], "slope", "last", "should"
    );
    let mut over = Vec::new();
    for (figure, expected) in measure.rows {
        let known: Option<Vec<f64>> = points.iter().map(|at| at.get(*figure).copied()).collect();
        let Some(known) = known else {
            continue;
        };
        let line: Vec<_> = sizes
            .iter()
            .map(|size| *size as f64)
            .zip(known.iter().copied())
            .collect();
        let judged = *figure != TIME;
        let verdict = if judged && is_over(&floored(figure, &line), *expected) {
            over.push(format!("{}: {}, {figure}", case.name, measure.name));
            "  FASTER"
        } else {
            ""
        };
        println!(
            "  {figure:<18} {:>12.0} {:>12.0} {:>12.0} {:>7.2} {:>7.2} {:>7}{verdict}",
            known[0],
            known[1],
            known[2],
            overall(&line),
            last(&line),
            if judged {
                format!("{expected:.0}")
            } else {
                "-".to_owned()
            },
        );
    }
    over
}
