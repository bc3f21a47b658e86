//! Loses the directory of a log, makes it again from the bucket alone, goes on appending at the right
//! offset, and shows that the old directory could do no harm if it came back.
//!
//! `cargo run --example restore`

use std::time::Duration;

use tierlog::{ColdUri, Error, From, Level, ReadOnly, Settings, Stream, Supervisor};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bucket = ColdUri::folder(directory.path().join("bucket")).expect("an absolute path");
    let settings = |name: &str| Settings {
        cold: Some(bucket.clone()),
        archive_after: Duration::from_millis(50),
        ..Settings::new(directory.path().join(name))
    };

    // What was archived is in the bucket. What is only durable is on this machine alone.
    let old = Supervisor::open(settings("old")).await?;
    let orders = old.log().stream("orders").await?;
    for n in 0..100 {
        orders.append(order(n)).await?;
    }
    let ack = orders.append_at(order(100), Level::Archived).await?;
    println!("archived up to record {}", ack.offset);
    orders.append("durable, and not archived").await?;
    // The machine is gone, with the directory on it. It comes back in the end.
    drop(orders);
    old.shutdown(Duration::from_secs(10)).await?;

    // Nothing but the bucket is needed. Segments stay there, and come here as they are read.
    let restored = Supervisor::restore(settings("new"), |_done, _total| ()).await?;
    let segments = match restored.segments {
        1 => "1 segment".to_owned(),
        many => format!("{many} segments"),
    };
    println!("restored {} records in {segments}", restored.records);
    assert_eq!(restored.records, 101);
    let new = Supervisor::open(settings("new")).await?; // takes the bucket over
    let orders = new.log().existing("orders").await?;
    assert_eq!(read_all(&orders).await?, 101, "what was archived is there");
    let ack = orders.append_at(order(101), Level::Archived).await?;
    assert_eq!(ack.offset.get(), 101, "it goes on where the archive ended");
    println!("the next record has offset {}", ack.offset);
    assert_eq!(read_all(&orders).await?, 102);
    new.shutdown(Duration::from_secs(10)).await?;

    // Two directories that both claim to be this log would be two histories. The older one is fenced.
    match Supervisor::open(settings("old")).await {
        Err(error @ Error::Fenced { .. }) => println!("the old directory is refused: {error}"),
        opened => panic!("the bucket has another owner: {opened:?}"),
    }

    // What was durable there and not archived can still be got out: reading needs no ownership.
    let view = ReadOnly::attach(directory.path().join("old")).await?;
    let mut reader = view.stream("orders")?.reader(From::Earliest).await?;
    let mut read = 0;
    while reader.try_next().await?.is_some() {
        read += 1;
    }
    assert_eq!(read, 102);
    println!("it can be read: {read} records");
    Ok(())
}

fn order(n: u64) -> String {
    format!("order {n}")
}

/// Reads the stream from its start, and checks each record.
async fn read_all(orders: &Stream) -> Result<u64, Error> {
    let mut reader = orders.reader(From::Earliest).await?;
    let mut read = 0;
    while let Some(record) = reader.try_next().await? {
        assert_eq!(record.offset.get(), read, "no gap, no repeat");
        assert_eq!(&record.payload[..], order(read).as_bytes());
        read += 1;
    }
    Ok(read)
}
