//! What a record costs: time on processors, memory, and bytes that go to the disk. Each contestant runs in a
//! process of its own, which tells what the kernel counted for it.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tierlog_benches::{
    appends, place,
    records::{self, Records},
    table::{Row, print},
    usage, work,
};

use crate::{
    child::{self, OURS},
    logs::{self, Place, Use},
    ours, threads,
};

const ROUNDS: usize = 3;
const SIZE: usize = 100;
const TASKS: usize = 16;
/// What is printed: of which key, under what title, in which unit.
const FIGURES: [(&str, &str, &str); 3] = [
    ("processor", "time on processors for a record", "us"),
    (
        "memory",
        "memory at the peak, beyond the records themselves",
        "MiB",
    ),
    ("disk", "bytes written for a byte of payload", "bytes"),
];

pub fn run() {
    let appends = "append, not waiting for the disk, 1 task";
    let durable = "durable append, 16 tasks";
    for (work, title) in [("append", appends), ("durable", durable)] {
        let kinds = logs::all().into_iter().filter(|kind| match work {
            "append" => kind.append.is_some(),
            _ => kind.durable.is_some(),
        });
        let names: Vec<&str> = kinds.map(|kind| kind.name).chain([OURS]).collect();
        let rounds: Vec<Vec<Value>> = (0..work::rounds(ROUNDS))
            .map(|_| names.iter().map(|name| measure(name, work)).collect())
            .collect();
        for (key, what, unit) in FIGURES {
            let rows = names.iter().enumerate().map(|(at, name)| Row {
                name: (*name).into(),
                figures: rounds
                    .iter()
                    .map(|round| round[at][key].as_f64().expect("a figure"))
                    .collect(),
            });
            let rows: Vec<Row> = rows.collect();
            print(&format!("{what}: {title}, {SIZE} B"), unit, &rows);
        }
    }
}

fn measure(name: &str, work: &str) -> Value {
    let place = Place::new();
    let count = match work {
        "append" => work::count(500_000),
        // Milliseconds.
        _ => work::count(1_000),
    };
    child::cost(name, place.path(), work, count)
}

/// What the kernel had counted at one moment.
struct Counted {
    processor: Duration,
    resident: u64,
    written: u64,
}

impl Counted {
    /// Before what is measured.
    fn begin() -> Self {
        usage::forget_peak();
        Self::now()
    }

    fn now() -> Self {
        Self {
            processor: usage::processor_time(),
            resident: usage::resident(),
            written: usage::written(),
        }
    }

    /// As JSON, for so many records.
    fn since(&self, records: usize) -> Value {
        let (now, peak) = (Self::now(), usage::peak_resident());
        let processor = (now.processor - self.processor).as_secs_f64() * 1e6;
        let written = now.written - self.written;
        json!({
            "processor": processor / records as f64,
            "memory": peak.saturating_sub(self.resident) as f64 / f64::from(1 << 20),
            "disk": written as f64 / (records * SIZE) as f64,
        })
    }
}

/// In the process that is measured. A log is opened before the first count, so that room which it makes
/// ahead is in none of the figures, and everything is synced before the last.
pub fn alone(name: &str, folder: &Path, work: &str, count: usize) -> Value {
    if name == OURS {
        return alone_ours(folder, work, count);
    }
    let kind = logs::named(name);
    if work == "append" {
        let records = Records::new(SIZE, count, 1);
        let log = (kind.open)(folder, Use::Append, 1);
        let before = Counted::begin();
        log.append(0, &records, records.of(0), true);
        log.hand_over(count);
        log.sync();
        return before.since(count);
    }
    let log = (kind.open)(folder, Use::Durable, TASKS);
    let record = records::filling(SIZE);
    let before = Counted::begin();
    let time = Duration::from_millis(count as u64);
    let waits = threads::again(TASKS, time, |task, _| log.durable(task, &record));
    before.since(waits.counts().iter().sum())
}

fn alone_ours(folder: &Path, work: &str, count: usize) -> Value {
    place::runtime().block_on(async {
        if work == "append" {
            let records = Records::new(SIZE, count, 1);
            let (_log, stream) = appends::open(ours::settings(folder, Use::Append)).await;
            let before = Counted::begin();
            appends::appender(&stream, &records, records.of(0)).await;
            stream.flush().await.expect("durable");
            return before.since(count);
        }
        let (_log, stream) = appends::open(ours::settings(folder, Use::Durable)).await;
        let before = Counted::begin();
        let time = Duration::from_millis(count as u64);
        let waits = ours::again(&stream, TASKS, SIZE, time).await;
        before.since(waits.counts().iter().sum())
    })
}
