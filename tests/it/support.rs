//! What the tests share.

use std::{io::Write, path::Path, time::Duration};

use tierlog::{
    Error, From, Record, Settings, Stream, Supervisor, testing::storage::error::StorageError,
};

/// How long a test waits for what must come: a hang is a failure with a name, not a stuck run.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings for a small log.
pub fn small(dir: &Path) -> Settings {
    Settings::for_tests(dir.join("log"))
}

/// Opens it.
pub async fn open(settings: &Settings) -> Supervisor {
    Supervisor::open(settings.clone())
        .await
        .expect("the log opens")
}

/// Closes it and expects nothing to be left over.
pub async fn close(supervisor: Supervisor) {
    let report = supervisor.shutdown(PATIENCE).await.expect("the log closes");
    assert!(report.clean, "{report:?}");
}

/// Everything that can be read from the start.
pub async fn read_all(stream: &Stream) -> Vec<Record> {
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    let mut records = Vec::new();
    loop {
        let batch = reader.next_batch(1_000).await.expect("a batch");
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

/// The payloads as text.
pub fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|r| String::from_utf8_lossy(&r.payload).into_owned())
        .collect()
}

/// Waits, but not forever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes to an end")
}

/// Opens a log whose last owner in this process is just going away.
pub async fn open_when_free(settings: &Settings) -> Supervisor {
    loop {
        match Supervisor::open(settings.clone()).await {
            Ok(supervisor) => return supervisor,
            Err(error) if is_locked(&error) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Somebody else has the log open.
pub fn is_locked(error: &Error) -> bool {
    matches!(error, Error::Storage(error) if matches!(**error, StorageError::Locked { .. }))
}

/// Says a line to whoever reads what this process prints; in one write, so that a kill does not
/// leave half a line in the midst of others.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("somebody listens");
}
