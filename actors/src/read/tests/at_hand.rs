//! What the system has in memory is read without a thread, and is trusted no more than what a thread reads.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tierlog_storage::{
    Offset,
    disk::{DiskFile, SharedFile},
    segment::{Latched, NewRecord, Record},
};

use super::kit::{Rig, Stepper, Writing, payload_of, time_of};
use crate::{
    error::Error,
    read::{From, ReadLimits, Reader, ReaderOptions, TryRead},
};

/// A file of which everything is in memory, or nothing, and which keeps where it was asked.
#[derive(Debug)]
struct Memory {
    file: SharedFile,
    has_all: bool,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl DiskFile for Memory {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> std::io::Result<usize> {
        self.file.read_at(buf, pos)
    }

    fn read_in_memory(&self, buf: &mut [u8], pos: u64) -> bool {
        self.asked.lock().unwrap().push(pos);
        self.has_all && self.file.read_at(buf, pos).unwrap() == buf.len()
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> std::io::Result<()> {
        self.file.write_at(buf, pos)
    }

    fn allocate(&self, pos: u64, len: u64) -> std::io::Result<()> {
        self.file.allocate(pos, len)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn map_read_only(&self, len: u64) -> std::io::Result<Bytes> {
        self.file.map_read_only(len)
    }
}

impl Writing {
    /// From now on all of the file is in memory, or none of it. Gives where it is asked for that.
    pub(super) fn in_memory(&mut self, has_all: bool) -> Arc<Mutex<Vec<u64>>> {
        let asked = Arc::default();
        let file = Memory {
            file: Arc::clone(self.file.file()),
            has_all,
            asked: Arc::clone(&asked),
        };
        self.file = Arc::new(Latched::new(Arc::new(file), self.file.path().to_path_buf()));
        asked
    }
}

fn stepped() -> (Arc<Stepper>, Rig) {
    let stepper = Arc::new(Stepper::default());
    let rig = Rig::on(ReadLimits::default(), Arc::clone(&stepper) as _, 100);
    (stepper, rig)
}

fn now(reader: &mut Reader, offset: u64) -> Result<Record, TryRead> {
    reader.seek(Offset(offset));
    reader
        .try_next()
        .now()
        .map(|record| record.expect("not at the end"))
}

#[test]
fn a_jump_in_what_is_in_memory_needs_no_job() {
    let (stepper, rig) = stepped();
    let mut writing = rig.begin(0, 0);
    let asked = writing.in_memory(true);
    rig.put(writing.fill(20_000, 50).active());
    rig.durable(20_000);
    let mut reader = rig.reader_now(From::Earliest, ReaderOptions::default());
    for offset in [0, 19_999, 3, 12_345, 12_346, 777, 19_950] {
        let record = now(&mut reader, offset).expect("it is in memory");
        assert_eq!(
            (record.offset, record.timestamp),
            (Offset(offset), time_of(offset))
        );
        assert_eq!(record.payload, payload_of(offset).as_bytes());
    }
    assert_eq!(stepper.waiting(), 0, "no job was begun");
    let before = asked.lock().unwrap().len();
    assert!(now(&mut reader, 12_400).is_ok());
    assert_eq!(
        asked.lock().unwrap().len(),
        before,
        "its block is kept, as any other"
    );
}

#[test]
fn the_second_of_two_long_frames_that_share_an_entry_of_the_index_is_found() {
    let (stepper, rig) = stepped();
    let mut writing = rig.begin(0, 0);
    writing.in_memory(true);
    for _ in 0..6 {
        let record = NewRecord::new(vec![7; 40 << 10]);
        writing.frame_of(vec![(1, record)]);
    }
    rig.put(writing.active());
    rig.durable(6);
    let mut reader = rig.reader_now(From::Earliest, ReaderOptions::default());
    for offset in [5, 4, 3, 2, 1, 0] {
        assert_eq!(
            now(&mut reader, offset).expect("in memory").offset,
            Offset(offset)
        );
    }
    assert_eq!(stepper.waiting(), 0, "no job was begun");
}

#[test]
fn what_is_not_in_memory_or_is_damaged_there_is_left_to_a_job() {
    for has_all in [false, true] {
        let (stepper, rig) = stepped();
        let mut writing = rig.begin(0, 0);
        writing.in_memory(has_all);
        rig.put(writing.fill(100, 10).active());
        writing.break_frame(0);
        rig.durable(100);
        let mut reader = rig.reader_now(From::Earliest, ReaderOptions::default());
        let told = loop {
            match reader.try_next().now() {
                Err(TryRead::WouldBlock(_)) => assert!(stepper.step(), "a job was begun"),
                other => break other,
            }
        };
        match told {
            Err(TryRead::Failed(Error::Corrupt(damage))) => {
                assert_eq!((damage.from, damage.to), (Offset(0), Offset(10)));
            }
            other => panic!("not damage: {other:?}"),
        }
    }
}

#[test]
fn a_frame_that_is_not_durable_yet_is_not_read_ahead_of_its_mark() {
    let (_, rig) = stepped();
    let mut writing = rig.begin(0, 0);
    writing.in_memory(true);
    let segment = rig.put(writing.fill(20, 10).active());
    rig.durable(10);
    let mut reader = rig.reader_now(From::Earliest, ReaderOptions::default());
    assert!(now(&mut reader, 9).is_ok());
    reader.seek(Offset(10));
    assert!(reader.try_next().now().expect("it ends here").is_none());
    // What is written behind the end that the segment shows is none of it.
    writing.fill(30, 10);
    rig.durable(30);
    assert_eq!(segment.end(), Offset(20));
    reader.seek(Offset(25));
    assert!(reader.try_next().now().is_err());
}
