//! Reading from the start, in the page cache.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    time::{Duration, Instant},
};

use tierlog::{FlushPolicy, From, ReadMode, Settings, Supervisor};

use tierlog_benches::{
    place,
    table::{Contestant, compete},
    work,
};

const ROUNDS: usize = 5;
fn count() -> usize {
    work::count(2_000_000)
}

const SIZE: usize = 100;

pub fn run() {
    let folder = place::folder();
    fill(&folder);
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "std BufReader, no checksum".into(),
            Box::new(|| plain(&folder)),
        ),
        (
            "tierlog visit, pread".into(),
            Box::new(|| scan(&folder, ReadMode::Pread, visit)),
        ),
        (
            "tierlog next_batch, pread".into(),
            Box::new(|| scan(&folder, ReadMode::Pread, batches)),
        ),
        (
            "tierlog next_batch, map".into(),
            Box::new(|| scan(&folder, ReadMode::Map, batches)),
        ),
    ];
    compete(
        &format!("scan of {} records of {SIZE} B", count()),
        "records/s",
        ROUNDS,
        contestants,
    );
}

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        flush: FlushPolicy::Every(Duration::from_millis(50)),
        ..place::settings(folder)
    }
}

fn fill(folder: &tempfile::TempDir) {
    let payload = [b'x'; SIZE];
    let mut file = BufWriter::new(File::create_new(folder.path().join("plain")).expect("a file"));
    for _ in 0..count() {
        file.write_all(&(SIZE as u32).to_le_bytes())
            .expect("written");
        file.write_all(&payload).expect("written");
    }
    file.flush().expect("written");
    place::runtime().block_on(async {
        let log = Supervisor::open(settings(folder)).await.expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        let mut appender = stream.appender();
        for _ in 0..count() {
            appender.push(&payload).await.expect("room");
        }
        appender.send().await.expect("room");
        stream.seal().await.expect("sealed");
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
    });
}

fn plain(folder: &tempfile::TempDir) -> f64 {
    let file = File::open(folder.path().join("plain")).expect("a file");
    let mut file = BufReader::with_capacity(256 * 1024, file);
    let begun = Instant::now();
    let (mut seen, mut sum) = (0, 0_u64);
    let (mut len, mut payload) = ([0; 4], vec![0; SIZE]);
    while file.read_exact(&mut len).is_ok() {
        payload.resize(u32::from_le_bytes(len) as usize, 0);
        file.read_exact(&mut payload).expect("whole");
        sum += u64::from(payload[0]);
        seen += 1;
    }
    assert_eq!((seen, sum), (count(), count() as u64 * u64::from(b'x')));
    count() as f64 / begun.elapsed().as_secs_f64()
}

fn scan(
    folder: &tempfile::TempDir,
    read: ReadMode,
    work: impl AsyncFn(&mut tierlog::Reader) -> (usize, u64),
) -> f64 {
    place::runtime().block_on(async {
        let log = Supervisor::open(Settings {
            read,
            ..settings(folder)
        })
        .await
        .expect("a log");
        let stream = log.log().stream("bench").await.expect("a stream");
        let begun = Instant::now();
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let (seen, sum) = work(&mut reader).await;
        let rate = count() as f64 / begun.elapsed().as_secs_f64();
        assert_eq!((seen, sum), (count(), count() as u64 * u64::from(b'x')));
        log.shutdown(Duration::from_secs(60)).await.expect("closed");
        rate
    })
}

async fn visit(reader: &mut tierlog::Reader) -> (usize, u64) {
    let (mut seen, mut sum) = (0, 0);
    loop {
        let count = reader
            .visit(usize::MAX, |record| sum += u64::from(record.payload[0]))
            .await
            .expect("read");
        if count == 0 {
            return (seen, sum);
        }
        seen += count;
    }
}

async fn batches(reader: &mut tierlog::Reader) -> (usize, u64) {
    let (mut seen, mut sum) = (0, 0);
    loop {
        let batch = reader.next_batch(4096).await.expect("read");
        if batch.is_empty() {
            return (seen, sum);
        }
        seen += batch.len();
        sum += batch
            .iter()
            .map(|record| u64::from(record.payload[0]))
            .sum::<u64>();
    }
}
