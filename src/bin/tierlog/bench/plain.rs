//! The other side: a file, a length before each record, no checksum, no index. Room for it is allocated
//! ahead, as a log does it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use super::report::Measured;
use super::{Load, SYNC_EACH};

/// What is gathered before it is written, as an `Appender` does.
const BUFFER: usize = 64 << 10;
/// Allocated at a time.
const ALLOCATE: u64 = 64 << 20;
const HEAD: usize = 4;

fn record(load: &Load) -> Vec<u8> {
    // A record is at most 64 MiB.
    let mut record = (load.size as u32).to_le_bytes().to_vec();
    record.extend(load.payload());
    record
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Makes sure that `end` lies within what is allocated.
fn allocate(file: &File, allocated: &mut u64, end: u64) -> io::Result<()> {
    if end > *allocated {
        let more = ALLOCATE.max(end - *allocated);
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        // Where the file system can't, it grows as it is written.
        let _ = rustix::fs::fallocate(file, flags, *allocated, more);
        *allocated += more;
    }
    Ok(())
}

/// Writes whole buffers, and syncs each time that enough has come together.
pub(super) fn append(load: &Load, path: &Path) -> io::Result<Measured> {
    let mut file = create(path)?;
    let record = record(load);
    let mut buffer = Vec::with_capacity(BUFFER + record.len());
    let (mut records, mut written, mut unsynced, mut allocated) = (0, 0, 0, 0);
    let begun = Instant::now();
    while records < load.most() && begun.elapsed() < load.time && !load.is_stopped() {
        while buffer.len() < BUFFER && records < load.most() {
            buffer.extend_from_slice(&record);
            records += 1;
        }
        written += buffer.len() as u64;
        unsynced += buffer.len() as u64;
        allocate(&file, &mut allocated, written)?;
        file.write_all(&buffer)?;
        buffer.clear();
        if unsynced >= SYNC_EACH {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_data()?;
    Ok(Measured::of(records, load.size, begun.elapsed()))
}

/// Reads all of it, record by record.
pub(super) fn scan(load: &Load, path: &Path) -> io::Result<Measured> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut payload = Vec::new();
    let mut records = 0;
    let begun = Instant::now();
    let mut head = [0; HEAD];
    loop {
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        payload.resize(u32::from_le_bytes(head) as usize, 0);
        file.read_exact(&mut payload)?;
        std::hint::black_box(&payload);
        records += 1;
    }
    Ok(Measured::of(records, load.size, begun.elapsed()))
}

/// So many threads, each of which writes a record and syncs the file before it writes the next one.
pub(super) fn durable(load: &Load, path: &Path) -> io::Result<Measured> {
    let file = create(path)?;
    let record = record(load);
    let most = load.most() / load.tasks as u64 + 1;
    let place = Mutex::new((0, 0));
    let begun = Instant::now();
    let one = || {
        let mut waits = Vec::new();
        while begun.elapsed() < load.time && (waits.len() as u64) < most && !load.is_stopped() {
            let sent = Instant::now();
            let pos = {
                let mut place = place
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let (end, allocated) = &mut *place;
                let pos = *end;
                *end += record.len() as u64;
                allocate(&file, allocated, *end)?;
                pos
            };
            file.write_all_at(&record, pos)?;
            file.sync_data()?;
            waits.push(sent.elapsed());
        }
        io::Result::Ok(waits)
    };
    let waits = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.tasks).map(|_| scope.spawn(one)).collect();
        let mut waits = Vec::new();
        for thread in threads {
            let ended = thread
                .join()
                .map_err(|_| io::Error::other("a thread panicked"))?;
            waits.extend(ended?);
        }
        io::Result::Ok(waits)
    })?;
    Ok(Measured::of(waits.len() as u64, load.size, begun.elapsed()).waiting(waits))
}
