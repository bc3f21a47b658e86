//! Rounds, medians and ratios: as text, and all of a run as JSON.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{place, usage, work};

/// What this run has printed so far, for [`save`].
static PRINTED: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// One contestant's figures over the rounds.
#[derive(Debug)]
pub struct Row {
    /// Who, and what it waited for.
    pub name: String,
    /// One figure a round.
    pub figures: Vec<f64>,
}

impl Row {
    /// The median of the rounds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.figures.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn spread(&self) -> (f64, f64) {
        let figures = self.figures.iter();
        figures.fold((f64::MAX, f64::MIN), |(low, high), f| {
            (low.min(*f), high.max(*f))
        })
    }
}

/// A contestant: its name, and what gives its figure for one round.
pub type Contestant<'a> = (String, Box<dyn FnMut() -> f64 + 'a>);

/// Lets the contestants take turns and prints what came of it. Ratios are to the first one.
pub fn compete(
    title: &str,
    unit: &str,
    rounds: usize,
    contestants: Vec<Contestant<'_>>,
) -> Vec<Row> {
    let (mut rows, mut runs): (Vec<Row>, Vec<_>) = contestants
        .into_iter()
        .map(|(name, run)| {
            (
                Row {
                    name,
                    figures: Vec::new(),
                },
                run,
            )
        })
        .unzip();
    for _ in 0..work::rounds(rounds) {
        for (row, run) in rows.iter_mut().zip(&mut runs) {
            row.figures.push(run());
        }
    }
    print(title, unit, &rows);
    rows
}

/// Prints a table. Ratios are to the first row.
pub fn print(title: &str, unit: &str, rows: &[Row]) {
    println!(
        "\n{title} ({unit}; median, lowest to highest of {} rounds)",
        rows[0].figures.len()
    );
    let first = rows[0].median();
    let mut table = Vec::new();
    for row in rows {
        let ((low, high), median) = (row.spread(), row.median());
        println!(
            "  {:<52} {:>12} {:>12} to {:<12} {:>7.2} x",
            row.name,
            show(median),
            show(low),
            show(high),
            median / first
        );
        table.push(json!({
            "name": row.name, "median": median, "low": low, "high": high,
            "ratio": median / first, "rounds": row.figures,
        }));
    }
    let table = json!({ "title": title, "unit": unit, "rows": table });
    let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    printed.push(table);
}

/// Says what a contestant did not do as it should: its figure is worth nothing then.
pub fn blame(name: &str, what: &str) {
    println!("  !! {name}: {what}");
    let blamed = json!({ "blamed": name, "what": what });
    let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    printed.push(blamed);
}

/// Puts all that this run has printed into a file, with the machine that it ran on.
pub fn save(name: &str) -> PathBuf {
    let path = place::results().join(format!("{name}.json"));
    let tables = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = json!({
        "machine": usage::machine(),
        "measured": work::is_measured(),
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
        "tables": *tables,
    });
    let text = serde_json::to_string_pretty(&all).expect("figures are numbers");
    std::fs::write(&path, text).expect("written");
    path
}

fn show(figure: f64) -> String {
    match figure {
        f if f >= 1e6 => format!("{:.2} M", f / 1e6),
        f if f >= 1e4 => format!("{:.1} k", f / 1e3),
        f => format!("{f:.2}"),
    }
}

/// The smallest of these that so large a share of them does not pass.
pub fn percentile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * share) as usize;
    figures[at.min(figures.len() - 1)]
}
