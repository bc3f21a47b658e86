//! Reading from the first record to the last, with everything in the page cache.

use std::time::Instant;

use tierlog_benches::{
    appends, place,
    records::Records,
    table::{Contestant, compete},
    work,
};

use crate::{
    logs::{self, Kind, Place, Use},
    ours,
};

const ROUNDS: usize = 5;
const SIZE: usize = 100;

pub fn run() {
    let records = Records::new(SIZE, work::count(500_000), 1);
    let records = &records;
    let place = Place::new();
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(place.path(), Use::Append)).await;
        appends::appender(&stream, records, records.of(0)).await;
        stream.flush().await.expect("durable");
        appends::close(log).await;
    });
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for kind in logs::all() {
        if let Some(checked) = kind.scan {
            let place = Place::new();
            let log = (kind.open)(place.path(), Use::Append, 1);
            log.fill(records);
            log.close();
            let name = format!("{} (checks: {checked})", kind.name);
            contestants.push((name, Box::new(move || scan(kind, &place, records))));
        }
    }
    contestants.push((
        "tierlog visit (checks: CRC a frame)".into(),
        Box::new(|| scan_ours(&place, records, true)),
    ));
    contestants.push((
        "tierlog next_batch (checks: CRC a frame)".into(),
        Box::new(|| scan_ours(&place, records, false)),
    ));
    let title = format!("hot scan of {} records of {SIZE} B", records.count());
    compete(&title, "records/s", ROUNDS, contestants);
}

/// What is seen of each record, so that it has to be there.
#[derive(Default)]
struct Seen {
    records: usize,
    sum: u64,
}

impl Seen {
    #[inline]
    fn see(&mut self, payload: &[u8]) {
        self.records += 1;
        self.sum += u64::from(payload[4]);
    }

    fn is_all(&self, records: &Records) {
        let sum = |n: usize| u64::from(records.get(n)[4]);
        let sum: u64 = (0..records.count()).map(sum).sum();
        assert_eq!((self.records, self.sum), (records.count(), sum));
    }
}

fn scan(kind: Kind, place: &Place, records: &Records) -> f64 {
    let log = (kind.open)(place.path(), Use::Again, 1);
    let begun = Instant::now();
    let mut seen = Seen::default();
    log.visit(&mut |payload| seen.see(payload));
    let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
    seen.is_all(records);
    log.close();
    rate
}

fn scan_ours(place: &Place, records: &Records, visit: bool) -> f64 {
    place::runtime().block_on(async {
        let (log, stream) = appends::open(ours::settings(place.path(), Use::Append)).await;
        let begun = Instant::now();
        let mut seen = Seen::default();
        let mut reader = appends::reader(&stream).await;
        if visit {
            appends::visit(&mut reader, |payload| seen.see(payload)).await;
        } else {
            loop {
                let batch = reader.next_batch(4096).await.expect("read");
                if batch.is_empty() {
                    break;
                }
                batch.iter().for_each(|record| seen.see(&record.payload));
            }
        }
        let rate = records.count() as f64 / begun.elapsed().as_secs_f64();
        seen.is_all(records);
        appends::close(log).await;
        rate
    })
}
