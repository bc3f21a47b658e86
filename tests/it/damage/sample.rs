//! The log that is damaged, on a simulated disk, and what can be read of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tierlog::{
    Damage, Error, From, ReadOnly, Settings, Supervisor,
    testing::storage::{
        disk::{
            Access, Disk,
            sim::{Cut, SimDisk},
        },
        layout::Layout,
    },
};

use crate::{sim, track::text};

pub type Payloads = Vec<String>;

/// A log that was closed in order: two streams, each with a sealed segment, one that a recovery
/// closed, and an open one; stream "b" with batches, keys and ids.
#[derive(Debug)]
pub struct Sample {
    pub disk: SimDisk,
    pub settings: Settings,
    pub expected: BTreeMap<String, Payloads>,
}

pub fn layout() -> Layout {
    Layout::new(&sim::tiny().data)
}

impl Sample {
    pub fn make() -> Self {
        let disk = SimDisk::new();
        let settings = sim::tiny();
        let mut expected = BTreeMap::new();
        for life in 0..3 {
            let disk = disk.crash_process();
            sim::run(live(&settings, &disk, &mut expected, life));
        }
        Self {
            disk: disk.crash_process(),
            settings,
            expected,
        }
    }

    /// A disk of its own, as it is now.
    pub fn copy(&self) -> Self {
        Self {
            disk: self.disk.preview_cut(Cut::AllKept),
            settings: self.settings.clone(),
            expected: self.expected.clone(),
        }
    }

    /// All files, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        self.gather(&self.settings.data, &mut found);
        found
    }

    fn gather(&self, dir: &Path, found: &mut Vec<(PathBuf, u64)>) {
        for entry in self.disk.list(dir).expect("a folder") {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                self.gather(&path, found);
            } else {
                let file = self.disk.open(&path, Access::Read).expect("a file");
                found.push((path, file.len().expect("a length")));
            }
        }
    }

    /// The segment files of a stream, in order.
    pub fn segments(&self, name: &str) -> Vec<PathBuf> {
        let id = sim::run(async {
            let view = self.attach().await.expect("attached");
            view.stream(name).expect("it is there").id()
        });
        let dir = layout().stream_dir(id);
        let files = self.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.starts_with(&dir)).collect()
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let file = self.disk.open(path, Access::Read).expect("a file");
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
        file.read_at(&mut bytes, 0).expect("read");
        bytes
    }

    /// Everything that lies in the directory.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.files().into_iter();
        files
            .map(|(path, _)| (path.clone(), self.bytes(&path)))
            .collect()
    }

    /// Writes over a file's bytes, durably.
    pub fn write(&self, path: &Path, pos: u64, bytes: &[u8]) {
        let file = self.disk.open(path, Access::ReadWrite).expect("a file");
        file.write_at(bytes, pos).expect("written");
        file.sync_data().expect("synced");
    }

    /// Turns a bit over; twice makes it what it was.
    pub fn flip(&self, path: &Path, bit: u64) {
        let mut byte = [0];
        let file = self.disk.open(path, Access::Read).expect("a file");
        file.read_at(&mut byte, bit / 8).expect("read");
        self.write(path, bit / 8, &[byte[0] ^ (1 << (bit % 8))]);
    }

    pub fn cut(&self, path: &Path, len: u64) {
        let file = self.disk.open(path, Access::ReadWrite).expect("a file");
        file.set_len(len).expect("cut");
        file.sync_data().expect("synced");
    }

    pub async fn attach(&self) -> Result<ReadOnly, Error> {
        ReadOnly::attach_injected(self.settings.clone(), sim::on(self.disk.clone())).await
    }

    pub async fn open(&self) -> Result<Supervisor, Error> {
        Supervisor::open_with(self.settings.clone(), sim::on(self.disk.clone())).await
    }
}

