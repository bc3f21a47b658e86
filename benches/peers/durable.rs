//! Durable appends: each task waits until its record survives power loss before it appends the next.

use std::{os::unix::fs::FileExt, time::Duration};

use tierlog_benches::{
    appends, place,
    plain::{self, Room},
    records::{self, Check},
    table::{Row, percentile, print},
    work,
};

use crate::{
    logs::{self, Kind, Place, Use},
    ours, plots,
    threads::{self, Waits},
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;
const TASKS: [usize; 4] = [1, 16, 64, 512];
/// What is printed of the waits of a round.
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

fn time() -> Duration {
    Duration::from_millis(work::count(1_000) as u64)
}

type Round = Box<dyn Fn() -> Waits>;

pub fn run() {
    let by_tasks: Vec<_> = TASKS.iter().map(|tasks| (*tasks, one(*tasks))).collect();
    plots::latencies(&by_tasks);
}

/// Gives the rows of the rate, then those of each share.
fn one(tasks: usize) -> Vec<Vec<Row>> {
    let mut contestants: Vec<(String, Round)> = Vec::new();
    if tasks == 1 {
        for (name, room) in [
            ("allocated file", Room::Allocated),
            ("growing file", Room::Growing),
            ("file written before", Room::Written),
        ] {
            let name = format!("the disk: pwrite {SIZE} B + fdatasync, {name}");
            contestants.push((name, Box::new(move || disk(room))));
        }
    }
    for kind in logs::all() {
        if let Some(end) = kind.durable {
            let name = format!("{} ({end})", kind.name);
            contestants.push((name, Box::new(move || through(kind, tasks))));
        }
    }
    contestants.push((
        "tierlog append (shared fdatasync)".into(),
        Box::new(move || through_ours(tasks)),
    ));
    let mut figures: Vec<Vec<Vec<f64>>> =
        vec![vec![Vec::new(); 1 + SHARES.len()]; contestants.len()];
    for _ in 0..work::rounds(ROUNDS) {
        for ((_, round), figures) in contestants.iter().zip(&mut figures) {
            let waits = round();
            figures[0].push(waits.rate());
            let mut all = waits.sorted();
            for (figures, (_, share)) in figures[1..].iter_mut().zip(SHARES) {
                figures.push(percentile(&mut all, share));
            }
        }
    }
    let rows = |at: usize| {
        let rows = contestants.iter().zip(&figures);
        rows.map(|((name, _), figures)| Row {
            name: name.clone(),
            figures: figures[at].clone(),
        })
        .collect::<Vec<_>>()
    };
    let s = if tasks == 1 { "" } else { "s" };
    let rates = rows(0);
    print(
        &format!("durable append, {SIZE} B, {tasks} task{s}"),
        "acks/s",
        &rates,
    );
    let mut tables = vec![rates];
    for (at, (share, _)) in SHARES.iter().enumerate() {
        let rows = rows(at + 1);
        let title = format!("latency of a durable append, {SIZE} B, {tasks} task{s}, {share}");
        print(&title, "us", &rows);
        tables.push(rows);
    }
    tables
}

/// One thread writes behind what it wrote, and syncs.
fn disk(room: Room) -> Waits {
    let place = Place::new();
    let file = plain::file(&place.path().join("plain"), room, 16 << 20);
    let record = records::filling(SIZE);
    threads::again(1, time(), |_, n| {
        let at = (n * SIZE) as u64;
        file.write_all_at(&record, at).expect("written");
        file.sync_data().expect("synced");
    })
}

fn through(kind: Kind, tasks: usize) -> Waits {
    let place = Place::new();
    let log = (kind.open)(place.path(), Use::Durable, tasks);
    let waits = threads::again(tasks, time(), |task, n| {
        let mut record = filled();
        records::stamp(&mut record, task, n);
        log.durable(task, &record);
    });
    let mut check = Check::new(SIZE, tasks);
    log.visit(&mut |payload| check.see(payload));
    logs::told(kind, check.counts(&waits.counts()));
    log.close();
    waits
}

fn filled() -> [u8; SIZE] {
    thread_local!(static RECORD: [u8; SIZE] = records::filling(SIZE).try_into().expect("as long"));
    RECORD.with(|record| *record)
}

fn through_ours(tasks: usize) -> Waits {
    let place = Place::new();
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(place.path(), Use::Durable)).await;
        let waits = ours::again(&stream, tasks, SIZE, time()).await;
        let (mut check, mut reader) = (Check::new(SIZE, tasks), appends::reader(&stream).await);
        appends::visit(&mut reader, |payload| check.see(payload)).await;
        check.counts(&waits.counts()).expect("all of it is there");
        appends::close(log).await;
        waits
    })
}
