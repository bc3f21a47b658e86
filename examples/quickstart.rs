//! Open a log, append to a stream, read it back, close, reopen.
//!
//! `cargo run --example quickstart [DIRECTORY]`; without a directory it uses a temporary one.

use std::{path::PathBuf, time::Duration};

use tierlog::{Error, From, NewRecord, Offset, Settings, Supervisor};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let data = match std::env::args_os().nth(1) {
        Some(directory) => PathBuf::from(directory),
        None => temporary.path().join("log"),
    };

    // A log is a directory. It is made where it is missing, and locked for this process.
    let supervisor = Supervisor::open(Settings::new(&data)).await?;
    println!("{}", supervisor.recovery());

    // A stream has a name and a dense sequence of records: 0, 1, 2, …
    let orders = supervisor.log().stream("orders").await?;

    // When `append` returns, the record is on disk: it survives kill -9 and a power cut.
    let ack = orders.append("two coffees").await?;
    println!("record {} is {:?}", ack.offset, ack.level);

    // Several records, all or nothing. A record may carry a key and a number of the app's own.
    let batch = vec![
        NewRecord::new("one tea").key("table 4").ext_id(1),
        NewRecord::new("the bill").key("table 4").ext_id(2),
    ];
    let first = orders.append_batch(batch).await?.offset;

    // Many records: encoded here, sent 64 KiB at a time, made durable by one `flush`.
    let mut appender = orders.appender();
    for n in 0..10_000 {
        appender.push(format!("order {n}").as_bytes()).await?;
    }
    appender.send().await?;
    println!("durable up to {}", orders.flush().await?);

    // Readers begin wherever they like, and end at the durable end unless they follow.
    let mut reader = orders.reader(From::Offset(first)).await?;
    while reader.position() < first.plus(2) {
        let Some(record) = reader.try_next().await? else {
            break;
        };
        let text = String::from_utf8_lossy(&record.payload);
        println!("{}: {text}", record.offset);
    }

    let report = supervisor.shutdown(Duration::from_secs(10)).await?;
    assert!(report.clean, "{report:?}");

    // All of it is there the next time.
    let supervisor = Supervisor::open(Settings::new(&data)).await?;
    let orders = supervisor.log().existing("orders").await?;
    println!("{} records after reopening", orders.watermarks().next);
    assert!(orders.watermarks().next > Offset::ZERO);
    supervisor.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}
