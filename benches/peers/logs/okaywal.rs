//! okaywal: entries of chunks. Each commit is an fdatasync that those who wait share; there is no way to
//! append without. Its files are written full of zeros ahead. Nothing is checkpointed here, since a file that
//! was is not read any more.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use okaywal::{
    Configuration, Entry, EntryId, LogManager, LogPosition, SegmentReader, WriteAheadLog,
};
use tierlog_benches::records::Records;

use super::{Kind, Log, ROOM};

pub const KIND: Kind = Kind {
    name: "okaywal",
    open: |folder, _, _| Box::new(Okay::open(folder)),
    append: Some("chunks of one entry, its fdatasync at the end"),
    durable: Some("shared fdatasync"),
    batch: Some("shared fdatasync"),
    // Its entries are read when it is opened, and by position.
    scan: Some("CRC a chunk, by opening"),
    random: true,
    again: true,
};

/// What it shows when it is opened: kept only where somebody wants to see it.
#[derive(Debug, Default)]
struct Found {
    kept: Option<Vec<Vec<u8>>>,
}

#[derive(Debug)]
struct Recovering(Arc<Mutex<Found>>);

impl LogManager for Recovering {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        // Always: okaywal 0.3.1 loses its way behind a chunk that nobody reads, since such a chunk is skipped
        // once by `skip_remaining_bytes` and its checksum once more when it is dropped.
        let chunks = entry.read_all_chunks()?;
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &mut found.kept {
            kept.extend(chunks.into_iter().flatten());
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

struct Okay {
    log: WriteAheadLog,
    folder: PathBuf,
    places: Mutex<Vec<LogPosition>>,
}

fn open(folder: &Path, found: Found) -> (WriteAheadLog, Arc<Mutex<Found>>) {
    let found = Arc::new(Mutex::new(found));
    let room = u32::try_from(ROOM).expect("small");
    let config = Configuration::default_for(folder)
        .preallocate_bytes(room)
        .checkpoint_after_bytes(2 * ROOM)
        .buffer_bytes(64 << 10);
    let log = config.open(Recovering(found.clone())).expect("a log");
    (log, found)
}

impl Okay {
    fn open(folder: &Path) -> Self {
        let folder = folder.join("okaywal");
        let (log, _) = open(&folder, Found::default());
        // The zeros are on disk before anything is measured.
        let nothing = log.begin_entry().expect("an entry");
        nothing.commit().expect("synced");
        Self {
            log,
            folder,
            places: Mutex::default(),
        }
    }
}

impl Log for Okay {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        let mut entry = self.log.begin_entry().expect("an entry");
        for n in range {
            entry.write_chunk(records.get(n)).expect("written");
        }
        entry.commit().expect("synced");
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.batch(0, &[payload]);
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        let mut entry = self.log.begin_entry().expect("an entry");
        for payload in payloads {
            entry.write_chunk(payload).expect("written");
        }
        entry.commit().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let kept = Some(Vec::new());
        let (log, found) = open(&self.folder, Found { kept });
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = found.kept.take().unwrap_or_default();
        kept.iter().for_each(|payload| see(payload));
        drop(found);
        log.shutdown().expect("closed");
    }

    fn fill(&self, records: &Records) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entry = self.log.begin_entry().expect("an entry");
        for n in 0..records.count() {
            let chunk = entry.write_chunk(records.get(n)).expect("written");
            places.push(chunk.position);
        }
        entry.commit().expect("synced");
    }

    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner)[at];
        let mut reader = self.log.read_at(place).expect("a reader");
        let mut payload = Vec::new();
        io::Read::read_to_end(&mut reader, &mut payload).expect("read");
        assert!(reader.crc_is_valid().expect("a checksum"));
        see(&payload);
    }

    fn close(self: Box<Self>) {
        self.log.shutdown().expect("closed");
    }
}
