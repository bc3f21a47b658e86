//! Reading a sealed segment of records of 100 B from its beginning, out of the page cache.

use tierlog::{From, ReadMode, Reader, Settings};
use tierlog_counts::{alone, counted};

use crate::append::PAYLOAD;

pub fn visit(count: usize) -> usize {
    scan(count, ReadMode::Pread, async |reader| {
        let (mut seen, mut sum) = (0, 0);
        loop {
            let visited = reader.visit(usize::MAX, |record| sum += u64::from(record.payload[0]));
            match visited.await.expect("read") {
                0 => return (seen, sum),
                count => seen += count,
            }
        }
    })
}

pub fn next_batch(count: usize) -> usize {
    scan(count, ReadMode::Pread, batches)
}

pub fn next_batch_of_a_map(count: usize) -> usize {
    scan(count, ReadMode::Map, batches)
}

async fn batches(reader: &mut Reader) -> (usize, u64) {
    let (mut seen, mut sum) = (0, 0);
    loop {
        let batch = reader.next_batch(4096).await.expect("read");
        if batch.is_empty() {
            return (seen, sum);
        }
        seen += batch.len();
        let first = batch.iter().map(|record| u64::from(record.payload[0]));
        sum += first.sum::<u64>();
    }
}

/// Another log reads than the one that wrote, so that nothing comes from the cache of the tail. The reader
/// is made within the region: each record is read by it, the first one too.
fn scan(count: usize, read: ReadMode, work: impl AsyncFn(&mut Reader) -> (usize, u64)) -> usize {
    let folder = alone::folder();
    let settings = Settings {
        read,
        ..alone::settings(folder.path())
    };
    let runtime = alone::runtime();
    runtime.block_on(async {
        let (log, stream) = alone::open_stream(settings.clone()).await;
        let mut appender = stream.appender();
        for _ in 0..count {
            appender.push(&PAYLOAD).await.expect("room");
        }
        appender.send().await.expect("room");
        stream.seal().await.expect("sealed");
        alone::close(log).await;
    });
    let (log, stream) = runtime.block_on(alone::open_stream(settings));
    let read = counted(|| {
        runtime.block_on(async {
            let mut reader = stream.reader(From::Earliest).await.expect("a reader");
            work(&mut reader).await
        })
    });
    assert_eq!(read, (count, count as u64 * u64::from(PAYLOAD[0])));
    runtime.block_on(alone::close(log));
    count
}
