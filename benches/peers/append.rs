//! Appending without waiting for the disk: a run ends when the kernel has every record, which for some takes
//! an fdatasync, since they have no other way to hand it over.

use std::time::Instant;

use tierlog::Stream;
use tierlog_benches::{
    appends, place,
    records::Records,
    table::{Contestant, Row, compete},
    work,
};

use crate::{
    logs::{self, Kind, Place, Use},
    ours, plots, threads,
};

const ROUNDS: usize = 7;

pub fn run() {
    let mut by_size = Vec::new();
    for tasks in [1, 2] {
        for (size, count) in [(100, 400_000), (1024, 60_000), (16 * 1024, 4_000)] {
            let rows = one(size, count, tasks);
            if tasks == 1 {
                by_size.push((size, rows));
            }
        }
    }
    plots::rates(&by_size);
}

fn one(size: usize, count: usize, tasks: usize) -> Vec<Row> {
    let records = Records::new(size, work::count(count), tasks);
    let few = Records::new(size, work::count(count / 40), tasks);
    let (records, few) = (&records, &few);
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for kind in logs::all() {
        if let Some(end) = kind.append {
            let name = format!("{} ({end})", kind.name);
            contestants.push((name, Box::new(move || through(kind, records))));
        }
    }
    contestants.push((
        "tierlog Appender (page cache)".into(),
        Box::new(|| through_ours(records, Way::Appender)),
    ));
    contestants.push((
        "tierlog try_append, all awaited (page cache)".into(),
        Box::new(|| through_ours(records, Way::Tickets)),
    ));
    contestants.push((
        "tierlog append, one by one (page cache)".into(),
        Box::new(|| through_ours(few, Way::OneByOne)),
    ));
    let title = format!(
        "append, not waiting for the disk, {size} B, {} records, {tasks} task{}",
        records.count(),
        if tasks == 1 { "" } else { "s" },
    );
    compete(&title, "records/s", ROUNDS, contestants)
}

fn through(kind: Kind, records: &Records) -> f64 {
    let place = Place::new();
    let tasks = records.tasks();
    let log = (kind.open)(place.path(), Use::Append, tasks);
    let begun = Instant::now();
    if tasks == 1 {
        log.append(0, records, records.of(0), true);
    } else {
        threads::run(tasks, |task, _| {
            log.append(task, records, records.of(task), false);
        });
    }
    log.hand_over(records.count());
    let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
    log.sync();
    let mut check = records.check();
    log.visit(&mut |payload| check.see(payload));
    logs::told(kind, check.all(records));
    log.close();
    rate
}

/// How tierlog is asked.
#[derive(Clone, Copy)]
enum Way {
    Appender,
    Tickets,
    OneByOne,
}

impl Way {
    async fn append(self, stream: Stream, records: Records, task: usize) {
        let range = records.of(task);
        match self {
            Self::Appender => appends::appender(&stream, &records, range).await,
            Self::Tickets => appends::tickets(&stream, &records, range).await,
            Self::OneByOne => appends::awaited(&stream, &records, range).await,
        }
    }
}

fn through_ours(records: &Records, way: Way) -> f64 {
    let place = Place::new();
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(place.path(), Use::Append)).await;
        let begun = Instant::now();
        if records.tasks() == 1 {
            way.append(stream.clone(), records.clone(), 0).await;
        } else {
            let tasks = 0..records.tasks();
            let tasks: Vec<_> = tasks
                .map(|task| tokio::spawn(way.append(stream.clone(), records.clone(), task)))
                .collect();
            for task in tasks {
                task.await.expect("it ends");
            }
        }
        let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
        assert!(stream.watermarks().written.get() == records.count() as u64);
        stream.flush().await.expect("durable");
        let (mut check, mut reader) = (records.check(), appends::reader(&stream).await);
        appends::visit(&mut reader, |payload| check.see(payload)).await;
        check.all(records).expect("all of it is there");
        appends::close(log).await;
        rate
    })
}