async fn live(
    settings: &Settings,
    disk: &SimDisk,
    expected: &mut BTreeMap<String, Payloads>,
    life: u64,
) {
    let log = Supervisor::open_with(settings.clone(), sim::on(disk.clone()))
        .await
        .expect("it opens");
    for name in ["a", "b"] {
        let stream = log.log().stream(name).await.expect("a stream");
        let payloads = expected.entry(name.to_owned()).or_default();
        for n in 0..3 {
            let mut texts = vec![format!("{name}/{life}/{n}/{}", "x".repeat(n * 9))];
            if name == "b" {
                texts.push(String::new());
                let records = texts.iter().map(|text| {
                    let record = tierlog::NewRecord::from(text.clone());
                    record.key("k").ext_id(life * 100 + n as u64)
                });
                stream
                    .append_batch(records.collect())
                    .await
                    .expect("an ack");
            } else {
                stream.append(texts[0].clone()).await.expect("an ack");
            }
            payloads.extend(texts);
        }
        if life == 0 {
            stream.seal().await.expect("sealed");
        }
    }
    if life == 1 {
        // As a crash: the next life closes what was open.
        return;
    }
    let report = log.shutdown(Duration::from_secs(10)).await.expect("closed");
    assert!(report.clean, "{report:?}");
}

/// What was read of a stream.
#[derive(Debug, Default)]
pub struct Read {
    pub durable: u64,
    /// By offset.
    pub records: BTreeMap<u64, String>,
    /// What stopped it.
    pub error: Option<Error>,
    /// What was skipped.
    pub gaps: Vec<Damage>,
}

/// Reads a stream to its end, or to what stops it.
pub async fn read(view: &ReadOnly, name: &str, skip: bool) -> Read {
    let mut read = Read::default();
    let stream = match view.stream(name) {
        Ok(stream) => stream,
        Err(error) => {
            read.error = Some(error);
            return read;
        }
    };
    read.durable = stream.watermarks().durable.get();
    let builder = stream.reader(From::Earliest);
    let builder = if skip { builder.skip_damage() } else { builder };
    let mut reader = match builder.await {
        Ok(reader) => reader,
        Err(error) => {
            read.error = Some(error);
            return read;
        }
    };
    loop {
        match reader.try_next().await {
            Ok(Some(record)) => {
                let before = read.records.insert(record.offset.get(), text(&record));
                assert_eq!(before, None, "offset {} was read twice", record.offset);
            }
            Ok(None) => break,
            Err(error) => {
                read.error = Some(error);
                break;
            }
        }
    }
    read.gaps = reader.gaps().to_vec();
    read
}

/// How somebody who attaches to a damaged log fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// The whole log is refused.
    Refused,
    /// Some records can't be read, and the reader is told.
    Told,
    /// Everything is read, and `verify` or the report tells of the damage.
    Reported,
    /// Everything is read, and nothing is said.
    Unnoticed,
}

impl Sample {
    /// Attaches, reads everything, verifies; panics where anything is silently wrong.
    pub async fn fate(&self, what: &dyn std::fmt::Display) -> Fate {
        let view = match self.attach().await {
            Ok(view) => view,
            Err(error) => {
                is_typed(&error, what);
                return Fate::Refused;
            }
        };
        let mut told = false;
        for (name, expected) in &self.expected {
            let read = read(&view, name, false).await;
            for (at, (offset, payload)) in read.records.iter().enumerate() {
                assert_eq!(*offset, at as u64, "{what}: {name} skips without a word");
                assert_eq!(*payload, expected[at], "{what}: {name} at {offset}");
            }
            match &read.error {
                Some(error) => {
                    is_typed(error, what);
                    told = true;
                }
                None => assert_eq!(
                    read.records.len(),
                    expected.len(),
                    "{what}: {name} is short"
                ),
            }
        }
        let reported = view.recovery().damage().count() > 0;
        let verified = view.verify(None, |_, _| ()).await;
        let sound = verified.is_ok_and(|report| report.damage.is_empty());
        match (told, reported || !sound) {
            (true, true) => Fate::Told,
            (true, false) => panic!("{what}: a reader is told, and verify is content"),
            (false, true) => Fate::Reported,
            (false, false) => Fate::Unnoticed,
        }
    }
}

/// An error that says what to do, and not that a reader that stands where nothing was trimmed.
pub fn is_typed(error: &Error, what: &dyn std::fmt::Display) {
    match error {
        Error::Corrupt(damage) => {
            assert!(damage.from <= damage.to, "{what}: {damage}");
            assert!(damage.bytes.0 <= damage.bytes.1, "{what}: {damage}");
        }
        Error::Storage(_) => {}
        other => panic!("{what}: {other:?}"),
    }
}
