//! Opening a log as an app does, and reading all of it.

use std::{collections::BTreeMap, time::Duration};

use tierlog::{
    Error, From, Offset, ReadOnly, Settings, StorageError, Stream as LogStream, Supervisor,
};
use tokio::runtime::{Builder, Runtime};

/// All that was found in a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// By name.
    pub streams: BTreeMap<String, Stream>,
}

/// A stream as it was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The first offset.
    pub start: u64,
    /// What is archived.
    pub archived: u64,
    /// The records, from `start` on.
    pub payloads: Vec<String>,
}

/// The runtime of an app.
pub fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("threads")
}

/// Waits for something that must come, and not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let limited = tokio::time::timeout(crate::machine::PATIENCE, future).await;
    limited.expect("it comes to an end")
}

/// Opens a log, also one whose last owner in this process is just going away.
pub async fn open(settings: &Settings) -> Supervisor {
    let opened = within(async {
        loop {
            match Supervisor::open(settings.clone()).await {
                Err(Error::Storage(error)) if matches!(*error, StorageError::Locked { .. }) => {
                    tokio::task::yield_now().await;
                }
                opened => return opened,
            }
        }
    });
    opened
        .await
        .unwrap_or_else(|error| panic!("it does not open: {error}"))
}

/// Closes it, with nothing left over.
pub async fn close(log: Supervisor) {
    let report = log.shutdown(Duration::from_secs(60)).await.expect("closed");
    assert!(report.clean, "{report:?}");
}

/// All records of a stream, each at the offset behind the one before.
pub async fn read(stream: &LogStream) -> Stream {
    let marks = stream.watermarks();
    let mut found = Stream {
        start: marks.start.get(),
        archived: marks.archived.get(),
        payloads: Vec::new(),
    };
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    loop {
        let batch = within(reader.next_batch(1_000)).await;
        let batch = batch.unwrap_or_else(|error| panic!("{}: {error}", stream.name()));
        if batch.is_empty() {
            break;
        }
        for record in batch {
            let next = found.start + found.payloads.len() as u64;
            assert_eq!(
                record.offset,
                Offset(next),
                "{}: offsets are dense",
                stream.name()
            );
            let text = String::from_utf8(record.payload.to_vec());
            found.payloads.push(text.expect("payloads are text"));
        }
    }
    let end = found.start + found.payloads.len() as u64;
    assert_eq!(
        end,
        marks.durable.get(),
        "{}: what is durable is read",
        stream.name()
    );
    found
}

/// All streams.
pub async fn read_all(log: &Supervisor) -> Found {
    let mut found = Found::default();
    for info in within(log.log().streams()).await.expect("a list") {
        let stream = within(log.log().existing(&info.name))
            .await
            .expect("it is listed");
        found.streams.insert(info.name, read(&stream).await);
    }
    found
}

/// Every byte of it, in the bucket too: there is nothing wrong with it.
pub async fn verify(settings: &Settings) {
    let view = ReadOnly::attach_with(settings.clone()).await;
    let view = view.unwrap_or_else(|error| panic!("it can't be attached: {error}"));
    let report = match settings.cold.is_some() {
        true => within(view.verify_archived(None, |_, _| ())).await,
        false => within(view.verify(None, |_, _| ())).await,
    };
    let report = report.unwrap_or_else(|error| panic!("it can't be verified: {error}"));
    assert!(
        report.damage.is_empty(),
        "verify finds: {:?}",
        report.damage
    );
}

/// Opens what a power cut, or a death, has left, gives what `check` is to judge, and goes through the rest: nothing is
/// damaged, appending goes on at the end, and a second open finds all of it again. `clean`: it is closed in between,
/// and not dropped.
pub async fn recovers(settings: &Settings, clean: bool, check: impl FnOnce(&Found)) {
    if settings.data.join("CURRENT").exists() {
        verify(settings).await;
    }
    let log = open(settings).await;
    let report = log.recovery();
    assert_eq!(report.damage().count(), 0, "{report}");
    let mut found = read_all(&log).await;
    check(&found);
    verify(settings).await;
    for (name, stream) in &mut found.streams {
        let handle = log.log().existing(name).await.expect("it is listed");
        let more = format!("one more for {name}");
        let ack = within(handle.append(more.clone())).await.expect("an ack");
        let end = stream.start + stream.payloads.len() as u64;
        assert_eq!(
            ack.offset,
            Offset(end),
            "{name}: appending goes on at its end"
        );
        stream.payloads.push(more);
    }
    match clean {
        true => close(log).await,
        false => drop(log),
    }
    let log = open(settings).await;
    let report = log.recovery();
    assert_eq!(report.damage().count(), 0, "{report}");
    assert!(
        report.streams.iter().all(|stream| stream.cut.is_none()),
        "{report}"
    );
    let again = read_all(&log).await;
    assert!(
        again.is_at_least(&found),
        "a second recovery finds something else"
    );
    verify(settings).await;
    close(log).await;
}

impl Found {
    /// The same records, and as much archived as there was, or more.
    pub fn is_at_least(&self, other: &Self) -> bool {
        self.streams.len() == other.streams.len()
            && other.streams.iter().all(|(name, stream)| {
                self.streams.get(name).is_some_and(|again| {
                    again.start == stream.start
                        && again.payloads == stream.payloads
                        && again.archived >= stream.archived
                })
            })
    }
}

/// Whether an error is one of those that may come of a disk that is full, fails, or does not answer.
pub fn is_typed(error: &Error) -> bool {
    use Error::{
        Indeterminate, LogFailed, NotAppended, RolloverFailed, Storage, StorageFull, StreamFailed,
        Unavailable, WouldBlock,
    };
    matches!(
        error,
        Indeterminate { .. }
            | LogFailed { .. }
            | NotAppended { .. }
            | RolloverFailed { .. }
            | Storage(_)
            | StorageFull
            | StreamFailed { .. }
            | Unavailable { .. }
            | WouldBlock { .. }
    )
}
