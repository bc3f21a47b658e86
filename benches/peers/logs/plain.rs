//! Files and memory without a log: the length before each record, and no checksum.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tierlog_benches::{
    plain::{self, Room},
    records::Records,
};

use super::{
    Kind, Log, ROOM, Use,
    group::{Group, Sink},
};

pub const BUFFERED: Kind = Kind {
    name: "std BufWriter, no checksum",
    open: |folder, used, _| Box::new(Buffered::open(folder, used)),
    append: Some("page cache"),
    durable: None,
    batch: None,
    scan: Some("nothing"),
    random: false,
    again: false,
};

pub const ALLOCATED: Kind = Kind {
    name: "pwrite, allocated file, no checksum",
    open: |folder, _, _| Box::new(Allocated::open(folder)),
    append: Some("page cache, 64 KiB a call"),
    durable: Some("shared fdatasync"),
    batch: Some("fdatasync; not atomic"),
    scan: None,
    random: true,
    again: false,
};

pub const MEMORY: Kind = Kind {
    name: "memcpy",
    open: |_, _, _| Box::new(Memory::open()),
    append: Some("memory"),
    durable: None,
    batch: None,
    scan: None,
    random: false,
    again: false,
};

fn head(payload: &[u8]) -> [u8; 4] {
    u32::try_from(payload.len()).expect("small").to_le_bytes()
}

/// Reads records until the file ends, or there is a length of zero.
fn visit(path: &Path, see: &mut dyn FnMut(&[u8])) {
    let file = File::open(path).expect("a file");
    let mut file = BufReader::with_capacity(256 * 1024, file);
    let (mut len, mut payload) = ([0; 4], Vec::new());
    while file.read_exact(&mut len).is_ok() && len != [0; 4] {
        payload.resize(u32::from_le_bytes(len) as usize, 0);
        file.read_exact(&mut payload).expect("whole");
        see(&payload);
    }
}

struct Buffered {
    file: Mutex<BufWriter<File>>,
    path: PathBuf,
}

impl Buffered {
    fn open(folder: &Path, used: Use) -> Self {
        let path = folder.join("buffered");
        let file = match used {
            Use::Again => File::open(&path).expect("a file"),
            _ => plain::file(&path, Room::Growing, 0),
        };
        let file = BufWriter::new(file);
        Self {
            file: Mutex::new(file),
            path,
        }
    }
}

fn put(file: &mut BufWriter<File>, payload: &[u8]) {
    file.write_all(&head(payload)).expect("written");
    file.write_all(payload).expect("written");
}

impl Log for Buffered {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, alone: bool) {
        let lock = || self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if alone {
            let mut file = lock();
            range.for_each(|n| put(&mut file, records.get(n)));
        } else {
            range.for_each(|n| put(&mut lock(), records.get(n)));
        }
    }

    fn hand_over(&self, _: usize) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush().expect("written");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        visit(&self.path, see);
    }
}

/// One file, and where its next byte goes.
struct Rows {
    file: File,
    end: u64,
    buffer: Vec<u8>,
}

impl Sink for Rows {
    fn write(&mut self, payload: &[u8]) {
        self.buffer.extend_from_slice(&head(payload));
        self.buffer.extend_from_slice(payload);
    }

    fn sync(&mut self) {
        let written = self.file.write_all_at(&self.buffer, self.end);
        written.expect("written");
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        self.file.sync_data().expect("synced");
    }
}

/// A file with room, written 64 KiB at a time where nobody waits, and by group commit where somebody does.
struct Allocated {
    rows: Group<Rows>,
    shared: File,
    /// Where the next block of whoever does not wait goes.
    next: AtomicU64,
    path: PathBuf,
}

impl Allocated {
    fn open(folder: &Path) -> Self {
        let path = folder.join("allocated");
        let file = plain::file(&path, Room::Allocated, ROOM);
        let shared = file.try_clone().expect("a descriptor");
        let (end, buffer) = (0, Vec::with_capacity(1 << 20));
        Self {
            rows: Group::new(Rows { file, end, buffer }),
            shared,
            next: AtomicU64::new(0),
            path,
        }
    }

    fn place(&self, block: &mut Vec<u8>) {
        let len = block.len() as u64;
        let at = self.next.fetch_add(len, Ordering::Relaxed);
        self.shared.write_all_at(block, at).expect("written");
        block.clear();
    }
}

impl Log for Allocated {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, _: bool) {
        let mut block = Vec::with_capacity(64 << 10);
        for n in range {
            let payload = records.get(n);
            if block.len() + 4 + payload.len() > block.capacity() {
                self.place(&mut block);
            }
            block.extend_from_slice(&head(payload));
            block.extend_from_slice(payload);
        }
        self.place(&mut block);
    }

    fn durable(&self, _: usize, payload: &[u8]) {
        self.rows.durable(payload);
    }

    fn batch(&self, _: usize, payloads: &[&[u8]]) {
        let mut rows = self.rows.sink();
        payloads.iter().for_each(|payload| rows.write(payload));
        rows.sync();
    }

    fn sync(&self) {
        self.shared.sync_data().expect("synced");
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        visit(&self.path, see);
    }

    fn fill(&self, records: &Records) {
        let mut rows = self.rows.sink();
        (0..records.count()).for_each(|n| rows.write(records.get(n)));
        rows.sync();
    }

    /// Of records of 100 B, so that their place is known.
    fn read(&self, at: usize, see: &mut dyn FnMut(&[u8])) {
        let mut record = [0; 104];
        let place = (at * record.len()) as u64;
        self.shared.read_exact_at(&mut record, place).expect("read");
        see(&record[4..]);
    }
}

/// Memory that was touched before.
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn open() -> Self {
        let mut memory = vec![1; ROOM as usize];
        memory.clear();
        Self(Mutex::new(memory))
    }
}

impl Log for Memory {
    fn append(&self, _: usize, records: &Records, range: Range<usize>, alone: bool) {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let put = |memory: &mut Vec<u8>, payload: &[u8]| {
            memory.extend_from_slice(&head(payload));
            memory.extend_from_slice(payload);
        };
        if alone {
            let mut memory = lock();
            range.for_each(|n| put(&mut memory, records.get(n)));
        } else {
            range.for_each(|n| put(&mut lock(), records.get(n)));
        }
    }

    fn visit(&self, see: &mut dyn FnMut(&[u8])) {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = &memory[..];
        while let Some((len, behind)) = rest.split_first_chunk() {
            let (payload, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
            see(payload);
            rest = behind;
        }
    }
}
