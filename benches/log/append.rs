//! Appending without waiting for a sync: the run fits the window, and ends when every record has
//! been handed to the operating system.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::Range,
    time::Instant,
};

use tierlog::{Level, Stream};

use tierlog_benches::{
    appends, place,
    records::Records,
    table::{Contestant, compete},
    work,
};

const ROUNDS: usize = 7;

pub fn run() {
    for (size, count) in [(100, 400_000), (1024, 60_000), (16 * 1024, 4_000)] {
        let records = Records::new(size, work::count(count), 1);
        let few = Records::new(size, work::count(count / 40), 1);
        let count = records.count();
        let title = format!("append, not waiting for sync, {size} B, {count} records, one task");
        let contestants: Vec<Contestant<'_>> = vec![
            (
                "std BufWriter, no checksum (page cache)".into(),
                Box::new(|| plain(&records)),
            ),
            (
                "Appender (written)".into(),
                Box::new(|| through(&records, appends::appender)),
            ),
            (
                "try_append, all tickets awaited (written)".into(),
                Box::new(|| through(&records, appends::tickets)),
            ),
            (
                "append, awaited one by one (written)".into(),
                Box::new(|| through(&few, appends::awaited)),
            ),
        ];
        compete(&title, "records/s", ROUNDS, contestants);
    }
}

fn plain(records: &Records) -> f64 {
    let folder = place::folder();
    let path = folder.path().join("plain");
    let mut file = BufWriter::new(File::create_new(&path).expect("a file"));
    let begun = Instant::now();
    for n in 0..records.count() {
        let payload = records.get(n);
        let len = u32::try_from(payload.len()).expect("small");
        file.write_all(&len.to_le_bytes()).expect("written");
        file.write_all(payload).expect("written");
    }
    file.flush().expect("written");
    let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
    let len = std::fs::metadata(&path).expect("there").len();
    assert_eq!(len as usize, records.bytes() + 4 * records.count());
    rate
}

fn through(records: &Records, work: impl AsyncFn(&Stream, &Records, Range<usize>)) -> f64 {
    let folder = place::folder();
    place::runtime().block_on(async {
        let (log, stream) = appends::open(appends::settings(&folder)).await;
        stream
            .append_at("warm", Level::Written)
            .await
            .expect("written");
        let begun = Instant::now();
        work(&stream, records, records.of(0)).await;
        let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
        stream.flush().await.expect("durable");
        let (mut check, mut first) = (records.check(), true);
        let mut reader = appends::reader(&stream).await;
        appends::visit(&mut reader, |payload| {
            if !std::mem::take(&mut first) {
                check.see(payload);
            }
        })
        .await;
        check.all(records).expect("all of it is there");
        appends::close(log).await;
        rate
    })
}
