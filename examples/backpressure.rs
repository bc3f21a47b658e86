//! What a refusal looks like, that it changes nothing, and how to wait for room.
//!
//! `cargo run --example backpressure`

use std::time::Duration;

use tierlog::{Error, FlushPolicy, From, Kind, NewRecord, Settings, Size, Supervisor, TryAppend};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A window of 256 KiB that nothing empties by itself: with `manual` only `flush` syncs.
    let settings = Settings {
        max_record: Size::kib(16),
        unsynced_bytes: Size::kib(256),
        flush: FlushPolicy::Manual,
        ..Settings::new(directory.path().join("log"))
    };
    let supervisor = Supervisor::open(settings).await?;
    let events = supervisor.log().stream("events").await?;

    // `try_append` takes a record at once, or gives it back at once.
    let mut accepted = Vec::new();
    let (kind, refused) = loop {
        let record = NewRecord::new(vec![b'x'; 1000]);
        match events.try_append(record) {
            Ok(ticket) => accepted.push(ticket),
            Err(TryAppend::WouldBlock { kind, payload }) => break (kind, payload),
            Err(TryAppend::Failed { error, .. }) => return Err(error),
        }
    };
    let next = events.watermarks().next;
    println!("{} accepted, then WouldBlock({kind})", accepted.len());

    // The refusal had no side effect: no offset was given out, and the record came back whole.
    assert_eq!(next.get(), accepted.len() as u64);
    assert_eq!(refused.payload.len(), 1000);

    // An app can shed it here, or wait. `ready` resolves when this kind is no longer in the way;
    // another one may be by then, so the record is offered again, and again.
    let mut record = refused;
    let ticket = loop {
        match events.try_append(record) {
            Ok(ticket) => break ticket,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                record = payload;
                if kind == Kind::Flush {
                    // What is in the way waits for a sync, and under `manual` that is our part.
                    let durable = events.flush().await?;
                    println!("flushed: durable up to {durable}");
                }
                events.ready_for(kind, record.size()).await;
            }
            Err(TryAppend::Failed { error, .. }) => return Err(error),
        }
    };
    events.flush().await?;
    println!("the refused record is now record {}", ticket.await?.offset);

    // Every ticket resolves, in order, and no record is there twice.
    let count = accepted.len() as u64 + 1;
    for ticket in accepted {
        ticket.await?;
    }
    let mut read = 0;
    let mut reader = events.reader(From::Earliest).await?;
    while reader.try_next().await?.is_some() {
        read += 1;
    }
    assert_eq!(read, count);
    supervisor.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}
