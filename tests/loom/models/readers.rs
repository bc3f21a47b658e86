//! Readers that follow a stream beside its writer: out of the tail cache, out of the segment that is written
//! to, and over the border between the two.

use std::{path::PathBuf, sync::Arc};

use loom::{future::block_on, sync::RwLock, thread};
use tierlog_actors::{
    read::{From, ReadContext, ReadLimits, Reader, ReaderOptions},
    stream::{marks::Level, segments::Segment, shared::StreamShared},
};
use tierlog_storage::{
    LogId, Offset, SegmentNo,
    disk::{Disk, sim::SimDisk},
    layout::Layout,
    segment::{Frame, HEADER_LEN, Latched, SparseIndex, create_segment},
};

use crate::rig::{AtOnce, Room, SALT, every_order, frame, in_memory, stream};

fn follower(ctx: Arc<ReadContext>, stream: &Arc<StreamShared>, level: Level) -> Reader {
    let options = ReaderOptions {
        follow: true,
        level,
        ..ReaderOptions::default()
    };
    let opens = Reader::open(ctx, Arc::clone(stream), From::Earliest, options);
    block_on(opens).expect("nothing has to be read for that")
}

/// Reads `count` records: each once, in order.
fn reads(mut reader: Reader, count: u64) {
    let mut next = 0;
    while next < count {
        for record in block_on(reader.next_batch(8)).expect("nothing is damaged") {
            assert_eq!(record.offset, Offset(next));
            next += 1;
        }
    }
}

/// The writer shows frame after frame in the tail cache, and the reader waits wherever it has read all.
#[test]
fn a_follower_of_the_tail_sees_each_record_and_is_woken_for_the_last() {
    every_order(2, || {
        let stream = stream(Room::default());
        let reader = follower(in_memory(), &stream, Level::Written);
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                for base in 0..2 {
                    let frame = frame(base, 1);
                    stream.show_written(marks, frame.end(), || stream.tail.push(&frame));
                }
            })
        };
        reads(reader, 2);
        writer.join().unwrap();
    });
}

/// The segment that is written to, on a disk in memory.
struct Active {
    file: Arc<Latched>,
    index: Arc<RwLock<SparseIndex>>,
    segment: Arc<Segment>,
    pos: u64,
}

fn on_disk(stream: &StreamShared) -> (Arc<ReadContext>, Active) {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let layout = Layout::new(PathBuf::from("/log"));
    for folder in [layout.root().to_path_buf(), layout.streams_dir()] {
        disk.create_dir(&folder).expect("a folder");
    }
    let file = create_segment(&*disk, &layout, stream.id, SegmentNo(1), 1 << 12).expect("a file");
    let (file, index) = (Arc::new(file), Arc::<RwLock<SparseIndex>>::default());
    let (of, known) = (Arc::clone(&file), Arc::clone(&index));
    let segment = Segment::active(SegmentNo(1), SALT, Offset(0), of, known);
    let ctx = ReadContext::new(disk, layout, Arc::new(AtOnce), &ReadLimits::default());
    ctx.is_of(LogId::from_bytes([3; 16]));
    let active = Active {
        file,
        index,
        segment: Arc::new(segment),
        pos: HEADER_LEN,
    };
    (ctx, active)
}

impl Active {
    /// As the writer does it: bytes and index, then the frame to those who read.
    fn write(&mut self, stream: &StreamShared, frame: &Frame) {
        self.file.write_at(&frame.bytes, self.pos).expect("a write");
        let mut index = self.index.write().unwrap();
        index.note(frame.base, self.pos, frame.first_ts);
        drop(index);
        self.pos += frame.len();
        stream.show_written(&stream.life().marks, frame.end(), || {
            stream.tail.push(frame);
            self.segment.advance(frame.end(), self.pos);
            stream.segments.put(Arc::clone(&self.segment));
        });
    }
}

/// The tail cache has room for `tail` bytes, so that it lets go of frames while the reader looks for them.
fn over_the_border(tail: usize, switches: usize) {
    every_order(switches, move || {
        let stream = stream(Room {
            tail,
            ..Room::default()
        });
        let (ctx, mut active) = on_disk(&stream);
        let reader = follower(ctx, &stream, Level::Durable);
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                for base in 0..2 {
                    active.write(&stream, &frame(base, 1));
                    stream.life().marks.advance_durable(base + 1);
                    stream.publish();
                }
            })
        };
        reads(reader, 2);
        writer.join().unwrap();
    });
}

#[test]
fn a_follower_whose_frames_are_let_go_at_once_reads_them_from_the_file() {
    over_the_border(0, 2);
}

#[test]
fn a_follower_goes_from_the_file_to_the_tail_and_sees_each_record_once() {
    let one_frame = frame(0, 1).bytes.len();
    over_the_border(one_frame, 2);
}

/// The stream idles, and its tail is forgotten, while the reader is on its way to it.
#[test]
fn a_tail_that_is_forgotten_under_a_follower_is_read_from_the_file() {
    every_order(2, || {
        let stream = stream(Room::default());
        let (ctx, mut active) = on_disk(&stream);
        active.write(&stream, &frame(0, 1));
        stream.life().marks.advance_durable(1);
        let reader = follower(ctx, &stream, Level::Durable);
        let idles = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                stream.tail.clear();
                active.write(&stream, &frame(1, 1));
                stream.life().marks.advance_durable(2);
                stream.publish();
            })
        };
        reads(reader, 2);
        idles.join().unwrap();
    });
}
