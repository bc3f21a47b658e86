//! Kills a process that appends, with SIGKILL and in the middle of its work, and shows that
//! everything it had acked is there.
//!
//! `cargo run --example crash_recovery`

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tierlog::{Error, From, Level, Settings, Supervisor};

/// Acks that are waited for before the child is killed.
const ACKS: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The same program is its own child.
    if let Some(data) = std::env::args_os().nth(1) {
        return append_for_ever(Path::new(&data)).await;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("log");
    let acked = run_and_kill(&data).expect("a child process");
    println!("killed it after its ack of record {acked}");

    // The child left its lock with its life; the next owner recovers what it finds.
    let supervisor = Supervisor::open(Settings::new(&data)).await?;
    println!("{}", supervisor.recovery());
    let orders = supervisor.log().existing("orders").await?;
    let mut reader = orders.reader(From::Earliest).await?;
    let mut read = 0;
    while let Some(record) = reader.try_next().await? {
        assert_eq!(record.offset.get(), read, "no gap, no repeat");
        assert_eq!(
            &record.payload[..],
            payload(read).as_bytes(),
            "nothing invented"
        );
        read += 1;
    }
    println!("read {read} records back, in order");
    // More than was acked may be there: what was accepted when the process died is kept if it had
    // reached the file. Less may not.
    assert!(read > acked, "record {acked} was acked and is gone");
    supervisor.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}

fn payload(n: u64) -> String {
    format!("order {n}")
}

/// The child: appends, and prints each offset once its record is durable.
async fn append_for_ever(data: &Path) -> Result<(), Error> {
    let supervisor = Supervisor::open(Settings::new(data)).await?;
    let orders = supervisor.log().stream("orders").await?;
    let mut out = std::io::stdout();
    for n in 0.. {
        let ack = orders.append(payload(n)).await?;
        assert_eq!(ack.level, Level::Durable);
        let told = writeln!(out, "{}", ack.offset).and_then(|()| out.flush());
        if told.is_err() {
            break;
        }
    }
    Ok(())
}

/// Starts the child, reads its acks, kills it; gives the last ack that was seen.
fn run_and_kill(data: &Path) -> std::io::Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut acked = None;
    if let Some(acks) = child.stdout.take() {
        for line in BufReader::new(acks).lines().take(ACKS) {
            acked = line?.parse().ok();
        }
    }
    // SIGKILL: the child gets no chance to do anything about it.
    child.kill()?;
    child.wait()?;
    acked.ok_or_else(|| std::io::Error::other("the child acked nothing"))
}
