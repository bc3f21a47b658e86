//! Two readers that follow a stream while it grows: one inside the owning process, one attached
//! read-only as another process would be.
//!
//! `cargo run --example tail`

use std::time::Duration;

use tierlog::{Error, From, Kind, ReadOnly, Reader, Settings, Supervisor, TryRead};

const RECORDS: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("log");
    let supervisor = Supervisor::open(Settings::new(&data)).await?;
    let lines = supervisor.log().stream("lines").await?;

    // The owner's own reader. At the end it waits for more, and is woken by the stream itself.
    let mut own = lines.reader(From::Earliest).follow().await?;

    // Asked instead of awaited, a reader at the end says so.
    let at_end = own.try_next().now();
    assert!(matches!(at_end, Err(TryRead::WouldBlock(Kind::Tail))));

    // Somebody else's reader: no lock, no writes. It sees what is durable, by the claims file that
    // the owner leaves its durable ends in.
    let view = ReadOnly::attach(&data).await?;
    let other = view
        .stream("lines")?
        .reader(From::Earliest)
        .follow()
        .await?;

    let own = tokio::spawn(count(own));
    let other = tokio::spawn(count(other));
    for n in 0..RECORDS {
        lines.append(format!("line {n}")).await?;
    }
    println!("the owner's reader saw {}", own.await.expect("no panic")?);
    println!(
        "the attached reader saw {}",
        other.await.expect("no panic")?
    );

    supervisor.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}

/// Reads until all are seen, each once and in order.
async fn count(mut reader: Reader) -> Result<u64, Error> {
    let mut seen = 0;
    while seen < RECORDS {
        for record in reader.next_batch(100).await? {
            assert_eq!(record.offset.get(), seen);
            seen += 1;
        }
    }
    Ok(seen)
}
