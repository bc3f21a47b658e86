//! What a bench tells.

use std::time::Duration;

use serde_json::{Value, json};

use crate::exit::Ending;
use crate::output::{Table, bytes_text, count_text};
use crate::session::Session;

/// One figure, and how it came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    records: u64,
    bytes: u64,
    took: Duration,
    /// What half of the waits for an ack, and 99 of 100, were no longer than.
    waits: Option<(Duration, Duration)>,
}

impl Measured {
    pub(super) fn of(records: u64, size: usize, took: Duration) -> Self {
        Self {
            records,
            bytes: records * size as u64,
            took,
            waits: None,
        }
    }

    pub(super) fn waiting(mut self, mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |hundredths: usize| waits.get(waits.len() * hundredths / 100).copied();
        self.waits = at(50).zip(at(99));
        self
    }

    fn rate(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn document(&self) -> Value {
        let mut told = json!({
            "records": self.records,
            "seconds": self.took.as_secs_f64(),
            "records_per_second": self.rate(),
            "bytes_per_second": self.bytes as f64 / self.took.as_secs_f64().max(1e-9),
        });
        if let Some((p50, p99)) = self.waits {
            told["p50_us"] = json!(micros(p50));
            told["p99_us"] = json!(micros(p99));
        }
        told
    }
}

/// The log and the plain file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) tierlog: Measured,
    pub(super) plain: Measured,
}

impl Pair {
    /// How many times the plain file's rate.
    fn ratio(&self) -> f64 {
        self.tierlog.rate() / self.plain.rate().max(1e-9)
    }

    fn document(&self) -> Value {
        json!({
            "tierlog": self.tierlog.document(),
            "plain": self.plain.document(),
            "ratio": self.ratio(),
        })
    }

    /// What both waited, and how many times the plain file's that is.
    fn waits(&self, of: fn((Duration, Duration)) -> Duration) -> Option<[String; 3]> {
        let (ours, plain) = (of(self.tierlog.waits?), of(self.plain.waits?));
        let ratio = micros(ours) / micros(plain).max(1e-3);
        let text = |wait| format!("{:.0} us", micros(wait));
        Some([text(ours), text(plain), format!("{ratio:.2}")])
    }
}

/// Everything there is to tell.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) size: usize,
    pub(super) tasks: usize,
    pub(super) append: Pair,
    pub(super) durable: Pair,
    pub(super) scan: Pair,
}

impl Report {
    pub(super) fn print(&self, session: &mut Session) -> Result<(), Ending> {
        match session.json {
            true => session.out.json(&json!({
                "size": self.size,
                "tasks": self.tasks,
                "append": self.append.document(),
                "durable": self.durable.document(),
                "scan": self.scan.document(),
            }))?,
            false => self.table(session)?,
        }
        session.out.flush()
    }

    fn table(&self, session: &mut Session) -> Result<(), Ending> {
        let mut table = Table::new(["WORK", "TIERLOG", "PLAIN FILE", "RATIO"]);
        let tasks = match self.tasks {
            1 => "1 task".to_owned(),
            n => format!("{n} tasks"),
        };
        for (work, pair) in [
            ("append".to_owned(), &self.append),
            ("scan".to_owned(), &self.scan),
            (format!("durable append, {tasks}"), &self.durable),
        ] {
            let rate =
                |measured: &Measured| format!("{} records/s", count_text(measured.rate() as u64));
            let ratio = format!("{:.2}", pair.ratio());
            table.row([work, rate(&pair.tierlog), rate(&pair.plain), ratio]);
        }
        for (name, of) in [
            (
                "p50",
                (|waits| waits.0) as fn((Duration, Duration)) -> Duration,
            ),
            ("p99", |waits| waits.1),
        ] {
            if let Some([ours, plain, ratio]) = self.durable.waits(of) {
                table.row([format!("  waits, {name}"), ours, plain, ratio]);
            }
        }
        table.print(&mut session.out)?;
        session.out.line("")?;
        session.out.line(format_args!(
            "records of {} B; {} were appended and read back, {} acked one by one",
            count_text(self.size as u64),
            bytes_text(self.append.tierlog.bytes),
            count_text(self.durable.tierlog.records),
        ))
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
